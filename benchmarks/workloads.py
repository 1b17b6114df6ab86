"""What is done to a server, and what that tells.

Each workload takes a running server and a size, and gives a `Figure`: what a person with a watch
would see, and what the server's own processor time says, which does not depend on how fast the load
is. `once` runs one on a server of its own.
"""

from __future__ import annotations

import gc
import statistics
import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import TypeAlias

from benchmarks.crowd import Crowd, Link, Stalled
from benchmarks.servers import Server, most_links

ROOM = "bench000"
BURST = 8
"""Messages that each of many talkers has in flight."""
STALLED = 30.0
"""Seconds in which something has to come."""


@dataclass(frozen=True, slots=True)
class Figure:
    """One measurement: what the watch says, and microseconds of the server's processor."""

    value: float
    cpu: float | None = None
    load: float | None = None
    """The share of the time in which the load had work as well; near 1, it was what is measured."""
    note: str = ""


Run: TypeAlias = Callable[[Server, float], Figure]


@dataclass(frozen=True, slots=True)
class Workload:
    """What is done; in which unit, whether more of that is better, and who cannot do it."""

    what: str
    unit: str
    better: str
    run: Run
    unable: frozenset[str] = frozenset()
    tls: bool = False


@dataclass(frozen=True, slots=True)
class Spent:
    """What something took: seconds by the watch, of the server's processor, and of the load's."""

    seconds: float
    cpu: float
    load: float

    def figure(self, value: float, units: int, note: str = "") -> Figure:
        """The figure, where so many units were done meanwhile."""
        return Figure(value, self.cpu * 1e6 / units, self.load / self.seconds, note)


class Watch:
    """What has been spent since it was started."""

    def __init__(self, server: Server) -> None:
        self._server = server
        self._cpu, self._load = server.cpu(), time.process_time()
        self._begun = time.perf_counter()

    def spent(self) -> Spent:
        """So far."""
        seconds = time.perf_counter() - self._begun
        return Spent(seconds, self._server.cpu() - self._cpu, time.process_time() - self._load)


def sized(full: int, size: float, least: int = 4) -> int:
    """`full`, or less of it."""
    return max(least, round(full * size))


def people(full: int, size: float, least: int = 4) -> int:
    """`full`, or fewer of them; a long run has more to do, and not more who do it."""
    return sized(full, min(size, 1.0), least)


def names(count: int, letter: str = "u") -> list[str]:
    """That many names of the same length."""
    return [f"{letter}{number:05}" for number in range(count)]


def gathered(crowd: Crowd, members: int, slow: int = 0) -> tuple[Link, list[Link]]:
    """A talker and `members` more, all in one room; the last ones `slow`, with little room."""
    talker = crowd.come(["talker"])
    others = crowd.come(names(members - slow))
    if slow:
        others += crowd.come(names(slow, "s"), window=4096)
    everyone = talker + others
    # Some tell each who comes of all who are there; a few at a time are quicker for it.
    for start in range(0, len(everyone), 50):
        crowd.join(everyone[start : start + 50], lambda _: ROOM)
    crowd.settle()
    return talker[0], others


def settle(crowd: Crowd, users: int) -> None:
    """That many users in rooms of ten, who came little by little: a rush would leave its traces."""
    for start in range(0, users, 100):
        links = crowd.come(names(min(100, users - start), f"s{start // 100:04}-"))
        places = [f"room{(start + number) // 10:05}" for number in range(len(links))]
        crowd.join(links, places.__getitem__)
    crowd.settle()


def caused(crowd: Crowd, send: Callable[[int], None]) -> int:
    """Do something for the first time, to learn how many bytes come of it."""
    before = crowd.total
    send(0)
    crowd.until(lambda: crowd.total > before, "the first message")
    crowd.quiet()
    return crowd.total - before


def steady(
    server: Server, crowd: Crowd, send: Callable[[int], None], count: int, window: int
) -> Spent:
    """Do something `count` times, `window` of it at once, until all that it causes has come.

    It is done once before.
    """
    unit = caused(crowd, send)
    base, sent = crowd.total, 0
    gc.disable()
    try:
        with server.watch():
            last, moved = base, time.monotonic()
            watch = Watch(server)
            while (got := crowd.total - base) < count * unit:
                most = min(count, got // unit + window)
                while sent < most:
                    sent += 1
                    send(sent)
                crowd.pump(0.5)
                if crowd.total != last:
                    last, moved = crowd.total, time.monotonic()
                elif time.monotonic() - moved > STALLED:
                    raise Stalled(f"{got} of {count * unit} bytes came")
            return watch.spent()
    finally:
        gc.enable()


def talk(
    server: Server, members: int, count: int, length: int, window: int, slow: int = 0
) -> tuple[Spent, str]:
    """One talker, who has `window` messages in flight; `slow` of the members read nothing."""
    with Crowd(server.dialect, server.port, tls=server.tls) as crowd:
        talker, others = gathered(crowd, members, slow)
        neglected = others[len(others) - slow :] if slow else []
        crowd.neglect(neglected)
        text = "x" * length
        spent = steady(
            server,
            crowd,
            lambda number: crowd.send(talker, server.dialect.say(ROOM, text, number)),
            count,
            window,
        )
        note = f"{crowd.dropped(neglected)} of {slow} dropped" if slow else ""
        return spent, note


def ping(server: Server, size: float) -> Figure:
    """One message at a time to 500 members."""
    members, count = people(500, size), sized(200, size, 20)
    laps, spent = pings(server, members, count)
    return spent.figure(statistics.median(laps) * 1e3, count * members)


def pings(server: Server, members: int, count: int) -> tuple[list[float], Spent]:
    """One message at a time: how long each took until all had it, and all of them together."""
    laps: list[float] = []
    with Crowd(server.dialect, server.port, tls=server.tls) as crowd:
        talker, _ = gathered(crowd, members)
        # The acknowledgement is not waited for here: the lap ends when the last member has it.
        talker.counts = False

        def say(number: int) -> None:
            crowd.send(talker, server.dialect.say(ROOM, "x" * 100, number))

        unit = caused(crowd, say)
        watch = Watch(server)
        for number in range(1, count + 1):
            target = crowd.total + unit
            end = time.monotonic() + STALLED
            begun = time.perf_counter()
            say(number)
            while crowd.total < target:
                crowd.pump(0.5)
                if time.monotonic() > end:
                    raise Stalled(f"message {number} did not come to everyone")
            laps.append(time.perf_counter() - begun)
        return laps, watch.spent()


def flood(full: int, messages: int, length: int = 100, window: int = 64, neglected: int = 0) -> Run:
    """One talker in a room of so many, of which some may read nothing."""

    def run(server: Server, size: float) -> Figure:
        members, count = people(full, size), sized(messages, size)
        slow = people(neglected, size, 1) if neglected else 0
        spent, note = talk(server, members, count, length, window, slow)
        delivered = (members - slow) * count
        return spent.figure(delivered / spent.seconds, delivered, note)

    return run


def rooms(server: Server, size: float) -> Figure:
    """100 rooms of 5, everyone talks, 8 messages in flight each."""
    many = people(100, size)
    count = many * 5 * sized(150, size)
    spent = chatter(server, many, 5, count, BURST * many * 5)
    return spent.figure(count / spent.seconds, count)


def chatter(server: Server, many: int, each: int, count: int, window: int) -> Spent:
    """Rooms in which everyone talks, one after the other, `window` messages in flight in all."""
    with Crowd(server.dialect, server.port) as crowd:
        links = crowd.come(names(many * each))
        places = [f"room{number // each:05}" for number in range(len(links))]
        crowd.join(links, places.__getitem__)
        crowd.settle()
        text = "x" * 100
        say, send, everyone = server.dialect.say, crowd.send, len(links)

        def speak(number: int) -> None:
            # Eight in a row, as from somebody who has eight in flight.
            who = number // BURST % everyone
            send(links[who], say(places[who], text, number))

        return steady(server, crowd, speak, count, window)


def storm(server: Server, size: float) -> Figure:
    """1500 join one room at once."""
    members = people(1500, size)
    with Crowd(server.dialect, server.port) as crowd:
        links = crowd.come(names(members))
        crowd.settle()
        # The last to come is told of itself, the first of everyone.
        wanted = members * (members + 1) // 2
        crowd.tally = server.dialect.joined
        for link in links:
            link.tail = b""
        join = server.dialect.join(ROOM)
        watch = Watch(server)
        for link in links:
            crowd.send(link, join)
        crowd.until(lambda: crowd.tallied >= wanted, "everyone to have heard of everyone", 120)
        spent = watch.spent()
        return spent.figure(spent.seconds, wanted)


def idle(server: Server, size: float) -> Figure:
    """9000 connections, named and in rooms of 10, of which nobody talks."""
    members = min(people(9000, size), most_links())
    if members < 1:
        raise Stalled("a process may have too few files open here (ulimit -n)")
    before = server.resident()
    with Crowd(server.dialect, server.port) as crowd:
        settle(crowd, members)
        time.sleep(1)
        used = server.resident() - before
    return Figure(used / 1024 / members, note=f"{members} connections")


def churn(server: Server, size: float) -> Figure:
    """50 come and go all the time, in front of 450 who stay; 50 comings and goings in flight."""
    stayers, goers, count = people(450, size), people(50, size), sized(2500, size)
    with Crowd(server.dialect, server.port) as crowd:
        gathered(crowd, stayers - 1)
        guests = crowd.come(names(goers, "g"))
        for guest in guests:
            guest.counts = False
        both = server.dialect.join(ROOM) + server.dialect.leave(ROOM)
        crowd.settle()
        spent = steady(
            server,
            crowd,
            lambda number: crowd.send(guests[number % goers], both),
            count,
            goers,
        )
    return spent.figure(2 * count / spent.seconds, 2 * count * stayers)


MUTE = frozenset({"nats"})
"""Tells nobody who comes and goes."""
SHORT = frozenset({"ngircd"})
"""Has lines of at most 512 bytes."""
WORKLOADS = {
    "ping": Workload("one message at a time to 500 members, until the last has it",
                     "ms", "lower", ping),
    "flood": Workload("64 messages in flight to 500 members",
                      "deliveries/s", "higher", flood(500, 4000)),
    "rooms": Workload("100 rooms of 5, everyone talks", "messages/s", "higher", rooms),
    "storm": Workload("1500 join one room at once", "s", "lower", storm, MUTE),
    "idle": Workload("memory for each of 9000 idle connections, in rooms of 10",
                     "KiB", "lower", idle),
    "big": Workload("messages of 4 KiB to 200 members, 16 in flight",
                    "deliveries/s", "higher", flood(200, 1500, 4096, 16), SHORT),
    "churn": Workload("50 come and go all the time, before 450 who stay",
                      "comings and goings/s", "higher", churn, MUTE),
    "slow": Workload("as flood, of 400 bytes, to 200 members of which 20 read nothing",
                     "deliveries/s", "higher", flood(200, 8000, 400, neglected=20)),
    "tls": Workload("as flood, to 200 members, over TLS",
                    "deliveries/s", "higher", flood(200, 3000), tls=True),
}  # fmt: skip


def once(workload: Workload, name: str, size: float, reactor: str = "") -> Figure:
    """Run a workload on a server that is started for it. Raises `Stalled`."""
    with Server(name, tls=workload.tls, reactor=reactor) as server:
        try:
            return workload.run(server, size)
        except (Stalled, OSError) as error:
            raise Stalled(f"{error}\n{server.log()}") from None
