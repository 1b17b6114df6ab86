"""Figures about a running server, and the page that says it is well."""

from __future__ import annotations

import re
from typing import Any

from prometheus_client.parser import text_string_to_metric_families
from twisted.internet import reactor
from twisted.internet.defer import Deferred
from twisted.internet.endpoints import TCP4ClientEndpoint
from twisted.internet.interfaces import IReactorFDSet
from twisted.internet.protocol import Factory, Protocol, connectionDone
from twisted.internet.tcp import Port
from twisted.python.failure import Failure
from twisted.python.usage import UsageError
from twisted.trial.unittest import SynchronousTestCase
from twisted.web.test.requesthelper import DummyRequest

from pylingo.metrics import Pages
from pylingo.server import DEAD
from tests.house import House, notes, request
from tests.test_service import LOCAL, ServiceTestCase, parsed

NAMES = (
    "connections", "users", "lingering", "rooms", "queue_high_bytes", "reactor_lag_seconds",
    "messages", "deliveries", "sent_bytes", "slow", "refused", "commits", "commit_seconds",
)  # fmt: skip
"""Every figure, without what comes before and after its name."""


class FiguresTests(SynchronousTestCase):
    def setUp(self) -> None:
        self.house = House()

    def figures(self) -> dict[str, float]:
        """Every figure by its name."""
        return {
            family.name.removeprefix("pylingo_"): family.samples[0].value
            for family in Pages(self.house.factory).collect()
        }

    def test_all(self) -> None:
        """Every figure is there, with a sentence about it, before anything has happened."""
        families = list(Pages(self.house.factory).collect())
        self.assertEqual([f.name for f in families], [f"pylingo_{name}" for name in NAMES])
        self.assertTrue(all(f.documentation for f in families))
        self.assertEqual({value for name, value in self.figures().items()}, {0})

    def test_people(self) -> None:
        """Who is here, who lingers and which rooms there are is counted as it is now."""
        ana, ben = self.house.visitor("ana", "lobby"), self.house.visitor("ben", "den")
        self.house.visitor()
        figures = self.figures()
        self.assertEqual((figures["connections"], figures["users"], figures["rooms"]), (3, 2, 2))
        ben.drop()
        figures = self.figures()
        self.assertEqual(
            (figures["connections"], figures["users"], figures["lingering"]), (2, 2, 1)
        )
        self.house.wait(70)
        ana.ask("close")
        figures = self.figures()
        self.assertEqual((figures["users"], figures["lingering"], figures["rooms"]), (0, 0, 0))

    def test_messages(self) -> None:
        """Messages, deliveries, transactions and bytes are counted."""
        ana = self.house.visitor("ana", "lobby")
        others = [self.house.visitor(f"u{n}", "lobby") for n in range(3)]
        before = self.figures()
        for number in range(5):
            ana.ask("say", str(number))
        self.assertTrue(others[0].hear())
        after = self.figures()
        grown = {name: after[name] - before[name] for name in NAMES}
        self.assertEqual(grown["messages"], 5)
        self.assertIn(grown["deliveries"], (15, 20))
        self.assertGreaterEqual(grown["commits"], 1)
        self.assertGreater(grown["sent_bytes"], 5 * 3 * 50)

    def test_commit_seconds(self) -> None:
        """So is how long the transactions took."""
        ana = self.house.visitor("ana", "lobby")
        self.house.commits.hold()
        ana.begin("say", "hi")
        before = self.figures()["commit_seconds"]
        self.house.clock.advance(0.5)
        self.house.commits.release()
        self.assertEqual(self.figures()["commit_seconds"] - before, 0.5)

    def test_slow_and_refused(self) -> None:
        """Slow readers and refused connections are, too, and the most that ever waited."""
        self.house = House(most_users=2)
        ana, ben = self.house.visitor("ana", "lobby"), self.house.visitor("ben", "lobby")
        ben.stall()
        self.house.visitor()
        ana.ask("say", "x" * 8000)
        self.assertEqual(self.figures()["refused"], 1)
        self.assertGreater(self.figures()["queue_high_bytes"], 8000)
        self.house.wait(40)
        self.assertEqual(self.figures()["slow"], 1)

    def test_lag(self) -> None:
        """A reactor that was held up shows."""
        self.house.wait(2)
        self.house.clock.advance(4.0)
        self.assertEqual(self.figures()["reactor_lag_seconds"], 3.0)
        self.house.wait(2)
        self.assertEqual(self.figures()["reactor_lag_seconds"], 0.0)

    def test_idle(self) -> None:
        """One that was dropped for being silent is no slow reader."""
        self.house.visitor("ana")
        self.house.wait(DEAD + 10, alive=False)
        figures = self.figures()
        self.assertEqual((figures["slow"], figures["connections"]), (0, 0))


class PagesTests(SynchronousTestCase):
    """The pages, without a server for them."""

    def test_two_servers(self) -> None:
        """Two servers in one process have figures of their own."""
        one, other = House(), House()
        one.visitor("ana")
        for house, users in ((one, 1), (other, 0)):
            page: Any = Pages(house.factory)
            figures = page.render_GET(DummyRequest([b"metrics"])).decode()
            self.assertIn(f"pylingo_users {users}.0", figures)

    def test_head(self) -> None:
        """Of each page one may ask for the head alone, as those do who watch; nobody complains."""
        said, house = notes(self), House()
        page: Any = Pages(house.factory)
        for name, status in ((b"health", None), (b"metrics", None), (b"nowhere", 404)):
            asked = DummyRequest([name])
            asked.method = b"HEAD"
            whole = page.render_GET(DummyRequest([name]))
            self.assertEqual((page.render(asked), asked.responseCode), (b"", status))
            length = asked.responseHeaders.getRawHeaders("content-length")
            self.assertEqual(length, [str(len(whole))])
        self.assertEqual(said, [])


class HealthTests(SynchronousTestCase):
    def ask(self, house: House) -> tuple[int, bytes]:
        page, asked = Pages(house.factory), DummyRequest([b"health"])
        request: Any = asked
        body = page.render_GET(request)
        return asked.responseCode or 200, body

    def test_well(self) -> None:
        """All is well while messages can be stored."""
        self.assertEqual(self.ask(House()), (200, b"ok\n"))

    def test_broken_disk(self) -> None:
        """While they cannot, it says so with a status of its own; afterwards all is well again."""
        house = House()
        ana = house.visitor("ana", "lobby")
        house.break_disk()
        ana.ask("say", "lost")
        status, text = self.ask(house)
        self.assertEqual(status, 503)
        self.assertIn(b"stored", text)
        house.mend_disk()
        ana.ask("say", "found")
        self.assertEqual(self.ask(house)[0], 200)
        self.flushLoggedErrors()


class Page(Protocol):
    """Gathers what a server of pages says."""

    def __init__(self) -> None:
        self.data = b""
        self.done: Deferred[bytes] = Deferred()

    def dataReceived(self, data: bytes) -> None:
        self.data += data

    def connectionLost(self, reason: Failure = connectionDone) -> None:  # noqa: ARG002
        self.done.callback(self.data)


class OptionTests(SynchronousTestCase):
    def test_off(self) -> None:
        """There are no figures unless they are asked for."""
        self.assertIsNone(parsed()["metrics"])

    def test_bad(self) -> None:
        """What is no endpoint is refused with a sentence."""
        for endpoint in ("9100", "nonsense:1", "tcp:x"):
            error = self.assertRaises(UsageError, parsed, "--metrics", endpoint)
            self.assertIn("--metrics", str(error))


class SiteTests(ServiceTestCase):
    """The pages over real sockets."""

    async def get(self, path: str, port: int, field: str = "X: x") -> tuple[str, str]:
        """The head and the body of a page."""
        endpoint = TCP4ClientEndpoint(reactor, LOCAL, port)
        page: Any = await endpoint.connect(Factory.forProtocol(Page))
        page.transport.write(f"GET {path} HTTP/1.0\r\nHost: x\r\n{field}\r\n\r\n".encode())
        head, _, body = (await page.done).decode().partition("\r\n\r\n")
        return head, body

    def serve(self, *arguments: str) -> int:
        """Start it; the result is the port of the pages."""
        self.start("--metrics", "tcp:0", *arguments)
        (line,) = [text for text in self.logged if text.startswith("Site starting")]
        found = re.search(r"\d+$", line)
        assert found
        return int(found[0])

    async def test_pages(self) -> None:
        """Figures that Prometheus can read, and a page that says ok; nothing else."""
        port = self.serve()
        await self.call("ana", "lobby")
        head, body = await self.get("/metrics", port)
        self.assertIn("200", head.splitlines()[0])
        self.assertIn("text/plain", head)
        figures = {
            sample.name: sample.value
            for family in text_string_to_metric_families(body)
            for sample in family.samples
        }
        self.assertEqual(figures["pylingo_users"], 1)
        self.assertEqual(figures["pylingo_messages_total"], 0)
        self.assertEqual(len(figures), len(NAMES))
        for accept in ("application/openmetrics-text; version=abc", "*/*;q=x"):
            head, _ = await self.get("/metrics", port, f"Accept: {accept}")
            self.assertEqual(head.split()[1], "200")
        head, body = await self.get("/health", port)
        self.assertEqual((head.split()[1], body), ("200", "ok\n"))
        self.assertIn("text/plain", head)
        for path in ("/nothing", "/"):
            head, body = await self.get(path, port)
            self.assertEqual((head.split()[1], body), ("404", "there are /metrics and /health\n"))

    async def test_not_logged(self) -> None:
        """What is asked for every few seconds is not in the log each time."""
        port = self.serve()
        await self.get("/health", port)
        self.assertEqual([text for text in self.logged if "GET" in text], [])

    async def test_own_machine(self) -> None:
        """They are for this machine alone, unless the endpoint says otherwise."""
        self.start("--metrics", "tcp:0")
        self.assertEqual(self.listening(), [LOCAL, LOCAL])

    async def test_six(self) -> None:
        """The same goes for the other kind of address."""
        self.start("--metrics", "tcp6:0")
        for host in self.listening():
            self.assertIn(host, (LOCAL, "::1"))

    def listening(self) -> list[str]:
        """The addresses of all that listens in this process."""
        return [
            str(reader.getHost().host)
            for reader in IReactorFDSet(reactor).getReaders()
            if isinstance(reader, Port)
        ]

    async def test_not_for_chat(self) -> None:
        """The chat goes on whatever is asked of the pages."""
        port = self.serve()
        ana = await self.call("ana", "lobby")
        endpoint = TCP4ClientEndpoint(reactor, LOCAL, port)
        page: Any = await endpoint.connect(Factory.forProtocol(Page))
        page.transport.write(request("hello") + b"\r\n\r\n")
        self.assertEqual((await ana.ask("ping", "x", 1)).body, "x")
        page.transport.abortConnection()
