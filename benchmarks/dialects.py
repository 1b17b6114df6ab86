"""What to say to each kind of server, as bytes.

Everything said has a fixed width (names, rooms, ids), so that one thing done costs the same bytes
each time and a crowd can count bytes instead of taking frames apart, which Python does slowly.
"""

from __future__ import annotations

import json
from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Dialect:
    """Which dialect it is, and the words by which an answer is known."""

    name: str
    named: bytes
    """In the answer to `hail`."""
    there: bytes
    """In the answer to `join`."""
    joined: bytes
    """Once in each piece of news that somebody has joined."""
    settles: float = 0.0
    """Seconds after which the server asks nothing of its own any more."""
    batch: int = 64
    """How many may connect at once; more than may wait to be accepted have to try again."""

    def hail(self, name: str) -> bytes:
        """The first words of a connection."""
        raise NotImplementedError

    def join(self, room: str) -> bytes:
        """Go into a room."""
        raise NotImplementedError

    def leave(self, room: str) -> bytes:
        """Go out of it."""
        raise NotImplementedError

    def say(self, room: str, text: str, number: int) -> bytes:
        """A message; where it can be, one that is acknowledged when it is stored."""
        raise NotImplementedError

    def alive(self) -> bytes:
        """A sign of life without an answer, where one is asked for."""
        return b""


class PyLingo(Dialect):
    """Four bytes of length, then JSON."""

    def hail(self, name: str) -> bytes:
        return request("name", name, "named!")

    def join(self, room: str) -> bytes:
        return request("join", room, "there!")

    def leave(self, room: str) -> bytes:  # noqa: ARG002 - the room is the one that one is in
        return request("leave")

    def say(self, room: str, text: str, number: int) -> bytes:  # noqa: ARG002 - as above
        return request("say", text, 1_000_000 + number)

    def alive(self) -> bytes:
        return request("pong")


class IRC(Dialect):
    """Lines; nothing is acknowledged."""

    def hail(self, name: str) -> bytes:
        return f"NICK {name}\r\nUSER {name} 0 * :x\r\n".encode()

    def join(self, room: str) -> bytes:
        return f"JOIN #{room}\r\n".encode()

    def leave(self, room: str) -> bytes:
        return f"PART #{room}\r\n".encode()

    def say(self, room: str, text: str, number: int) -> bytes:  # noqa: ARG002
        return f"PRIVMSG #{room} :{text}\r\n".encode()


class NATS(Dialect):
    """Lines; a room is a subject, nobody hears who is there, nothing is acknowledged."""

    def hail(self, name: str) -> bytes:
        return b'CONNECT {"verbose":false,"echo":false,"name":"%s"}\r\nPING\r\n' % name.encode()

    def join(self, room: str) -> bytes:
        return f"SUB {room} 1\r\nPING\r\n".encode()

    def say(self, room: str, text: str, number: int) -> bytes:  # noqa: ARG002
        return f"PUB {room} {len(text)}\r\n{text}\r\n".encode()


def request(command: str, body: str = "", id: int | str | None = None) -> bytes:
    """A request of PyLingo's protocol, written from its page and not by its code."""
    fields: dict[str, int | str] = {"command": command}
    if body:
        fields["body"] = body
    if id is not None:
        fields["id"] = id
    payload = json.dumps(fields, separators=(",", ":")).encode()
    return len(payload).to_bytes(4, "big") + payload


PYLINGO = PyLingo("pylingo", b'"re":"named!"', b'"re":"there!"', b'"joined"')
NGIRCD = IRC("ngircd", b" 001 ", b" 366 ", b" JOIN ", batch=8)
# It asks each new client once how long the way is, after two seconds.
NATS_SERVER = NATS("nats", b"PONG", b"PONG", b"", settles=2.5)
