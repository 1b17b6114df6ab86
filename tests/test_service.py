"""The options of the command line, and the service that they make, on real sockets."""

from __future__ import annotations

import errno
import os
import re
import resource
import signal
import socket
import sqlite3
import subprocess
import sys
import tempfile
import threading
import time
from io import BytesIO, TextIOWrapper
from pathlib import Path
from typing import Any

from twisted.application.service import IService
from twisted.internet import reactor
from twisted.internet.defer import Deferred, fail
from twisted.internet.endpoints import HostnameEndpoint, TCP4ClientEndpoint, wrapClientTLS
from twisted.internet.error import CannotListenError
from twisted.internet.interfaces import IListeningPort, IProtocolFactory
from twisted.internet.protocol import Factory
from twisted.internet.ssl import CertificateOptions
from twisted.internet.task import deferLater
from twisted.logger import LogEvent, formatEvent, globalLogPublisher
from twisted.python.threadpool import ThreadPool
from twisted.python.usage import UsageError
from twisted.trial.unittest import SkipTest, SynchronousTestCase, TestCase

from pylingo import schema, service, tls
from pylingo.protocol import Closing, Error, Message, Resumed, Sent
from pylingo.schema import MEMORY, Database
from pylingo.service import (
    LARGEST_MOTD,
    CannotStart,
    ChatService,
    Options,
    makeService,
)
from tests.house import Caller
from tests.journey import until

LOCAL = "127.0.0.1"
LONGEST_DOOR = 103
"""Bytes that the path of a `unix:` door may have; 107 on Linux."""

STARTED = """
import signal, sys
from pylingo.service import ChatService
start = ChatService.startService
def started(self):
    start(self)
    {then}
ChatService.startService = started
sys.argv = "twistd --nodaemon --pidfile= pylingo --port 0 --interface 127.0.0.1 --database".split()
sys.argv.append(":memory:")
from twisted.scripts.twistd import run
run()
"""


def parsed(*arguments: str) -> Options:
    """What the server's command line says."""
    options = Options()
    options.parseOptions(arguments)
    return options


class OptionsTests(SynchronousTestCase):
    def refused(self, *arguments: str) -> str:
        return str(self.assertRaises(UsageError, parsed, *arguments))

    def test_empty(self) -> None:
        """What is empty, as from a variable that is not set, is not the same as none at all."""
        for option in ("--password-file", "--tls", "--motd"):
            self.assertIn(f"{option} is empty. Name a file", self.refused(option, ""))
        for option in ("--interface", "--metrics"):
            self.assertIn(f"{option} is empty. Give an address", self.refused(option, ""))

    def test_no_width(self) -> None:
        """The options are told also where nobody knows how wide the terminal is."""
        for columns in ("0", "", "x", "10"):
            self.patch(os, "environ", os.environ | {"COLUMNS": columns})
            self.assertIn("--port", Options().getUsage())

    def test_defaults(self) -> None:
        """Without options it is as the manual says."""
        options = parsed()
        self.assertEqual(options["port"], 5000)
        self.assertEqual((options["keep-days"], options["linger"]), (90, 60))
        self.assertEqual(os.path.basename(options["database"]), "pylingo.sqlite3")
        self.assertEqual(options["motd"], "")
        self.assertEqual(len(options["doors"]), 1)
        self.assertIn("5000", options["endpoints"][0])

    def test_absolute(self) -> None:
        """The database stays where it is, whatever directory the server goes to."""
        self.assertTrue(os.path.isabs(parsed("--database", "chat.db")["database"]))
        self.assertEqual(parsed("--database", MEMORY)["database"], MEMORY)

    def test_port(self) -> None:
        """A port is a number from 0 to 65535."""
        self.assertEqual(parsed("-p", "0")["port"], 0)
        self.assertEqual(parsed("--port", "65535")["port"], 65535)
        for port in ("65536", "-1", "five", "", "5.0", "0x10"):
            self.assertIn("65535", self.refused("--port", port))

    def test_numbers(self) -> None:
        """A number of days or seconds is whole, and 0 or more."""
        self.assertEqual(parsed("--keep-days", "0", "--linger", "5")["linger"], 5)
        for option in ("--keep-days", "--linger"):
            for number in ("-1", "x", "1.5"):
                self.assertIn("0 or more", self.refused(option, number))

    def test_interface(self) -> None:
        """An interface may be one of either kind of address."""
        self.assertIn(LOCAL, parsed("--interface", LOCAL)["endpoints"][0])
        (endpoint,) = parsed("--interface", "::1")["endpoints"]
        self.assertTrue(endpoint.startswith("tcp6:") and endpoint.endswith(":interface=\\:\\:1"))

    def test_endpoints(self) -> None:
        """Endpoints take the place of port and interface."""
        options = parsed("--endpoint", "tcp:0", "--endpoint", "tcp:0:interface=127.0.0.1")
        self.assertEqual(len(options["doors"]), 2)
        self.assertEqual(options["endpoints"], ["tcp:0", "tcp:0:interface=127.0.0.1"])

    def test_bad_endpoint(self) -> None:
        """What is no endpoint is refused with an example."""
        for endpoint in ("5000", "nonsense:1", "tcp:five", "tcp", "tcp:1:2:3:4:5", "systemd:0"):
            self.assertIn("tcp:5000", self.refused("--endpoint", endpoint))

    def test_motd(self) -> None:
        """The message of the day is a text file, cleaned."""
        path = self.mktemp()
        Path(path).write_text("Be nice.\x1b[31m\n\n  Don't shout. 👋\n\n", encoding="utf-8")
        self.assertEqual(parsed("--motd", path)["motd"], "Be nice.[31m\n\n  Don't shout. 👋")

    def test_bad_motd(self) -> None:
        """One that is not there, is no text or is too long is refused."""
        path = self.mktemp()
        self.assertIn(path, self.refused("--motd", path))
        Path(path).write_bytes(b"\xff\xfe\xff")
        self.assertIn(path, self.refused("--motd", path))
        Path(path).write_text("x" * (LARGEST_MOTD + 1))
        self.assertIn(str(LARGEST_MOTD), self.refused("--motd", path))
        Path(path).write_text("x" * LARGEST_MOTD)
        self.assertEqual(len(parsed("--motd", path)["motd"]), LARGEST_MOTD)

    def test_password_file(self) -> None:
        """The first line of the file is the server's password; an empty one is refused."""
        self.assertEqual(parsed()["password"], "")
        path = self.mktemp()
        Path(path).write_text("  sésame ouvre-toi \r\nanother line\n", encoding="utf-8")
        self.assertEqual(parsed("--password-file", path)["password"], "sésame ouvre-toi")
        Path(path).write_text("\ufeffsesame\n", encoding="utf-8")
        self.assertEqual(parsed("--password-file", path)["password"], "sesame")
        for text in ("", "\n", "  \nsecond\n"):
            Path(path).write_text(text)
            self.assertIn(path, self.refused("--password-file", path))

    def test_links(self) -> None:
        """A database is known by where it is, whatever leads there, so that one server uses it."""
        path, link = Path(self.mktemp()).absolute(), self.mktemp()
        os.symlink(path, link)
        self.assertEqual(parsed("--database", link)["database"], str(path.resolve()))
        loop = os.path.abspath(self.mktemp())
        os.symlink(loop, loop)
        options = parsed("--database", loop)
        self.assertIn("--database", str(self.assertRaises(SystemExit, makeService, options)))

    def test_folder(self) -> None:
        """A folder is no database."""
        folder = Path(self.mktemp())
        folder.mkdir()
        for path in ("", "/", str(folder)):
            for more in ((), ("--tls", "auto")):
                self.assertIn("Name a file in it", self.refused("--database", path, *more))

    def test_link(self) -> None:
        """The certificate stands beside what was named, and the database is what that leads to."""
        for folder in (here := Path(self.mktemp()), there := Path(self.mktemp())):
            folder.mkdir()
        (here / "chat.sqlite3").symlink_to(there.absolute() / "real.sqlite3")
        options = parsed("--tls", "auto", "--database", str(here / "chat.sqlite3"))
        self.assertEqual(options["database"], str(there.resolve() / "real.sqlite3"))
        self.assertTrue((here / "chat.pem").exists())

    def test_remedy(self) -> None:
        """What the sentence about a wrong endpoint says to do can be done."""
        self.assertIn(
            "tcp6:5000:interface=\\:\\:1", self.refused("--endpoint", "tcp:0:interface=::1")
        )
        self.assertEqual(len(parsed("--endpoint", "tcp6:5000:interface=\\:\\:1")["doors"]), 1)

    def test_every_interface(self) -> None:
        """Without an interface it is every one, of IPv6 too where that is there."""
        for both in (True, False):
            self.patch(service, "_both", lambda both=both: both)
            kind = "tcp6:5000:" if both else "tcp:5000:"
            self.assertTrue(parsed()["endpoints"][0].startswith(kind))
            (endpoint,) = parsed("--interface", "127.0.0.1")["endpoints"]
            self.assertTrue(endpoint.startswith("tcp:5000:"))

    def test_no_six(self) -> None:
        """Where the system knows nothing of IPv6, it is that of IPv4."""

        def none(*_: object) -> socket.socket:
            raise OSError("Address family not supported by protocol")

        self.patch(socket, "socket", none)
        self.assertTrue(parsed()["endpoints"][0].startswith("tcp:5000:"))

    def test_metrics_are_for_this_machine(self) -> None:
        """Figures are for this machine unless their endpoint says otherwise, encrypted or not."""
        folder = Path(self.mktemp())
        folder.mkdir()
        pem = folder / "default.pem"
        tls.make(pem)
        haproxy = "haproxy:tcp:0"
        for endpoint in (
            "tcp:0",
            haproxy,
            f"ssl:0:privateKey={pem}:certKey={pem}",
            f"tls:{folder}:0",
        ):
            for where in ("127.0.0.1", "127.0.0.2"):
                more = "" if where == "127.0.0.1" else f":interface={where}"
                door = parsed("--metrics", endpoint + more)["metrics"]
                port = self.successResultOf(door.listen(Factory()))
                self.addCleanup(port.stopListening)
                self.assertEqual(port.getHost().host, where, endpoint)
        self.assertIsNotNone(parsed("--metrics", f"unix:{self.mktemp()}")["metrics"])

    def test_encrypted(self) -> None:
        """What is logged of encryption is true of endpoints, too."""
        self.assertIn("not", parsed().encrypted)
        folder = Path(self.mktemp())
        self.assertIn("certificate", self.refused("--endpoint", f"tls:{folder}:0"))
        folder.mkdir()
        self.assertIn("certificate", self.refused("--metrics", f"tls:{folder}:0"))
        self.assertIn("certificate", self.refused("--endpoint", f"haproxy:tls:{folder}:0"))
        tls.make(folder / "default.pem")
        default = folder / "default.pem"
        for endpoint in (
            f"tls:{folder}:0",
            f"haproxy:tls:{folder}:0",
            f"ssl:0:privateKey={default}:certKey={default}",
        ):
            self.assertEqual(parsed("--endpoint", endpoint).encrypted, "encrypted")
            twice = ("--tls", str(default), "--endpoint", endpoint)
            self.assertIn("already", self.refused("--endpoint", "tcp:0", *twice))
        self.assertEqual(parsed("--tls", str(default)).encrypted, "encrypted")
        tls.make(folder / "root.pem")
        certificate, key = re.split(b"(?=-----BEGIN PRIV)", (folder / "root.pem").read_bytes())
        (folder / "damaged.pem").write_text("nonsense")
        (folder / "key.pem").write_bytes(key)
        (folder / "root.pem").write_bytes(certificate)
        self.assertEqual(parsed("--endpoint", f"tls:{folder}:0").encrypted, "encrypted")
        (folder / "key.pem").unlink()
        for chain in (certificate, default.read_bytes() + certificate):
            (folder / "root.pem").write_bytes(chain)
            self.assertIn("root.pem", self.refused("--endpoint", f"tls:{folder}:0"))
        (folder / "root.pem").unlink()
        both = parsed("--endpoint", f"tls:{folder}:0", "--endpoint", "tcp:0")
        self.assertEqual(both.encrypted, "partly encrypted")
        self.assertIn("endpoint", self.refused("--endpoint", "ssl:0:privateKey=nowhere.pem"))
        self.assertIn("nowhere", self.refused("--password-file", "nowhere"))
        for which in ("domain=INET6:index=0", "domain=INET:name=chat"):
            self.assertIn(".socket", self.refused("--endpoint", f"haproxy:systemd:{which}"))

    def test_admins(self) -> None:
        """Admins are named as they would name themselves; what is no name is refused."""
        options = parsed("--admin", "Ana", "--admin", "Ｂｅｎ", "--admin", "ana")
        self.assertEqual(set(options["admins"]), {"ana", "ben"})
        # What older rules allowed.
        self.assertEqual(len(parsed("--admin", "Ana\u0378")["admins"]), 1)
        for name in ("", "a b", "x" * 33, "a\u200bb"):
            self.assertIn("--admin", self.refused("--admin", name))

    def test_bounds(self) -> None:
        """The bounds on talkers and connections are numbers; 0 switches one off."""
        options = parsed()
        self.assertEqual((options["rate"], options["burst"]), (5, 40))
        self.assertEqual((options["max-users"], options["max-per-host"]), (10_000, 200))
        self.assertEqual(parsed("--rate", "0.5", "--burst", "7")["rate"], 0.5)
        self.assertEqual(parsed("--max-users", "0")["max-users"], 0)
        for option in ("--rate", "--burst"):
            for number in ("-1", "x", "nan", "inf", "1e12", ""):
                self.assertIn("0 or more", self.refused(option, number))
        for option in ("--max-users", "--max-per-host"):
            for number in ("-1", "x", "1.5", "", "²"):
                self.assertIn("0 or more", self.refused(option, number))

    def test_unknown(self) -> None:
        """An option that is none is refused."""
        self.refused("--nonsense")


class MakeServiceTests(SynchronousTestCase):
    def setUp(self) -> None:
        # The reactor of tests is stopped now and then, and what they start would hear no signal.
        self.patch(reactor, "addSystemEventTrigger", lambda *_: None)
        self.patch(reactor, "callWhenRunning", lambda *_: None)
        self.addCleanup(signal.signal, signal.SIGHUP, signal.getsignal(signal.SIGHUP))

    def test_made(self) -> None:
        """The options make a service, which has not done anything yet."""
        path = self.mktemp()
        service = makeService(parsed("--database", path, "--port", "0"))
        self.assertTrue(IService.providedBy(service))
        Database(path).close()

    def test_terminal(self) -> None:
        """When its terminal is closed, it stops; where that is to be ignored, it is."""
        options = parsed("--database", MEMORY, "--port", "0")
        for before in (signal.SIG_IGN, signal.SIG_DFL):
            signal.signal(signal.SIGHUP, before)
            makeService(options)
            stops = callable(signal.getsignal(signal.SIGHUP))
            self.assertEqual(stops, before is signal.SIG_DFL)

    def test_other_letters(self) -> None:
        """A log on standard output has each line, whatever letters that has."""
        shown = BytesIO()
        self.patch(sys, "__stdout__", TextIOWrapper(shown, encoding="latin-1"))
        makeService(parsed("--database", MEMORY, "--port", "0"))
        print("guest-1 is now Жора", file=sys.__stdout__, flush=True)
        self.assertIn(b"guest-1 is now \\u0416", shown.getvalue())

    def test_bad_database(self) -> None:
        """A database that is of no use ends it with a sentence."""
        path = self.mktemp()
        Path(path).write_bytes(b"no database " * 500)
        end = self.assertRaises(SystemExit, makeService, parsed("--database", path))
        self.assertIn(path, str(end.code))
        self.assertIn("pylingo", str(end.code))


class ServiceTestCase(TestCase):
    timeout = 60

    def setUp(self) -> None:
        self.logged: list[str] = []
        self.callers: list[Caller] = []
        observer: Any = self.note
        globalLogPublisher.addObserver(observer)
        self.addCleanup(globalLogPublisher.removeObserver, observer)

    def note(self, event: LogEvent) -> None:
        self.logged.append(formatEvent(event))

    def start(self, *arguments: str) -> ChatService:
        """A service on a free port, which is noted."""
        if "--database" not in arguments:
            arguments = ("--database", MEMORY, *arguments)
        service = ChatService(parsed("--port", "0", "--interface", LOCAL, *arguments), reactor)
        self.logged.clear()
        service.privilegedStartService()
        service.startService()
        self.addCleanup(self.stop, service)
        (self.port,) = [
            int(found[1])
            for text in self.logged
            if (found := re.search(r"ChatFactory.* starting on (\d+)", text))
        ]
        return service

    def stop(self, service: ChatService) -> Any:
        """Stop it, unless that was done."""
        return service.stopService() if service.running else None

    async def call(self, name: str = "", room: str = "", endpoint: Any = None) -> Caller:
        endpoint = endpoint or TCP4ClientEndpoint(reactor, LOCAL, self.port)
        caller: Caller = await endpoint.connect(Factory.forProtocol(Caller))
        self.callers.append(caller)
        self.addCleanup(self.hang_up, caller)
        if name:
            await caller.ask("name", name, "name")
        if room:
            await caller.ask("join", room, "join")
        return caller

    def hang_up(self, caller: Caller) -> Deferred[None]:
        if caller.connected:
            caller.transport.abortConnection()
        return caller.lost


class NoThread(threading.Thread):
    """One that the system does not give us."""

    def start(self) -> None:
        raise RuntimeError("can't start new thread")


class Shut:
    """An endpoint where one cannot listen."""

    def __init__(self, why: Exception) -> None:
        self._why = why

    def listen(self, _: IProtocolFactory) -> Deferred[IListeningPort]:
        return fail(self._why)


class ServiceTests(ServiceTestCase):
    def refused(self, options: Options) -> str:
        """Start one with these, in vain; the result is the sentence."""
        service = ChatService(options, reactor)
        return str(self.assertRaises(CannotStart, service.privilegedStartService).code)

    async def test_talk(self) -> None:
        """Two people talk over real sockets, and what they said is in the database."""
        path = self.mktemp()
        service = self.start("--database", path)
        ana, ben = await self.call("ana", "lobby"), await self.call("ben", "lobby")
        sent = await ana.ask("say", "hi", 1)
        self.assertIsInstance(sent, Sent)
        message = await ben.until(lambda event: isinstance(event, Message))
        self.assertEqual((message.id, message.user, message.text), (sent.id, "ana", "hi"))
        await service.stopService()
        database = Database(path)
        self.addCleanup(database.close)
        rows = database.reader.execute("SELECT id, text FROM messages").fetchall()
        self.assertEqual(rows, [(sent.id, "hi")])

    async def test_options(self) -> None:
        """The server is as the options say."""
        path = Path(self.mktemp())
        path.write_text("sesame")
        factory = self.start(
            "--linger", "1", "--keep-days", "2", "--rate", "3", "--burst", "4", "--max-users", "5",
            "--max-per-host", "6", "--motd", str(path), "--password-file", str(path),
        ).factory  # fmt: skip
        self.assertEqual((factory.linger, factory.keep_days), (1, 2))
        self.assertEqual((factory.rate, factory.burst), (3, 4))
        self.assertEqual((factory.most_users, factory.most_per_host), (5, 6))
        chat = factory.chat
        self.assertEqual((chat.motd, chat.password), ("sesame", "sesame"))

    async def test_stop(self) -> None:
        """Everyone hears that the server stops; it ends within 5 s though one does not read."""
        service = self.start()
        ana, deaf = await self.call("ana", "lobby"), await self.call("deaf", "lobby")
        silent = await self.call()
        deaf.transport.pauseProducing()
        for number in range(20):
            await ana.ask("say", "x" * 8000, number)
        begun = time.monotonic()
        await service.stopService()
        self.assertLess(time.monotonic() - begun, 5)
        await ana.lost
        self.assertIsInstance(ana.heard[-1], Closing)
        self.assertEqual(ana.heard[-1].reason, "shutdown")
        await silent.lost
        self.assertEqual(silent.heard, [])

    async def test_restart(self) -> None:
        """Another service on the same database knows the sessions and messages of the first."""
        path = self.mktemp()
        service = self.start("--database", path)
        ana = await self.call("ana", "lobby")
        token = ana.heard[0].session
        sent = await ana.ask("say", "hi", 1)
        await service.stopService()
        self.start("--database", path)
        back = await self.call()
        resumed = await back.ask("resume", f"{token} 0", 1)
        self.assertIsInstance(resumed, Resumed)
        self.assertEqual((resumed.user, resumed.room), ("ana", "lobby"))
        message = await back.until(lambda event: isinstance(event, Message))
        self.assertEqual((message.id, message.replayed), (sent.id, True))

    async def test_close(self) -> None:
        """`close` is answered, and then the server closes, without being asked twice."""
        self.start()
        ana = await self.call("ana")
        closing = await ana.ask("close", "", 9)
        self.assertIsInstance(closing, Closing)
        ana.transport.loseConnection()
        await ana.lost
        self.assertIs(ana.heard[-1], closing)

    async def test_stops_promptly(self) -> None:
        """Where all clients go when they hear it, stopping takes no time."""
        service = self.start()
        callers = [await self.call(f"user-{n}", "lobby") for n in range(3)]
        begun = time.monotonic()
        await service.stopService()
        self.assertLess(time.monotonic() - begun, 1.5)
        for caller in callers:
            await caller.lost
            self.assertIsInstance(caller.heard[-1], Closing)

    async def test_stops_while_it_reads(self) -> None:
        """What is still being read from the disk then is not waited for."""
        service = self.start("--database", self.mktemp())
        numbers = "WITH RECURSIVE n (x) AS (SELECT 1 UNION ALL SELECT x + 1 FROM n LIMIT 30000000)"
        long = f"{numbers} SELECT max(x) FROM n"
        reading = service.factory.chat.log.read(lambda c: c.execute(long).fetchone())
        await service.stopService()
        await self.assertFailure(reading, sqlite3.OperationalError)

    async def test_gone_at_once(self) -> None:
        """When both sides have closed, the server keeps nothing of the connection."""
        service = self.start()
        ana = await self.call("ana")
        await ana.ask("close", "", 9)
        await ana.lost
        begun = time.monotonic()
        await service.stopService()
        self.assertLess(time.monotonic() - begun, 1.5)

    async def test_half_closed(self) -> None:
        """A client that shuts its side still hears the answers to what it has asked."""
        self.start()
        ana = await self.call("ana", "lobby")
        answers = [ana.ask("say", str(n), n) for n in range(10)]
        answers.append(ana.ask("users", "", "users"))
        ana.transport.loseWriteConnection()
        for answer in answers:
            await answer
        await ana.lost

    async def test_large(self) -> None:
        """A member that reads slowly hears megabytes whole and in order."""
        self.start()
        ana, ben = await self.call("ana", "lobby"), await self.call("ben", "lobby")
        ben.transport.pauseProducing()
        for number in range(35):
            await ana.ask("say", f"{number} " + "x" * 8000, number)
        ben.transport.resumeProducing()
        await ben.until(lambda event: isinstance(event, Message) and event.text[:3] == "34 ")
        heard = [event.text.split()[0] for event in ben.heard if isinstance(event, Message)]
        self.assertEqual(heard, [str(number) for number in range(35)])

    async def test_refused_and_gone(self) -> None:
        """Who was refused for good, and goes, is gone: that is not noticed seconds later."""
        service = self.start()
        ana = await self.call("ana")
        begun = time.monotonic()
        ana.transport.write(b"\0\0\0\1[")
        await ana.until(lambda event: isinstance(event, Error))
        await ana.lost
        while service.factory.doors:
            await deferLater(reactor, 0.02)
        self.assertLess(time.monotonic() - begun, 2)

    async def test_second_signal(self) -> None:
        """A second signal ends it at once, but for one that came with the first."""
        for one in (signal.SIGTERM, signal.SIGINT, signal.SIGHUP):
            self.addCleanup(signal.signal, one, signal.getsignal(one))
        now = 1.0
        raised: list[int] = []
        self.patch(service, "monotonic", lambda: now)
        self.patch(signal, "raise_signal", raised.append)
        options = parsed("--port", "0", "--interface", LOCAL, "--database", MEMORY)
        chat = ChatService(options, reactor)
        chat.startService()
        chat.hold_signals()
        self.assertIs(signal.getsignal(signal.SIGHUP), signal.SIG_IGN)
        handler: Any = signal.getsignal(signal.SIGTERM)
        handler(signal.SIGTERM, None)
        self.assertEqual(raised, [])
        now += 1.0
        handler(signal.SIGTERM, None)
        self.assertEqual(raised, [signal.SIGTERM])
        self.assertIs(signal.getsignal(signal.SIGTERM), signal.SIG_DFL)
        await chat.stopService()
        # Closing the database may hang, and no handler of ours would be called.
        self.assertIs(signal.getsignal(signal.SIGINT), signal.SIG_DFL)

    def door(self) -> str:
        """A place for the file of a `unix:` door, which may not have a long path."""
        folder = tempfile.TemporaryDirectory()
        self.addCleanup(folder.cleanup)
        path = f"{folder.name}/door"
        if len(os.fsencode(path)) > LONGEST_DOOR:
            raise SkipTest("TMPDIR is too long for the path of a socket. Set a shorter one.")
        return path

    async def test_file_of_a_door_is_gone(self) -> None:
        """Without the file of a `unix:` door it stops in good order all the same, and says why."""
        path = self.door()
        service = self.start("--endpoint", f"unix:{path}", "--endpoint", f"tcp:0:interface={LOCAL}")
        ana = await self.call("ana")
        os.unlink(path)
        await service.stopService()
        await ana.until(lambda event: isinstance(event, Closing))
        service.factory.doStop()  # As that door did not.
        self.assertTrue(any("a door did not close" in text for text in self.logged), self.logged)

    async def test_left_by_a_killed_one(self) -> None:
        """A `unix:` door opens where a killed server has left its socket, and no other does."""
        path = self.door()
        lock = f"{path}.lock"
        options = parsed("--endpoint", f"unix:{path}", "--database", MEMORY)
        with socket.socket(socket.AF_UNIX) as left:
            left.bind(path)
            # In a container each server has the same number.
            os.symlink(str(os.getpid()), lock)
            left.listen()
            self.assertIn("another place", self.refused(options))
        for gone in (False, True):
            service = ChatService(options, reactor)
            service.startService()
            self.assertTrue(os.path.exists(path))
            await service.stopService()
            self.assertEqual(os.listdir(os.path.dirname(path)), [])
            if not gone:
                os.symlink(str(os.getpid()), lock)
        # What is no socket is somebody's file.
        Path(path).write_text("precious")
        os.symlink(str(os.getpid()), lock)
        self.refused(options)
        self.assertEqual(Path(path).read_text(), "precious")

    async def test_no_thread(self) -> None:
        """When the system has no thread for it, it cannot store that; later it goes on."""
        self.start()
        ana = await self.call("ana", "lobby")
        full = self.patch(service, "deferToThreadPool", self.no_thread)
        refused = await ana.ask("say", "lost", 1)
        self.assertEqual(refused.code, "internal")
        full.restore()
        self.assertIsInstance(await ana.ask("say", "kept", 2), Sent)

    async def test_no_thread_at_first(self) -> None:
        """One that could not begin is not waited for at the end."""
        service = self.start()
        full = self.patch(ThreadPool, "threadFactory", NoThread)
        ana = await self.call("ana", "lobby")
        self.assertEqual((await ana.ask("say", "lost", 1)).code, "internal")
        full.restore()
        self.flushLoggedErrors(MemoryError)
        self.assertIsInstance(await ana.ask("say", "kept", 2), Sent)
        await service.stopService()

    def no_thread(self, *_: object) -> None:
        raise RuntimeError("can't start new thread")

    async def test_port_taken(self) -> None:
        """A port that is taken ends it with a sentence."""
        self.start()
        options = parsed(
            "--port", str(self.port), "--interface", LOCAL, "--database", MEMORY
        )  # fmt: skip
        refusal = self.refused(options)
        self.assertIn(str(self.port), refusal)
        self.assertIn("another port", refusal)

    async def test_bad_place(self) -> None:
        """What cannot be listened at for another reason ends it with advice that fits."""
        for endpoint in ("unix:/nowhere/at/all", "tcp:99999"):
            options = parsed("--endpoint", endpoint, "--database", MEMORY)
            self.assertIn("another place with --endpoint", self.refused(options))
            self.assertEqual(signal.pthread_sigmask(signal.SIG_BLOCK, ()), set())

    async def test_remedy(self) -> None:
        """What the system says about a place is followed by what to do about it."""
        for error, remedy in (
            (OSError(errno.EADDRINUSE, "in use"), "another port"),
            (OSError(errno.EACCES, "denied"), "above 1023"),
            (OSError(errno.EADDRNOTAVAIL, "not ours"), "--interface away"),
            (OSError(errno.EINVAL, "no scope"), "--interface away"),
            (socket.gaierror("no such name"), "--interface away"),
            (OSError(errno.EMFILE, "too many files"), "with --endpoint"),
        ):
            options = parsed("--port", "0", "--database", MEMORY)
            options["doors"] = [Shut(CannotListenError(LOCAL, 80, error))]
            self.assertIn(remedy, self.refused(options))

    async def test_remedy_for_a_file(self) -> None:
        """Where the place is a file, no port is to blame."""
        for error, remedy in (
            (OSError(errno.EADDRINUSE, "in use"), "If no server uses that file, remove it"),
            (OSError(errno.EACCES, "denied"), "a folder where the server may write"),
        ):
            options = parsed("--port", "0", "--database", MEMORY)
            options["doors"] = [Shut(CannotListenError(None, b"door", error))]
            self.assertIn(remedy, self.refused(options))

    async def test_started_at_once(self) -> None:
        """It serves where nothing is done with privileges first, as under `twist`."""
        arguments = ("--port", "0", "--interface", LOCAL, "--database", MEMORY)
        service = ChatService(parsed(*arguments), reactor)
        service.startService()
        self.addCleanup(self.stop, service)
        self.assertTrue(any("ChatFactory" in text for text in self.logged))

    async def test_damaged(self) -> None:
        """A database that turns out to be damaged ends it with a sentence; no thread is left."""
        path = self.mktemp()
        database = Database(path)
        rows = [(n, "#lobby", "lobby", "[]") for n in range(5000)]
        database.writer.executemany("INSERT INTO batches VALUES (?, ?, ?, ?)", rows)
        query = "SELECT rootpage FROM sqlite_master WHERE name = 'batches'"
        (page,) = database.writer.execute(query).fetchone()
        database.close()
        with Path(path).open("r+b") as file:
            file.seek((page - 1) * 4096)
            file.write(b"\xff" * 4096)
        self.patch(schema, "SMALL", 0)
        options = parsed("--port", "0", "--interface", LOCAL, "--database", path)
        threads = threading.active_count()
        self.assertIn("cannot be used", self.refused(options))
        self.assertEqual(threading.active_count(), threads)

    async def test_gone_bad(self) -> None:
        """So does one that was of use when the options were looked at, and is not any more."""
        path = self.mktemp()
        options = parsed("--port", "0", "--interface", LOCAL, "--database", path)
        other = Database(path)
        self.assertIn("in use by another", self.refused(options))
        other.close()

    async def test_no_address_of_ours(self) -> None:
        """So does an address that this machine does not have; it is not the port then."""
        options = parsed("--port", "0", "--interface", "192.0.2.1", "--database", MEMORY)
        self.assertIn("--interface", self.refused(options))

    async def test_limit_of_files(self) -> None:
        """It takes as many open files as it can get; where it gets none, it starts all the same."""
        unlimited = resource.RLIM_INFINITY
        self.patch(resource, "getrlimit", lambda _: (256, unlimited))
        allowed = {unlimited, 10_240}
        taken: list[int] = []

        def setrlimit(_: int, limits: tuple[int, int]) -> None:
            if limits[0] not in allowed:
                raise ValueError("current limit exceeds maximum limit")
            taken.append(limits[0])

        self.patch(resource, "setrlimit", setrlimit)
        for most in (unlimited, 10_240, None):
            service = self.start()
            self.assertEqual(taken, [] if most is None else [most])
            await service.stopService()
            taken.clear()
            allowed.discard(most or 0)

    async def test_logged(self) -> None:
        """Who comes and who goes is logged, with name and address."""
        self.start()
        ana = await self.call("ana")
        ana.transport.abortConnection()
        await ana.lost
        ben = await self.call("ben")
        await ben.ask("ping", "", 1)
        whole = "\n".join(self.logged)
        self.assertRegex(whole, r"guest-1 at 127\.0\.0\.1 connected")
        self.assertRegex(whole, r"ana at 127\.0\.0\.1 disconnected")


class EncryptedTests(ServiceTestCase):
    async def secure(self) -> Caller:
        where = HostnameEndpoint(reactor, LOCAL, self.port)
        return await self.call(endpoint=wrapClientTLS(CertificateOptions(verify=False), where))

    async def test_closed_at_once(self) -> None:
        """An encrypted connection ends as soon as its last frame was sent, and cleanly."""
        self.start("--tls", "auto", "--database", os.path.abspath(self.mktemp()))
        ana = await self.secure()
        await ana.ask("name", "ana", 1)
        begun = time.monotonic()
        self.assertIsInstance(await ana.ask("close", "", 2), Closing)
        await ana.lost
        self.assertLess(time.monotonic() - begun, 2)


class BeforeTheReactorTests(SynchronousTestCase):
    def run_until(self, then: str) -> tuple[int, str]:
        """A server at which `then` happens when it is started, and the reactor does not run yet."""
        ended = subprocess.run(
            [sys.executable, "-c", STARTED.format(then=then)],
            stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.STDOUT,
            text=True, check=False, timeout=60,
        )  # fmt: skip
        self.assertIn("ChatFactory starting on", ended.stdout)
        return ended.returncode, ended.stdout

    def test_signal(self) -> None:
        """Who stops it at the very moment when it says that it listens stops it in good order."""
        for name in ("SIGINT", "SIGTERM"):
            status, out = self.run_until(f"signal.raise_signal(signal.{name})")
            self.assertEqual(status, -getattr(signal, name), out)
            self.assertNotIn("Traceback", out)
            self.assertIn("Server Shut Down.", out)

    def test_failure(self) -> None:
        """What fails then, such as becoming another user, ends it: no thread keeps it."""
        status, out = self.run_until("raise PermissionError('no such user')")
        self.assertEqual(status, 1, out)
        self.assertIn("no such user", out)


class HangTests(SynchronousTestCase):
    def test_second_signal(self) -> None:
        """Where the reactor hangs, as on a log that nobody reads, the second signal ends it."""
        then = (
            "import time; from twisted.internet import reactor;"
            "reactor.callLater(0, lambda: print('it hangs', flush=True) or time.sleep(60))"
        )
        server = subprocess.Popen(
            [sys.executable, "-c", STARTED.format(then=then)],
            stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True,
        )  # fmt: skip
        self.addCleanup(server.communicate)
        self.addCleanup(server.kill)
        assert server.stdout is not None
        while "it hangs" not in server.stdout.readline():
            self.assertIsNone(server.poll())

        def ended() -> bool:
            # Those that come with the first, however late that is heard, are one with it.
            server.send_signal(signal.SIGTERM)
            return server.poll() is not None

        until(ended)
        self.assertEqual(server.wait(20), -signal.SIGTERM)
