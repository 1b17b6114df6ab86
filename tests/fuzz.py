"""The fuzzer: no input may break the server, slow it, or leave a traceback in its log.

    python -m tests.fuzz --seconds 60 --seed 7

A real server, and batches of hostile connections: mutated frames, wrong JSON, random commands,
duels for one session, readers that do not read. Those that send only whole requests also check the
answers: each request gets one reply, in order, with the exceptions that the protocol makes. After
each batch the server must still serve a well-behaved client within a second, and its log must not
tell of a bug.

A batch depends on the seed and its number alone; ``--first N`` begins with the N-th.
"""

from __future__ import annotations

import argparse
import asyncio
import itertools
import json
import os
import random
import sys
import time
from collections import Counter
from collections.abc import Awaitable, Callable
from typing import Any, TypeAlias

from tests.peer import MOST_FINDINGS, Broken, Event, Gone, Peer, Run, frame, request, seed

PROMPT = 1.0
"""Seconds in which a well-behaved client is to be served."""
BOUND = 8.0
"""Seconds that one attack may take."""
ATTACKS = 10
"""Attacks at the same time."""
OPTIONS = {"--rate": 0, "--max-per-host": 0, "--max-users": 0, "--linger": 1}

COMMANDS = (
    "hello", "name", "list", "rooms", "join", "create", "users", "who", "leave", "exit", "help",
    "say", "me", "msg", "history", "resume", "ping", "pong", "register", "login", "password",
    "topic", "lock", "unlock", "invite", "kick", "ban", "unban", "mute", "unmute", "op", "deop",
    "bans", "mutes", "announce", "enter",
)  # fmt: skip
USUAL = ("say", "join", "msg", "name", "users", "history", "leave", "me", "kick", "topic", "op")
PLACES = ("lobby", "lobby", "duel", "garden")
SILENT = ("pong",)
SAID = ("say", "me", "msg")
ENDS = ("close", "quit")
WORDS = (
    "", " ", "\t", "\n", "a", "ana", "Ana", "ANA", "аna", "ａｎａ", "Iris", "iris", "іris", "lris",
    "bob", "lobby", "#lobby", "##", "#", "Lobby", "Iobby", "garden", "guest-1", "guest-2", "well",
    "0", "1", "50", "-1", "007", "9" * 16, "9" * 17, "9" * 400, "1e3", "٣", "1.5", "None", "null",
    "x" * 32, "x" * 33, "x" * 1024, "x" * 1025, "x" * 8192, "x" * 8193, "ä" * 4096, "ä" * 4097,
    "\u202eabc", "\x1b[31mred", "\x1b]0;title\x07", "\x00", "\x7f", "\x85", "\u2028", "\ufeff",
    "a\u200db", "e\u0301", "a" + "\u0301" * 40, "\u0301a", "ﬀ", "ß", "ẞ", "İ", "ı", "ſ", "Ǆ", "ﷺ",
    "\u1e9e\u0345", "ΰ", "\u0345", "👩\u200d👩\u200d👧", "🏳️\u200d🌈", "\U0010ffff", "\ufffd",
    "\ue000", "%s", "{user}", "{}", "{0.__class__}", "%(x)s", "'; DROP TABLE messages; --",
    "../../etc", "*", "?", "[", "\\", "\"", "/join", "//", "token 0", "token -1", "A" * 32 + " 0",
)  # fmt: skip
THINGS: tuple[Any, ...] = (
    None, True, False, 0, -1, 1.5, 1e308, 2**31, 2**53, 2**63 - 1, 2**63, 2**64, -(2**63) - 1,
    10**63, 10**64, 10**400, "", "x" * 64, "x" * 65, "ä", [], {}, [[]], {"command": "say"},
    [1, "a", None], "\x00", "\ud800",
)  # fmt: skip
LENGTHS = (0, 1, 2, 255, 16_383, 16_384, 16_385, 65_536, 2**24, 2**31 - 1, 2**31, 2**32 - 1)
NOISE = (b"\xff", b"\xc0\x80", b"\xed\xa0\x80", b"{", b"[" * 5000, b"\x00" * 40, b"\r\n", b'"',
         b"GET / HTTP/1.1\r\n\r\n", b"\x16\x03\x01\x02\x00\x01\x00", b"NICK a\r\n", b"NaN",
         b"Infinity", b"1e999", b"\\ud800", b"\\u0000")  # fmt: skip

Attack: TypeAlias = Callable[["Fuzz", random.Random], Awaitable[None]]


class Fuzz(Run):
    """One run: the server, and what was found."""

    def __init__(self, seed: int) -> None:
        super().__init__("fuzz", OPTIONS)
        self.seed = seed
        self.tokens: list[str] = []
        """Some session tokens that were given out, used up or not."""

    async def run(self, seconds: float, first: int) -> None:
        """Batches until the time is over, or there is no use in going on."""
        await self.server.start()
        try:
            await self.server.ready()
            await self.usual()
            end = time.monotonic() + seconds
            for number in itertools.count(first):
                if time.monotonic() > end or len(self.findings) >= MOST_FINDINGS:
                    break
                await self.batch(number)
            else:
                return
            await self.stop()
            self.look("at the end")
        finally:
            await self.server.kill()

    async def batch(self, number: int) -> None:
        """Some attacks at once; then all has to be well."""
        dice = random.Random(f"{self.seed}/{number}")
        chosen = [dice.choice(KINDS) for _ in range(ATTACKS)]
        attacks = [self.attack(kind, random.Random(dice.random())) for kind in chosen]
        before = len(self.findings)
        await asyncio.gather(*attacks)
        self.counts["batches"] += 1
        if not self.server.running:
            self.found("the server ended")
            self.look("as it ended")
            await self.server.start()
            await self.server.ready()
        await self.behave()
        self.look("after it")
        for n in range(before, len(self.findings)):
            self.findings[n] = f"batch {number}: {self.findings[n]}"

    async def attack(self, kind: Attack, dice: random.Random) -> None:
        """One attack, for a bounded time."""
        name = getattr(kind, "__name__", "?")
        self.counts[f"attacks: {name}"] += 1
        try:
            async with asyncio.timeout(BOUND):
                await kind(self, dice)
        except TimeoutError:
            self.found(f"{name}: no end after {BOUND} seconds")
        except Broken as error:
            self.found(f"{name}: the server sent {error}")
        except (Gone, OSError):
            self.counts["connections that the server ended"] += 1

    async def usual(self) -> None:
        """What someone who means well does."""
        peer = await Peer.connect(self.server.port)
        try:
            await peer.ask("hello", "well/1")
            await peer.ask("name", f"well-{self.counts['batches']}")
            steps = [
                ("join", "the well", "error"), ("join", "well-room", "joined"),
                ("say", "all is well", "sent"), ("users", "", "users"), ("list", "", "rooms"),
                ("close", "", "closing"),
            ]  # fmt: skip
            for command, body, kind in steps:
                reply = await peer.ask(command, body)
                if reply["event"] != kind:
                    self.found(f"{command} of a well-behaved client got {reply}")
        finally:
            peer.close()

    async def behave(self) -> None:
        """The same, within the time that it may take."""
        began = time.monotonic()
        try:
            async with asyncio.timeout(BOUND):
                await self.usual()
        except (TimeoutError, Gone, OSError, Broken) as error:
            self.found(f"a well-behaved client failed: {error!r}")
        took = time.monotonic() - began
        longest = "milliseconds for a well-behaved client, at most"
        self.counts[longest] = max(round(took * 1000), self.counts[longest])
        if took > PROMPT:
            self.found(f"a well-behaved client was served in {took:.2f} seconds")


def body(fuzz: Fuzz, dice: random.Random) -> str:
    """Something to put behind a command."""
    kind = dice.random()
    if kind < 0.1 and fuzz.tokens:
        return f"{dice.choice(fuzz.tokens)} {dice.choice((0, 1, 2**53, time.time_ns() // 1000))}"
    if kind < 0.2:
        letters = [chr(dice.choice((dice.randrange(0x250), dice.randrange(0xD800)))) for _ in "abc"]
        return "".join(letters * dice.choice((1, 1, 10)))
    return " ".join(dice.choice(WORDS) for _ in range(dice.choice((0, 1, 1, 1, 2, 2, 3))))


def command(dice: random.Random) -> str:
    """A command, in some case; at times none that there is."""
    word = dice.choice(USUAL if dice.random() < 0.6 else COMMANDS)
    if dice.random() < 0.1:
        word = dice.choice((word.upper(), word.title(), word + "x", "/" + word, " " + word, ""))
    return word


def session(fuzz: Fuzz, dice: random.Random) -> list[bytes]:
    """Frames that a client might send."""
    frames = [request("hello", "fuzz"), request("name", f"fuzz-{dice.randrange(99)}", 1)]
    if dice.random() < 0.7:
        frames.append(request("join", dice.choice(PLACES), 2))
    for n in range(dice.randrange(1, 20)):
        frames.append(request(command(dice), body(fuzz, dice), dice.choice((None, n, f"n{n}"))))
    return frames


def mutated(data: bytes, dice: random.Random) -> bytes:
    """`data` with a few things wrong."""
    mutant = bytearray(data)
    for _ in range(dice.choice((1, 1, 2, 5, 30))):
        at = dice.randrange(len(mutant) + 1)
        match dice.randrange(8):
            case 0 if at < len(mutant):
                mutant[at] ^= 1 << dice.randrange(8)
            case 1 if at < len(mutant):
                mutant[at] = dice.randrange(256)
            case 2:
                mutant[at:at] = dice.choice(NOISE)
            case 3:
                del mutant[at : at + dice.choice((1, 2, 4, 30))]
            case 4:
                mutant[at:at] = mutant[at : at + dice.randrange(60)]
            case 5:
                mutant[at : at + 4] = dice.choice(LENGTHS).to_bytes(4, "big")
            case 6:
                mutant[at:at] = dice.randbytes(dice.randrange(20))
            case _:
                del mutant[at:]
    return bytes(mutant)


async def pieces(peer: Peer, data: bytes, dice: random.Random) -> None:
    """Send `data` whole, or in pieces."""
    size = dice.choice((len(data), len(data), 1000, 7, 1))
    if size < 10:
        size = max(size, len(data) // 300)
    for start in range(0, len(data), max(1, size)):
        peer.write(data[start : start + size])
        await peer.flush()
        if size < len(data):
            await asyncio.sleep(0)


async def part(fuzz: Fuzz, peer: Peer, dice: random.Random) -> None:
    """Leave in one of the ways there are; when only our side is shut, the server has to follow."""
    match dice.randrange(4):
        case 0:
            peer.abort()
        case 1:
            peer.close()
        case 2:
            peer.finish()
            for event in await peer.rest():
                remember(fuzz, event)
            peer.close()
        case _:
            try:
                async with asyncio.timeout(dice.random() / 4):
                    await peer.rest()
            except TimeoutError:
                pass
            finally:
                peer.abort()


def remember(fuzz: Fuzz, event: Event) -> None:
    """Keep the tokens, for those who would steal them."""
    fuzz.counts["events"] += 1
    token = event.get("session")
    if isinstance(token, str):
        fuzz.tokens.append(token)
        del fuzz.tokens[:-50]


async def mangle(fuzz: Fuzz, dice: random.Random) -> None:
    """A session whose bytes are mutated, frames' borders and all."""
    peer = await Peer.connect(fuzz.server.port)
    try:
        data = mutated(b"".join(session(fuzz, dice)), dice)
        fuzz.counts["bytes"] += len(data)
        await pieces(peer, data, dice)
    finally:
        await part(fuzz, peer, dice)


async def misspeak(fuzz: Fuzz, dice: random.Random) -> None:
    """Whole frames with something wrong inside."""
    peer = await Peer.connect(fuzz.server.port)
    try:
        if dice.random() < 0.7:
            peer.send("join", dice.choice(PLACES))
        for _ in range(dice.randrange(1, 30)):
            match dice.randrange(6):
                case 0:
                    payload = mutated(dice.choice(session(fuzz, dice))[4:], dice)
                case 1:
                    payload = dice.choice(NOISE) * dice.choice((1, 3))
                case 2:
                    payload = json.dumps(dice.choice(THINGS)).encode()
                case 3:
                    depth = dice.choice((10, 500, 1023, 1024, 5000))
                    payload = b'{"command":"say","x":' + b"[" * depth + b"]" * depth + b"}"
                case _:
                    fields = {"command": command(dice), "body": body(fuzz, dice), "id": 1}
                    fields[dice.choice(("command", "body", "id", "event", "ä"))] = dice.choice(
                        THINGS
                    )
                    payload = json.dumps(fields).encode()
            peer.write(frame(payload[:20_000]))
            fuzz.counts["frames"] += 1
            await peer.flush()
    finally:
        await part(fuzz, peer, dice)


async def converse(fuzz: Fuzz, dice: random.Random) -> None:
    """Random commands, each with an id; each gets one reply, in order."""
    token = await left(fuzz, dice) if dice.random() < 0.3 else "stale"
    peer = await Peer.connect(fuzz.server.port)
    asked: list[tuple[int, str]] = []
    replies: list[Event] = []
    try:
        if dice.random() < 0.7:
            peer.send("join", dice.choice(PLACES))
        for n in range(dice.randrange(1, 60)):
            word, text = command(dice), body(fuzz, dice)
            if word.casefold() == "resume" or (token != "stale" and dice.random() < 0.1):
                # One that another may want would end this connection's answers; see `duel`.
                word, text = "resume", f"{token} 0"
            peer.send(word, text, n)
            asked.append((n, word.casefold()))
            fuzz.counts["requests"] += 1
            if dice.random() < 0.1:
                await peer.flush()
                await asyncio.sleep(0)
        peer.send(dice.choice(ENDS), "", 1000)
        asked.append((1000, "close"))
        replies = await peer.rest()
    finally:
        peer.close()
    for event in replies:
        remember(fuzz, event)
    answered(fuzz, asked, replies)


def answered(fuzz: Fuzz, asked: list[tuple[int, str]], events: list[Event]) -> None:
    """Whether every request has its reply."""
    if not events or events[0]["event"] != "welcome":
        fuzz.found(f"the first event was {events[:1]}")
        return
    last = events[-1]
    if (last["event"] == "closing" and last["reason"] != "bye") or last.get("fatal"):
        # Kicked, or replaced: what was still unread has no reply.
        fuzz.counts["conversations that another ended"] += 1
        return
    replies = [event for event in events if "re" in event]
    if "closing" not in (event["event"] for event in replies):
        fuzz.found(f"no reply to the last request; {len(events)} events, the last {last}")
        return
    expected = [n for n, word in asked if word not in SILENT]
    came = [event["re"] for event in replies]
    if sorted(came) != expected:
        missing = [pair for pair in asked if pair[0] in set(expected) - set(came)]
        extra = [
            n for n, count in (Counter(came) - Counter(expected)).items() for _ in range(count)
        ]
        fuzz.found(f"no reply to {missing}, too many to {extra}, asked {asked}")
    ordered = [event["re"] for event in replies if event["event"] != "sent"]
    if ordered != sorted(ordered):
        fuzz.found(f"replies out of order: {ordered}, asked {asked}")
    if replies[-1]["event"] != "closing":
        fuzz.found(f"after closing came {replies[-1]}")


async def left(fuzz: Fuzz, dice: random.Random) -> str:
    """The token of a session that somebody has just left behind."""
    peer = await Peer.connect(fuzz.server.port)
    try:
        token: str = (await peer.ask("hello"))["session"]
        await peer.ask("join", dice.choice(PLACES))
    finally:
        peer.abort()
    return token


async def duel(fuzz: Fuzz, dice: random.Random) -> None:
    """Several connections want the same session, at once, while it is talking."""
    first = await Peer.connect(fuzz.server.port)
    rivals: list[Peer] = []
    try:
        token = (await first.ask("hello"))["session"]
        await first.ask("join", "duel")
        for n in range(dice.randrange(2, 6)):
            first.send("say", f"duel {n}", n)
            rival = await Peer.connect(fuzz.server.port)
            rivals.append(rival)
            for _ in range(dice.choice((1, 1, 2))):
                rival.send("resume", f"{token} 0", "resume")
            rival.send(dice.choice(("users", "leave", "name", "close", "say")), "x", "then")
            if dice.random() < 0.3:
                rival.abort()
            elif dice.random() < 0.3:
                rival.finish()
        await asyncio.sleep(dice.random() / 5)
    finally:
        for peer in (first, *rivals):
            peer.abort()


async def stall(fuzz: Fuzz, dice: random.Random) -> None:
    """Ask for much, read nothing, and vanish."""
    peer = await Peer.connect(fuzz.server.port, window=4096)
    try:
        peer.stall()
        peer.send("hello")
        peer.send("join", dice.choice(("lobby", "duel", "well-room")))
        for n in range(dice.randrange(200)):
            peer.send(dice.choice(("help", "list", "users", "history", "say")), "", n)
        await asyncio.sleep(dice.random() / 5)
    finally:
        peer.abort()


async def knock(fuzz: Fuzz, dice: random.Random) -> None:
    """Connect and leave, many times, with next to nothing said."""
    for _ in range(dice.randrange(1, 30)):
        peer = await Peer.connect(fuzz.server.port)
        peer.write(dice.choice((b"", b"\0", b"\0\0\0\x05", request("hello")[:-1], frame(b""))))
        dice.choice((peer.abort, peer.close, peer.finish))()
        peer.close()
        fuzz.counts["knocks"] += 1


KINDS: tuple[Attack, ...] = (mangle, mangle, misspeak, misspeak, converse, converse, converse,
                             duel, stall, knock)  # fmt: skip


async def fuzz(seconds: float, seed: int, first: int) -> int:
    """One run; the exit status."""
    print(f"fuzz: {seconds:g} seconds, seed {seed}, from batch {first}", flush=True)
    run = Fuzz(seed)
    return await run.end(run.run(seconds, first), seconds + 60)


def main() -> None:
    """The command line."""
    parser = argparse.ArgumentParser(prog="python -m tests.fuzz")
    parser.add_argument(
        "--seconds", type=float, default=float(os.environ.get("PYLINGO_FUZZ") or 60)
    )
    parser.add_argument("--seed", type=int, default=seed())
    parser.add_argument("--first", type=int, default=0)
    options = parser.parse_args()
    sys.exit(asyncio.run(fuzz(options.seconds, options.seed, options.first)))


if __name__ == "__main__":
    main()
