"""Requests that wait for their answer: when each is sent, which are sent again, and which never.

A request is sent at once, with three exceptions:

- A request that changes the name or the room (`ALONE`) waits until all before it are answered.
- All requests after one that goes to another room (`MOVES`) wait until that is answered. Those that
  do something in a room (`HERE`) are meant for the new one, and are not sent if that is refused.
- Only `MOST_UNDERWAY` are sent ahead of their answers. A server remembers only so many, to know
  them when they come again.

When a link is lost, unanswered requests are sent again over the next one, in the same order and
under the same ids. Those that might then be done twice are not sent again: messages, if the session
is a different one, and what is in `ONCE`.

Nothing here knows links, or what an answer says.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from itertools import takewhile

from msgspec.structs import replace
from twisted.internet.defer import Deferred

from pylingo import names
from pylingo.protocol import AnyEvent, ChatError, Request, RequestId, encode, first_word

MOST_UNDERWAY = 256
"""Requests that are sent ahead of their replies."""
SAID = frozenset({"say", "me", "msg"})
"""Commands that are messages: the server knows when one comes again in the same session."""
ONCE = frozenset({"announce", "kick"})
"""Other commands that are not sent again when we cannot know whether they were carried out."""
MOVES = frozenset({"join", "create"})
"""Commands after which everything is meant for another room."""
OUT = frozenset({"leave", "exit"})
"""Commands that leave the room."""
NAMES = frozenset({"name", "login"})
"""Commands that take another name."""
ALONE = MOVES | OUT | NAMES
"""Commands that change the name or the room. An earlier request that is sent again after them would
be done in another place or by another name."""
LEAVES = frozenset({"close", "quit"})
"""Commands that leave the chat."""
HERE = OUT | {
    "say", "me", "topic", "lock", "unlock", "invite", "kick", "ban", "unban", "mute", "unmute",
    "op", "deop",
}  # fmt: skip
"""Commands that do something in the user's room."""


@dataclass(slots=True, eq=False)
class Pending:
    """A request that waits for its reply, which is not heard besides if it is `quiet`."""

    request: Request
    reply: Deferred[AnyEvent]
    quiet: bool = False
    room: str | None = None
    """Where it was said."""
    begun: bool = False
    """Whether it was sent over any link, so that the server may have it."""

    @property
    def command(self) -> str:
        return self.request.command.casefold()

    @property
    def leaves(self) -> bool:
        """Whether it is to leave the chat."""
        return self.command in LEAVES


class Requests:
    """All that wait, in their order. `write` sends a frame; `room` tells where we are."""

    def __init__(self, write: Callable[[bytes], None], room: Callable[[], str | None]) -> None:
        self.linked = False
        """Whether there is a link for them."""
        self._write = write
        self._room = room
        self._waiting: dict[RequestId | None, Pending] = {}
        self._later: deque[Pending] = deque()
        """Those of them that are not sent yet."""
        self._moving: Pending | None = None
        """The way to another room whose answer is waited for."""

    def __len__(self) -> int:
        return len(self._waiting)

    def __iter__(self) -> Iterator[Pending]:
        return iter(tuple(self._waiting.values()))

    def add(self, request: Request, *, quiet: bool = False) -> Pending:
        """One more, which is sent now if it can be."""
        pending = self._waiting[request.re] = Pending(request, Deferred(), quiet)
        self._later.append(pending)
        self._flow()
        return pending

    def ahead(self, request: Request, *, quiet: bool = False) -> Deferred[AnyEvent]:
        """One that comes before all others, and is never sent again; it can be cancelled."""

        def forget(_: object) -> None:
            self._waiting.pop(request.re, None)

        reply: Deferred[AnyEvent] = Deferred(forget)
        self._waiting = {request.re: Pending(request, reply, quiet), **self._waiting}
        self._write(encode(request))
        return reply

    def open(self) -> None:
        """There is a link: send them all."""
        self.linked = True
        for one in self:
            if one.begun and one.command == "create" and same_room(one.request.body, self._room()):
                # It was made, and to make it again would be refused.
                one.request = replace(one.request, command="join")
        self._later = deque(self)
        self._flow()

    def shut(self) -> None:
        """It is lost."""
        self.linked = False
        self._moving = None

    def answered(
        self, re: RequestId | None, *, refused: bool
    ) -> tuple[Pending | None, list[Pending]]:
        """Take out the one whose answer is there; what waited for that goes now.

        The second result is what was meant for a room and is not sent, for the way was refused.
        """
        pending = self._waiting.pop(re, None)
        lost: list[Pending] = []
        if pending is not None and pending is self._moving:
            self._moving = None
            if refused and not same_room(pending.request.body, self._room()):
                meant = takewhile(lambda later: later.command not in MOVES, self._later)
                lost = self._drop(later for later in meant if later.command in HERE)
        self._flow()
        return pending, lost

    def unsure(self, *, resumed: bool) -> list[Pending]:
        """Take out requests that may be done already, and would be done twice if sent again.

        In a session that was `resumed` the server knows messages that come again.
        """
        once = ONCE if resumed else ONCE | SAID
        return self._drop(one for one in self if one.begun and one.command in once)

    def stranded(self) -> list[Pending]:
        """Take out requests for a room in which we are not any more.

        Elsewhere they would hit others, or be heard by others; an admin in no room would hit the
        whole server. In no room, the server itself says of messages whether they are stored.
        """
        meant = takewhile(lambda one: one.command not in MOVES, self)
        here = HERE if self._room() is not None else HERE - SAID
        return self._drop(one for one in meant if one.command in here)

    def disowned(self) -> list[Pending]:
        """Take out messages that would be heard from another name than they were written under."""
        meant = takewhile(lambda one: one.command not in NAMES, self)
        return self._drop(one for one in meant if one.command in SAID)

    def clear(self) -> list[Pending]:
        """Take out all."""
        return self._drop(self)

    def _drop(self, pendings: Iterable[Pending]) -> list[Pending]:
        dropped = [*pendings]
        for pending in dropped:
            del self._waiting[pending.request.re]
        self._later = deque(one for one in self._later if one.request.re in self._waiting)
        return dropped

    def _flow(self) -> None:
        while self.linked and self._moving is None and self._later:
            underway = len(self._waiting) - len(self._later)
            if underway >= MOST_UNDERWAY or (underway and self._later[0].command in ALONE):
                break
            pending = self._later.popleft()
            if not pending.begun:
                pending.begun, pending.room = True, self._room()
            if pending.command in MOVES:
                self._moving = pending
            self._write(encode(pending.request))


def refuse(pendings: Iterable[Pending], code: str, text: str) -> None:
    """Answer with an error."""
    for pending in pendings:
        pending.reply.errback(ChatError(code, text))


def same_room(way: str, room: str | None) -> bool:
    """Whether the `way` to a room, with a password or not, leads to `room`."""
    try:
        there = names.room(first_word(way)[0], known=True)
        here = names.room(room or "", known=True)
    except ChatError:
        return way == (room or "")
    return there.key == here.key
