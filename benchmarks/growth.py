"""What a thing costs when there is more of everything else.

Each curve is a cost at several sizes, in microseconds of the server's own processor, so that it
does not matter how fast the load is; with the same work at each size.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from benchmarks.crowd import Crowd, Link
from benchmarks.dialects import request
from benchmarks.servers import Server, most_links
from benchmarks.workloads import chatter, pings, settle, sized, steady, talk

MEMBERS = (50, 100, 200, 500, 1000, 2000, 5000)
ROOMS = (10, 20, 50, 100, 200, 500, 1000, 2000, 5000)
USERS = (10, 100, 1000, 3000, 10_000)
BEHIND = 16
"""Requests in flight, where one user makes them."""


@dataclass(frozen=True, slots=True)
class Curve:
    """A cost, for which sizes, and what a size is."""

    name: str
    what: str
    along: str
    sizes: tuple[int, ...]
    cost: Callable[[Server, int, float], float]


def singly(server: Server, members: int, size: float) -> float:
    """One delivery, with one message at a time."""
    count = max(10, sized(200_000, size) // members)
    return pings(server, members, count)[1].cpu * 1e6 / (count * members)


def flooded(server: Server, members: int, size: float) -> float:
    """One delivery, with 64 messages in flight."""
    count = max(64, sized(2_000_000, size) // members)
    return talk(server, members, count, 100, 64)[0].cpu * 1e6 / (count * members)


def housed(server: Server, rooms: int, size: float) -> float:
    """One message in rooms of two, with 160 in flight however many rooms there are."""
    count = sized(40_000, size)
    return chatter(server, rooms, 2, count, 160).cpu * 1e6 / count


def joined(server: Server, users: int, size: float) -> float:
    """Going into an empty room and out again."""
    return _beside(server, users, size, lambda _: request("join", "attic") + request("leave"))


def named(server: Server, users: int, size: float) -> float:
    """Changing one's name."""
    return _beside(server, users, size, lambda number: request("name", f"nomad{number % 90 + 10}"))


def _beside(server: Server, users: int, size: float, what: Callable[[int], bytes]) -> float:
    count = sized(6_000, size)
    with Crowd(server.dialect, server.port) as crowd:
        settle(crowd, users)
        actor: Link = crowd.come(["actor"])[0]
        crowd.send(actor, what(1))
        crowd.settle()
        spent = steady(server, crowd, lambda n: crowd.send(actor, what(n)), count, BEHIND)
        return spent.cpu * 1e6 / count


CURVES = (
    Curve("singly", "a delivery, one message at a time", "members", MEMBERS, singly),
    Curve("flooded", "a delivery, 64 messages in flight", "members", MEMBERS, flooded),
    Curve("housed", "a message in rooms of two", "rooms", ROOMS, housed),
    Curve("joined", "join and leave", "users", USERS, joined),
    Curve("named", "name", "users", USERS, named),
)
PANELS = (
    ("Deliveries", "members of the room", ("singly", "flooded")),
    ("Messages", "rooms of two", ("housed",)),
    ("Requests", "users present", ("joined", "named")),
)
"""What is drawn together: title, what is along, and the curves."""


def possible(curve: Curve, quick: bool) -> list[int]:
    """The sizes that this system can have."""
    people = 2 if curve.along == "rooms" else 1
    sizes = [size for size in curve.sizes if size * people + 10 <= most_links()]
    return sizes[:3:2] if quick else sizes


def measure(curve: Curve, at: int, size: float) -> float:
    """A point of a curve, on a server of its own."""
    with Server("pylingo") as server:
        return curve.cost(server, at, size)
