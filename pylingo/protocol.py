"""The wire: requests, events, and how they become bytes.

Both ends speak frames: a 4-byte big-endian length, then that many bytes of UTF-8 with one JSON
object. A client sends requests, a server sends events. Every kind of event is a class here, the
same for both sides, so the types of this module are the protocol's reference:

    client                                     server
      | -- Request(command="join", ...)  -->      |
      | <-- Joined(room="lobby", re=...) --       |   the reply, to the one who asked
      |                                           |   Joined(room, user) to everybody else there
      | -- Request(command="say", id=8) -->       |
      | <-- Sent(id=1700000000000000, re=8) --    |   stored; Message(...) to everybody else there

This is the only module that knows the JSON of the wire. It knows no sockets, no rooms, no users.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from contextlib import suppress
from itertools import takewhile
from struct import Struct as Layout
from typing import Annotated, TypeAlias, get_args
from unicodedata import category

import msgspec
from msgspec import UNSET, Meta, Raw, Struct, UnsetType

LARGEST_REQUEST = 16_384
"""Bytes of JSON in a client's frame."""
LARGEST_EVENT = 1_048_576
"""Bytes of JSON in a server's frame."""
LONGEST_TEXT = 8_192
"""Bytes of UTF-8 in the text of one message."""
LONGEST_ID = 64
"""Characters of a request's id, or digits if it is an integer."""
LONGEST_SHOWN = 1_024
"""Characters of a name, as a client takes it from a server; ours have 32 at most."""
DEEPEST = 500
"""How deep objects and arrays may nest in a request, whichever Python reads it."""
LARGEST_ID = 10**LONGEST_ID
LARGEST_MESSAGE_ID = 2**53 - 1
VERSION = 1

WIRE = frozenset({"hello", "resume", "pong"})
"""Commands that a client gives by itself, and that no person needs."""

RequestId: TypeAlias = int | str
_Name: TypeAlias = Annotated[str, Meta(max_length=LONGEST_SHOWN)]
_Count: TypeAlias = Annotated[int, Meta(ge=0, le=LARGEST_MESSAGE_ID)]
_Id: TypeAlias = int | Annotated[str, Meta(max_length=LONGEST_ID)]


class ChatError(Exception):
    """Something a user or a peer did that cannot be done.

    `code` is for programs (the list is in the protocol's page), `text` for people: a sentence that
    says what to do next. A `fatal` one ends the connection.
    """

    def __init__(self, code: str, text: str, *, fatal: bool = False) -> None:
        super().__init__(text)
        self.code = code
        self.text = text
        self.fatal = fatal


class BadRequest(ChatError):
    """A JSON object that is no request; `id` is the one to answer with, where it had one."""

    def __init__(self, text: str, id: RequestId | None = None) -> None:
        super().__init__("bad_request", text)
        self.id = id


class Request(Struct, frozen=True, omit_defaults=True):
    """A slash command, split at the first space; the server checks the rest."""

    command: str
    body: str = ""
    id: _Id | UnsetType = UNSET

    @property
    def re(self) -> RequestId | None:
        """What the reply has as its `re`."""
        return None if self.id is UNSET else self.id


class Event(
    Struct,
    frozen=True,
    kw_only=True,
    omit_defaults=True,
    gc=False,
    tag_field="event",
    tag=str.lower,
):
    """What a server says. `re` is the id of the request it answers, if that had one."""

    re: RequestId | None = None


class CommandHelp(Struct, frozen=True):
    """One row of the server's table of commands."""

    name: str
    aliases: Sequence[str]
    arguments: str
    help: str


class RoomSummary(Struct, frozen=True):
    """One row of the list of rooms."""

    name: _Name
    count: _Count
    topic: str
    locked: bool


class Welcome(Event, frozen=True):
    server: str
    version: int
    user: _Name
    session: str
    commands: Sequence[CommandHelp]
    motd: str
    password_required: bool


class Stored(Event, frozen=True):
    """What has a place in the log: `id` grows, `at` is Unix time in milliseconds."""

    id: int
    at: int


class Message(Stored, frozen=True):
    room: _Name
    user: _Name
    text: str
    action: bool = False
    replayed: bool = False


class Private(Stored, frozen=True):
    user: _Name
    to: _Name
    text: str
    replayed: bool = False


class Sent(Stored, frozen=True):
    pass


class Joined(Event, frozen=True):
    room: _Name
    user: _Name
    users: Sequence[_Name] | None = None
    count: _Count | None = None
    topic: str | None = None


class Left(Event, frozen=True):
    room: _Name
    user: _Name
    reason: str


class Renamed(Event, frozen=True):
    user: _Name
    to: _Name


class Rooms(Event, frozen=True):
    rooms: Sequence[RoomSummary]


class Users(Event, frozen=True):
    room: _Name
    users: Sequence[_Name]
    operators: Sequence[_Name] = ()


class Help(Event, frozen=True):
    commands: Sequence[CommandHelp]


class History(Event, frozen=True):
    """The last messages, or those before one; `older` if there are more before them."""

    room: _Name
    messages: Sequence[Message]
    older: bool = False


class Resumed(Event, frozen=True):
    user: _Name
    room: _Name | None
    users: Sequence[_Name]
    count: _Count
    topic: str
    session: str


class Topic(Event, frozen=True):
    room: _Name
    topic: str
    user: _Name


class Done(Event, frozen=True):
    """Success without a result of its own. A login also says by which name one goes now."""

    text: str
    user: _Name | None = None


class Notice(Event, frozen=True):
    text: str


class Error(Event, frozen=True):
    code: str
    text: str
    fatal: bool


class Ping(Event, frozen=True):
    pass


class Pong(Event, frozen=True):
    body: str


class Closing(Event, frozen=True):
    reason: str
    text: str


AnyEvent: TypeAlias = (
    Welcome
    | Message
    | Private
    | Sent
    | Joined
    | Left
    | Renamed
    | Rooms
    | Users
    | Help
    | History
    | Resumed
    | Topic
    | Done
    | Notice
    | Error
    | Ping
    | Pong
    | Closing
)


class Unknown(Event, frozen=True):
    """An event of a kind that this version lacks."""


class _Numbered(Struct):
    """Just enough of a bad request to answer it."""

    id: Raw = Raw(b"null")


class _Envelope(Struct):
    """Just enough of an event to tell a new kind from a broken one."""

    event: str
    re: object = None


_json = msgspec.json.Encoder().encode
_prefix = Layout(">I")
_length = _prefix.pack
length_at = _prefix.unpack_from
"""How long a frame is that begins at a place in some bytes, without these first four."""
_ESCAPES = re.compile(
    rb"\\u(?:d[89ab][0-9a-f]{2}\\ud[c-f][0-9a-f]{2}|d[89a-f][0-9a-f]{2})|\\.",
    re.IGNORECASE | re.DOTALL,
)
_STRINGS = re.compile(r'"(?:[^"\\]|\\.)*"?')
_BRACKETS = re.compile(r"[\[{\]}]")
_COMMAND = re.compile(r"/(?![/*])(\S*)\s?(.*)", re.DOTALL)
_WORD = re.compile(r"\s*(\S*)\s?(.*)", re.DOTALL)
_request = msgspec.json.Decoder(Request).decode
_numbered = msgspec.json.Decoder(_Numbered).decode
_id: msgspec.json.Decoder[RequestId] = msgspec.json.Decoder(_Id)
_events: msgspec.json.Decoder[AnyEvent] = msgspec.json.Decoder(AnyEvent)
_envelopes = msgspec.json.Decoder(_Envelope)
_BROKEN = (UnicodeDecodeError, msgspec.DecodeError, RecursionError)
"""What decoding raises for what is not as it should be."""
_KINDS = frozenset(kind.__struct_config__.tag for kind in get_args(AnyEvent))


def encode(thing: Event | Request) -> bytes:
    """The whole frame, length included."""
    payload = _json(thing)
    return _length(len(payload)) + payload


def size(thing: object) -> int:
    """Bytes that it takes, as a part of an event."""
    return len(_json(thing))


def answer(event: Event, re: RequestId | None) -> Event:
    """`event` as the reply to the request with the id `re`."""
    return event if re is None else msgspec.structs.replace(event, re=re)


def decode(frame: bytes) -> Request:
    """Read a client's frame, without its length; half a pair of escapes reads as U+FFFD.

    Raises `ChatError` ``bad_frame`` (fatal) for what is no JSON object in UTF-8, and `BadRequest`
    for an object that is no request.
    """
    try:
        # As text: msgspec checks the UTF-8 only of those strings that it keeps.
        text = frame if frame.isascii() else frame.decode()
        if len(frame) > DEEPEST and _deep(frame):
            raise _bad_frame()
        request = _request(text)
    except _BROKEN as error:
        # It is JSON to have half a character in a string; no program should be cut off for that.
        whole = _ESCAPES.sub(_mended, frame)
        if whole != frame:
            return decode(whole)
        if isinstance(error, msgspec.ValidationError):
            raise _not_a_request(frame, error) from None
        raise _bad_frame() from None
    id = request.id
    if type(id) is int and not -LARGEST_ID < id < LARGEST_ID:
        raise BadRequest(f"An id has at most {LONGEST_ID} digits. Send a shorter one.")
    return request


def decode_event(frame: bytes) -> AnyEvent | Unknown:
    """Read a server's frame, without its length.

    Raises `ChatError` ``bad_frame`` for what no PyLingo server sends.
    """
    try:
        return _events.decode(frame)
    except _BROKEN:
        with suppress(*_BROKEN):
            envelope = _envelopes.decode(frame.decode())
            if envelope.event not in _KINDS:
                return Unknown(re=envelope.re if isinstance(envelope.re, int | str) else None)
    raise ChatError("bad_frame", "That is not what a PyLingo server says.", fatal=True)


def parse(line: str) -> Request:
    """What a person typed: a slash command, or something to say, with two slashes for one.

    The comments that code begins with are things to say.
    """
    # Indented, it is a command all the same: there may be a password in it, not to be said.
    bare = unindented(line)
    command = _COMMAND.match(bare)
    if command is None:
        escaped = bare.startswith("//") and bare[2:3].strip() and "\n" not in line
        return Request("say", line.replace("/", "", 1) if escaped else line)
    return Request(command[1], command[2])


def unindented(line: str) -> str:
    """`line` from the first character on that takes room and is no blank.

    What is pasted may begin with marks that nobody sees.
    """
    unseen = takewhile(lambda c: c.isspace() or category(c) in ("Cc", "Cf"), line)
    return line[len([*unseen]) :]


def first_word(text: str) -> tuple[str, str]:
    """The first word, and what follows the blank after it, which may be a wide one."""
    word = _WORD.match(text)
    assert word is not None
    return word[1], word[2]


def _mended(escape: re.Match[bytes]) -> bytes:
    """An escape in a string; U+FFFD for half of a pair."""
    half = len(escape[0]) == len(rb"\ufffd")
    return rb"\ufffd" if half else escape[0]


def _deep(frame: bytes) -> bool:
    if frame.count(b"[") + frame.count(b"{") <= DEEPEST:
        return False
    depth = 0
    for bracket in _BRACKETS.findall(_STRINGS.sub("", frame.decode())):
        depth += 1 if bracket in "[{" else -1
        if depth > DEEPEST:
            return True
    return False


def _bad_frame() -> ChatError:
    return ChatError(
        "bad_frame",
        "A frame holds one JSON object in UTF-8. Connect again and send such frames.",
        fatal=True,
    )


def _not_a_request(frame: bytes, error: msgspec.ValidationError) -> ChatError:
    try:
        raw = _numbered(frame).id
    except _BROKEN:
        return _bad_frame()
    known = None
    with suppress(*_BROKEN):
        known = _id.decode(raw)
    if type(known) is int and not -LARGEST_ID < known < LARGEST_ID:
        known = None
    return BadRequest(f"A request is an object with a command. This one is not: {error}.", known)
