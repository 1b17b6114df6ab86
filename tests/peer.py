"""A client of the protocol that shares no code with PyLingo, and the server it talks to.

What the torture, the fuzzer and the soak stand on. It is written from the protocol's page alone,
with asyncio and json, so that a mistake in `pylingo.protocol` cannot hide behind itself.

A peer checks nothing; it says and hears. A `Run` is what the three have in common.
"""

from __future__ import annotations

import asyncio
import contextlib
import json
import os
import random
import re
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import time
from collections import Counter, deque
from collections.abc import Awaitable, Mapping
from pathlib import Path
from typing import Any, TypeAlias

Event: TypeAlias = dict[str, Any]

HOST = "127.0.0.1"
ROOT = Path(__file__).resolve().parent.parent
LARGEST_EVENT = 1_048_576
PATIENCE = 10.0
"""Seconds after which something that should have come is not coming."""
MOST_FINDINGS = 20
"""Faults that are told of; what happens once happens often."""


class Gone(Exception):
    """The connection has ended."""


class Broken(Exception):
    """The server sent what the protocol does not allow."""


def frame(payload: bytes) -> bytes:
    """`payload` behind its length."""
    return len(payload).to_bytes(4, "big") + payload


def request(command: str, body: str = "", id: int | str | None = None) -> bytes:
    """A whole request, length included."""
    fields: Event = {"command": command}
    if body:
        fields["body"] = body
    if id is not None:
        fields["id"] = id
    return frame(json.dumps(fields, ensure_ascii=False).encode())


class Peer:
    """One connection. Reading can be cancelled at any await and taken up again."""

    def __init__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self._reader = reader
        self._writer = writer
        self._buffer = bytearray()
        self._ready: deque[Event] = deque()
        self._asked = 0
        self.aside: list[Event] = []
        """What was heard while waiting for something else."""

    @classmethod
    async def connect(cls, port: int, *, window: int = 0) -> Peer:
        """Connect; with a receive buffer of `window` bytes, if given. Raises `OSError`."""
        with_buffer = socket.socket()
        with_buffer.setblocking(False)
        try:
            if window:
                with_buffer.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, window)
            loop = asyncio.get_running_loop()
            async with asyncio.timeout(PATIENCE):
                await loop.sock_connect(with_buffer, (HOST, port))
                return cls(*await asyncio.open_connection(sock=with_buffer))
        except BaseException:
            with_buffer.close()
            raise

    def send(self, command: str, body: str = "", id: int | str | None = None) -> None:
        """Send a request, some time soon."""
        self.write(request(command, body, id))

    def write(self, data: bytes) -> None:
        """Send bytes, some time soon."""
        if not self._writer.is_closing():
            self._writer.write(data)

    async def flush(self) -> None:
        """Wait until most of what was sent has left. Raises `Gone`."""
        try:
            await self._writer.drain()
        except OSError as error:
            raise Gone(str(error)) from None

    async def event(self) -> Event:
        """The next event. Raises `Gone` at the end of them."""
        while not self._ready:
            try:
                data = await self._reader.read(65_536)
            except OSError as error:
                raise Gone(str(error)) from None
            if not data:
                raise Gone(f"end of input, {len(self._buffer)} bytes into a frame")
            self._buffer += data
            self._split()
        return self._ready.popleft()

    async def ask(self, command: str, body: str = "", *, seconds: float = PATIENCE) -> Event:
        """Send a request and wait for its reply; what else comes goes `aside`.

        Raises `Gone`, or `TimeoutError` after some seconds.
        """
        self._asked += 1
        re = f"ask-{self._asked}"
        self.send(command, body, re)
        async with asyncio.timeout(seconds):
            while (event := await self.event()).get("re") != re:
                self.aside.append(event)
        return event

    async def rest(self) -> list[Event]:
        """All events until the connection ends."""
        events: list[Event] = []
        while True:
            try:
                events.append(await self.event())
            except Gone:
                return events

    def stall(self) -> None:
        """Read nothing any more."""
        self._writer.transport.pause_reading()  # type: ignore[attr-defined]

    def finish(self) -> None:
        """Shut this side; the other may go on."""
        if self._writer.can_write_eof() and not self._writer.is_closing():
            # The other may be gone, which is heard by reading.
            with contextlib.suppress(OSError):
                self._writer.write_eof()

    def close(self) -> None:
        """End the connection in the ordinary way."""
        self._writer.close()

    def abort(self) -> None:
        """End the connection; what was not sent is lost."""
        self._writer.transport.abort()

    def _split(self) -> None:
        buffer = self._buffer
        start = 0
        while len(buffer) - start >= 4:
            size = int.from_bytes(buffer[start : start + 4], "big")
            if size > LARGEST_EVENT:
                raise Broken(f"a frame of {size} bytes")
            if len(buffer) - start - 4 < size:
                break
            payload = bytes(buffer[start + 4 : start + 4 + size])
            start += 4 + size
            try:
                event = json.loads(payload.decode())
            except ValueError as error:
                raise Broken(f"{error}: {payload[:200]!r}") from None
            if not isinstance(event, dict) or not isinstance(event.get("event"), str):
                raise Broken(f"no event: {payload[:200]!r}")
            self._ready.append(event)
        del buffer[:start]


def free_port() -> int:
    """A port that nobody has, below those that the system gives out to clients.

    A client that knocks while the server is down could be given the very port it knocks at, and
    so be connected with itself, and the server could not have it again.
    """
    dice = random.SystemRandom()
    while True:
        port = dice.randrange(15_000, 32_000)
        with socket.socket() as probe:
            try:
                probe.bind((HOST, port))
            except OSError:
                continue
        return port


class Server:
    """A ``twistd --nodaemon pylingo`` that can be killed and started again on the same port."""

    def __init__(self, place: Path, options: Mapping[str, object]) -> None:
        self.port = free_port()
        self.database = place / "chat.sqlite3"
        self.starts = 0
        self._place = place
        self._log = place / "server.log"
        self._read = 0
        self._process: asyncio.subprocess.Process | None = None
        known = _options()
        self._options = [
            word
            for option, value in options.items()
            if option in known
            for word in (option, str(value))
        ]

    @property
    def pid(self) -> int:
        """The process that runs, or ran last."""
        assert self._process is not None
        return self._process.pid

    async def start(self) -> None:
        """Start the process; it does not wait until it listens."""
        self.starts += 1
        with self._log.open("ab") as log:
            self._process = await asyncio.create_subprocess_exec(
                _twistd(), "--nodaemon", "--pidfile=", "pylingo",
                "--interface", HOST, "--port", str(self.port),
                "--database", str(self.database), *self._options,
                stdin=subprocess.DEVNULL, stdout=log, stderr=log, cwd=self._place,
            )  # fmt: skip

    async def ready(self) -> None:
        """Wait until it listens. Raises `RuntimeError` if it does not come to that."""
        async with asyncio.timeout(PATIENCE):
            while True:
                try:
                    peer = await Peer.connect(self.port)
                except OSError:
                    if not self.running:
                        raise RuntimeError(f"the server ended:\n{self.log()[-4000:]}") from None
                    await asyncio.sleep(0.02)
                else:
                    peer.close()
                    return

    @property
    def running(self) -> bool:
        """Whether the process is there."""
        return self._process is not None and self._process.returncode is None

    async def kill(self) -> None:
        """``kill -9``."""
        await self._end(signal.SIGKILL)

    async def stop(self) -> int:
        """SIGTERM; the result is the exit status. Raises `TimeoutError`."""
        return await self._end(signal.SIGTERM)

    async def _end(self, how: signal.Signals) -> int:
        process = self._process
        if process is None:
            return 0
        if process.returncode is None:
            process.send_signal(how)
        async with asyncio.timeout(PATIENCE):
            return await process.wait()

    def log(self) -> str:
        """All that it logged."""
        return self._log.read_text(errors="replace") if self._log.exists() else ""

    def complaints(self) -> str:
        """What it logged since the last time this was asked, if that tells of a bug; or nothing."""
        with self._log.open("rb") as log:
            log.seek(self._read)
            new = log.read()
        self._read += len(new)
        text = new.decode(errors="replace")
        bad = re.search("Traceback|failed|Unhandled", text)
        return text[max(0, bad.start() - 500) :][:4000] if bad else ""

    def resident(self) -> int:
        """Bytes of memory that the process has."""
        found = re.search(r"VmRSS:\s+(\d+) kB", Path(f"/proc/{self.pid}/status").read_text())
        assert found is not None
        return int(found[1]) * 1024

    def descriptors(self) -> list[str]:
        """What the process has open."""
        opened = []
        for link in Path(f"/proc/{self.pid}/fd").iterdir():
            try:
                opened.append(os.readlink(link))
            except FileNotFoundError:
                continue
        return opened


def _twistd() -> str:
    return str(Path(sys.executable).with_name("twistd"))


def _options() -> set[str]:
    """The options that this server knows; a run asks for some that it can do without."""
    text = subprocess.run(
        [_twistd(), "pylingo", "--help"], capture_output=True, text=True, timeout=60, check=True
    ).stdout
    return set(re.findall(r"--[a-z-]+", text))


class Run:
    """A long run, called `name`: a server in a place of its own, counts, and what was found."""

    def __init__(self, name: str, options: Mapping[str, object]) -> None:
        self.place = Path(tempfile.mkdtemp(prefix=f"pylingo-{name}-"))
        self.server = Server(self.place, options)
        self.counts: Counter[str] = Counter()
        self.findings: list[str] = []

    def found(self, what: str) -> None:
        """Note a fault."""
        self.counts["findings"] += 1
        if len(self.findings) < MOST_FINDINGS:
            self.findings.append(what)

    def look(self, when: str) -> None:
        """Look at the new lines of the server's log."""
        complaint = self.server.complaints()
        if complaint:
            self.found(f"logged {when}:\n{complaint}")

    async def stop(self) -> None:
        """Stop the server, which has to end well."""
        if (status := await self.server.stop()) not in (0, -signal.SIGTERM):
            self.found(f"the server ended with {status}")

    async def end(self, work: Awaitable[None], seconds: float) -> int:
        """Do the work in that time at most, and tell what came of it; the exit status."""
        began = time.monotonic()
        try:
            async with asyncio.timeout(seconds):
                await work
        except TimeoutError:
            self.found(f"no end after {seconds:.0f} seconds")
        except (Gone, OSError) as error:
            self.found(f"a connection ended too early: {error!r}")
        for what in self.findings:
            print("FOUND:", what[:3000])
        for what, count in sorted(self.counts.items()):
            print(f"{count:8} {what}")
        print(f"{time.monotonic() - began:8.1f} seconds")
        if self.findings:
            print(f"kept: {self.place}")
            return 1
        shutil.rmtree(self.place)
        return 0


def run(module: str, *arguments: str, seconds: float) -> tuple[int | None, str]:
    """Run ``python -m module`` for at most some seconds: its exit status and what it printed.

    Whatever it started ends with it.
    """
    with subprocess.Popen(
        [sys.executable, "-m", module, *arguments], cwd=ROOT, start_new_session=True,
        stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True,
    ) as process:  # fmt: skip
        try:
            printed, _ = process.communicate(timeout=seconds)
        except subprocess.TimeoutExpired:
            os.killpg(process.pid, signal.SIGKILL)
            printed, _ = process.communicate()
            return None, f"{printed}\nnot done after {seconds} seconds"
        return process.returncode, printed


def seed() -> int:
    """The seed of this run: ``PYLINGO_SEED``, or a new one."""
    return int(os.environ.get("PYLINGO_SEED") or random.SystemRandom().randrange(10**9))
