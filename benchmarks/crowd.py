"""The load: many connections in one process, one epoll, as little work for each byte as can be.

What arrives is counted, not read: `total` is bytes. Where an answer has to be waited for, its link
looks for a word in what comes. So most of the time goes into the kernel, and a core of this is
enough for a core of a server, if not by much: see docs/performance.md.
"""

from __future__ import annotations

import contextlib
import select
import socket
import ssl
import time
from collections.abc import Callable, Iterable, Sequence

from benchmarks.dialects import Dialect

HOST = "127.0.0.1"
PATIENCE = 60.0
"""Seconds after which something that should have come is not coming."""


class Stalled(Exception):
    """The server does not do what it should; says what that was."""


class Link:
    """One connection."""

    __slots__ = ("counts", "out", "secure", "socket", "tail", "take", "word")

    def __init__(self, socket: socket.socket, *, secure: bool) -> None:
        self.socket = socket
        self.secure = secure
        self.take = socket.recv_into
        self.counts = True
        """Whether the crowd's total has what came here."""
        self.word = b""
        self.tail = b""
        self.out = b""


class Crowd:
    """Many links to one server."""

    def __init__(self, dialect: Dialect, port: int, *, tls: bool = False) -> None:
        self.dialect = dialect
        self.total = 0
        """Bytes that came, over all links that count."""
        self.tally = b""
        """A word that is counted wherever it comes, and how often it did."""
        self.tallied = 0
        self.links: list[Link] = []
        self._port = port
        self._tls = tls
        self._poller = select.epoll()
        self._by_fd: dict[int, Link] = {}
        self._buffer = memoryview(bytearray(1 << 20))
        self._waiting = 0

    def __enter__(self) -> Crowd:
        return self

    def __exit__(self, *_: object) -> None:
        for link in self.links:
            with contextlib.suppress(OSError):
                link.socket.close()
        self._poller.close()

    def come(self, names: Iterable[str], *, window: int = 0) -> list[Link]:
        """Connect once for each name, and have that name.

        With `window`, these have a receive buffer of so many bytes.
        """
        came: list[Link] = []
        names = list(names)
        size = self.dialect.batch
        for start in range(0, len(names), size):
            batch = names[start : start + size]
            links = [self._connect(window) for _ in batch]
            came += links
            hails = dict(zip(links, map(self.dialect.hail, batch), strict=True))
            self.ask(links, hails.__getitem__, self.dialect.named)
        return came

    def join(self, links: Sequence[Link], room: Callable[[int], str]) -> None:
        """Each goes into a room, all at once."""
        places = {link: room(number) for number, link in enumerate(links)}
        self.ask(links, lambda link: self.dialect.join(places[link]), self.dialect.there)

    def ask(self, links: Sequence[Link], what: Callable[[Link], bytes], word: bytes) -> None:
        """Send something over each link and wait until each got an answer with `word` in it."""
        self._waiting = len(links)
        for link in links:
            link.word, link.tail = word, b""
            self.send(link, what(link))
        self.until(lambda: not self._waiting, f"{word!r} on {len(links)} links")

    def settle(self) -> None:
        """Let the server come to rest, and show it that everyone is still alive."""
        time.sleep(self.dialect.settles)
        if self.dialect.alive:
            for link in self.links:
                self.send(link, self.dialect.alive)
        self.quiet()

    def quiet(self) -> None:
        """Read until nothing has come for a while."""
        end = time.monotonic() + PATIENCE
        while self.pump(0.3):
            if time.monotonic() > end:
                raise Stalled("the server does not come to rest")

    def until(self, ready: Callable[[], bool], what: str, seconds: float = PATIENCE) -> None:
        """Read until `ready()`. Raises `Stalled` after some seconds."""
        end = time.monotonic() + seconds
        while not ready():
            self.pump(0.1)
            if time.monotonic() > end:
                raise Stalled(f"waited {seconds:.0f} s for {what}")

    def send(self, link: Link, data: bytes) -> None:
        """Send `data`, now or as soon as the socket takes it."""
        if link.out:
            link.out += data
            return
        try:
            sent = link.socket.send(data)
        except (BlockingIOError, ssl.SSLWantWriteError):
            sent = 0
        if sent < len(data):
            link.out = data[sent:]
            self._poller.modify(link.socket, select.EPOLLIN | select.EPOLLOUT)

    def pump(self, seconds: float) -> bool:
        """Read what has come, waiting for it so long at most; the result is whether any did."""
        ready = self._poller.poll(seconds, 1024)
        by_fd, buffer = self._by_fd, self._buffer
        for fd, what in ready:
            link = by_fd[fd]
            if what & select.EPOLLOUT:
                self._flush(link)
            if what & ~select.EPOLLOUT:
                try:
                    size = link.take(buffer)
                    while link.secure and size:
                        # What is deciphered already would not wake the poller.
                        self._took(link, size)
                        size = link.take(buffer)
                except (BlockingIOError, ssl.SSLWantReadError):
                    continue
                except OSError as error:
                    raise Stalled(f"a connection broke: {error}") from None
                if not size:
                    raise Stalled("the server closed a connection")
                self._took(link, size)
        return bool(ready)

    def neglect(self, links: Iterable[Link]) -> None:
        """Read nothing from these any more."""
        for link in links:
            self._poller.unregister(link.socket)

    def dropped(self, links: Iterable[Link]) -> int:
        """How many of the neglected were closed by the server, found by reading them to the end."""
        count = 0
        end = time.monotonic() + 5
        for link in links:
            try:
                while True:
                    link.socket.settimeout(max(0.2, end - time.monotonic()))
                    if not link.take(self._buffer):
                        count += 1
                        break
            except TimeoutError:
                continue
            except OSError:
                count += 1
        return count

    def _connect(self, window: int) -> Link:
        plain = socket.socket()
        if window:
            plain.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, window)
        plain.settimeout(PATIENCE)
        plain.connect((HOST, self._port))
        plain.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        made = self._encrypted(plain) if self._tls else plain
        made.setblocking(False)
        link = Link(made, secure=self._tls)
        self.links.append(link)
        self._by_fd[made.fileno()] = link
        self._poller.register(made, select.EPOLLIN)
        return link

    def _encrypted(self, plain: socket.socket) -> socket.socket:
        if self.dialect.name == "nats":
            # It introduces itself first, in the clear.
            plain.recv(65_536)
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
        context.check_hostname = False
        context.verify_mode = ssl.CERT_NONE
        return context.wrap_socket(plain)

    def _took(self, link: Link, size: int) -> None:
        if link.counts:
            self.total += size
        if link.word:
            data = link.tail + bytes(self._buffer[:size])
            if link.word in data:
                link.word = b""
                link.tail = b""
                self._waiting -= 1
            else:
                link.tail = data[1 - len(link.word) :]
        elif self.tally:
            # A word may come in two pieces.
            data = link.tail + bytes(self._buffer[:size])
            self.tallied += data.count(self.tally)
            link.tail = data[1 - len(self.tally) :]

    def _flush(self, link: Link) -> None:
        data, link.out = link.out, b""
        self._poller.modify(link.socket, select.EPOLLIN)
        self.send(link, data)
