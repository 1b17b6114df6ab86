"""``twistd pylingo``: the options, and the service that they make.

Here the parts are put together: the database, the doors and the registry.
"""

from __future__ import annotations

import errno
import gc
import os
import resource
import signal
import socket
import sqlite3
import sys
from collections.abc import Callable
from contextlib import suppress
from functools import partial
from io import TextIOWrapper
from pathlib import Path
from time import monotonic, time
from typing import Any, ClassVar

from twisted.application.service import Service
from twisted.internet.defer import Deferred, ensureDeferred, fail, maybeDeferred
from twisted.internet.endpoints import serverFromString
from twisted.internet.error import CannotListenError
from twisted.internet.interfaces import IListeningPort, IProtocolFactory, IStreamServerEndpoint
from twisted.internet.threads import deferToThreadPool
from twisted.logger import Logger
from twisted.python.threadpool import ThreadPool
from twisted.python.usage import Options as BaseOptions
from twisted.python.usage import UsageError

from pylingo import identity, moderation, names
from pylingo.clock import keep_steady
from pylingo.commands import Chat
from pylingo.protocol import ChatError
from pylingo.schema import MEMORY, Database, DatabaseError, trouble, unusable
from pylingo.server import BURST, MOST_PER_HOST, MOST_USERS, RATE, ChatFactory

COMMANDS = (identity, moderation)
"""Modules that put their commands into the table by being here."""
YOUNG = 20_000
"""New objects between two looks for garbage among them."""
LARGEST_MOTD = 16 * 1024
"""Bytes of a message of the day."""
BACKLOG = 511
"""Connections that may wait to be accepted."""
OPEN_MAX = 10_240
"""Files that a process can open on macOS, whatever it says."""
TOGETHER = 0.2
"""Seconds within which several signals to stop are one."""
STOPS = (signal.SIGTERM, signal.SIGINT)
"""What stops it in good order, and at once when it comes again."""


def whole(text: str) -> int:
    """A number of the command line, 0 or more. Raises `ValueError`."""
    if not text.isdecimal():
        raise ValueError(f"{text!r} is no whole number, 0 or more.")
    return int(text)


def amount(text: str) -> float:
    """A number of the command line, 0 or more, with a fraction or not. Raises `ValueError`."""
    try:
        number = float(text)
    except ValueError:
        number = -1.0
    if not 0 <= number < 1e9:
        raise ValueError(f"{text!r} is no number, 0 or more.")
    return number


def port(text: str) -> int:
    """A TCP port, or 0 for a free one. Raises `ValueError`."""
    number = int(text) if text.isdecimal() else -1
    if not 0 <= number <= 65535:
        raise ValueError(f"{text!r} is no port, which is a number from 0 to 65535.")
    return number


whole.coerceDoc = "It has to be a whole number, 0 or more."  # type: ignore[attr-defined]
amount.coerceDoc = "It has to be a number, 0 or more."  # type: ignore[attr-defined]
port.coerceDoc = "It has to be a number from 0 to 65535."  # type: ignore[attr-defined]


class Options(BaseOptions):
    """What ``twistd pylingo`` can be told."""

    synopsis = "[options]"
    longdesc = "A chat server with rooms. Talk to it with the command pylingo."
    optParameters: ClassVar[list[list[Any]]] = [
        ["port", "p", 5000, "The TCP port to listen on; 0 takes a free one and logs it.", port],
        ["interface", None, None, "The address to listen on; without it, all addresses."],
        ["database", None, "pylingo.sqlite3",
         "The file for messages and accounts; :memory: keeps nothing."],
        ["keep-days", None, 90, "How many days messages are kept; 0 is for ever.", whole],
        ["motd", None, None, "A text file that everyone sees on arrival."],
        ["password-file", None, None, "A file whose first line is the server's password."],
        ["rate", None, RATE,
         "Requests a second read from a client after its burst; 0 is no bound.", amount],
        ["burst", None, BURST, "Requests that a client may make at once.", amount],
        ["max-users", None, MOST_USERS, "Connections in all; 0 is no bound.", whole],
        ["max-per-host", None, MOST_PER_HOST,
         "Connections from one address; 0 is no bound.", whole],
        ["metrics", None, None,
         "Serve figures for Prometheus and a health page on this endpoint, such as tcp:9100."],
        ["tls", None, None,
         "Encrypt, with the certificate and key in this PEM file; or auto, which makes them."],
        ["linger", None, 60,
         "How many seconds a user whose connection broke stays in the room.", whole],
    ]  # fmt: skip

    def __init__(self) -> None:
        BaseOptions.__init__(self)
        self["endpoints"] = []
        self["admins"] = []

    def opt_endpoint(self, description: str) -> None:
        """A Twisted endpoint, such as tcp:5000, instead of port and interface. May be repeated."""
        self["endpoints"].append(description)

    def opt_admin(self, name: str) -> None:
        """A registered name that is admin everywhere. May be given several times."""
        try:
            self["admins"].append(names.user(name, known=True).key)
        except ChatError as error:
            raise UsageError(f"--admin {name}: {error}") from None

    def getUsage(self, width: int | None = None) -> str:
        try:
            return super().getUsage(width)
        except ValueError:
            # COLUMNS may be 0, or nothing at all, where nobody knows how wide the terminal is.
            return super().getUsage(80)

    def postOptions(self) -> None:
        for option in ("interface", "metrics", "motd", "password-file", "tls"):
            if self[option] == "":
                # As from a variable that is not set: it must not mean that there is none.
                what = "Give an address" if option in ("interface", "metrics") else "Name a file"
                raise UsageError(f"--{option} is empty. {what}, or leave the option out.")
        if not self["endpoints"]:
            interface = (self["interface"] or "").replace(":", "\\:")
            kind = "tcp6" if ":" in interface or (not interface and _both()) else "tcp"
            where = f":interface={interface}" if interface else ""
            self["endpoints"].append(f"{kind}:{self['port']}:backlog={BACKLOG}{where}")
        self["doors"] = [_endpoint("--endpoint", text) for text in self["endpoints"]]
        if self["metrics"]:
            text = self["metrics"]
            if _kind(text).startswith(("tcp", "ssl:", "tls:")) and ":interface=" not in text:
                # On this machine alone, unless it says otherwise.
                text += ":interface=127.0.0.1"
            self["metrics"] = _endpoint("--metrics", text)
        if os.path.isdir(path := os.path.realpath(self["database"])):
            raise UsageError(f"--database {path} is a folder. Name a file in it.")
        self["motd"] = _text(self["motd"]) if self["motd"] else ""
        self["certificate"] = None
        if self["tls"]:
            self._encrypt()
        self["password"] = ""
        if self["password-file"]:
            self["password"] = _text(self["password-file"]).partition("\n")[0].strip()
            if not self["password"]:
                raise UsageError(f"The first line of {self['password-file']} is empty.")
        if self["database"] != MEMORY:
            # Whatever leads to it, two servers must not use it.
            self["database"] = os.path.realpath(self["database"])

    @property
    def encrypted(self) -> str:
        """What can be said about the encryption of all doors."""
        if self["certificate"]:
            return "encrypted"
        others = [
            text for text in self["endpoints"] if not _kind(text).startswith(("ssl:", "tls:"))
        ]
        if not others:
            return "encrypted"
        return "not encrypted (see --tls)" if others == self["endpoints"] else "partly encrypted"

    def _encrypt(self) -> None:
        """Put TLS around every door; `auto` makes the certificate on the first start."""
        from pylingo import tls
        from pylingo.encrypted import EncryptedDoor

        for text in self["endpoints"]:
            if _kind(text).startswith(("ssl:", "tls:")):
                # Nobody could speak through both.
                raise UsageError(f"--endpoint {text} encrypts already. Leave one of the two out.")
        path = Path(self["tls"])
        try:
            if self["tls"] == "auto":
                where = "pylingo" if self["database"] == MEMORY else self["database"]
                path = Path(where).with_suffix(".pem")
                if not path.exists():
                    tls.make(path)
            options, self["certificate"] = tls.serve(path)
        except tls.CertificateError as error:
            raise UsageError(str(error)) from None
        self["doors"] = [EncryptedDoor(options, door) for door in self["doors"]]


def _kind(endpoint: str) -> str:
    """What the endpoint is, a proxy before it or not."""
    return endpoint.removeprefix("haproxy:")


def _endpoint(option: str, text: str) -> IStreamServerEndpoint:
    from twisted.internet import reactor

    if _kind(text).startswith("tls:"):
        from pylingo import tls

        files = [*Path(_kind(text).split(":")[1]).glob("**/*.pem")]
        if not files:
            # It would be looked for with each connection, and none would come about.
            raise UsageError(f"{option} {text}: there is no certificate (*.pem) in that folder.")
        root = tls.root(files)
        if root is not None:
            # Twisted would look for the issuer of that one without an end.
            raise UsageError(
                f"{option} {text}: {root} has the root certificate of an authority. Clients "
                "have it already; take it out of the file."
            )
    try:
        endpoint: IStreamServerEndpoint = serverFromString(reactor, text)
    except Exception as error:  # noqa: BLE001 - each kind of endpoint has its own ways to fail
        if _kind(text).startswith("systemd:") and isinstance(error, LookupError):
            raise UsageError(
                f"{option} {text}: systemd has handed over no such socket. Start the .socket unit "
                "instead, or give an endpoint such as tcp:5000."
            ) from None
        raise UsageError(
            f"{option} {text} is not an endpoint: {error}. Give one such as tcp:5000, or "
            "tcp6:5000:interface=\\:\\:1, with \\ before colons that are part of an address."
        ) from None
    return endpoint


def _both() -> bool:
    """Whether a door for IPv6 is one for IPv4, too, as Linux has it unless told otherwise."""
    try:
        with socket.socket(socket.AF_INET6) as probe:
            probe.bind(("::", 0))
            return not probe.getsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY)
    except OSError:
        return False


def _text(path: str) -> str:
    try:
        text = Path(path).read_bytes()[: LARGEST_MOTD + 1].decode("utf-8-sig")
    except (OSError, UnicodeDecodeError) as error:
        raise UsageError(f"The file {path} cannot be read: {error}.") from None
    if len(text.encode()) > LARGEST_MOTD:
        raise UsageError(f"The file {path} is longer than {LARGEST_MOTD} bytes. Shorten it.")
    return names.clean(text).rstrip()


class CannotStart(SystemExit, Exception):
    """Ends the process with a sentence.

    Of a server in the background, `twistd` hands on to the shell only what is an `Exception`.
    """


class ChatService(Service):
    """The chat, from the database to the doors."""

    _log = Logger()

    def __init__(self, options: Options, reactor: Any) -> None:
        self._options = options
        self._reactor = reactor
        self._ports: list[IListeningPort] = []
        self._pools: list[ThreadPool] = []
        self._database: Database | None = None
        self._held = False
        """Whether a handler of ours decides what a signal does."""

    def privilegedStartService(self) -> None:
        """Open the database and the doors, while ports below 1024 can be had."""
        if self._options["certificate"]:
            self._log.info(
                "the certificate has the SHA-256 fingerprint {certificate}",
                certificate=self._options["certificate"],
            )
        _raise_limit()
        # Objects that exist now stay; the garbage collector need not look at them again and again.
        gc.collect()
        gc.freeze()
        gc.set_threshold(YOUNG)
        try:
            self.factory = self._build()
            # Who sees that it listens may stop it; the reactor will hear that.
            signal.pthread_sigmask(signal.SIG_BLOCK, STOPS)
            self._reactor.callWhenRunning(signal.pthread_sigmask, signal.SIG_UNBLOCK, STOPS)
            for door in self._options["doors"]:
                self._listen(door, self.factory)
            if self._options["metrics"]:
                from pylingo.metrics import site

                self._listen(self._options["metrics"], site(self.factory))
        except BaseException as why:
            signal.pthread_sigmask(signal.SIG_UNBLOCK, STOPS)
            self._close()
            if isinstance(why, DatabaseError):
                raise CannotStart(f"pylingo: {why}") from None
            if isinstance(why, sqlite3.Error) and trouble(why):
                raise CannotStart(f"pylingo: {unusable(self._options['database'], why)}") from None
            raise
        self._log.info(
            "connections are {encrypted}; what is said is kept in {database}",
            encrypted=self._options.encrypted,
            database=self._options["database"],
        )

    def startService(self) -> None:
        """Serve; `twist` starts services with this alone."""
        if self._database is None:
            self.privilegedStartService()
        Service.startService(self)

    def stopService(self) -> Deferred[None]:
        """Close the doors, tell everyone, store everything."""
        Service.stopService(self)
        return ensureDeferred(self._stop())

    def hear_signals(self) -> None:
        """The reactor has made the signals its own: let the first do more than it does there.

        The second is to end it, though the reactor may hang, as on a log that nobody reads.
        """

        def first(stop: Callable[..., object], *which: object) -> None:
            self.hold_signals()
            stop(*which)

        for one in (*STOPS, signal.SIGHUP):
            if callable(stop := signal.getsignal(one)):
                signal.signal(one, partial(first, stop))

    def hold_signals(self) -> None:
        """It is being stopped: another signal ends it at once, unless it came with the first.

        What ends a group of processes may send one to the process, and one to the group.
        """
        if self._held:
            return
        begun = monotonic()
        self._held = True

        def again(number: int, _: object) -> None:
            if monotonic() - begun > TOGETHER:
                signal.signal(number, signal.SIG_DFL)
                signal.raise_signal(number)

        signal.signal(signal.SIGHUP, signal.SIG_IGN)
        for one in STOPS:
            signal.signal(one, again)

    def _build(self) -> ChatFactory:
        options, reactor = self._options, self._reactor
        database = self._database = Database(options["database"])
        write = self._thread("log")
        read = write if database.reader is database.writer else self._thread("history")
        chat = Chat(
            database,
            write,
            read,
            self._thread("passwords"),
            reactor,
            time,
            admins=frozenset(options["admins"]),
            motd=options["motd"],
            password=options["password"],
        )
        return ChatFactory(
            chat,
            reactor,
            linger=options["linger"],
            keep_days=options["keep-days"],
            rate=options["rate"],
            burst=options["burst"],
            most_users=options["max-users"],
            most_per_host=options["max-per-host"],
        )

    def _thread(self, name: str) -> Any:
        """A thread of its own for one kind of blocking work."""
        # Begun with its first work: it would keep the process if the reactor never came to run.
        pool = ThreadPool(0, 1, name)
        pool.start()
        self._pools.append(pool)

        def run(function: Callable[[], object]) -> Deferred[Any]:
            try:
                return deferToThreadPool(self._reactor, pool, function)
            except RuntimeError as why:
                # The system has no thread for us; it may have one the next time. This one has not
                # begun, and would be waited for at the end.
                pool.threads = [thread for thread in pool.threads if thread.ident is not None]
                return fail(MemoryError(str(why)))

        return run

    def _listen(self, door: IStreamServerEndpoint, factory: IProtocolFactory) -> None:
        failed: list[Any] = []
        door.listen(factory).addCallbacks(self._ports.append, failed.append)
        if failed and _cleared(failed[0].value):
            failed.clear()
            door.listen(factory).addCallbacks(self._ports.append, failed.append)
        if failed:
            text = failed[0].getErrorMessage()
            raise CannotStart(f"pylingo: {text} {_remedy(failed[0].value)}")

    async def _stop(self) -> None:
        for port in self._ports:
            try:
                await maybeDeferred(port.stopListening)
            except OSError as why:
                # The file of a `unix:` door is gone, or, after `twistd --uid`, not ours to remove.
                self._log.warn("a door did not close: {why}", why=why)
        await self.factory.stop()
        if self._held:
            # A disk that hangs would hold up our own handler, too.
            for one in STOPS:
                signal.signal(one, signal.SIG_DFL)
        self._close()

    def _close(self) -> None:
        """End the threads, which would keep the process, and close the database."""
        pools, self._pools = self._pools, []
        database, self._database = self._database, None
        if database is not None:
            database.hush()
        for pool in pools:
            pool.stop()
        if database is not None:
            database.close()


def makeService(options: Options) -> ChatService:
    """The service that `options` ask for. Exits with a sentence if the database is of no use."""
    from twisted.internet import reactor

    keep_steady(reactor)
    try:
        # Looked at now, while there is someone to tell; opened by the process that serves.
        Database(options["database"]).close()
    except DatabaseError as error:
        sys.exit(f"pylingo: {error}")
    if signal.getsignal(signal.SIGHUP) is not signal.SIG_IGN:
        # The terminal was closed that it was started from.
        running: Any = reactor
        signal.signal(signal.SIGHUP, lambda *_: running.callFromThread(running.stop))
    if isinstance(sys.__stdout__, TextIOWrapper):
        # If the log goes there, a line with a name that it has no letters for would be missing.
        sys.__stdout__.reconfigure(errors="backslashreplace")
    service = ChatService(options, reactor)
    reactor.callWhenRunning(service.hear_signals)
    reactor.addSystemEventTrigger("before", "shutdown", service.hold_signals)
    return service


def _cleared(trouble: Exception) -> bool:
    """Whether it was the socket of a `unix:` door that a killed server left; then it is removed.

    The lock beside it has the number of a process. That may be another one's by now; in a container
    it is our own, each time.
    """
    if not (isinstance(trouble, CannotListenError) and isinstance(trouble.port, bytes)):
        return False
    if isinstance(trouble.socketError, OSError):
        return False  # The lock is Twisted's, and no error of the system's.
    path = Path(os.fsdecode(trouble.port))
    with socket.socket(socket.AF_UNIX) as probe, suppress(OSError):
        nobody = probe.connect_ex(trouble.port) in (errno.ECONNREFUSED, errno.ENOENT)
        # Of a file that is no socket it says the same.
        if nobody and (path.is_socket() or not path.exists()):
            path.unlink(missing_ok=True)
            Path(f"{path}.lock").unlink()
            return True
    return False


def _remedy(trouble: Exception) -> str:
    """What to do when there is no listening at a place."""
    error = getattr(trouble, "socketError", None)
    why = getattr(error, "errno", None)
    file = isinstance(getattr(trouble, "port", None), bytes)
    if why == errno.EADDRINUSE:
        if file:
            return "If no server uses that file, remove it; or choose another."
        return "Stop what listens there, or choose another port."
    if why == errno.EACCES:
        if file:
            return "Choose a folder where the server may write."
        return "Choose a port above 1023; those below are for the administrator."
    if why in (errno.EADDRNOTAVAIL, errno.EINVAL) or isinstance(error, socket.gaierror):
        return "Choose an address of this machine, or leave --interface away for all of them."
    return "Choose another place with --endpoint, or with --port and --interface."


def _raise_limit() -> None:
    """Let this process have as many connections as the system allows it."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    for most in (hard, max(soft, OPEN_MAX)):
        # macOS says that there is no limit, and then does not take that.
        with suppress(ValueError, OSError):
            resource.setrlimit(resource.RLIMIT_NOFILE, (most, hard))
            return
