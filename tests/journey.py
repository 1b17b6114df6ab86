"""What tests with real terminals and real processes share.

`Glass` is a terminal emulator: bytes in, a screen to read. `Server`, `Client` and `Terminal` are
processes: a real ``twistd``, a ``pylingo`` with pipes, and one on a pseudo-terminal; a `Journey`
starts them, and ends them for sure. All waiting is for a condition and has a bound.
"""

from __future__ import annotations

import contextlib
import fcntl
import os
import re
import select
import signal
import subprocess
import sys
import termios
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import pyte
from twisted.trial.unittest import SynchronousTestCase

TWISTD = ("-c", "from twisted.scripts.twistd import run; run()")
"""What makes a Python the ``twistd`` that belongs to it."""
PATIENCE = 20.0
"""Seconds that anything may take, on a machine that is busy with other things too."""


class Glass(pyte.HistoryScreen):
    """A screen that one can read; `answer` takes what a terminal replies to questions."""

    def __init__(
        self, columns: int = 60, rows: int = 16, answer: Callable[[bytes], object] | None = None
    ) -> None:
        self.bells = 0
        self.answer = answer
        super().__init__(columns, rows, history=10_000, ratio=0.5)
        self._stream = pyte.ByteStream(self)

    def feed(self, data: bytes) -> None:
        """Draw what a program wrote."""
        self._stream.feed(data)

    def bell(self, *_: Any) -> None:
        self.bells += 1

    def write_process_input(self, data: str) -> None:
        if self.answer is not None:
            self.answer(data.encode())

    @property
    def rows(self) -> list[str]:
        """The rows of the screen, from the top, without what is empty at their ends."""
        return [row.rstrip() for row in self.display]

    @property
    def scrolled(self) -> list[str]:
        """The rows that have left the screen at the top."""
        return [
            "".join(row[column].data for column in range(self.columns)).rstrip()
            for row in self.history.top
        ]

    @property
    def row(self) -> str:
        """The row that the cursor is in."""
        return self.rows[self.cursor.y]

    @property
    def before(self) -> str:
        """What stands in the cursor's row before it."""
        row = self.buffer[self.cursor.y]
        return "".join(row[column].data for column in range(self.cursor.x))

    def shows(self, text: str) -> bool:
        """Whether a row of the screen has `text` in it."""
        return any(text in row for row in self.rows)

    def order(self, *texts: str) -> bool:
        """Whether rows with `texts` stand on the screen in that order, each once."""
        found = [[y for y, row in enumerate(self.rows) if text in row] for text in texts]
        places = [where[0] for where in found if len(where) == 1]
        return len(places) == len(texts) and places == sorted(places)


def until(condition: Callable[[], object], why: Callable[[], object] | str = "") -> None:
    """Wait for `condition`, for a while. Raises `AssertionError`, with `why`."""
    end = time.monotonic() + PATIENCE
    while not condition():
        if time.monotonic() > end:
            raise AssertionError(f"it did not happen: {why() if callable(why) else why}")
        time.sleep(0.01)


def surroundings(home: Path) -> dict[str, str]:
    """An environment in which nothing outside of `home` is read or written."""
    home.mkdir(parents=True, exist_ok=True)
    kept = ("PATH", "COVERAGE_PROCESS_START", "COVERAGE_PROCESS_CONFIG")
    # Processes run elsewhere, and have to find what is tested here.
    modules = filter(None, os.environ.get("PYTHONPATH", "").split(os.pathsep))
    return {
        **{name: os.environ[name] for name in kept if name in os.environ},
        "PYTHONPATH": os.pathsep.join(map(os.path.abspath, modules)),
        "HOME": str(home),
        "XDG_STATE_HOME": str(home / "state"),
        "LANG": "C.UTF-8",
        "TERM": "xterm",
    }


class Process:
    """A process with pipes, whose output is gathered in files, so that it never waits for us."""

    def __init__(
        self,
        arguments: list[str],
        home: Path,
        *,
        stdin: Any = subprocess.PIPE,
        environment: dict[str, str] | None = None,
        **more: Any,
    ) -> None:
        env = surroundings(home) | (environment or {})
        serial = sum(1 for _ in home.iterdir())
        self._out, self._err = home / f"out{serial}", home / f"err{serial}"
        with self._out.open("wb") as out, self._err.open("wb") as err:
            self.process = subprocess.Popen(
                [sys.executable, *arguments],
                stdin=stdin,
                **{"stdout": out, "stderr": err, **more},
                env=env,
                cwd=home,
            )
        self.pid = self.process.pid

    @property
    def out(self) -> str:
        """What was printed so far."""
        return self._out.read_text("utf-8", errors="replace")

    @property
    def err(self) -> str:
        """What was complained so far."""
        return self._err.read_text("utf-8", errors="replace")

    def write(self, text: str) -> None:
        """Feed lines to its input."""
        assert self.process.stdin is not None
        self.process.stdin.write(text.encode())
        self.process.stdin.flush()

    def eof(self) -> None:
        """End its input."""
        assert self.process.stdin is not None
        self.process.stdin.close()

    def prints(self, text: str) -> None:
        """Wait until it has printed `text`."""
        until(
            lambda: text in self.out or self.process.poll() is not None,
            lambda: f"{text!r} in {self.out!r} {self.err!r}",
        )
        assert text in self.out, (text, self.out, self.err)

    def wait(self) -> int:
        """The exit status, when it has ended by itself."""
        return self.process.wait(PATIENCE)

    def kill(self) -> None:
        """End it for sure, and by its id."""
        with contextlib.suppress(BrokenPipeError):
            if self.process.stdin is not None:
                self.process.stdin.close()
        if self.process.poll() is None:
            self.process.kill()
        self.process.wait(PATIENCE)


class Server(Process):
    """A real server on a free port of this machine, with a database in `home`."""

    def __init__(self, home: Path, *options: str, port: int = 0) -> None:
        super().__init__(
            [*TWISTD, "--nodaemon", "--pidfile=", "pylingo", f"--port={port}",
             "--interface=127.0.0.1", f"--database={home / 'pylingo.sqlite3'}", *options],
            home,
            stdin=subprocess.DEVNULL,
        )  # fmt: skip
        try:
            until(
                lambda: self._found or self.process.poll() is not None, lambda: self.out + self.err
            )
            assert self._found, self.out + self.err
        except BaseException:
            self.kill()
            raise
        self.port = int(self._found[1])
        self.address = f"127.0.0.1:{self.port}"

    @property
    def _found(self) -> re.Match[str] | None:
        return re.search(r"ChatFactory(?: \(TLS\))? starting on (\d+)", self.out)

    def stop(self, signal: int = signal.SIGINT) -> int:
        """Stop it in good order; the result is its exit status."""
        self.process.send_signal(signal)
        return self.wait()


class Client(Process):
    """A client with pipes."""

    def __init__(self, home: Path, *arguments: str, **more: Any) -> None:
        super().__init__(["-m", "pylingo", *arguments], home, **more)


class Terminal:
    """A client on a pseudo-terminal, and the screen of that; a `shell` may start it."""

    def __init__(
        self,
        home: Path,
        *arguments: str,
        columns: int = 60,
        rows: int = 16,
        term: str = "xterm",
        shell: Sequence[str] = (),
    ) -> None:
        self.glass = Glass(columns, rows, self.type)
        self.raw = b""
        # Both sides are kept open, as the shell would keep them from which one starts a program:
        # so one can see in what state it leaves them.
        self._ours, self._theirs = os.openpty()
        termios.tcsetwinsize(self._theirs, (rows, columns))
        self.state = self._state()
        self.process = subprocess.Popen(
            [*shell, sys.executable, "-m", "pylingo", *arguments],
            preexec_fn=lambda: os.login_tty(self._theirs),
            env={**surroundings(home), "TERM": term},
            cwd=home,
        )
        self.pid = self.process.pid

    def _state(self) -> tuple[object, ...]:
        """The modes of the terminal, and the flags of the file that it is."""
        return (
            termios.tcgetattr(self._theirs),
            fcntl.fcntl(self._theirs, fcntl.F_GETFL),
        )

    @property
    def as_found(self) -> bool:
        """Whether it was left as it was found."""
        return self._state() == self.state

    def type(self, keys: str | bytes) -> None:
        """Press keys."""
        os.write(self._ours, keys.encode() if isinstance(keys, str) else keys)

    def draw(self) -> None:
        """Draw what has been written so far."""
        while select.select([self._ours], [], [], 0)[0]:
            data = os.read(self._ours, 65_536)
            self.raw += data
            self.glass.feed(data)

    def swallow(self, text: str) -> None:
        """Take what is written, but show nothing and answer nothing, until `text` has come."""
        taken = b""

        def met() -> bool:
            nonlocal taken
            while select.select([self._ours], [], [], 0)[0]:
                taken += os.read(self._ours, 65_536)
            return text.encode() in taken

        until(met)

    def until(self, condition: Callable[[Glass], object]) -> None:
        """Wait until the screen is as it should be."""

        def met() -> object:
            self.draw()
            return condition(self.glass)

        until(met, lambda: "\n" + "\n".join(self.glass.rows))

    def shows(self, *texts: str) -> None:
        """Wait until all `texts` are on the screen."""
        self.until(lambda glass: all(glass.shows(text) for text in texts))

    def before(self, text: str) -> None:
        """Wait until just `text` stands before the cursor."""
        self.until(lambda glass: glass.before == text)

    def resize(self, columns: int, rows: int) -> None:
        """Change the size of the window."""
        self.glass.resize(rows, columns)
        termios.tcsetwinsize(self._theirs, (rows, columns))
        self.process.send_signal(signal.SIGWINCH)

    def hang_up(self) -> None:
        """Close the window."""
        os.close(self._theirs)
        os.close(self._ours)
        self._ours = self._theirs = -1

    def wait(self) -> int:
        """The exit status, when it has ended by itself."""

        def ended() -> object:
            if self._ours >= 0:
                self.draw()
            return self.process.poll() is not None

        until(ended, lambda: "\n" + "\n".join(self.glass.rows))
        return self.process.returncode

    def kill(self) -> None:
        """End it for sure, and by its id."""
        if self.process.poll() is None:
            self.process.kill()
        self.process.wait(PATIENCE)
        if self._ours >= 0:
            self.hang_up()


class Journey(SynchronousTestCase):
    """A place for the files of a journey, and processes that are gone when it ends."""

    def setUp(self) -> None:
        self.home = Path(self.mktemp()).absolute()
        self.home.mkdir(parents=True)

    def serve(self, *options: str, port: int = 0) -> Server:
        server = Server(self.home / "server", *options, port=port)
        self.addCleanup(server.kill)
        return server

    def client(self, *arguments: str, home: str = "pipes", **more: Any) -> Client:
        client = Client(self.home / home, *arguments, **more)
        self.addCleanup(client.kill)
        return client

    def person(self, server: Server, name: str, room: str = "lobby") -> Client:
        """A client with pipes, who is in the room."""
        client = self.client(server.address, "--name", name, "--room", room)
        client.prints(f"--> You joined {room}")
        return client

    def terminal(self, *arguments: str, **more: Any) -> Terminal:
        terminal = Terminal(self.home / "desk", *arguments, **more)
        self.addCleanup(terminal.kill)
        return terminal

    def seat(self, server: Server, name: str = "ana", columns: int = 60) -> Terminal:
        """A client on a terminal, whose person is in the lobby room."""
        terminal = self.terminal(server.address, "--name", name, "--room", "lobby", columns=columns)
        terminal.shows("--> You joined lobby")
        terminal.before(f"[lobby] {name}> ")
        return terminal
