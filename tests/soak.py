"""The soak: a server that many have come to and gone from is as big as before.

    python -m tests.soak --minutes 10 --seed 7

A real server, and people who do what people do, many at a time: talk, change rooms and names,
break off and resume, break off and never come back, flood, ask for much and read nothing. First
for a while to warm the server up; then all leave, and it is measured. Then for the time asked;
then all leave again, and memory, file descriptors, rooms, and users have to be what they were. A
server that is stopped after that has to end well, with nothing in its log that tells of a bug.

Who floods checks that nothing of it was lost: each message is acknowledged once, in order.
"""

from __future__ import annotations

import argparse
import asyncio
import os
import random
import sys
import time
from collections import Counter
from collections.abc import Awaitable, Callable
from typing import TypeAlias

from tests.peer import PATIENCE, Event, Gone, Peer, Run, seed

CROWD = 40
"""Visitors at the same time."""
ROOMS = tuple(f"room-{n}" for n in range(6))
OPTIONS = {
    "--linger": 2, "--rate": 2000, "--burst": 200, "--max-per-host": 0, "--max-users": 0,
}  # fmt: skip
SETTLE = 15.0
"""Seconds after which all who left have to be gone."""
VISIT = 60.0
"""Seconds that one visit may take."""
TOLERANCE = 16 * 1024 * 1024
"""Bytes of memory that the server may have more than before; allocators keep some."""

Visit: TypeAlias = Callable[["Soak", random.Random], Awaitable[None]]


class Soak(Run):
    """One run: the server, and what was found."""

    def __init__(self, dice: random.Random) -> None:
        super().__init__("soak", OPTIONS)
        self.dice = dice
        self._names = 0

    def name(self) -> str:
        """A name that nobody had yet."""
        self._names += 1
        return f"visitor-{self._names}"

    async def run(self, seconds: float) -> None:
        """Warm up, measure, soak, measure."""
        server = self.server
        await server.start()
        try:
            await server.ready()
            watcher = await Peer.connect(server.port)
            await watcher.ask("name", "watcher")
            await watcher.ask("join", "watch")
            files = sorted(server.descriptors())
            await self.crowd(max(4.0, min(seconds / 5, 60.0)), watcher)
            await self.emptied(watcher)
            await self.shut(files)
            self.counts.clear()
            memory = server.resident()
            await self.crowd(seconds, watcher)
            await self.emptied(watcher)
            await self.compare(memory, files)
            closing = await watcher.ask("close")
            if closing["event"] != "closing":
                self.found(f"the watcher's last answer was {closing}")
            watcher.close()
            await self.stop()
        finally:
            await server.kill()
        self.look("until the end")

    async def crowd(self, seconds: float, watcher: Peer) -> None:
        """Visits, many at the same time, for a while."""
        end = time.monotonic() + seconds
        watching = asyncio.create_task(self.watch(watcher))
        try:
            await asyncio.gather(
                *(self.visitor(end, random.Random(self.dice.random())) for _ in range(CROWD))
            )
        finally:
            watching.cancel()
            await asyncio.wait([watching])

    async def watch(self, watcher: Peer) -> None:
        """Keep the watcher from being taken for dead, and count the most that were there."""
        while True:
            rooms = (await watcher.ask("list"))["rooms"]
            there = sum(room["count"] for room in rooms)
            self.counts["users in rooms at most"] = max(
                there, self.counts["users in rooms at most"]
            )
            watcher.aside.clear()
            await asyncio.sleep(2)

    async def visitor(self, end: float, dice: random.Random) -> None:
        """One visit after the other."""
        while time.monotonic() < end:
            visit = dice.choice(VISITS)
            self.counts[f"visits: {getattr(visit, '__name__', '?')}"] += 1
            try:
                async with asyncio.timeout(VISIT):
                    await visit(self, dice)
            except TimeoutError:
                self.found(f"{visit}: no end after {VISIT} seconds")
            except (Gone, OSError) as error:
                self.found(f"{visit}: {error!r}")

    async def emptied(self, watcher: Peer) -> None:
        """Wait until all are gone; the watcher asks who is there."""
        end = time.monotonic() + SETTLE
        while True:
            rooms = (await watcher.ask("list"))["rooms"]
            users = (await watcher.ask("users"))["users"]
            if users != ["watcher"]:
                self.found(f"with the watcher there are {users}")
            if [room["name"] for room in rooms] == ["watch"]:
                break
            if time.monotonic() > end:
                self.found(f"{SETTLE} seconds after all had left there are {rooms}")
                break
            await asyncio.sleep(0.2)
        watcher.aside.clear()

    async def shut(self, files: list[str]) -> list[str]:
        """Wait until the server has closed what it need not have open; the result is what it has.

        It may take some seconds: connections that are being closed wait for the other side.
        """
        end = time.monotonic() + SETTLE
        while len(opened := self.server.descriptors()) > len(files) and time.monotonic() < end:
            await asyncio.sleep(0.2)
        return opened

    async def compare(self, memory: int, files: list[str]) -> None:
        """The server has to be as it was."""
        opened = await self.shut(files)
        now = self.server.resident()
        self.counts["KiB of memory before"] = memory // 1024
        self.counts["KiB of memory after"] = now // 1024
        self.counts["files open before"] = len(files)
        self.counts["files open after"] = len(opened)
        if now > memory + TOLERANCE:
            self.found(f"memory went from {memory // 1024} to {now // 1024} KiB")
        if len(opened) > len(files):
            extra = Counter(opened) - Counter(files)
            self.found(f"open files went from {len(files)} to {len(opened)}: {dict(extra)}")


async def come(soak: Soak, dice: random.Random, *, window: int = 0) -> tuple[Peer, str]:
    """A new connection with a name and a room, and its token."""
    peer = await Peer.connect(soak.server.port, window=window)
    try:
        token = (await peer.ask("hello", "soak/1", seconds=VISIT))["session"]
        if dice.random() < 0.8:
            await peer.ask("name", soak.name(), seconds=VISIT)
        await peer.ask("join", dice.choice(ROOMS), seconds=VISIT)
    except BaseException:
        peer.abort()
        raise
    return peer, token


def part(peer: Peer, dice: random.Random) -> None:
    """Leave without a word, in one of the ways there are."""
    dice.choice((peer.abort, peer.close, peer.finish))()
    peer.close()


async def chat(soak: Soak, dice: random.Random) -> None:
    """Talk, walk about, change names, and leave as one should."""
    peer, _ = await come(soak, dice)
    try:
        for _ in range(dice.randrange(1, 25)):
            command, body = dice.choice(
                (
                    ("say", "hello all " * dice.choice((1, 1, 50))),
                    ("say", "more"),
                    ("me", "waves"),
                    ("join", dice.choice(ROOMS)),
                    ("join", f"own-{dice.randrange(1000)}"),
                    ("name", soak.name()),
                    ("users", ""),
                    ("list", ""),
                    ("history", "20"),
                    ("help", ""),
                    ("msg", "watcher hello"),
                )
            )
            reply = await peer.ask(command, body, seconds=VISIT)
            soak.counts["requests"] += 1
            if reply["event"] == "error":
                soak.found(f"{command} {body[:40]} got {reply}")
            peer.aside.clear()
        await peer.ask("close", seconds=VISIT)
    finally:
        peer.close()


async def drop(soak: Soak, dice: random.Random) -> None:
    """Break off and come back, several times; then break off for good."""
    peer, token = await come(soak, dice)
    try:
        for _ in range(dice.randrange(5)):
            peer.send("say", "about to go")
            if dice.random() < 0.7:
                part(peer, dice)
                before = None
            else:
                before = peer
            peer = await Peer.connect(soak.server.port)
            resumed = await peer.ask("resume", f"{token} {2**52}", seconds=VISIT)
            soak.counts["resumes"] += 1
            if before is not None:
                before.abort()
            if resumed["event"] != "resumed":
                soak.found(f"resume got {resumed}")
                break
            token = resumed["session"]
    finally:
        part(peer, dice)


async def vanish(soak: Soak, dice: random.Random) -> None:
    """Come, and be gone, before or after the first word."""
    for _ in range(dice.randrange(1, 20)):
        peer = await Peer.connect(soak.server.port)
        soak.counts["vanished"] += 1
        if dice.random() < 0.7:
            peer.send("hello")
            peer.send("join", dice.choice(ROOMS))
            if dice.random() < 0.5:
                await peer.event()
        part(peer, dice)


async def flood(soak: Soak, dice: random.Random) -> None:
    """Say a lot at once, and read on; everything is acknowledged, in order."""
    peer, _ = await come(soak, dice)
    count = dice.choice((50, 300, 1000))
    try:
        for n in range(count):
            peer.send("say", f"flood {n}", n)
        peer.send("close", "", "close")
        answers: list[Event] = [event for event in await peer.rest() if "re" in event]
    finally:
        peer.close()
    soak.counts["messages flooded"] += count
    if [event["re"] for event in answers] != [*range(count), "close"]:
        soak.found(
            f"a flood of {count} got {len(answers)} answers, "
            f"the last {answers[-1:]}, kinds {Counter(event['event'] for event in answers)}"
        )


async def stall(soak: Soak, dice: random.Random) -> None:
    """Stop reading in a busy room, for a while; at times with questions open."""
    peer, _ = await come(soak, dice, window=4096)
    try:
        peer.stall()
        for _ in range(dice.choice((0, 0, 100))):
            peer.send(dice.choice(("help", "users", "history", "list")))
        await asyncio.sleep(dice.uniform(0.1, 2.0))
    finally:
        peer.abort()


VISITS: tuple[Visit, ...] = (chat, chat, chat, drop, drop, vanish, flood, stall)


async def soak(seconds: float, seed: int) -> int:
    """One run; the exit status."""
    print(f"soak: {seconds / 60:g} minutes, seed {seed}", flush=True)
    run = Soak(random.Random(seed))
    return await run.end(run.run(seconds), 2 * seconds + 3 * VISIT + 4 * SETTLE + PATIENCE)


def main() -> None:
    """The command line."""
    parser = argparse.ArgumentParser(prog="python -m tests.soak")
    parser.add_argument(
        "--minutes", type=float, default=float(os.environ.get("PYLINGO_SOAK") or 10)
    )
    parser.add_argument("--seed", type=int, default=seed())
    options = parser.parse_args()
    sys.exit(asyncio.run(soak(60 * options.minutes, options.seed)))


if __name__ == "__main__":
    main()
