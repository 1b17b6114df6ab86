"""What to say to each kind of server, as bytes.

Everything said has a fixed width (names, rooms, ids), so that one thing done costs the same bytes
each time and a crowd can count bytes instead of taking frames apart, which Python does slowly.
"""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Dialect:
    """What is said in it, and the words by which an answer is known."""

    name: str
    hail: Callable[[str], bytes]
    """The first words of a connection that wants a name."""
    named: bytes
    """In the answer to that."""
    join: Callable[[str], bytes]
    """Go into a room."""
    there: bytes
    """In the answer to that."""
    leave: Callable[[str], bytes]
    """Go out of it."""
    say: Callable[[str, str, int], bytes]
    """A message, numbered; where it can be, one that is acknowledged when it is stored."""
    joined: bytes
    """Once in each piece of news that somebody has joined."""
    alive: bytes = b""
    """A sign of life without an answer, where one is asked for."""
    settles: float = 0.0
    """Seconds after which the server asks nothing of its own any more."""
    batch: int = 64
    """How many may connect at once; more than may wait to be accepted have to try again."""


def request(command: str, body: str = "", id: int | str | None = None) -> bytes:
    """A request of PyLingo's protocol, written from its page and not by its code."""
    fields: dict[str, int | str] = {"command": command}
    if body:
        fields["body"] = body
    if id is not None:
        fields["id"] = id
    payload = json.dumps(fields, separators=(",", ":")).encode()
    return len(payload).to_bytes(4, "big") + payload


PYLINGO = Dialect(
    "pylingo",
    hail=lambda name: request("name", name, "named!"),
    named=b'"re":"named!"',
    join=lambda room: request("join", room, "there!"),
    there=b'"re":"there!"',
    leave=lambda _: request("leave"),
    say=lambda _, text, number: request("say", text, 1_000_000 + number),
    joined=b'"joined"',
    alive=request("pong"),
)
"""Four bytes of length, then JSON."""
NGIRCD = Dialect(
    "ngircd",
    hail=lambda name: f"NICK {name}\r\nUSER {name} 0 * :x\r\n".encode(),
    named=b" 001 ",
    join=lambda room: f"JOIN #{room}\r\n".encode(),
    there=b" 366 ",
    leave=lambda room: f"PART #{room}\r\n".encode(),
    say=lambda room, text, _: f"PRIVMSG #{room} :{text}\r\n".encode(),
    joined=b" JOIN ",
    batch=8,
)
"""Lines; nothing is acknowledged."""
NATS_SERVER = Dialect(
    "nats",
    hail=lambda name: (
        b'CONNECT {"verbose":false,"echo":false,"name":"%s"}\r\nPING\r\n' % name.encode()
    ),
    named=b"PONG",
    join=lambda room: f"SUB {room} 1\r\nPING\r\n".encode(),
    there=b"PONG",
    leave=lambda _: b"UNSUB 1\r\n",
    say=lambda room, text, _: f"PUB {room} {len(text)}\r\n{text}\r\n".encode(),
    joined=b"",
    # It asks each new client once how long the way is, after two seconds.
    settles=2.5,
)
"""Lines; a room is a subject, nobody hears who is there, nothing is acknowledged."""
