"""What the client remembers between its runs: sessions, and where the history of lines is kept.

There is one small file for each server and name, which only its owner can read. A client that uses
it locks it, so that a second one does not take the session away from the first.
"""

from __future__ import annotations

import fcntl
import os
from collections.abc import Callable
from contextlib import suppress
from hashlib import sha256
from pathlib import Path
from threading import Lock

import msgspec

from pylingo import names
from pylingo.connection import Ticket

_ticket = msgspec.json.Decoder(Ticket).decode


def state_path() -> Path:
    """The folder of this user's state, made if need be."""
    from platformdirs import user_state_path

    path = own(user_state_path)
    with suppress(OSError):  # Without it, nothing is remembered.
        path.mkdir(parents=True, exist_ok=True, mode=0o700)
    return path


def own(which: Callable[..., Path]) -> Path:
    """A folder of this user, which platformdirs knows; where there is no home, none of use."""
    try:
        path = which("pylingo", appauthor=False)
    except RuntimeError:
        path = Path()
    # Older ones make one up, in whatever folder this was started: what is there may be another's.
    return path if path.is_absolute() else Path(os.devnull)


class Memory:
    """The session of one name on one server. Reading and writing it blocks, for very little."""

    def __init__(self, folder: Path, where: str, name: str) -> None:
        self.name = names.kept(name)
        key = sha256(f"{where} {self.name}".encode()).hexdigest()[:32]
        self.last: Ticket | None = None
        """What it was told last to remember."""
        self.busy = False
        """Whether another client of this user has that name there."""
        self._file: int | None = None
        self._lock = Lock()
        """For the thread that writes."""
        try:
            sessions = folder / "sessions"
            sessions.mkdir(exist_ok=True, mode=0o700)
            file = os.open(sessions / key, os.O_RDWR | os.O_CREAT, 0o600)
        except OSError:
            return  # Without a place to remember in, it goes on from now.
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError:
            self.busy = True
            os.close(file)
        else:
            self._file = file

    @property
    def held(self) -> bool:
        """Whether it is ours: no other client has it, and there is a place for it."""
        return self._file is not None

    def recall(self) -> Ticket | None:
        """The session to go on with; whether there still is one is for the server to say."""
        if self._file is None:
            return None
        try:
            return _ticket(os.pread(self._file, 4096, 0))
        except (OSError, msgspec.MsgspecError, UnicodeDecodeError, RecursionError):
            return None  # It was forgotten, or is damaged.

    def remember(self, ticket: Ticket | None) -> None:
        """Keep `ticket` for the next run; None forgets."""
        self.last = ticket
        data = b"" if ticket is None else msgspec.json.encode(ticket)
        with self._lock:
            if self._file is None:
                return
            try:
                os.pwrite(self._file, data, 0)
                os.ftruncate(self._file, len(data))
            except OSError:
                pass  # A full disk costs the memory, not the chat.

    def close(self) -> None:
        """Let another client use it."""
        with self._lock:
            if self._file is not None:
                os.close(self._file)
                self._file = None
