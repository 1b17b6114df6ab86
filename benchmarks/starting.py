"""How long it takes to be there: from the start of the process to the first connection.

All on the core for servers, with warm caches: each is started once before it counts.
"""

from __future__ import annotations

import os
import select
import sys
import tempfile
import time
from collections.abc import Callable, Sequence
from pathlib import Path

from benchmarks.crowd import HOST, Stalled
from benchmarks.servers import free_port, reach, start, stop, twistd

BARE = """\
from twisted.application.internet import TCPServer
from twisted.application.service import Application
from twisted.internet.protocol import Factory, Protocol
application = Application("bare")
TCPServer({port}, Factory.forProtocol(Protocol), interface={host!r}).setServiceParent(application)
"""


def listening(command: Callable[[int, Path], Sequence[str]]) -> float:
    """Seconds until a server listens."""
    port = free_port()
    with tempfile.TemporaryDirectory(prefix="benchmark-", ignore_cleanup_errors=True) as folder:
        place = Path(folder)
        words = command(port, place)
        begun = time.perf_counter()
        process = start(words, place)
        try:
            reach(port, process, place)
            return time.perf_counter() - begun
        finally:
            stop(process)


def ended(words: Sequence[str]) -> float:
    """Seconds until a command has done its work."""
    with tempfile.TemporaryDirectory(prefix="benchmark-", ignore_cleanup_errors=True) as folder:
        begun = time.perf_counter()
        process = start(words, Path(folder))
        # A wait with a timeout would look after 1, 3, 7, 15 and 31 ms, and find nothing else.
        watched = os.pidfd_open(process.pid)
        try:
            done = select.select([watched], [], [], 30)[0]
            seconds = time.perf_counter() - begun
        finally:
            os.close(watched)
            if process.poll() is None:
                stop(process)
        if not done:
            raise Stalled(f"{words} does not end")
        if process.returncode:
            raise Stalled(f"{words} ended with {process.returncode}")
        return seconds


def _bare(port: int, place: Path) -> list[str]:
    (place / "bare.tac").write_text(BARE.format(port=port, host=HOST))
    return twistd("--no_save", "--python", "bare.tac")


def _pylingo(port: int, place: Path, *more: str) -> list[str]:  # noqa: ARG001
    return twistd("pylingo", "--interface", HOST, "--port", str(port), *more)


STARTS: dict[str, Callable[[], float]] = {
    "twistd with a bare service": lambda: listening(_bare),
    "twistd pylingo": lambda: listening(_pylingo),
    "twistd pylingo --tls auto": lambda: listening(lambda p, f: _pylingo(p, f, "--tls", "auto")),
    "python -c pass": lambda: ended([sys.executable, "-c", "pass"]),
    "pylingo --help": lambda: ended([sys.executable, "-m", "pylingo", "--help"]),
}
"""Each way of starting, with what measures it."""
