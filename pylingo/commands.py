"""The slash commands: one function for each, one table of them all.

    @command("say", "TEXT", "Say something in your room, as a plain line does.")
    def say(door, body): ...

A command gets the door that asks and the rest of the line, and returns the reply. If something
cannot be done, it raises `ChatError`. A command that has to wait, for the disk or a password's
hash, is an ``async def``: then only the next request of that door waits too. To add a command, add
a function here: help, completion and `welcome` come from the table.

This module knows doors only as `Door`; it knows no sockets or frames.
"""

from __future__ import annotations

import inspect
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass
from difflib import get_close_matches
from heapq import nlargest
from typing import Protocol, TypeAlias, TypeVar

from twisted.internet.defer import Deferred
from twisted.internet.interfaces import IReactorTime
from twisted.logger import Logger
from twisted.python.failure import Failure

from pylingo import __version__, names
from pylingo.accounts import Accounts
from pylingo.history import FAILURES, REPLAYED, Log, Now, Run, whoever_waits
from pylingo.names import Name
from pylingo.passwords import Passwords
from pylingo.protocol import (
    LARGEST_EVENT,
    VERSION,
    WIRE,
    ChatError,
    Closing,
    CommandHelp,
    Event,
    Help,
    History,
    Joined,
    Left,
    Message,
    Pong,
    RequestId,
    Rooms,
    Users,
    Welcome,
    first_word,
    size,
)
from pylingo.rooms import NAMES_WITH_JOINED, Hear, Registry, Room, User
from pylingo.schema import Database, trouble
from pylingo.sessions import Sessions

NEAR = 0.75
"""How similar an unknown command must be to one of ours before we suggest that one."""
MOST_HISTORY = 200
"""Messages in one answer to `history`; fewer where they would not fit a frame."""
MOST_LISTED = 2_000
"""Rooms in one answer to `list`."""
LARGEST_LIST = LARGEST_EVENT // 2
"""Bytes, about, that a list in a reply may have; what does not fit is left out."""


class Chat:
    """What all doors share, on a database; what blocks is run by `write`, `read` and `hash`.

    `clock` is for what waits, and `now` the time of day. `password` is the server's, if it has one.
    """

    def __init__(
        self, database: Database, write: Run, read: Run, hash: Run, clock: IReactorTime, now: Now,
        *, admins: frozenset[str] = frozenset(), motd: str = "", password: str = "",
    ) -> None:  # fmt: skip
        self.motd = motd
        self.password = password
        self.log = log = Log(database, write, read, clock, now)
        self.registry = registry = Registry(log.append)
        registry.last = log.last
        log.publish, log.refuse = registry.publish, registry.refuse
        self.passwords = Passwords(hash, clock.seconds)
        self.accounts = Accounts(registry, log, database.writer, self.passwords, admins, password)
        self.sessions = Sessions(registry, log, now, self.accounts.restore, self.accounts.powerful)

    def open(self, hear: Hear, host: str = "") -> User:
        """The user of a new connection, and session, from `host`, where that is known."""
        user = self.registry.enter(hear, self.log.number(), host)
        user.entered = not self.password
        return user


class Door(Protocol):
    """How one user's connection looks to a command."""

    chat: Chat
    user: User
    re: RequestId | None
    """The id of the request, where it has one."""
    hear: Hear
    """What the user hears with: the same object as long as the door is there, as it is compared.

    When it is told `Closing`, what runs is cancelled, and the connection ends."""

    def reply(self, event: Event) -> None:
        """Answer now, ahead of what is held."""

    def replay(self, messages: Sequence[Event]) -> None:
        """Tell what is from the past, ahead of what is held.

        Raises `CancelledError` if the peer is not there any more, or has too much to read already.
        """

    def hold(self) -> None:
        """Keep back what is heard from now on, until `release`, or the command has failed."""

    def release(self, *, messages: bool = True) -> None:
        """Let go of what was kept back, or of all but the messages, which the log has, too."""

    def drained(self) -> Deferred[None]:
        """Fires when the peer has taken everything so far, or all but a little.

        To be waited for before a long reply: to ask for those is quick, and to read them is not.
        """

    def settle(self) -> None:
        """Note with `Accounts.arrived` if what was said to the user alone has arrived."""


T = TypeVar("T")
Reply: TypeAlias = Event | None
Function: TypeAlias = Callable[[Door, str], Reply | Awaitable[Reply]]


@dataclass(frozen=True, slots=True)
class Command:
    """A row of the table, with what clients are `told` of it.

    `cost` is how much of the user's burst it uses up. An `open` one is also for those who have not
    given the server's password, or are banned from it. One that `waits` is an ``async def``.
    """

    told: CommandHelp
    function: Function
    cost: int
    open: bool
    waits: bool

    def explain(self, error: ChatError, body: str) -> ChatError:
        """`error`, or how the command is used, where all that it needs is missing."""
        if error.code != "bad_argument" or body.strip():
            return error
        usage = f"/{self.told.name} {self.told.arguments}"
        return ChatError("bad_argument", f"This needs more: {usage}")


TABLE: dict[str, Command] = {}
"""Every command by its name and by each of its aliases."""

ELSEWHERE = {
    "nick": "name",
    "j": "join",
    "part": "leave",
    "names": "users",
    **dict.fromkeys(("query", "w", "whisper", "tell", "pm", "dm", "r", "reply"), "msg"),
    **dict.fromkeys(("emote", "action"), "me"),
    "hist": "history",
}
"""What other chats call our commands; people who type these are told our names for them."""

_log = Logger()


def command(
    name: str, arguments: str, help: str, *aliases: str, cost: int = 1, open: bool = False
) -> Callable[[Function], Function]:
    """Put the function that follows into the table."""

    def add(function: Function) -> Function:
        told = CommandHelp(name, aliases, arguments, help)
        row = Command(told, function, cost, open, waits=inspect.iscoroutinefunction(function))
        for word in (name, *aliases):
            TABLE[word] = row
        return function

    return add


def locked_out() -> ChatError:
    """For a user who has not given the server's password."""
    return ChatError("password_required", "This server has a password: /enter PASSWORD")


def banned_here() -> ChatError:
    """For a user who is banned from the server. A guest's ban may hit others at the address."""
    return ChatError(
        "forbidden", "You are banned from this server. If you have an account: /login NAME"
    )


def admit(door: Door, command: Command) -> bool:
    """Whether the user may use every command from now on, and not just this one.

    It is asked before each command until it says so. Raises `ChatError` if they may not even use
    this one: ``password_required``, or ``forbidden`` for those who are banned from the server.
    """
    user = door.user
    if not (user.entered or command.open):
        raise locked_out()
    banned = door.chat.registry.rules.banned(user) is not None
    if banned and not (command.open or command.told.name == "login"):
        raise banned_here()
    return user.entered and not banned


def find(word: str) -> Command:
    """The command of that name, in any case. Raises `ChatError` ``unknown_command``."""
    found = TABLE.get(word) or TABLE.get(word.casefold())
    if found is None:
        word = names.clean(word[:32])
        # Nobody who mistypes means to leave.
        known = sorted({*ELSEWHERE, *TABLE} - WIRE - {"close", "quit"})
        near = get_close_matches(word.casefold(), known, n=1, cutoff=NEAR)
        meant = [ELSEWHERE.get(one, one) for one in near]
        instead = f"Did you mean /{meant[0]}? /help lists all commands." if meant else "Try /help."
        if "/" in word:
            instead = "To say that, put /say and a blank before it."
        raise ChatError("unknown_command", f"There is no command /{word}. {instead}")
    return found


def rows() -> list[CommandHelp]:
    """The table, as clients are told it."""
    return [row.told for word, row in TABLE.items() if word == row.told.name]


def greeting(door: Door) -> Welcome:
    """The first thing that every client hears."""
    chat = door.chat
    return Welcome(
        server=f"pylingo/{__version__}",
        version=VERSION,
        user=door.user.name.shown,
        session=chat.sessions.token(door.user),
        commands=rows(),
        motd=chat.motd,
        password_required=not door.user.entered,
    )


@command("hello", "[CLIENT]", "Tell the server which client you use.", open=True)
async def hello(door: Door, body: str) -> Welcome:
    client = names.remark(body[:64], "client") or "?"
    again = bool(door.user.tokens)
    if len(door.user.tokens) < 2:
        # In quotes, for these are others' words, and not with each greeting: they may be many.
        _log.info('{user} uses "{client}"', user=door.user.name.shown, client=client)
    welcome = greeting(door)
    if again:
        # The new token may be the only one that arrives, so it has to be stored.
        await door.chat.log.flushed()
    return welcome


@command("name", "NAME", "Take a name.")
async def name(door: Door, body: str) -> None:
    await door.chat.log.heard(door.user)
    renamed = door.user.rename(names.user(body))
    _log.info("{user} is now {name}", user=renamed.user, name=renamed.to)
    # Events with the new name make sense only after the answer.
    door.hold()
    await saved(door)
    door.reply(renamed)
    door.release()


@command("list", "", "List the rooms.", "rooms", cost=3)
async def list_(door: Door, body: str) -> Rooms:
    nothing_after("list", body)
    await door.drained()
    # Very many may be kept, so only the fullest are summarised.
    fullest = nlargest(MOST_LISTED, door.chat.registry.rooms.values(), lambda r: len(r.members))
    rows = [room.summary() for room in fullest]
    rows.sort(key=lambda row: (-row.count, row.name.casefold()))
    return Rooms(rooms=fitting(rows))


@command("join", "ROOM [PASSWORD]", "Join a room; it is made if it does not exist.")
async def join(door: Door, body: str) -> None:
    registry, user = door.chat.registry, door.user
    word, password = first_word(body.strip())
    name = names.room(word, known=True)
    room = registry.known(name)
    if room is None:
        # Without a room there is no password: all of it is the name, which has no spaces.
        name = names.room(body)
    elif password and not room.locked:
        raise ChatError(
            "bad_argument", f"{room.name} is not locked and takes no password: /join {room.name}"
        )
    await door.chat.log.heard(door.user)
    asked, room = None, registry.known(name)
    while room is not None and room is not asked and room not in user.rooms:
        await _let_in(door, room, password)
        # That may have taken a while, in which the room of that name became another.
        asked, room = room, registry.known(name)
    await _enter(door, name)


@command("create", "ROOM", "Make a room and join it.")
async def create(door: Door, body: str) -> None:
    name = names.room(body)
    await door.chat.log.heard(door.user)
    if name.key in door.chat.registry.rooms:
        raise ChatError("room_exists", f"The room {name} exists already: /join {name}")
    if former := door.chat.registry.known(name):
        _keep_out(former, door.user)
    await _enter(door, name)


@command("users", "", "List who is in your room.", "who", cost=3)
async def users(door: Door, body: str) -> Users:
    nothing_after("users", body)
    await door.drained()
    room = door.user.here
    return Users(
        room=room.name.shown,
        users=fitting(room.shown()),
        operators=room.run_by(NAMES_WITH_JOINED),
    )


@command("leave", "[REASON]", "Leave your room.", "exit")
async def leave(door: Door, body: str) -> Left:
    await door.chat.log.heard(door.user)
    left = door.user.leave(door.user.here, _parting(door, body) or "left")
    await saved(door)
    return left


@command("say", "TEXT", "Say something in your room, as a plain line does.")
def say(door: Door, body: str) -> None:
    door.user.say(body, re=door.re)


@command("me", "TEXT", "Say what you do: /me waves.")
def me(door: Door, body: str) -> None:
    door.user.say(body, action=True, re=door.re)


@command("msg", "USER TEXT", "Say something to one user only.")
def msg(door: Door, body: str) -> None:
    who, text = first_word(body)
    name, registry, user = names.user(who, known=True), door.chat.registry, door.user
    other, account = registry.called(name), door.chat.accounts.known.get(name.key)
    if other is not None:
        user.tell(other, text, re=door.re, called=name.key)
    elif account is not None:
        user.write("@" + name.key, account.name, text, re=door.re)
    elif not user.answered(text, door.re, name.key):
        registry.user(name)  # which raises that there is none


@command("history", "[COUNT [ID]]", "Show the last messages here, or those before ID.", cost=3)
async def history(door: Door, body: str) -> History:
    await door.drained()
    room, chat = door.user.here, door.chat
    words = body.split()
    if len(words) > 2 or not all(map(is_number, words)):
        raise ChatError("bad_argument", "Give a count, or a count and a message's id: /history 20")
    count = int(words[0]) if words else REPLAYED
    upto = chat.registry.last
    if len(words) == 2:
        upto = min(upto, int(words[1]) - 1)
    count = min(count, MOST_HISTORY)
    messages = await chat.log.tail(room.place, upto, count + 1)
    newest_first = fitting(messages[::-1][:count])
    return History(
        room=room.name.shown,
        messages=newest_first[::-1],
        older=0 < len(newest_first) < len(messages),
    )


@command("help", "[COMMAND]", "List the commands, or explain one of them.", open=True)
def help_(door: Door, body: str) -> Help:  # noqa: ARG001
    word = body.strip().removeprefix("/")
    return Help(commands=[find(word).told] if word else rows())


@command("close", "[REASON]", "Leave the chat.", "quit", open=True)
async def close(door: Door, body: str) -> Closing:
    reason = _parting(door, body) or "bye"
    door.settle()
    # Who says it has left, even if the connection breaks before it is done.
    await whoever_waits(_leave(door.chat, door.user, reason))
    await door.chat.log.flushed()
    return Closing(reason="bye", text="Bye.")


@command("ping", "[TEXT]", "Ask the server whether it is there.", open=True)
def ping(door: Door, body: str) -> Pong:  # noqa: ARG001
    return Pong(body=body)


@command("pong", "", "Tell the server that you are there.", open=True)
def pong(door: Door, body: str) -> None:
    """That it came is all there is to it."""


async def _leave(chat: Chat, user: User, reason: str) -> None:
    """End the session when what was said before is told, if it does not go on elsewhere by then."""
    hear = user.hear
    await chat.log.flushed()
    if user.hear is hear or user in chat.registry.lingering:
        chat.sessions.close(user, reason)


def _parting(door: Door, body: str) -> str:
    """Why somebody leaves, in their own words; the muted have none."""
    user, reason = door.user, names.remark(body, "reason")
    rules = (door.chat.registry.rules, *(room.rules for room in user.rooms))
    # In quotes, for it is not the chat that says so.
    return f'"{reason}"' if reason and not any(one.muted(user) for one in rules) else ""


def because(reason: str) -> str:
    """The end of a sentence: a colon and the reason, if there is one."""
    reason = reason.rstrip(".")
    return f": {reason}" if reason else ""


async def saved(door: Door) -> None:
    """Wait until the user's name and room would survive the end of the server."""
    door.chat.sessions.save(door.user)
    await door.chat.log.flushed()


async def _let_in(door: Door, room: Room, password: str) -> None:
    """Raises `ChatError` ``forbidden`` for those who may not join, which uses up invitations."""
    passwords, user, rules = door.chat.passwords, door.user, room.rules
    if door.chat.accounts.powerful(user, room) or rules.redeem(user):
        return
    _keep_out(room, user)
    if rules.lock:
        whence = user.whence
        whose = f"for the room {room.name.key} from {whence}"
        right = password and await passwords.right(password, lambda: rules.lock, whence, whose)
        if not right:
            wrong = (
                f"That is not the password of {room.name}" if password else f"{room.name} is locked"
            )
            raise ChatError("forbidden", f"{wrong}. To join: /join {room.name} PASSWORD")
        # That took a while.
        _keep_out(room, user)
        if not rules.operators and door.chat.registry.known(room.name) is room:
            door.chat.registry.appoint(room, user)


def _keep_out(room: Room, user: User) -> None:
    """Raises `ChatError` ``forbidden`` for the banned."""
    ban = room.rules.banned(user)
    if ban is None:
        return
    if ban.hits_beside(user):
        raise ChatError(
            "forbidden",
            f"Guests from your address are kept out of {room.name}. "
            "With an account you may join: /register or /login",
        )
    why = because(ban.reason)
    raise ChatError("forbidden", f"You are banned from {room.name}{why}. Ask an operator.")


async def _enter(door: Door, name: Name) -> None:
    """Go into a room, out of the one before; then hear what was said there lately."""
    user, chat = door.user, door.chat
    room = chat.registry.open(name, user)
    if user.room not in (room, None):
        user.leave(user.here)
    door.hold()
    user.join(room.name)
    # As it is now: what happens from now on is kept back, and told after it.
    joined = Joined(
        room=room.name.shown,
        user=user.name.shown,
        users=room.shown(NAMES_WITH_JOINED),
        count=len(room.members),
        topic=room.topic,
    )
    # Whoever has heard it may have sent the user out again.
    upto = user.rooms.get(room, chat.registry.last)
    # Only now: who leaves a room that is too loud for them is not to wait until it is quiet.
    await door.drained()
    messages = chat.log.tail(room.place, upto).addErrback(_unread)
    await saved(door)
    replayed = await messages
    door.reply(joined)
    door.replay(replayed)
    door.release()


def _unread(why: Failure) -> list[Message]:
    """In place of what should have been read: one is in the room all the same."""
    why.trap(*FAILURES)
    if trouble(why.value):
        _log.error("the history cannot be read: {why}", why=why.getErrorMessage())
    else:
        _log.failure("the history cannot be read", why)
    return []


def nothing_after(name: str, body: str) -> None:
    if body.strip():
        raise ChatError("bad_argument", f"/{name} takes nothing after it. Type just /{name}.")


def is_number(word: str) -> bool:
    """Whether `word` can be a count or an id, which is below 2^53."""
    return word.isascii() and word.isdigit() and len(word) < 17


def fitting(things: Sequence[T]) -> list[T]:
    """As many of `things`, from the first, as fit a reply."""
    left = LARGEST_LIST
    fitting = []
    for thing in things:
        left -= size(thing)
        if left < 0:
            break
        fitting.append(thing)
    return fitting
