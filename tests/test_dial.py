"""Getting in with TLS: whose certificate is trusted, and who is asked."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any, cast

from OpenSSL import SSL
from twisted.internet.defer import Deferred, ensureDeferred, fail, succeed
from twisted.internet.protocol import Factory
from twisted.internet.testing import MemoryReactorClock
from twisted.python.failure import Failure
from twisted.trial.unittest import SynchronousTestCase

from pylingo import client, tls
from pylingo.connection import Connection
from pylingo.dial import dial
from pylingo.protocol import ChatError

UNVOUCHED = SSL.Error([("SSL routines", "", "certificate verify failed")])


class Try:
    """A connection to a server with a certificate, which is there or not."""

    def __init__(self, print: str, trouble: Exception | None, check: Any) -> None:
        self._trouble = trouble
        self._print = print
        self._check = check

    def start(self) -> Deferred[None]:
        if self._check is None:
            if self._trouble is None:
                return succeed(None)
            doubtful = tls.doubtful(Failure(self._trouble))
            return self._fail("untrusted" if doubtful else "unreachable")
        if not self._print:
            return self._fail()
        why = self._check(self)
        return self._fail("untrusted", why) if why else succeed(None)

    def getPeerCertificate(self) -> Try:
        return self

    def digest(self, _: str) -> bytes:
        return self._print.encode()

    def _fail(self, code: str = "unreachable", why: str = "It did not work.") -> Deferred[None]:
        return fail(ChatError(code, why))


class AddressTests(SynchronousTestCase):
    def endpoint(self, address: str, reactor: MemoryReactorClock) -> Any:
        """What is connected for that address."""
        used: list[Any] = []

        def connect(endpoint: Any, **_: object) -> Any:
            used.append(endpoint)
            return Try("", None, None)

        self.successResultOf(ensureDeferred(dial(client.parse([address]), reactor, connect, None)))
        self.flushWarnings()  # This reactor has no names of its own.
        return used[0]

    def test_zone(self) -> None:
        """An address of the own network is reached through the interface that it names."""
        self.connects("[fe80::1%eth0]:5001", "fe80::1%eth0")

    def test_container(self) -> None:
        """A name that no domain can have is left to the system, which may know it."""
        self.connects("chat_server:5001", "chat_server")

    def test_no_container(self) -> None:
        """What not even a container can be called is told as that."""
        for host in ("a..b_c", ".chat_server", "x_" + "y" * 70):
            dialing = dial(client.parse([host]), MemoryReactorClock(), cast(Any, None), None)
            why = self.failureResultOf(ensureDeferred(dialing), ChatError)
            self.assertIn(f"{host}:5000 is not a name", str(why.value))
        self.flushWarnings()

    def connects(self, address: str, host: str) -> None:
        reactor = MemoryReactorClock()
        self.endpoint(address, reactor).connect(Factory())
        self.assertEqual(reactor.tcpClients[0][:2], (host, 5001))

    def test_capitals(self) -> None:
        """A name in another script is the same in capitals."""
        for name in ("bücher.example", "Bücher.Example", "BÜCHER.EXAMPLE"):
            endpoint = self.endpoint(name, MemoryReactorClock())
            self.assertEqual(str(endpoint), "<HostnameEndpoint xn--bcher-kva.example:5000>")


class DialTests(SynchronousTestCase):
    def setUp(self) -> None:
        self.place = Path(self.mktemp()).absolute()
        self.patch(os, "environ", os.environ | {"XDG_CONFIG_HOME": str(self.place)})
        self.print = "AA:BB"
        self.trouble: Exception | None = UNVOUCHED
        self.checks: list[Any] = []
        self.asked: list[str] = []
        self.answer = " Yes "

    def ask(self, question: str) -> Deferred[str]:
        self.asked.append(question)
        return succeed(self.answer)

    def connect(self, _: object, check: Any = None) -> Connection:
        self.checks.append(check)
        return cast(Connection, Try(self.print, self.trouble, check))

    def dial(self, *, script: bool = False, host: str = "example.org") -> Deferred[Connection]:
        options = client.parse(["--tls", host])
        ask = None if script else self.ask
        return ensureDeferred(dial(options, MemoryReactorClock(), self.connect, ask))

    def refusal(self, *, script: bool = False) -> str:
        return str(self.failureResultOf(self.dial(script=script), ChatError).value)

    def test_vouched_for(self) -> None:
        """What an authority vouches for needs no question, and is not looked at besides."""
        self.trouble = None
        self.assertIsInstance(self.successResultOf(self.dial()), Try)
        self.assertEqual((self.asked, self.checks), ([], [None]))

    def test_no_name_of_a_host(self) -> None:
        """A name that no host can have is told as that."""
        for host in ("chat_1", "a..b", "x" * 70, "1234"):
            why = self.failureResultOf(self.dial(host=host), ChatError)
            self.assertIn(f"{host}:5000 is not a name", str(why.value))

    def test_other_trouble(self) -> None:
        """Other trouble is told at once: to look away from the certificate would not help."""
        self.trouble = OSError("gone")
        self.assertEqual(self.refusal(), "It did not work.")
        self.trouble = None
        self.patch(Try, "start", Try._fail)
        self.assertEqual(self.refusal(), "It did not work.")
        self.assertEqual((self.asked, self.checks), ([], [None, None]))

    def test_unknown(self) -> None:
        """An unknown one is asked about, and after a yes it is known."""
        self.successResultOf(self.dial())
        self.assertIn("AA:BB", self.asked[0])
        self.checks.clear()
        self.successResultOf(self.dial(script=True))
        self.assertEqual((len(self.asked), len(self.checks)), (1, 1))
        self.assertIsNotNone(self.checks[0])

    def test_not_wanted(self) -> None:
        """Anything but a yes is a no."""
        for self.answer in ("no", ""):
            self.assertIn("because you did not say yes", self.refusal())
        self.assertEqual(len(self.asked), 2)

    def test_nobody_to_ask(self) -> None:
        """Where nobody can be asked it is said where somebody can."""
        self.assertIn("Connect once on a terminal", self.refusal(script=True))

    def test_changed(self) -> None:
        """Another one than the known is refused without a question."""
        self.successResultOf(self.dial())
        self.print = "CC:DD"
        self.assertIn("has changed", self.refusal())
        self.assertEqual(len(self.asked), 1)

    def test_trouble_before_the_certificate(self) -> None:
        """Where there was no certificate to be seen it is not taken for another one."""
        self.print = ""
        self.assertEqual(self.refusal(), "It did not work.")

    def test_no_certificate(self) -> None:
        """Where the server shows none, nobody is asked whether that is right."""
        self.answer = "no"
        self.patch(Try, "getPeerCertificate", lambda _: None)
        self.assertEqual(self.refusal(), "The server showed no certificate.")
        self.assertEqual(self.asked, [])

    def test_trouble_behind_it(self) -> None:
        """What goes wrong behind the right certificate is not taken for another one either."""
        self.successResultOf(self.dial())
        start = Try.start

        def fall(tried: Try) -> Deferred[None]:
            return start(tried).addCallback(lambda _: tried._fail())

        self.patch(Try, "start", fall)
        self.assertEqual(self.refusal(), "It did not work.")

    def test_nowhere_to_remember(self) -> None:
        """What cannot be remembered is not trusted."""
        self.place.write_text("in the way")
        self.assertIn("cannot be remembered", self.refusal())
