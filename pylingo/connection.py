"""The client's side of the wire, as a library: connect, say, hear, and go on after a broken link.

    connection = Connection(endpoint, heard, reactor, name="bot", room="lobby")
    await connection.start()
    await connection.say("hi")        # fires when it is stored

`heard` is called with every event, replies too, each message once, in order; and with `Connected`
and `Disconnected` when the link comes and goes. A request that was not answered when the link broke
is sent again under the same id, in the same session, so nothing is said twice and nothing is lost.
If the session is gone, a message that may have been said already is not sent again, but fails.

Nothing here knows terminals or command lines.
"""

from __future__ import annotations

import secrets
from collections import OrderedDict
from collections.abc import Callable, Iterable
from contextlib import suppress
from dataclasses import dataclass
from functools import partial
from itertools import count
from typing import Annotated, Any, TypeAlias, TypeVar

from msgspec import Meta
from msgspec.structs import replace
from twisted.application.internet import ClientService, backoffPolicy
from twisted.internet import error
from twisted.internet.defer import (
    CancelledError,
    Deferred,
    TimeoutError,
    ensureDeferred,
    fail,
    succeed,
)
from twisted.internet.interfaces import (
    IPushProducer,
    ISSLTransport,
    IStreamClientEndpoint,
)
from twisted.internet.protocol import Factory, connectionDone
from twisted.internet.task import LoopingCall
from twisted.logger import Logger
from twisted.protocols.basic import Int32StringReceiver
from twisted.python.failure import Failure
from zope.interface import implementer

from pylingo import __version__, names
from pylingo.protocol import (
    LARGEST_EVENT,
    LARGEST_MESSAGE_ID,
    LARGEST_REQUEST,
    LONGEST_TEXT,
    AnyEvent,
    ChatError,
    Closing,
    Done,
    Error,
    Event,
    Joined,
    Left,
    Message,
    Ping,
    Pong,
    Private,
    Renamed,
    Request,
    Resumed,
    Sent,
    Stored,
    Unknown,
    Welcome,
    decode_event,
    encode,
    first_word,
)
from pylingo.requests import OUT, SAID, Pending, Requests, refuse, same_room

FIRST_EVENT = 10.0
"""Seconds that a server has to say its first word."""
PULSE = 10.0
"""Seconds in which we said nothing, after which we ask for a sign of life, and give one."""
SILENCE = 25.0
"""Seconds without a sign of life after which the link counts as lost."""
GONE = "The server went away."
DAMAGED = "What came was not encrypted as agreed: it was damaged or changed on its way."
PARTING = 2.0
"""Seconds that the server has to answer when there is no time to wait for it."""
LONGEST_PAUSE = 30.0
"""Seconds between two tries to connect again, at most, and some jitter."""
TRIES_LEFT = 6
"""Tries that still count after an arrival: a link lost at once is tried again in six seconds."""
REMEMBERED = 20_000
"""Ids of messages that are remembered, so that none is heard twice."""
SILENT = "Nothing was heard for too long."
"""Why a link without a sign of life is given up."""
FINAL = frozenset({"bye", "kicked", "banned", "replaced"})
"""Reasons of the server to close, after which the client does not come back by itself."""
OURS = frozenset({"gone", "unsure", "unreachable", "untrusted"})
"""Codes of errors that are ours to make; no server says them."""
UNSURE = "The link broke before the answer came. Check whether it was done before you try again."


@dataclass(frozen=True, slots=True)
class Connected:
    """The link is there; `again` if it was lost before."""

    again: bool


@dataclass(frozen=True, slots=True)
class Disconnected:
    """The link is lost, for a `reason`; it is being tried again unless it is `final`."""

    reason: str
    final: bool


@dataclass(frozen=True, slots=True)
class Ticket:
    """What it takes to go on with a session later: its token, and the last message's id."""

    session: Annotated[str, Meta(pattern=r"^[\w-]+$")]
    last: Annotated[int, Meta(ge=0, le=LARGEST_MESSAGE_ID)]


E = TypeVar("E", bound=Event)
Heard: TypeAlias = "AnyEvent | Connected | Disconnected"


class _Wire(Int32StringReceiver):
    """One link: frames in, frames out."""

    MAX_LENGTH = LARGEST_EVENT
    transport: Any

    def __init__(self, connection: Connection) -> None:
        self.connection = connection
        self.welcomed = False
        self.broken = ""
        self.refused = ""
        """What the server said when it turned us away."""
        self.untrusted = ""
        """Why the server is not to be trusted, if that is so."""

    @property
    def encrypted(self) -> bool:
        return ISSLTransport.providedBy(self.transport)

    def connectionMade(self) -> None:
        self.connection._made(self)

    def dataReceived(self, data: bytes) -> None:
        # A large frame may take its time; that some of it comes is a sign of life.
        self.connection._sign()
        Int32StringReceiver.dataReceived(self, data)

    def stringReceived(self, string: bytes) -> None:
        try:
            event = decode_event(string)
        except ChatError as trouble:
            self.abort(str(trouble))
        else:
            self.connection._heard(self, event)

    def lengthLimitExceeded(self, length: int) -> None:
        self.abort(f"The server sent a frame of {length} bytes; the limit is {LARGEST_EVENT}.")

    def abort(self, why: str) -> None:
        """End the link at once, for a reason of our own."""
        self.broken = self.broken or why
        self.paused = True
        self.transport.abortConnection()

    def connectionLost(self, reason: Failure = connectionDone) -> None:
        self.connection._lost(self, reason)


@implementer(IPushProducer)
class Connection:
    """One user's place on a server, kept across broken links.

    `name` and `room` are taken on arrival, and again when the session could not be resumed. With
    `echo`, one's own messages are heard too, when they are stored. Without `reconnect`, the first
    loss is final. `where` names the server in sentences for people. `check` is given the transport
    and says why the server is not to be trusted, if that is so. `password` is asked for the
    server's, where it has one, and again after a wrong one: the same twice ends the try.
    """

    _log = Logger()

    def __init__(
        self,
        endpoint: IStreamClientEndpoint,
        heard: Callable[[Heard], None],
        reactor: Any,
        *,
        where: str = "the server",
        name: str = "",
        room: str = "",
        ticket: Ticket | None = None,
        echo: bool = False,
        reconnect: bool = True,
        check: Callable[[Any], str] | None = None,
        password: Callable[[], Deferred[str]] | None = None,
    ) -> None:
        self.user = name
        """The name we have, or want."""
        self.room: str | None = room or None
        """The room we are in, or want to be in."""
        self.where = where
        self.welcome: Welcome | None = None
        self.closing: Closing | None = None
        """What the server said when it ended this for good."""
        self.ended = ""
        """Why this ended, if it was neither asked for nor for want of a link."""
        self._over = False
        self._awaited: list[Deferred[None]] = []
        """Those to fire when it is over."""
        self._hear = heard
        self.ticket = ticket
        """What it takes to resume the session; None before there is one."""
        self._echo = echo
        self._reconnect = reconnect
        self._check = check
        self._password = password
        self._reactor = reactor
        self._wire: _Wire | None = None
        self._started: Deferred[None] | None = None
        self._final: str | None = None
        """Why it has ended for good, or is about to; None as long as it goes on."""
        self._arriving: Deferred[None] | None = None
        self._wanted: dict[str, str | None] = {}
        """Requests of an arrival without an answer yet; the next link makes them first."""
        self._given = ""
        """The name that the last new session came with."""
        self._author = name
        """Who we were when there was a link last: what waits was asked by that name."""
        self._paused = False
        self._tries = 0
        """How often it was tried to come back, since a link lasted for longer than `PULSE`."""
        self._arrived = 0.0
        """When there was one last."""
        self._told = ""
        """Why the link was lost, as it was told last."""
        self._ids = map(f"{secrets.token_hex(4)}-{{}}".format, count(1))
        self._requests = Requests(self._send, lambda: self.room)
        self._seen: OrderedDict[int, None] = OrderedDict()
        """A dict would look for its oldest among all that were taken out of it."""
        self._last_sign = 0.0
        self._last_said = 0.0
        self._looked = 0.0
        """When it was looked at last whether the other side is there."""
        self._pulse = LoopingCall(self._look)
        self._pulse.clock = reactor
        self._service = ClientService(
            endpoint,
            Factory.forProtocol(lambda: _Wire(self)),
            retryPolicy=lambda _: self._pause(),
            clock=reactor,
        )

    @property
    def linked(self) -> bool:
        """Whether the link is there and the session goes on over it."""
        return self._requests.linked

    @property
    def closed(self) -> Deferred[None]:
        """Fires when the connection has ended for good. It is another one each time one asks."""
        if self._over:
            return succeed(None)
        closed: Deferred[None] = Deferred(self._awaited.remove)
        self._awaited.append(closed)
        return closed

    @property
    def leaving(self) -> bool:
        """Whether the end is near: it was asked for, and not refused, or the server said it."""
        return self.closing is not None or any(one.leaves for one in self._requests)

    @property
    def unanswered(self) -> int:
        """How many requests have no reply so far."""
        return len(self._requests)

    @property
    def waiting(self) -> list[Request]:
        """Those requests, in their order."""
        return [one.request for one in self._requests]

    def start(self) -> Deferred[None]:
        """Connect, and take the session, the name and the room.

        Fails with `ChatError` when the first try does; its sentence says what to do. Another try
        takes another `Connection`: to start one twice raises `RuntimeError`. To cancel it stops the
        connection.
        """
        if self._final is not None:
            return fail(ChatError("gone", self._final))
        if self._pulse.running:
            raise RuntimeError("This Connection was started before. To try again, make a new one.")
        started = self._started = Deferred(self._give_up)
        self._pulse.start(PULSE / 4, now=False)
        # In this order, for a try may fail at once.
        self._service.whenConnected(failAfterFailures=1).addErrback(self._unreachable)
        self._service.startService()
        return started

    def _give_up(self, _: object) -> None:
        """Nobody waits for the start any more."""
        self._started = None
        self.stop()

    def request(self, command: str, body: str = "", *, quiet: bool = False) -> Deferred[AnyEvent]:
        """Ask the server; the result is its reply, which is not heard besides if `quiet`.

        Fails with `ChatError`: the reply, where that is an error; ``gone`` when the connection has
        ended for good before there was one; ``unsure`` when the link broke, and the server would
        not know the request again, so that it may be done already, or the session goes on in
        another room than it was said in, or under another name; ``not_in_room`` for what is meant
        for a room where we are not any more, or when a request ahead of it for that room was
        refused; ``name_taken`` for a message that a guest would say, for our name is not ours now.
        """
        request = self._request(command, body)
        if self._final is not None:
            return fail(ChatError("gone", self._final))
        if len(frame := encode(request)) - 4 > LARGEST_REQUEST:
            trouble = "That is too long to be sent. Send it in several parts."
            if command.casefold() in SAID and len(request.body.encode()) > LONGEST_TEXT:
                trouble = f"A message has at most {LONGEST_TEXT} bytes. Send it in several parts."
            self._tell(Error(code="too_long", text=trouble, fatal=False))
            return fail(ChatError("too_long", trouble))
        if command.casefold() == "pong":
            # It has no reply, and a link that is down does not need it.
            if self.linked:
                self._send(frame)
            return succeed(Pong(body=body))
        return self._requests.add(request, quiet=quiet).reply

    def say(self, text: str) -> Deferred[Sent]:
        """Say something in the room; fires when it is stored. Fails with `ChatError`."""
        return self.request("say", text).addCallback(partial(_expect, Sent))

    def tell(self, user: str, text: str) -> Deferred[Sent]:
        """Say something to one user alone; fires when it is stored. Fails with `ChatError`."""
        return self.request("msg", f"{user} {text}").addCallback(partial(_expect, Sent))

    def join(self, room: str) -> Deferred[Joined]:
        """Go into a room. Fails with `ChatError`."""
        return self.request("join", room).addCallback(partial(_expect, Joined))

    def close(self) -> Deferred[None]:
        """Leave the chat, when everything asked so far has been answered.

        Without a link it ends at once, and what was not answered fails with ``gone``.
        """
        leaving = ensureDeferred(self._take_leave())
        leaving.addCallback(lambda _: self.stop())
        return leaving.addCallback(lambda _: self.closed)

    def part(self) -> Deferred[None]:
        """Leave the chat as `close` does, but in `PARTING` seconds at most."""
        # The events before the answer have to be read, even if reading was paused.
        self.resumeProducing()
        leaving = ensureDeferred(self._take_leave()).addTimeout(PARTING, self._reactor)
        leaving.addErrback(lambda why: why.trap(TimeoutError))
        leaving.addCallback(lambda _: self.stop())
        return self.closed

    async def _take_leave(self) -> None:
        if self._wire is not None and self._wire.welcomed:
            # Whatever the answer is, it ends.
            with suppress(ChatError):
                await self.request("close")

    def stop(self, why: str = "The connection was closed.") -> None:
        """End the connection at once; the session can be resumed."""
        if self._final is None:
            self._final = why
        if self._pulse.running:
            self._pulse.stop()
        # The service must not be stopped from within one of its own calls.
        self._reactor.callLater(0, self._end)

    def pauseProducing(self) -> None:
        """Read nothing for now: what was heard cannot be passed on as fast."""
        self._paused = True
        if self._wire is not None:
            self._wire.pauseProducing()

    def resumeProducing(self) -> None:
        """Read on, in the next turn: who hears may ask for it, while what came is being read."""
        self._paused = False
        self._reactor.callLater(0, self._read_on)

    def _read_on(self) -> None:
        wire = self._wire
        if wire is not None and wire.paused and not (self._paused or wire.broken):
            wire.resumeProducing()

    def stopProducing(self) -> None:
        """Nobody wants to hear any more."""
        self.part()

    def resume(self, ticket: Ticket) -> Deferred[AnyEvent]:
        """Go on with an earlier session in place of the one that a first arrival got."""
        return self._resume(ticket, self.request)

    def _resume(
        self, ticket: Ticket, ask: Callable[[str, str], Deferred[AnyEvent]]
    ) -> Deferred[AnyEvent]:
        def go_on(event: AnyEvent) -> AnyEvent:
            # The ids that a guest heard meanwhile tell nothing of what that session saw.
            self.ticket = Ticket(_expect(Resumed, event).session, ticket.last)
            return event

        return ask("resume", f"{ticket.session} {ticket.last}").addCallback(go_on)

    # The link.

    def _end(self) -> None:
        self._service.stopService().addBoth(self._stopped)
        if self._wire is not None:
            # There is nothing left to say, and a dead peer would not let go.
            self._wire.transport.abortConnection()

    def _unreachable(self, why: Failure) -> None:
        if why.check(CancelledError) is None:
            self._fail_start(_sentence(why, self.where), "unreachable")

    def _fail_start(self, sentence: str, code: str) -> None:
        started, self._started = self._started, None
        if started is not None:
            self.stop(sentence)
            started.errback(ChatError(code, sentence))

    def _pause(self) -> float:
        """Seconds until the next try: ever more, whether nobody answers or to no use."""
        self._tries += 1
        return _backoff(self._tries - 1)

    def _sign(self) -> None:
        """There was a sign of life."""
        self._last_sign = self._reactor.seconds()

    def _tell(self, event: Heard) -> None:
        try:
            self._hear(event)
        except BaseException:  # noqa: BLE001 - or `sys.exit` would keep an answer from who waits
            # Not the event itself, for that may be private, or as good as a password.
            self._log.failure("hearing {kind} failed", kind=type(event).__name__)

    def _send(self, frame: bytes) -> None:
        assert self._wire is not None
        self._last_said = self._reactor.seconds()
        self._wire.transport.write(frame)

    def _astray(self, moving: Pending, lost: list[Pending]) -> None:
        where, _ = first_word(moving.request.body)
        lines = "One line was" if len(lost) == 1 else f"{len(lost)} lines were"
        text = f"You are not in {where or 'another room'}. {lines} meant for it, and not sent."
        self._tell(Error(code="not_in_room", text=text, fatal=False))
        refuse(lost, "not_in_room", text)

    def _strand(self, room: str) -> None:
        """What was to be done in a room where we are not any more is not done, and told."""
        lost = self._requests.stranded()
        undone = ", ".join(f"/{one.command}" for one in lost if one.command not in OUT | SAID)
        text = f"You are not in {room} any more. Not done: {undone}"
        if undone:
            self._tell(Error(code="not_in_room", text=text, fatal=False))
        self._refuse(lost, "not_in_room", text)

    def _refuse(self, lost: Iterable[Pending], code: str, text: str) -> None:
        """These are not sent any more; of messages that were, nobody knows whether they came."""
        for one in lost:
            if one.begun and one.command in SAID:
                refuse([one], "unsure", UNSURE)
            else:
                refuse([one], code, text)

    def _made(self, wire: _Wire) -> None:
        self._wire = wire
        self._sign()
        self._arriving = ensureDeferred(self._arrive(wire))
        self._arriving.addErrback(self._not_arrived, wire)

    def _lost(self, wire: _Wire, reason: Failure) -> None:
        # With TLS a server that is killed does not end its side in order.
        gone = reason.check(error.ConnectionDone) or reason.type is error.ConnectionLost
        why = wire.refused or wire.broken or (GONE if gone else reason.getErrorMessage())
        if wire.encrypted and not wire.welcomed:
            from pylingo import tls

            if tls.doubtful(reason):
                wire.untrusted = (
                    f"{self.where} has a certificate that no authority known here confirms. "
                    "Check the address, and ask who runs it before you trust it."
                )
        if wire.welcomed and "SSL" in why and not (wire.refused or wire.broken):
            why = DAMAGED
        self._wire = None
        was_linked = self.linked
        if was_linked:
            self._author = self.user
        if was_linked and self._reactor.seconds() - self._arrived >= PULSE:
            self._tries = 0
        self._requests.shut()
        if self._arriving is not None:
            self._arriving.cancel()
        if self._started is not None:
            self._lost_at_first(wire, why)
            return
        if self._final is None:
            self._final = self._given_up(wire, why)
        if self._final is not None:
            self.stop()
        elif not (wire.welcomed or wire.refused) and (wire.broken or "SSL" in why):
            why = self._stranger(wire, why)
        if was_linked or self._final is not None or why != self._told:
            self._told = why
            self._tell(Disconnected(self._final or why, self._final is not None))

    def _lost_at_first(self, wire: _Wire, why: str) -> None:
        """The first link did not last until the arrival."""
        if self._final is not None:
            self._fail_start(self._final, "gone")
        elif wire.welcomed:
            self._fail_start(f"{self.where} closed the connection: {why} Try again.", "unreachable")
        else:
            code = "untrusted" if wire.untrusted else "unreachable"
            self._fail_start(self._stranger(wire, why), code)

    def _without_another(self, why: str) -> str:
        """What to say where there is one link and no other."""
        return (
            f"The connection to {self.where} was lost: {why} "
            "Start pylingo again; if the name is still taken then, wait a minute."
        )

    def _given_up(self, wire: _Wire, why: str) -> str | None:
        """Why there is no other try, if that is so."""
        if not self._reconnect:
            return self._without_another(why)
        if wire.untrusted:
            # To try again and again would not tell why.
            self.ended = wire.untrusted
            return wire.untrusted
        if self.leaving and all(one.quiet or one.leaves for one in self._requests):
            return why  # There is nothing to come back for.
        return None

    def _stranger(self, wire: _Wire, why: str) -> str:
        """What to tell a person about a peer that has not said what a server says first."""
        where = self.where
        if wire.untrusted:
            return wire.untrusted
        if wire.broken == SILENT:
            return (
                f"{where} takes connections and says nothing: it is not a PyLingo server, or it "
                "hangs. Check the address, or try again later."
            )
        if "wrong version number" in why:
            return (
                f"{where} is not encrypted, or it is not a PyLingo server. "
                "Try without --tls, or check the address."
            )
        if wire.broken or "SSL" in why:
            return f"{where} answered, but it is not a PyLingo server. Check the address."
        if wire.encrypted:
            return f"{where} hung up without a word. Try again, or check the address."
        return (
            f"{where} hung up without a word: it is an encrypted server, no PyLingo server, or one "
            "that is down behind a proxy. Try --tls, check the address, or try again later."
        )

    def _stopped(self, _: object) -> None:
        if self._started is not None:
            started, self._started = self._started, None
            started.errback(ChatError("gone", self._final or ""))
        refuse(self._requests.clear(), "gone", self._final or "")
        self._over = True
        while self._awaited:
            self._awaited.pop(0).callback(None)

    def _look(self) -> None:
        """Now and then: is the other side still there?"""
        wire, now = self._wire, self._reactor.seconds()
        late, self._looked = now - self._looked >= PULSE, now
        if wire is None:
            return
        if self.closing is not None:
            # It has taken its leave, and does not hang up.
            self.stop()
            return
        most = SILENCE if wire.welcomed else FIRST_EVENT
        if late:
            # It is we who were held up: what came meanwhile is not read yet.
            self._last_sign = max(self._last_sign, now - most + PULSE / 2)
        if wire.paused:
            # It is we who do not read.
            self._last_sign = now
        elif now - self._last_sign >= most:
            wire.abort(SILENT)
            return
        # Also while much is heard: over a slow link the server's own question waits behind that.
        if wire.welcomed and now - self._last_said >= PULSE:
            self._send(encode(Request("ping")))

    async def _arrive(self, wire: _Wire) -> None:
        """Say hello; go on with the session, or begin one under the same name and in the room."""
        user, room, ticket = self.user, self.room, self.ticket
        first = self._started is not None
        welcome = _expect(Welcome, await self._ask("hello", f"pylingo/{__version__}"))
        if ticket is not None:
            try:
                await self._resume(ticket, self._ask)
            except ChatError as refused:
                if refused.code not in ("not_resumable", "password_required", "forbidden"):
                    raise
                ticket = None
        if ticket is None and self.leaving and not first:
            raise ChatError("gone", "The session has ended.")
        if ticket is None and welcome.password_required:
            await self._enter()
        refuse(self._requests.unsure(resumed=ticket is not None), "unsure", UNSURE)
        if ticket is None:
            # A name that the server chose, for a guest, is not asked for again.
            name = "" if user == self._given else user
            self._wanted = {"name": name, "join": room, **self._wanted}
            # Not the last id of before: by the clock of another server, new ones may be smaller.
            self.ticket = Ticket(welcome.session, 0)
            self.user = self._given = welcome.user
            self.room = None
        elif first and room and not same_room(room, self.room):
            # The session brought back another one.
            self._wanted = {"join": room}
        goal = self._wanted.get("join") or room
        for command, body in tuple(self._wanted.items()):
            if body:
                try:
                    await self._ask(command, body)
                except ChatError:
                    # Heard as an event; on a first arrival it is for the caller to decide.
                    if first:
                        raise
            del self._wanted[command]
        if goal and not same_room(goal, self.room):
            # The session brought back another one, or one is not let in any more.
            self._strand(goal)
        author = self._author
        if not first and names.given(self.user) and not names.given(author):
            # Ours is somebody else's now, or takes a password: it was no guest who wrote this.
            self._refuse(
                self._requests.disowned(),
                "name_taken",
                f"It was to be said by {author}, and you are {self.user} now.",
            )
        self._arriving = None
        self._arrived = self._reactor.seconds()
        self._tries = min(self._tries, TRIES_LEFT)
        self._requests.open()
        if self._paused:
            wire.pauseProducing()
        self._tell(Connected(again=not first))
        # Whoever hears that may have given it up.
        started, self._started = self._started, None
        if started is not None:
            started.callback(None)

    async def _enter(self) -> None:
        """Give the server's password, until it is the right one, or the same wrong one again."""
        last = None
        while True:
            if self._password is None:
                raise ChatError(
                    "password_required",
                    f"{self.where} has a password, and nothing to ask for it was given.",
                )
            password = await self._password()
            try:
                await self._ask("enter", password)
            except ChatError as refused:
                if refused.code != "wrong_password" or not self._reconnect or password == last:
                    raise
                last = password
            else:
                return

    def _not_arrived(self, why: Failure, wire: _Wire) -> None:
        self._arriving = None
        trouble = why.value
        if isinstance(trouble, CancelledError) and self._wire is None:
            return  # The link was lost meanwhile.
        if not isinstance(trouble, ChatError):
            wire.abort("Something went wrong here.")
            why.raiseException()
        if self._started is not None:
            self._turn_back(trouble)
            return
        if trouble.code == "gone":
            self._final = trouble.text
        wire.refused = trouble.text
        wire.abort(trouble.text)

    def _turn_back(self, trouble: ChatError) -> None:
        """The first arrival was refused: its session ends, or the next try finds the name taken."""
        if not self._given:
            # Nothing was begun, or it was the session of an earlier time.
            self._fail_start(trouble.text, trouble.code)
            return
        self._final = trouble.text
        leaving = self._requests.ahead(self._request("close", ""), quiet=True)
        leaving.addTimeout(PARTING, self._reactor)
        # As the arrival, it ends with the link.
        self._arriving = leaving.addBoth(lambda _: self._fail_start(trouble.text, trouble.code))

    def _request(self, command: str, body: str) -> Request:
        """With an id of its own; what is no Unicode, as from another encoding, is U+FFFD."""
        body = body.encode("utf-16", "surrogatepass").decode("utf-16", "replace")
        return Request(command, body, next(self._ids))

    def _ask(self, command: str, body: str) -> Deferred[AnyEvent]:
        """A request of the arrival itself, ahead of those that wait; a new link makes its own."""
        return self._requests.ahead(self._request(command, body))

    # What is heard.

    def _heard(self, wire: _Wire, event: AnyEvent | Unknown) -> None:
        if not wire.welcomed and not isinstance(event, Welcome | Error | Closing):
            wire.abort("It is not a PyLingo server.")
            return
        if not wire.welcomed and self._check is not None:
            # Nothing but hello has been said so far.
            wire.untrusted = self._check(wire.transport)
            if wire.untrusted:
                wire.abort(wire.untrusted)
                return
        if isinstance(event, Unknown):
            if all(one.request.re != event.re for one in self._requests):
                return
            text = "Only a newer client understands the server's answer."
            event = Error(code="bad_frame", text=text, fatal=False, re=event.re)
        if not isinstance(event, Stored):
            event = self._credible(event)
        match event:
            case Ping():
                self._send(encode(Request("pong")))
                return
            case Pong(re=None):
                return
            case Message() | Private():
                if not self._remember(event.id):
                    return
            case Welcome():
                wire.welcomed = True
                self.welcome = event
                if self.linked and self.ticket is not None:
                    # Of the tokens before a further one, the server need not know ours.
                    self.ticket = Ticket(event.session, self.ticket.last)
            case Closing() if event.reason in FINAL:
                self.closing, self._final = event, self._final or event.text
                self.ended = "" if event.reason == "bye" else event.text
            case Closing() if not self._reconnect:
                self.closing = event
                self._final = self.ended = self._without_another(event.text)
        self._follow(event)
        # The listener may ask for more at once; that comes after what waits already.
        pending, lost = self._requests.answered(event.re, refused=isinstance(event, Error))
        # An error in place of a welcome is told once: as the reason of the loss that follows.
        away = isinstance(event, Error) and not wire.welcomed and self._started is None
        if not away and (pending is None or not pending.quiet):
            self._tell(event)
        if pending is not None:
            self._answered(pending, event)
            if lost:
                self._astray(pending, lost)
        elif isinstance(event, Error) and event.fatal:
            wire.refused = event.text
            self._fail_start(event.text, event.code)

    def _credible(self, event: AnyEvent) -> AnyEvent:
        """`event`, or what to make of what no PyLingo server says."""
        if isinstance(event, Error) and event.code in OURS:
            event = replace(event, code="internal")
        bye = isinstance(event, Closing) and event.reason == "bye"
        if isinstance(event, Error | Closing) and not (bye or names.clean(event.text).strip()):
            event = replace(event, text=f"{self.where} does not say why.")
        answers = event.re is not None and not isinstance(event, Error | Closing)
        said = (one for one in self._requests if one.command in SAID)
        if answers and any(one.request.re == event.re for one in said):
            text = "The server's answer is none to a message. Check whether it was said."
            event = Error(code="bad_frame", text=text, fatal=False, re=event.re)
        return event

    def _answered(self, pending: Pending, event: AnyEvent) -> None:
        if isinstance(event, Error):
            pending.reply.errback(ChatError(event.code, event.text, fatal=event.fatal))
            return
        if (
            isinstance(event, Sent)
            and self._remember(event.id)
            and self._echo
            and pending.command in SAID  # What else was asked may be a password.
        ):
            self._hear_own(event, pending)
        pending.reply.callback(event)

    def _follow(self, event: AnyEvent) -> None:
        """Keep up with who and where we are."""
        match event:
            case Renamed() if event.user == self.user:
                self.user = event.to
            case Joined() if event.users is not None:
                self.room = event.room
            case Done(user=str() as user):
                self.user = user
            case Left() if event.user == self.user:
                self.room = None
            case Resumed():
                self.user, self.room = event.user, event.room
                last = self.ticket.last if self.ticket else 0
                self.ticket = Ticket(event.session, last)

    def _remember(self, id: int) -> bool:
        """Note that a message was seen; whether it was not before."""
        if id in self._seen:
            return False
        self._seen[id] = None
        if len(self._seen) > REMEMBERED:
            self._seen.popitem(last=False)
        if self.ticket is not None and id > self.ticket.last:
            self.ticket = Ticket(self.ticket.session, id)
        return True

    def _hear_own(self, sent: Sent, pending: Pending) -> None:
        command, body = pending.command, pending.request.body
        if command == "msg":
            to, text = first_word(body)
            text = names.clean(text)
            self._tell(Private(id=sent.id, at=sent.at, user=self.user, to=to, text=text))
        else:
            self._tell(
                Message(
                    id=sent.id,
                    at=sent.at,
                    room=pending.room or "",
                    user=self.user,
                    text=names.clean(body),
                    action=command == "me",
                )
            )


_backoff = backoffPolicy(0.5, LONGEST_PAUSE)


def _expect(kind: type[E], event: AnyEvent) -> E:
    if isinstance(event, kind):
        return event
    raise ChatError("bad_frame", f"The server answered with {type(event).__name__}. Try again.")


def _sentence(why: Failure, where: str) -> str:
    """What to tell a person whose first try to connect failed."""
    if why.check(error.ConnectionRefusedError):
        return (
            f"Nothing answers at {where}. Start the server there "
            "(twistd --nodaemon pylingo), or check the address."
        )
    if why.check(error.DNSLookupError, error.UnknownHostError):
        return f"The host of {where} cannot be found. Check the spelling, and the network."
    if why.check(error.TimeoutError, error.TCPTimedOutError):
        return f"{where} does not answer. Check the address, the network and the firewall."
    reason = why.getErrorMessage().rstrip(".")
    if isinstance(why.value, error.ConnectError) and isinstance(why.value.args[0], Failure):
        # The reactor's own words, where it did not ask the system what it was.
        reason = "a firewall or a router refuses it"
    return f"{where} cannot be reached: {reason}. Check the address and the network."


__all__ = [
    "AnyEvent",
    "ChatError",
    "Closing",
    "Connected",
    "Connection",
    "Disconnected",
    "Error",
    "Heard",
    "Joined",
    "Left",
    "Message",
    "Private",
    "Renamed",
    "Resumed",
    "Sent",
    "Ticket",
    "Welcome",
]
