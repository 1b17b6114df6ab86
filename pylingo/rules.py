"""Who may do what in a room: its operators, its lock, its bans, mutes and invitations.

People are known by their *place*: `@` and the key of an account, or `~` and the number of a guest's
session. The log also stores under it what is said to them. What is tied to an account lasts.

Nothing here knows who is in the room; that is `rooms.py`.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, replace
from typing import Protocol

from pylingo.names import Name
from pylingo.protocol import ChatError

MOST_SANCTIONS = 1_000
"""Bans, and mutes, and invitations, of one room."""


class Person(Protocol):
    """A user, as rules see one."""

    @property
    def name(self) -> Name:
        """What they are called."""

    @property
    def host(self) -> str:
        """Where they are from, if that is known."""

    @property
    def session(self) -> int:
        """The number of the session."""

    @property
    def place(self) -> str:
        """`@` and the key of an account, or `~` and the number of a guest's session."""


def places(user: Person) -> tuple[str, str]:
    """The place of `user`, and the session's: a guest who logs in is still the same session."""
    return user.place, f"~{user.session}"


@dataclass(frozen=True, slots=True)
class Sanction:
    """A ban or a mute: of an account, or of a guest, by name and session and perhaps address."""

    key: str
    shown: str
    place: str
    host: str
    by: str
    reason: str

    def means(self, user: Person) -> bool:
        """Whether `user` is who it was given to."""
        return self.place in places(user)

    def hits_beside(self, user: Person) -> bool:
        """Whether `user`, whom it hits, is hit only for sharing somebody else's address."""
        return not self.means(user) and user.name.key != self.key


class Sanctions(dict[str, Sanction]):
    """The bans of a room, or its mutes, by their keys."""

    __slots__ = ()

    def add(self, sanction: Sanction) -> None:
        """One more. Raises `ChatError` ``bad_argument`` where there are too many."""
        before = self.get(sanction.key)
        again = before is not None and before.place == sanction.place
        if len(self) >= MOST_SANCTIONS and not again:
            raise ChatError("bad_argument", "There are too many of those. Remove one first.")
        if before is not None and not again:
            # Somebody else had that name then, and is not let off for it. No name has a space.
            key = f"{before.key} {before.place}"
            self[key] = replace(before, key=key)
        self[sanction.key] = sanction

    def hitting(self, user: Person) -> Sanction | None:
        """One that hits `user`, if one does: the first that is theirs, or else a neighbour's."""
        beside = None
        for one in self.all_hitting(user):
            if not one.hits_beside(user):
                return one
            beside = beside or one
        return beside

    def all_hitting(self, user: Person) -> Iterator[Sanction]:
        """All that hit `user`."""
        # There may be many: what they ask of `user` is looked up once.
        whose, key, host = places(user), user.name.key, user.host
        guest = user.place.startswith("~")
        for one in self.values():
            # Names and addresses are a guest's; an account is hit as itself.
            if one.place in whose or (
                guest and (one.key == key or (host and one.host == host)) and one.place[0] == "~"
            ):
                yield one


class Rules:
    """The rules of one room, or of the whole server."""

    __slots__ = ("bans", "invited", "lock", "mutes", "operators")

    def __init__(self) -> None:
        self.operators: dict[str, None] = {}
        """The places of operators, in the order they became it."""
        self.invited: dict[str, None] = {}
        """The places of those who may join once in spite of a lock or a ban, the newest last."""
        self.lock = ""
        """The hash of the password to join, if there is one."""
        self.bans = Sanctions()
        self.mutes = Sanctions()

    @property
    def owned(self) -> bool:
        """Whether an operator has an account."""
        return any(place.startswith("@") for place in self.operators)

    @property
    def kept(self) -> bool:
        """Whether they outlive the last member."""
        return self.lock != "" or self.owned

    def invite(self, user: Person) -> None:
        """Let `user` join once. The oldest of too many invitations is forgotten."""
        self.invited[user.place] = None
        if len(self.invited) > MOST_SANCTIONS:
            del self.invited[next(iter(self.invited))]

    def redeem(self, user: Person) -> bool:
        """Whether `user` was invited, perhaps before logging in; that invitation is used up."""
        for place in places(user):
            if place in self.invited:
                del self.invited[place]
                return True
        return False

    def banned(self, user: Person) -> Sanction | None:
        """The ban that hits `user`, if one does."""
        return self.bans.hitting(user)

    def muted(self, user: Person) -> Sanction | None:
        """The mute that hits `user`, if one does."""
        return self.mutes.hitting(user)
