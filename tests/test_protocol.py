"""The wire: what becomes of events, and of whatever a peer sends."""

from __future__ import annotations

import json
from typing import Any, get_args
from unicodedata import category

import msgspec
from hypothesis import example, given, settings
from hypothesis import strategies as st
from twisted.trial.unittest import SynchronousTestCase

from pylingo import protocol
from pylingo.protocol import (
    DEEPEST,
    LARGEST_ID,
    LONGEST_ID,
    BadRequest,
    ChatError,
    CommandHelp,
    Error,
    Event,
    History,
    Joined,
    Message,
    Ping,
    Private,
    Renamed,
    Request,
    Rooms,
    RoomSummary,
    Sent,
    Unknown,
    Welcome,
    answer,
    decode,
    decode_event,
    encode,
    first_word,
    parse,
)

random = settings(max_examples=150, deadline=None, database=None, print_blob=True)

plain_text = st.text(st.characters(codec="utf-8"), max_size=40)
json_things = st.recursive(
    st.none()
    | st.booleans()
    | st.integers()
    | st.floats(allow_nan=False, allow_infinity=False)
    | plain_text,
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(plain_text, inner, max_size=4),
    max_leaves=8,
)
almost_requests = st.fixed_dictionaries(
    {},
    optional={
        "command": st.sampled_from(["say", "join", ""]) | json_things,
        "body": plain_text | json_things,
        "id": st.integers() | plain_text | json_things,
        "else": json_things,
    },
)


def payload(thing: Event | Request) -> dict[str, Any]:
    """What `encode` makes of `thing`, as another program would read it."""
    found = json.loads(encode(thing)[4:])
    assert isinstance(found, dict)
    return found


class EncodeTests(SynchronousTestCase):
    def test_length(self) -> None:
        """A frame starts with the number of bytes, not of characters, that follow it."""
        frame = encode(Renamed(user="ana", to="ånå"))
        self.assertEqual(int.from_bytes(frame[:4], "big"), len(frame) - 4)
        self.assertEqual(len(frame) - 4, len(frame[4:].decode().encode()))

    def test_kind(self) -> None:
        """The kind of an event stands in its field `event`, in small letters."""
        self.assertEqual(payload(Ping()), {"event": "ping"})
        self.assertEqual(payload(Sent(id=5, at=7)), {"event": "sent", "id": 5, "at": 7})

    def test_defaults(self) -> None:
        """What has its default value is not sent."""
        message = Message(id=1, at=2, room="lobby", user="ana", text="hi")
        self.assertEqual(
            payload(message),
            {"event": "message", "id": 1, "at": 2, "room": "lobby", "user": "ana", "text": "hi"},
        )

    def test_flags(self) -> None:
        """An action and a replayed message say so."""
        message = Message(
            id=1, at=2, room="lobby", user="ana", text="waves", action=True, replayed=True
        )
        self.assertEqual((payload(message)["action"], payload(message)["replayed"]), (True, True))

    def test_answer(self) -> None:
        """A reply has the id of the request, also one that is 0 or empty, or none."""
        self.assertEqual(payload(answer(Ping(), 7)), {"event": "ping", "re": 7})
        self.assertEqual(payload(answer(Ping(), "a")), {"event": "ping", "re": "a"})
        self.assertEqual(payload(answer(Ping(), 0)), {"event": "ping", "re": 0})
        self.assertEqual(payload(answer(Ping(), "")), {"event": "ping", "re": ""})
        self.assertEqual(payload(answer(Ping(), None)), {"event": "ping"})

    def test_request(self) -> None:
        """A request without a body or an id is only its command."""
        self.assertEqual(payload(Request("who")), {"command": "who"})
        self.assertEqual(
            payload(Request("say", "hi", 3)), {"command": "say", "body": "hi", "id": 3}
        )


class EventTests(SynchronousTestCase):
    def there_and_back(self, event: Event) -> None:
        self.assertEqual(decode_event(encode(event)[4:]), event)

    def test_round(self) -> None:
        """An event is the same at the other end, whatever it holds."""
        row = CommandHelp("say", ("s",), "TEXT", "Say it.")
        message = Message(id=2**53 - 1, at=3, room="r", user="u", text="\n\t\u202e\U0001f600")
        self.there_and_back(message)
        self.there_and_back(Private(id=1, at=2, user="u", to="v", text="x", replayed=True))
        self.there_and_back(History(room="r", messages=[message]))
        self.there_and_back(Joined(room="r", user="u"))
        self.there_and_back(Joined(room="r", user="u", users=["u"], count=1, topic="", re="x"))
        self.there_and_back(Rooms(rooms=[RoomSummary("r", 1, "t", False)]))
        self.there_and_back(Error(code="internal", text="Oh.", fatal=True, re=1))
        welcome = Welcome(
            server="s", version=1, user="u", session="t", commands=[row], motd="",
            password_required=False,
        )  # fmt: skip
        decoded = decode_event(encode(welcome)[4:])
        assert isinstance(decoded, Welcome)
        self.assertEqual(decoded.session, "t")
        self.assertEqual(list(decoded.commands[0].aliases), ["s"])

    def test_kinds(self) -> None:
        """Every kind of event in the contract is one that a client reads."""
        kinds = {kind.__struct_config__.tag for kind in get_args(protocol.AnyEvent)}
        contract = (
            "welcome message private sent joined left renamed rooms users help history resumed"
            " topic done notice error ping pong closing"
        )
        self.assertLessEqual(set(contract.split()), kinds)

    def test_unknown(self) -> None:
        """A kind of event that this version lacks is no error; it may be a reply all the same."""
        for re, known in (("a-1", "a-1"), (7, 7), ([], None), (None, None)):
            event = json.dumps({"event": "levitated", "user": "ana", "re": re})
            self.assertEqual(decode_event(event.encode()), Unknown(re=known))
        self.assertEqual(decode_event(b'{"event":"levitated"}'), Unknown())

    def test_more(self) -> None:
        """Fields that this version does not know are ignored."""
        self.assertEqual(decode_event(b'{"event":"ping","colour":{"a":[1]}}'), Ping())

    def test_strangers(self) -> None:
        """What no PyLingo server sends is told from what a newer one may send."""
        for frame in (
            b"",
            b"SSH-2.0-OpenSSH",
            b"\xff\xfe",
            b"[]",
            b"5",
            b"{}",
            b'{"event":5}',
            b'{"event":"sent"}',
            b'{"event":"sent","id":"x","at":1}',
            b'{"event":"message","id":1,"at":1,"room":"r","user":"u","text":"\xff"}',
            b"[" * 100_000,
            b'{"event":"new","x":' + b"[" * 100_000,
        ):
            error = self.assertRaises(ChatError, decode_event, frame)
            self.assertEqual((error.code, error.fatal), ("bad_frame", True), frame[:40])

    @random
    @given(st.binary(max_size=60) | json_things.map(lambda thing: json.dumps(thing).encode()))
    def test_anything(self, frame: bytes) -> None:
        """Whatever comes, there is an event or a `ChatError`."""
        try:
            event = decode_event(frame)
        except ChatError as error:
            self.assertEqual(error.code, "bad_frame")
        else:
            self.assertIsInstance(event, Event)


class DecodeTests(SynchronousTestCase):
    def test_least(self) -> None:
        """A command is all that a request needs."""
        request = decode(b'{"command":"list"}')
        self.assertEqual((request.command, request.body, request.re), ("list", "", None))

    def test_all(self) -> None:
        """A request has a command, a body, verbatim, and an id."""
        request = decode(b'{"command":"say","body":"  a  b ","id":"x"}')
        self.assertEqual((request.command, request.body, request.re), ("say", "  a  b ", "x"))

    def test_more(self) -> None:
        """Fields that this version does not know are ignored."""
        request = decode(b'{"v":{"deep":[1,{"a":null}]},"command":"list","event":"say"}')
        self.assertEqual(request.command, "list")

    def test_ids(self) -> None:
        """An id is an integer or a string, of up to 64 characters."""
        for id in (0, -1, 7, 2**53, 2**64, -(2**70), "", "a", "é" * LONGEST_ID, "0"):
            frame = json.dumps({"command": "list", "id": id}).encode()
            self.assertEqual(decode(frame).re, id)

    def test_wrong_ids(self) -> None:
        """Anything else as an id makes it no request."""
        for id in ("x" * 65, 10**64, -(10**64), 1.5, True, [1], {"a": 1}, None):
            frame = json.dumps({"command": "list", "id": id}).encode()
            error = self.assertRaises(BadRequest, decode, frame)
            self.assertEqual((error.code, error.fatal, error.id), ("bad_request", False, None), id)

    def test_huge_id(self) -> None:
        """A number of thousands of digits does no harm."""
        frame = b'{"command":"list","id":' + b"9" * 16_000 + b"}"
        error = self.assertRaises(BadRequest, decode, frame)
        self.assertIsNone(error.id)

    def test_no_request(self) -> None:
        """An object that is no request is answered under its id, where that is good."""
        for text in (
            '{"id":7}',
            '{"id":7,"command":null}',
            '{"id":7,"command":5}',
            '{"id":7,"command":["say"]}',
            '{"id":7,"command":"say","body":null}',
            '{"id":7,"command":"say","body":{"a":1}}',
            '{"id":7,"command":"say","body":1e999}',
            '{"id":7,"command":-1e999,"body":[1e-999, 1.5]}',
            f'{{"id":7,"command":"say","body":{"9" * 9000}}}',
        ):
            error = self.assertRaises(BadRequest, decode, text.encode())
            self.assertEqual((error.code, error.fatal, error.id), ("bad_request", False, 7), text)

    def test_no_request_no_id(self) -> None:
        """An object that is no request and has no good id is answered without one."""
        large = [f'{{"id":{sign}{LARGEST_ID}}}' for sign in ("", "-")]
        for text in ("{}", '{"event":"ping"}', '{"id":true}', '{"id":2.5}', '{"id":[]}', *large):
            error = self.assertRaises(BadRequest, decode, text.encode())
            self.assertIsNone(error.id, text)

    def test_no_frame(self) -> None:
        """What is not UTF-8, not JSON or not an object ends the connection."""
        for frame in (
            b"",
            b" ",
            b"GET / HTTP/1.1\r\n\r\n",
            b'{"command":5,"body":NaN}',
            b'{"command":5,"body":-Infinity}',
            b'{"command":5,"body":01}',
            b"\xff\xfe",
            b'{"command":"say","body":"\xff"}',
            b'{"command":"say","else":"\xff"}',
            b'{"command":"say","else":"\xed\xa0\x80"}',
            b'{"command":"say"',
            b'{"command":"say"} x',
            b"{'command':'say'}",
            b'{"command":"say","body":"\\ud8zz"}',
            b'{"command":"say","body":"\\ud800',
            b'{"command":"say"}\\ud800',
            b'["\\ud800"]',
            b'{"command":"say","x":NaN}',
            b"[]",
            b'["say"]',
            b"5",
            b"null",
            b"true",
            b'"say"',
        ):
            error = self.assertRaises(ChatError, decode, frame)
            self.assertEqual((error.code, error.fatal), ("bad_frame", True), frame)

    def test_half_a_pair(self) -> None:
        """Half of an escaped pair is no character, but it is JSON, and ends nothing."""
        for body, read in (
            (r"a\ud83d", "a\ufffd"),
            (r"\udE00 b", "\ufffd b"),
            (r"\ud83d\ud83d\ude00\ude00", "\ufffd\U0001f600\ufffd"),
            (r"\\ud83d \u0061\uD800", "\\ud83d a\ufffd"),
        ):
            request = decode(b'{"command":"say","body":"%s","id":"%s"}' % ((body.encode(),) * 2))
            self.assertEqual((request.body, request.re), (read, read))
        self.assertEqual(decode(rb'{"command":"list","x":{"\ud800":1}}').command, "list")
        error = self.assertRaises(BadRequest, decode, rb'{"command":5,"id":7,"x":"\ud800"}')
        self.assertEqual(error.id, 7)

    def test_deep(self) -> None:
        """Absurdly deep nesting is a bad frame, closed or not, inside an object or not."""
        for frame in (
            b"[" * 16_000,
            b"[" * 8_000 + b"]" * 8_000,
            b'{"a":' * 3_000,
            b'{"a":' * 2_600 + b"1" + b"}" * 2_600,
            b'{"command":"say","x":' + b"[" * 8_000 + b"]" * 8_000 + b"}",
            b'{"x":' + b"[" * 8_000 + b"]" * 8_000 + b"}",
            b'{"command":"say","x":' + b"[" * DEEPEST + b"]" * DEEPEST + b"}",
        ):
            error = self.assertRaises(ChatError, decode, frame)
            self.assertEqual((error.code, error.fatal), ("bad_frame", True), frame[:30])
        flat = b'{"command":"say","x":[' + b"[]," * DEEPEST + b"[]]}"
        self.assertEqual(decode(flat), Request("say"))

    @random
    @given(st.binary(max_size=80))
    def test_any_bytes(self, frame: bytes) -> None:
        """Any bytes are a request or a `ChatError`, nothing else."""
        try:
            request = decode(frame)
        except ChatError as error:
            self.assertIn(error.code, ("bad_frame", "bad_request"))
        else:
            self.assertEqual(decode(encode(request)[4:]), request)

    @random
    @given(almost_requests)
    def test_any_object(self, thing: dict[str, Any]) -> None:
        """Any object is a request exactly when its fields have the right types."""
        id = thing.get("id", 0)
        good = (
            isinstance(thing.get("command"), str)
            and isinstance(thing.get("body", ""), str)
            and isinstance(id, int | str)
            and not isinstance(id, bool)
            and (len(id) if isinstance(id, str) else len(str(abs(id)))) <= LONGEST_ID
        )
        try:
            request = decode(json.dumps(thing).encode())
        except ChatError as error:
            self.assertEqual((good, error.code, error.fatal), (False, "bad_request", False))
        else:
            self.assertTrue(good)
            self.assertEqual(request.command, thing["command"])
            self.assertEqual(request.body, thing.get("body", ""))
            self.assertEqual(request.re, thing.get("id"))

    @random
    @given(plain_text, plain_text, st.integers(-(2**63), 2**64) | plain_text)
    def test_round(self, command: str, body: str, id: int | str) -> None:
        """A request is the same at the other end."""
        request = Request(command, body, id)
        self.assertEqual(decode(encode(request)[4:]), request)


class ParseTests(SynchronousTestCase):
    def test_text(self) -> None:
        """A line without a slash is something to say, verbatim."""
        self.assertEqual(parse("hi  there "), Request("say", "hi  there "))
        self.assertEqual(parse("  // join"), Request("say", "  // join"))
        self.assertEqual(parse(""), Request("say", ""))

    def test_command(self) -> None:
        """A slash command is split at the first space; the rest is left as it is."""
        self.assertEqual(parse("/join lobby"), Request("join", "lobby"))
        self.assertEqual(parse("/msg ana  hi "), Request("msg", "ana  hi "))
        self.assertEqual(parse("/Who"), Request("Who"))
        self.assertEqual(parse("/"), Request(""))
        self.assertEqual(parse("  /join lobby"), Request("join", "lobby"))
        self.assertEqual(parse("//x y"), Request("say", "/x y"))

    def test_indented_escape(self) -> None:
        """What is said with two slashes has one of them, and keeps its blanks."""
        self.assertEqual(parse("  //usr/bin/env"), Request("say", "  /usr/bin/env"))
        self.assertEqual(parse("  // code"), Request("say", "  // code"))

    def test_unseen(self) -> None:
        """A command is not said to everybody for what nobody sees before it."""
        for mark in "\ufeff\u200b\u200e\u2060\xad\x00":
            self.assertEqual(parse(f" {mark}/login ana x"), Request("login", "ana x"))
            self.assertEqual(parse(f"{mark}hi"), Request("say", f"{mark}hi"))

    def test_first_word(self) -> None:
        """It ends at any blank, of which one is left out."""
        for text, word, rest in (
            ("ana hi there", "ana", "hi there"), (" ゆき　こんにちは　", "ゆき", "こんにちは　"),
            ("ana  code", "ana", " code"), ("ana\n1\n2", "ana", "1\n2"), ("ana", "ana", ""),
            ("", "", ""),
        ):  # fmt: skip
            self.assertEqual(first_word(text), (word, rest))

    def test_other_blanks(self) -> None:
        """Other blanks after the command, as an input method makes them, divide as well."""
        for blank in "\n\t\u3000":
            self.assertEqual(parse(f"/me{blank}waves at me"), Request("me", "waves at me"))

    def test_comments(self) -> None:
        """Code that begins with a comment is something to say, as it is."""
        for code in ("//x\n//y", "// the sum\nx", "//\nx", "//", "/* the sum */", "/**/"):
            self.assertEqual(parse(code), Request("say", code))

    @random
    @given(plain_text)
    @example("\x85/")
    @example(" //x")
    @example("\x1b/")
    @example("\u200b/join  tea")
    def test_any(self, line: str) -> None:
        """Nothing of a line is lost, but blanks and what nobody sees before a command."""
        unseen = {c for c in line if c.isspace() or category(c) in ("Cc", "Cf")}
        request, bare = parse(line), line.lstrip("".join(unseen))
        if bare.startswith(("//", "/*")):
            said = (line, line.replace("/", "", 1))
            self.assertIn(request, [Request("say", text) for text in said])
        elif bare.startswith("/"):
            length = len(request.command)
            self.assertEqual(bare[1 : 1 + length], request.command)
            self.assertEqual(bare[2 + length :], request.body)
            self.assertEqual(bare[1 + length : 2 + length].strip(), "")
            self.assertEqual("".join(request.command.split()), request.command)
        else:
            self.assertEqual(request, Request("say", line))


class ErrorTests(SynchronousTestCase):
    def test_sentence(self) -> None:
        """A `ChatError` is for people when it is printed."""
        self.assertEqual(str(ChatError("name_taken", "Choose another.")), "Choose another.")

    def test_frozen(self) -> None:
        """An event cannot be changed, for many hear the same one."""
        with self.assertRaises(AttributeError):
            Ping().re = 5  # type: ignore[misc]
        self.assertTrue(issubclass(Ping, msgspec.Struct))
