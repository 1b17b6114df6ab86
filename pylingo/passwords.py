"""Passwords: how they become hashes, how they are checked, and who may not try any more.

They are stored only as scrypt hashes, which are made and checked in a thread. The parameters stand
beside each hash, so that they can grow.

Nothing here knows users, accounts or rooms. `whence` is where somebody is from.
"""

from __future__ import annotations

import hmac
import os
from collections import defaultdict, deque
from collections.abc import Awaitable, Callable, Collection
from functools import partial
from hashlib import scrypt
from math import ceil
from typing import Any, TypeVar

from twisted.internet.defer import Deferred, ensureDeferred, maybeDeferred
from twisted.logger import Logger

from pylingo import names
from pylingo.history import Run
from pylingo.protocol import ChatError

T = TypeVar("T")

LONGEST_PASSWORD = 1_024
"""Bytes of UTF-8."""
TRIES = 5
"""Wrong passwords for one name, or from one address, in `WINDOW`."""
WINDOW = 60.0
"""Seconds."""
COST = (2**14, 8, 1)
"""n, r and p of new hashes: 16 MiB and some 50 ms each (RFC 7914)."""


class Tries:
    """Counts wrong passwords, by name and by address: `whose` they are, as the log says it.

    The clock gives seconds.

    A try counts from `check` on, until it is known to have been `right`: who tries many at once
    has no more of them.
    """

    _log = Logger()

    def __init__(self, clock: Callable[[], float]) -> None:
        self._clock = clock
        self._wrong: dict[str, deque[float]] = defaultdict(deque)
        self._noted: dict[str, float] = {}
        """When the log was told last that there were too many."""

    def check(self, *whose: str) -> None:
        """Count a try. Raises `ChatError` ``wrong_password`` past the bound: how long to wait."""
        now = self._clock()
        for key in tuple(self._wrong):
            times = self._wrong[key]
            while times and times[0] <= now - WINDOW:
                times.popleft()
            if not times:
                del self._wrong[key]
                self._noted.pop(key, None)
        for key in whose:
            times = self._wrong.get(key, deque())
            if len(times) >= TRIES:
                self._note(key, whose, now)
                wait = ceil(times[-TRIES] + WINDOW - now)
                raise ChatError(
                    "wrong_password", f"Too many wrong passwords. Try again in {wait} seconds."
                )
        for key in whose:
            self._wrong[key].append(now)

    def _note(self, key: str, whose: Collection[str], now: float) -> None:
        """For the log, but not with each try, of which there may be very many."""
        if key not in self._noted or now >= self._noted[key] + WINDOW:
            self._noted[key] = now
            others = "".join(f", now {other}" for other in whose if other != key)
            self._log.warn("too many wrong passwords {key}{others}", key=key, others=others)

    def right(self, *whose: str) -> None:
        """The last try does not count: it was the right password."""
        for key in whose:
            if self._wrong[key]:
                self._wrong[key].pop()


class Turns:
    """One piece of work after the other; those who wait take turns by where they are from.

    What was begun is done, even if nobody waits for it any more.
    """

    def __init__(self) -> None:
        self._busy = False
        self._waiting: dict[str, deque[tuple[Deferred[Any], Callable[[], Awaitable[Any]]]]] = {}

    def do(self, whence: str, work: Callable[[], Awaitable[T]]) -> Deferred[T]:
        """The result of `work`, which begins when its turn has come."""
        done: Deferred[T] = Deferred()
        self._waiting.setdefault(whence, deque()).append((done, work))
        if not self._busy:
            ensureDeferred(self._all())
        return done

    async def _all(self) -> None:
        self._busy = True
        while self._waiting:
            # From where it was the longest ago that one had a turn.
            whence, waiting = next(iter(self._waiting.items()))
            del self._waiting[whence]
            done, work = waiting.popleft()
            if waiting:
                self._waiting[whence] = waiting
            if done.called:
                continue  # Who waited has given up.
            await maybeDeferred(work).addCallbacks(done.callback, done.errback)
        self._busy = False


class Passwords:
    """Makes and checks hashes; `run` does it in the one thread there is for that.

    The clock gives seconds.
    """

    def __init__(self, run: Run, clock: Callable[[], float]) -> None:
        self.tries = Tries(clock)
        self._run = run
        self._turns = Turns()
        """Who waits for one has not tried yet."""

    async def hash(self, password: str, whence: str) -> str:
        """The hash of a new password. Raises `ChatError` ``bad_argument``."""
        secret = _secret(password)
        return await self._turns.do(whence, lambda: self._run(partial(make, secret)))

    async def right(self, password: str, hash: Callable[[], str], whence: str, *whose: str) -> bool:
        """Whether it is the password; wrong ones are counted. Raises `ChatError` past the bound."""
        # Older hashes are of what was typed.
        secrets = {_secret(password), password.strip().encode()}

        async def compare() -> bool:
            self.tries.check(*whose)
            while True:
                tried = hash()
                right: bool = await self._run(partial(matches, tried, *secrets))
                # Whoever had the turn before may have made another, which is known only now.
                if tried == hash():
                    break
            if right:
                self.tries.right(*whose)
            return right

        return await self._turns.do(whence, compare)


def wrong() -> ChatError:
    """The error for a wrong password."""
    return ChatError("wrong_password", "That is not the password. Try again.")


def _secret(password: str) -> bytes:
    # That first, for to compose very many marks takes long.
    if not 0 < len(password.strip().encode()) <= LONGEST_PASSWORD:
        raise ChatError("bad_argument", f"Give a password of 1 to {LONGEST_PASSWORD} bytes.")
    # Keyboards and systems write the same letters in different ways (RFC 8265).
    return names.composed(password.strip()).encode()


# What follows blocks; it runs in the thread, or at start-up.


def make(secret: bytes) -> str:
    """The hash of a password."""
    n, r, p = COST
    salt = os.urandom(16)
    hash = scrypt(secret, salt=salt, n=n, r=r, p=p)
    return f"scrypt${n}${r}${p}${salt.hex()}${hash.hex()}"


def matches(hash: str, *secrets: bytes) -> bool:
    """Whether it is the hash of one of those passwords."""
    if not hash:
        return True  # What was locked is not, any more.
    _, n, r, p, salt, expected = hash.split("$")
    cost = {"n": int(n), "r": int(r), "p": int(p)}
    # What it takes and a little more; the library's own bound is just above today's cost.
    most = 256 * cost["r"] * (cost["n"] + cost["p"])
    hashes = (scrypt(one, salt=bytes.fromhex(salt), maxmem=most, **cost) for one in secrets)
    return any(hmac.compare_digest(got, bytes.fromhex(expected)) for got in hashes)


NOBODYS = "scrypt${}${}${}${}${}".format(*COST, "00" * 16, "00" * 64)
"""The hash of no password, to take as long for a name that nobody has."""
