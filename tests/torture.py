"""The torture: nothing lost, nothing shown twice, however often the server is killed.

    python -m tests.torture --kills 100 --seed 7

A real server with a database; ten talkers and five listeners in three rooms. While they talk, in
rooms and in private, the server is killed with ``kill -9`` and started again: while it starts, at
random moments, and the moment after something was acknowledged. Connections break as well, from
the clients' side: abruptly, politely, by halves, and by hanging on beside the new one. Each client
comes back with its token and the last id it saw, and says again what was not acknowledged, under
the same id; at times also what was.

In the end every message is in the database once, under the id that was acknowledged; everyone has
seen every message of the room, and every private one to them, once, in the order of ids; nobody
saw anything else.
"""

from __future__ import annotations

import argparse
import asyncio
import contextlib
import os
import random
import sqlite3
import sys
import time
from collections import Counter
from dataclasses import dataclass
from itertools import pairwise

from tests.peer import PATIENCE, Event, Gone, Peer, Run, seed

ROOMS = ("lobby", "garden", "Küche")
TALKERS = 10
LISTENERS = 5
MOST_PENDING = 12
"""Messages that a talker says ahead of their acknowledgement."""
SETTLE = 30.0
"""Seconds that everything may take to arrive when the killing is over."""
OPTIONS = {"--rate": 0, "--max-per-host": 0, "--max-users": 0}


@dataclass
class Words:
    """One message, as its sender knows it."""

    re: int | str
    command: str
    body: str
    text: str
    sent: int = 0


class Torture(Run):
    """One run: the server, the people, and what went wrong."""

    def __init__(self, dice: random.Random) -> None:
        super().__init__("torture", OPTIONS)
        self.dice = dice
        self.quiet = False
        """Nobody breaks a connection or begins a message any more."""
        self.over = False
        self.acknowledged = asyncio.Event()
        self.people = [
            Person(self, f"talker-{n}", ROOMS[n % len(ROOMS)], talks=True) for n in range(TALKERS)
        ] + [
            Person(self, f"listener-{n}", ROOMS[n % len(ROOMS)], talks=False)
            for n in range(LISTENERS)
        ]

    async def run(self, kills: int) -> None:
        """Everything, from the first start to the last check."""
        await self.server.start()
        try:
            await self.server.ready()
            await asyncio.gather(*(person.arrive() for person in self.people))
            lives = [asyncio.create_task(person.live()) for person in self.people]
            try:
                await self.torment(kills)
                self.quiet = True
                await self.settle()
            finally:
                self.over = True
                for life in lives:
                    life.cancel()
                ended = await asyncio.gather(*lives, return_exceptions=True)
            for error in ended:
                if isinstance(error, Exception):
                    self.found(f"a client broke: {error!r}")
            await self.look_back()
            await self.stop()
        finally:
            await self.server.kill()
        self.check()
        self.look("until the end")

    async def read_beside(self) -> None:
        """Another program looks into the database, as a backup does."""
        self.counts["read beside"] += 1
        look = "import sqlite3, sys; sqlite3.connect(sys.argv[1]).execute('SELECT * FROM sessions')"
        reading = await asyncio.create_subprocess_exec(
            sys.executable, "-c", look, str(self.server.database)
        )
        await asyncio.wait_for(reading.wait(), PATIENCE)

    async def torment(self, kills: int) -> None:
        """Kill the server and start it again, over and over."""
        dice, server = self.dice, self.server
        for _ in range(kills):
            how = dice.choices(("starting", "talking", "acknowledging"), (1, 5, 4))[0]
            if how == "starting" and server.starts > 1:
                await asyncio.sleep(dice.uniform(0.0, 0.7))
            else:
                await server.ready()
                await asyncio.sleep(dice.uniform(0.0, 0.4))
                if how == "acknowledging":
                    self.acknowledged.clear()
                    try:
                        await asyncio.wait_for(self.acknowledged.wait(), PATIENCE)
                    except TimeoutError:
                        self.found(f"nothing was acknowledged for {PATIENCE} seconds")
            if not server.running:
                self.found("the server had ended by itself")
            if dice.random() < 0.3:
                await self.read_beside()
            self.counts[f"kills while {how}"] += 1
            await server.kill()
            await server.start()
        await server.ready()
        await asyncio.sleep(0.5)

    async def settle(self) -> None:
        """Wait until everything said is acknowledged and everything stored is seen."""
        end = time.monotonic() + SETTLE
        while time.monotonic() < end:
            await asyncio.sleep(0.1)
            if any(person.pending for person in self.people):
                continue
            stored = self.stored()
            if all(person.has_seen(person.due(stored)) for person in self.people):
                break
        # What comes too often may come late.
        await asyncio.sleep(0.5)

    async def look_back(self) -> None:
        """Page through each room's history, as someone new: it has to be what is stored."""
        stored = self.stored()
        for room in ROOMS:
            peer = await Peer.connect(self.server.port)
            await peer.ask("join", room)
            ids: list[int] = []
            before = ""
            while True:
                page = (await peer.ask("history", f"200{before}"))["messages"]
                if not page:
                    break
                ids[:0] = [message["id"] for message in page]
                before = f" {ids[0]}"
            if ids != [id for id, place, *_ in stored if place == "#" + room.casefold()]:
                self.found(f"the history of {room} is not what is stored")
            await peer.ask("close")
            peer.close()

    def stored(self) -> list[tuple[int, str, str, str, str]]:
        """Every message in the database: id, place, target, user and text."""
        address = f"file:{self.server.database}?mode=ro"
        with contextlib.closing(sqlite3.connect(address, uri=True, timeout=PATIENCE)) as connection:
            return connection.execute(
                "SELECT id, place, target, user, text FROM messages ORDER BY id"
            ).fetchall()

    def check(self) -> None:
        """Compare what was said, what is stored, and what was seen."""
        stored = self.stored()
        self.counts["stored"] = len(stored)
        times = Counter((user, text) for *_, user, text in stored)
        ids = {(user, text): id for id, _, _, user, text in stored}
        for person in self.people:
            for words in person.said:
                what = f"{person.name}'s {words.command} {words.text[:20]!r}"
                count = times.pop((person.name, words.text), 0)
                if not words.sent:
                    self.found(f"{what} was never acknowledged (stored {count} times)")
                if count != 1:
                    self.found(f"{what} is stored {count} times")
                elif words.sent and words.sent != ids[person.name, words.text]:
                    self.found(f"{what} is stored under another id than acknowledged")
            person.check(stored)
        for user, text in times:
            self.found(f"stored, but nobody said it: {user} {text[:40]!r}")


class Person:
    """A client that will not be stopped."""

    def __init__(self, torture: Torture, name: str, room: str, *, talks: bool) -> None:
        self.torture = torture
        self.name = name
        self.room = room
        self.talks = talks
        self.dice = random.Random(torture.dice.random())
        self.token = ""
        self.last = 0
        self.said: list[Words] = []
        self.pending: dict[int | str, Words] = {}
        self.doubled: dict[int | str, Words] = {}
        self.seen: list[tuple[int, str, str, str]] = []
        """Id, sender, target and text of every message and private message that was heard."""
        self._again: list[Words] = []
        self._hanging: tuple[Peer, int] | None = None

    async def arrive(self) -> None:
        """Take the name and go into the room."""
        peer = await Peer.connect(self.torture.server.port)
        self.token = (await peer.ask("hello", "torture/1"))["session"]
        await peer.ask("name", self.name)
        joined = await peer.ask("join", self.room)
        if joined["event"] != "joined":
            self.torture.found(f"{self.name} could not join: {joined}")
        peer.abort()

    async def live(self) -> None:
        """Come back as often as it takes."""
        while not self.torture.over:
            try:
                peer = await Peer.connect(self.torture.server.port)
            except OSError:
                await asyncio.sleep(0.02)
                continue
            kept = False
            try:
                kept = await self.converse(peer)
            except Gone:
                self.torture.counts["connections lost"] += 1
            finally:
                if not kept:
                    peer.abort()

    async def converse(self, peer: Peer) -> bool:
        """Serve one connection until it ends; whether it is left hanging."""
        dice, torture = self.dice, self.torture
        await self.resume(peer)
        await self.unhang()
        if not torture.quiet and dice.random() < 0.2:
            # What was missed is seen, one's own with it; what was not acknowledged is not yet
            # said again. That has to be known again after the next resume as well.
            torture.counts["dropped before saying again"] += 1
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(0.05):
                    await self.listen(peer)
            return False
        talking = asyncio.create_task(self.talk(peer)) if self.talks else None
        try:
            async with asyncio.timeout(dice.expovariate(1 / 0.6)):
                await self.listen(peer)
        except TimeoutError:
            if torture.quiet:
                await self.listen(peer)
        finally:
            if talking is not None:
                talking.cancel()
        how = dice.choice(("abort", "close", "finish", "hang"))
        torture.counts[f"dropped by {how}"] += 1
        if how == "hang":
            self._hanging = peer, torture.server.starts
            return True
        if how == "close":
            peer.close()
        elif how == "finish":
            peer.finish()
            starts = torture.server.starts
            try:
                async with asyncio.timeout(PATIENCE):
                    await self.listen(peer)
            except TimeoutError:
                if torture.server.starts == starts:
                    torture.found(f"{self.name}'s connection was shut but not closed")
        return False

    async def resume(self, peer: Peer) -> None:
        """Take the session up again, with the last id that was seen."""
        torture = self.torture
        torture.counts["resumes"] += 1
        if self.dice.random() < 0.5:
            peer.send("hello", "torture/1")
        peer.send("resume", f"{self.token} {self.last}", "resume")
        try:
            async with asyncio.timeout(PATIENCE):
                event = await peer.event()
                while event["event"] != "resumed":
                    if event["event"] != "welcome":
                        torture.found(f"{self.name} heard before the resume: {event}")
                    event = await peer.event()
        except TimeoutError:
            torture.found(f"{self.name} could not resume in {PATIENCE} seconds")
            raise Gone from None
        if (event["user"], event["room"]) != (self.name, self.room):
            torture.found(f"{self.name} in {self.room} came back as {event}")
        self.token = event["session"]

    async def unhang(self) -> None:
        """The connection before, if it still hangs, has to hear that it was replaced."""
        if self._hanging is None:
            return
        (peer, starts), self._hanging = self._hanging, None
        try:
            async with asyncio.timeout(PATIENCE):
                events = await peer.rest()
        except TimeoutError:
            events = []
        finally:
            peer.abort()
        last = events[-1] if events else {}
        if last.get("reason") != "replaced" and self.torture.server.starts == starts:
            self.torture.found(f"{self.name}'s hanging connection ended with {last}")

    async def talk(self, peer: Peer) -> None:
        """Say again what is not acknowledged; then say something now and then."""
        dice, torture = self.dice, self.torture
        self._again = list(self.pending.values())
        while True:
            again, self._again = self._again, []
            for words in again:
                torture.counts["said again"] += 1
                peer.send(words.command, words.body, words.re)
            if not torture.quiet and len(self.pending) < MOST_PENDING:
                if self.said and dice.random() < 0.03:
                    self.double(peer)
                words = self.compose()
                peer.send(words.command, words.body, words.re)
            await asyncio.sleep(dice.expovariate(1 / 0.02))

    def double(self, peer: Peer) -> None:
        """Say again something that was acknowledged."""
        words = self.dice.choice(self.said)
        if words.sent and words.command != "msg":
            self.torture.counts["doubled"] += 1
            self.doubled[words.re] = words
            peer.send(words.command, words.body, words.re)

    def compose(self) -> Words:
        """Something new to say."""
        dice = self.dice
        number = len(self.said)
        text = f"{self.name}/{number}" + " ä" * dice.choice((0, 0, 1, 40, 1500))
        re = number if dice.random() < 0.5 else f"words {number}"
        if dice.random() < 0.2:
            to = dice.choice([p.name for p in self.torture.people if p is not self])
            words = Words(re, "msg", f"{to} {text}", text)
        else:
            words = Words(re, dice.choice(("say", "say", "me")), text, text)
        self.said.append(words)
        self.pending[re] = words
        return words

    async def listen(self, peer: Peer) -> None:
        """Hear, until the connection ends."""
        while True:
            self.hear(await peer.event(), peer)

    def hear(self, event: Event, peer: Peer) -> None:
        """One event."""
        torture = self.torture
        kind = event["event"]
        if kind in ("message", "private"):
            self.last = max(self.last, event["id"])
            target = event["room"] if kind == "message" else event["to"]
            self.seen.append((event["id"], event["user"], target, event["text"]))
            torture.counts["seen"] += 1
        elif kind == "sent":
            self.sent(event)
        elif (
            kind == "error" and event["code"] == "no_such_user" and event.get("re") in self.pending
        ):
            # After a restart, whom it is for may be later than the one who says it.
            self._again.append(self.pending[event["re"]])
        elif kind == "ping":
            peer.send("pong")
        elif kind not in ("joined", "left"):
            torture.found(f"{self.name} heard {event}")

    def sent(self, event: Event) -> None:
        """Something is acknowledged."""
        torture = self.torture
        words = self.pending.pop(event["re"], None) or self.doubled.get(event["re"])
        if words is None:
            torture.found(f"{self.name} was told of something not said: {event}")
        elif words.sent not in (0, event["id"]):
            torture.found(f"{self.name} was told {event} after {words.sent}")
        else:
            words.sent = event["id"]
            torture.counts["acknowledged"] += 1
            torture.acknowledged.set()
            if self.dice.random() < 0.5:
                # Either is a client's right: to count what it said itself as seen, or not to.
                self.last = max(self.last, event["id"])

    def due(self, stored: list[tuple[int, str, str, str, str]]) -> list[tuple[int, str, str, str]]:
        """What of all that is stored this person had to see."""
        here = "#" + self.room.casefold()
        return [
            (id, user, target, text)
            for id, place, target, user, text in stored
            if user != self.name and (place == here or (place[0] != "#" and target == self.name))
        ]

    def has_seen(self, due: list[tuple[int, str, str, str]]) -> bool:
        """Whether all that is due was seen, whatever else was."""
        return set(due) <= set(self.seen)

    def check(self, stored: list[tuple[int, str, str, str, str]]) -> None:
        """What was seen has to be what was due, and of one's own at most what was stored."""
        found = self.torture.found
        ids = [id for id, *_ in self.seen]
        if ids != sorted(set(ids)):
            wrong = [(a, b) for a, b in pairwise(ids) if a >= b]
            found(f"{self.name} saw ids out of order or twice: {wrong[:5]} ({len(wrong)})")
        due = self.due(stored)
        others = [row for row in self.seen if row[1] != self.name]
        if others != due:
            missed, extra = set(due) - set(others), set(others) - set(due)
            found(
                f"{self.name} saw {len(others)} messages of {len(due)}: missed {len(missed)} "
                f"{sorted(missed)[:3]}, extra {len(extra)} {sorted(extra)[:3]}"
            )
        own = {(id, user, target, text) for id, _, target, user, text in stored}
        strange = [row for row in self.seen if row[1] == self.name and row not in own]
        if strange:
            found(f"{self.name} saw as own what is not stored: {strange[:3]}")


async def torture(kills: int, seed: int) -> int:
    """One run; the exit status."""
    print(f"torture: {kills} kills, seed {seed}", flush=True)
    run = Torture(random.Random(seed))
    return await run.end(run.run(kills), 120 + 8 * kills)


def main() -> None:
    """The command line."""
    parser = argparse.ArgumentParser(prog="python -m tests.torture")
    parser.add_argument("--kills", type=int, default=int(os.environ.get("PYLINGO_KILLS") or 30))
    parser.add_argument("--seed", type=int, default=seed())
    options = parser.parse_args()
    sys.exit(asyncio.run(torture(options.kills, options.seed)))


if __name__ == "__main__":
    main()
