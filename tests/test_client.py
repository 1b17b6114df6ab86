"""The command line of the client."""

from __future__ import annotations

import contextlib
import io
import os
import signal
import subprocess
import sys

from twisted.trial.unittest import SynchronousTestCase

from pylingo import __version__, client
from tests.journey import PATIENCE


class AddressTests(SynchronousTestCase):
    """Where the server is."""

    def test_host(self) -> None:
        """A host alone has the usual port."""
        self.assertEqual(client.address("example.org"), ("example.org", 5000))

    def test_host_and_port(self) -> None:
        """A port can be given after a colon."""
        for port in (1, 70, 65535):
            self.assertEqual(client.address(f"example.org:{port}"), ("example.org", port))

    def test_ipv6(self) -> None:
        """An IPv6 address stands alone, or in brackets with a port."""
        self.assertEqual(client.address("::1"), ("::1", 5000))
        self.assertEqual(client.address("[::1]"), ("::1", 5000))
        self.assertEqual(client.address("[::1]:70"), ("::1", 70))

    def test_no_port(self) -> None:
        """What is no port is refused in a sentence that quotes it."""
        for text in ("h:", "h:0", "h:65536", "h:-1", "h:port", "h:٣", "h: 70", "[::1]70x"):
            with self.assertRaises(ValueError) as caught:
                client.address(text)
            self.assertIn("is not a port", str(caught.exception), text)

    def test_web_address(self) -> None:
        """An address of the web is not taken for a host."""
        with self.assertRaises(ValueError) as caught:
            client.address("http://127.0.0.1:5000")
        self.assertIn("only the host", str(caught.exception))

    def test_no_host(self) -> None:
        """A port without a host is refused."""
        for text in ("", ":70", "[]:70"):
            with self.assertRaises(ValueError) as caught:
                client.address(text)
            self.assertIn("Give the host", str(caught.exception))


class ParseTests(SynchronousTestCase):
    """The options."""

    def refused(self, *arguments: str) -> str:
        """What is said to arguments that are wrong."""
        errors = io.StringIO()
        with contextlib.redirect_stderr(errors), self.assertRaises(SystemExit) as caught:
            client.parse(list(arguments))
        self.assertEqual(caught.exception.code, 1)
        return errors.getvalue()

    def test_defaults(self) -> None:
        """Without arguments it is this machine, nobody in particular and nowhere."""
        options = client.parse([])
        self.assertEqual(
            (options.host, options.port, options.name, options.room, options.json),
            ("127.0.0.1", 5000, "", "", False),
        )

    def test_all(self) -> None:
        """Every option has a long form, and the common ones a short one."""
        for arguments in (
            ["example.org:70", "--name", "ana", "--room", "lobby", "--json", "--no-color"],
            ["-n", "ana", "-r", "lobby", "--json", "--no-color", "example.org:70"],
        ):
            options = client.parse(arguments)
            self.assertEqual(
                (options.host, options.port, options.name, options.room, options.json),
                ("example.org", 70, "ana", "lobby", True),
            )
            self.assertTrue(options.no_color)

    def test_other_encoding(self) -> None:
        """What is no Unicode among them, as from another encoding, is said as well as it goes."""
        options = client.parse(["-n", "caf\udce9", "-r", "th\udce9", "h\udce9.example"])
        self.assertEqual((options.name, options.room), ("caf\ufffd", "th\ufffd"))
        self.assertEqual(options.where, "h\ufffd.example:5000")

    def test_wrong_port(self) -> None:
        """A wrong address is one sentence, and status 1."""
        self.assertIn("pylingo: '99999' is not a port.", self.refused("h:99999"))

    def test_where(self) -> None:
        """The server is called as one would write it, so that it can be told where the port is."""
        for argument, where in (("h", "h:5000"), ("[::1]:77", "[::1]:77"), ("::1", "[::1]:5000")):
            self.assertEqual(client.parse([argument]).where, where)

    def test_port_apart(self) -> None:
        """A port after a space is what other programs want; it is said how it is done here."""
        self.assertIn("pylingo example.org:5077", self.refused("example.org", "5077"))
        self.assertIn("'lobby'", self.refused("example.org", "lobby"))

    def test_unknown_option(self) -> None:
        """An option that there is not is refused by its name."""
        self.assertIn("--dance", self.refused("--dance"))

    def test_version(self) -> None:
        """`--version` says which it is."""
        out = io.StringIO()
        with contextlib.redirect_stdout(out), self.assertRaises(SystemExit) as caught:
            client.parse(["--version"])
        self.assertEqual((caught.exception.code, out.getvalue()), (0, f"pylingo {__version__}\n"))

    def test_no_color(self) -> None:
        """NO_COLOR in the environment is as good as the option, unless it is empty."""
        for value, plain in (("1", True), ("", False)):
            self.patch(os, "environ", {"NO_COLOR": value})
            self.assertEqual(client.parse([]).no_color, plain)


class InterruptTests(SynchronousTestCase):
    """What ends it, and how, before and while the reactor runs."""

    def ended(self, script: str) -> tuple[int, bytes]:
        """How a client ends before which that is done: the exit status, and the complaints."""
        start = "from pylingo.client import main\nmain(['127.0.0.1:1'])\n"
        done = subprocess.run(
            [sys.executable, "-c", script + start],
            stdin=subprocess.DEVNULL, capture_output=True, check=False, timeout=PATIENCE,
        )  # fmt: skip
        return done.returncode, done.stderr

    def conversed(self, converse: str) -> tuple[int, bytes]:
        """How one ends that does that instead of talking."""
        return self.ended(f"""
import os, signal, time
from twisted.internet.defer import Deferred
import pylingo.pipe
async def converse(reactor, options):
{converse}
pylingo.pipe.converse = converse
""")

    def test_while_loading(self) -> None:
        """Ctrl-C before everything is loaded ends it, and nobody sees where it was."""
        ended = self.ended("""
import signal, sys
class Finder:
    def find_spec(name, *_):
        if name == "pylingo.pipe":
            signal.raise_signal(signal.SIGINT)
sys.meta_path.insert(0, Finder)
""")
        self.assertEqual(ended, (-signal.SIGINT, b""))

    def test_before_the_reactor(self) -> None:
        """So it does between loading and the reactor."""
        ended = self.ended("""
import signal
import twisted.internet.task as task
react = task.react
def late(*arguments):
    signal.raise_signal(signal.SIGINT)
    react(*arguments)
task.react = late
""")
        self.assertEqual(ended, (-signal.SIGINT, b""))

    def test_while_connecting(self) -> None:
        """At the first moment after that it ends in good order."""
        ended = self.conversed("""
    signal.raise_signal(signal.SIGINT)
    await Deferred()
""")
        self.assertEqual(ended, (0, b""))

    def test_twice(self) -> None:
        """It goes on doing so though another signal comes meanwhile."""
        ended = self.conversed("""
    stopping = Deferred()
    reactor.addSystemEventTrigger("before", "shutdown", lambda: stopping)
    for delay, one in (0, signal.SIGINT), (0.05, signal.SIGTERM), (0.1, signal.SIGHUP):
        reactor.callLater(delay, signal.raise_signal, one)
    reactor.callLater(0.3, stopping.callback, None)
    await stopping
    return 7
""")
        self.assertEqual(ended, (7, b""))

    def test_silent_name_server(self) -> None:
        """What a thread waits for does not keep who leaves."""
        ended = self.conversed("""
    reactor.callInThread(time.sleep, 100)
    return 7
""")
        self.assertEqual(ended, (7, b""))

    def test_steady(self) -> None:
        """What waits in it does not go by the time of day, which can be set back."""
        ended = self.conversed("""
    return 8 if reactor.seconds is time.time else 7
""")
        self.assertEqual(ended, (7, b""))
