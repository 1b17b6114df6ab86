"""The commands of operators and admins.

An operator moderates one room, an admin every room. An admin who is in no room moderates the whole
server: kick and ban then end the connection, and mute silences everywhere.
"""

from __future__ import annotations

from twisted.internet.defer import CancelledError
from twisted.logger import Logger

from pylingo import names
from pylingo.commands import Door, because, command, fitting, nothing_after
from pylingo.history import FAILURES
from pylingo.names import Name
from pylingo.protocol import ChatError, Closing, Done, Event, Notice, Topic, first_word
from pylingo.rooms import Gone, Room, User, muted_everywhere
from pylingo.rules import Sanction, Sanctions, places

NO_TOPIC = "-"
"""What takes the topic away."""
MOST_OPERATED = 1_000
"""Rooms that somebody may be made an operator of."""

_log = Logger()


@command("topic", "[TEXT]", "Read the topic; operators set it, - removes it.")
async def topic(door: Door, body: str) -> Topic | None:
    room = door.user.here
    if not body.strip():
        return Topic(room=room.name.shown, topic=room.topic, user="")
    await door.chat.log.heard(door.user)
    room = _room(door)
    if door.chat.registry.rules.muted(door.user):
        raise muted_everywhere()
    text = names.remark(body, "topic")
    room.topic = "" if text == NO_TOPIC else text
    changed = Topic(room=room.name.shown, topic=room.topic, user=door.user.name.shown)
    room.tell(changed, but=door.user)
    await _kept(door, room, changed)
    return None


@command("lock", "PASSWORD", "Let people join your room only with a password.", cost=3)
async def lock(door: Door, body: str) -> None:
    room = _room(door)
    hash = await door.chat.passwords.hash(body, door.user.whence)
    await door.chat.log.heard(door.user)
    # That took a while, in which one may have been sent out: the room may be another.
    if _room(door) is not room:
        raise ChatError("not_in_room", f"You are not in {room.name} any more.")
    door.chat.registry.lock(room, hash)
    # Users who were here earlier, but are not now, must not read what is said from now on.
    door.chat.sessions.shut_out(room)
    await _done(door, room, "locked", "is locked now")


@command("unlock", "", "Let everyone join your room again.")
async def unlock(door: Door, body: str) -> None:
    nothing_after("unlock", body)
    await door.chat.log.heard(door.user)
    room = _room(door)
    room.rules.lock = ""
    await _done(door, room, "unlocked", "is open to everyone now")


@command("invite", "USER", "Let somebody join once, despite a lock or a ban.")
def invite(door: Door, body: str) -> Done:
    room = _room(door)
    user = door.chat.registry.user(names.user(body, known=True))
    if door.chat.registry.rules.muted(door.user):
        raise muted_everywhere()
    if user in room.members:
        return Done(text=f"{user.name} is in {room.name} already.")
    room.rules.invite(user)
    user.hears((Notice(text=f"{door.user.name} invites you: /join {room.name}"),))
    return Done(text=f"{user.name} may join {room.name} once.")


@command("kick", "USER [REASON]", "Send somebody out of your room.")
async def kick(door: Door, body: str) -> None:
    name, reason = _who(door, body)
    await _last_said(door, name)
    room = _empowered(door)
    user = door.chat.registry.user(name)
    _spare(door, user.name, user.place)
    where = _remove(door, room, user, "kicked", reason)
    _note(door, f"{user.name} was kicked from {where}", reason)
    await _stored(door, Done(text=f"{user.name} was kicked from {where}."))


@command("ban", "USER [REASON]", "Keep somebody out of your room.", cost=3)
async def ban(door: Door, body: str) -> None:
    name, reason = _who(door, body)
    await _last_said(door, name)
    await _recall(door, name)
    room = _empowered(door)
    registry, user = door.chat.registry, _meant(door, name)
    # Not by an address that the moderator has, too: that would hit the household, and oneself.
    shared = user is not None and user.host == door.user.host
    sanction = _sanction(door, name, reason, address=not shared)
    room.rules.bans.add(sanction)
    for place in (sanction.place, *(places(user) if user is not None else ())):
        room.rules.invited.pop(place, None)
    registry.retire(room, sanction.place)
    for one in tuple(registry.users.values() if room is registry.everywhere else room.members):
        # Those who share a guest's address are kept out from now on, but not thrown out.
        if one.place == sanction.place:
            _remove(door, room, one, "banned", reason)
    _note(door, f"{sanction.shown} was banned from {room.name}", reason)
    more = ""
    if sanction.host:
        more = " So are other guests from that address; those with an account are not."
    elif shared and door.user.host and sanction.place.startswith("~"):
        more = " Others from that address are not, for it is yours too."
    await _kept(door, room, Done(text=f"{sanction.shown} is banned.{more}"))


@command("unban", "USER", "Let somebody into your room again.")
async def unban(door: Door, body: str) -> None:
    room = _empowered(door)
    await _lift(door, room, room.rules.bans, body, f"banned from {room.name}")


@command("mute", "USER [REASON]", "Silence somebody in your room.", cost=3)
async def mute(door: Door, body: str) -> None:
    name, reason = _who(door, body)
    await _recall(door, name)
    room = _empowered(door)
    sanction = _sanction(door, name, reason, address=False)
    room.rules.mutes.add(sanction)
    _note(door, f"{sanction.shown} was muted in {room.name}", reason)
    user = _meant(door, name)
    if isinstance(user, User):
        where = f" in {room.name}" if room.members else ""
        text = f"You were muted{where} by {door.user.name}{because(reason)}."
        user.hears((Notice(text=text),))
    await _kept(door, room, Done(text=f"{sanction.shown} is muted."))


@command("unmute", "USER", "Let somebody speak in your room again.")
async def unmute(door: Door, body: str) -> None:
    room = _empowered(door)
    what = f"muted {'in' if room.members else 'on'} {room.name}"
    await _lift(door, room, room.rules.mutes, body, what)


@command("op", "USER", "Make somebody an operator of your room.")
async def op(door: Door, body: str) -> None:
    room = _room(door)
    name, _ = _who(door, body)
    registry = door.chat.registry
    user = registry.called(name)
    if user is not None and (user in room.members or user.account is not None):
        place = user.place
    elif name.key in door.chat.accounts.known:
        place = "@" + name.key
    else:
        raise ChatError("no_such_user", f"{name} is not in {room.name} and has no account.")
    if place not in room.rules.operators and registry.operated(place) >= MOST_OPERATED:
        raise ChatError("forbidden", f"{name} is an operator of {MOST_OPERATED} rooms already.")
    if user is not None and user in room.members:
        registry.appoint(room, user)
    else:
        registry.promote(room, place)
    _note(door, f"{name} was made an operator of {room.name}")
    await _stored(door, Done(text=f"{name} is an operator of {room.name}."))


@command("deop", "USER", "Make somebody, or yourself, no longer an operator.")
async def deop(door: Door, body: str) -> None:
    room = _room(door)
    name, _ = _who(door, body)
    registry = door.chat.registry
    user = registry.called(name)
    place = user.place if user is not None else "@" + name.key
    if place != door.user.place:
        _spare(door, name, place)
    if not registry.retire(room, place):
        raise ChatError("no_such_user", f"{name} is not an operator of {room.name}.")
    if user is not None and user is not door.user:
        user.hears((Notice(text=f"You are not an operator of {room.name} any more."),))
    _note(door, f"{name} was removed as an operator of {room.name}")
    await _stored(door, Done(text=f"{name} is not an operator of {room.name} any more."))


@command("bans", "", "List who is banned from your room.", cost=3)
async def bans(door: Door, body: str) -> Done:
    nothing_after("bans", body)
    await door.drained()
    return _listed(door, _empowered(door).rules.bans, "banned")


@command("mutes", "", "List who is muted in your room.", cost=3)
async def mutes(door: Door, body: str) -> Done:
    nothing_after("mutes", body)
    await door.drained()
    return _listed(door, _empowered(door).rules.mutes, "muted")


@command("announce", "TEXT", "Tell something to everyone on the server.")
def announce(door: Door, body: str) -> Done:
    if not door.chat.accounts.admin(door.user):
        raise ChatError("forbidden", "Only an admin can do that.")
    door.chat.registry.tell(
        Notice(text=f"{door.user.name} to everyone: {names.message(body)}"), but=door.user
    )
    return Done(text="Everyone was told.")


def _listed(door: Door, those: Sanctions, what: str) -> Done:
    admin = door.chat.accounts.admin(door.user)
    lines: list[str] = []
    for sanction in those.values():
        host = f" [{sanction.host}]" if admin and sanction.host else ""
        why = because(sanction.reason)
        lines.append(f"{sanction.shown}{host} was {what} by {sanction.by}{why}")
    return Done(text="\n".join(fitting(lines)) or f"Nobody is {what}.")


def _empowered(door: Door) -> Room:
    """The room to moderate, or `Registry.everywhere`. Raises `ChatError` for who may not."""
    user, accounts = door.user, door.chat.accounts
    if user.room is None and accounts.admin(user):
        return door.chat.registry.everywhere
    room = user.here
    if not accounts.powerful(user, room):
        people = door.chat.registry.places
        here = any(people.get(one) in room.members for one in room.rules.operators)
        who = "/users shows them" if here else "none is here now"
        raise ChatError("forbidden", f"Only an operator of {room.name} can do that; {who}.")
    return room


def _room(door: Door) -> Room:
    """The room to moderate, where it has to be one."""
    _empowered(door)
    return door.user.here


def _who(door: Door, body: str) -> tuple[Name, str]:
    """Whom it is about, and why; who is muted everywhere has no words for that either."""
    who, reason = first_word(body.strip())
    name, reason = names.user(who, known=True), names.remark(reason, "reason")
    return name, "" if door.chat.registry.rules.muted(door.user) else reason


async def _last_said(door: Door, name: Name) -> None:
    """Wait until all that they, and the one who asks, have said has been heard, and answered."""
    await door.chat.log.heard(door.user)
    user = _meant(door, name)
    if isinstance(user, User):
        await door.chat.log.heard(user)


def _meant(door: Door, name: Name) -> User | Gone | None:
    """Whom a moderator means by `name`: who has it, or has that account, or had it last."""
    registry = door.chat.registry
    user, gone = registry.called(name), registry.gone.get(name.key)
    if user is not None or name.key in door.chat.accounts.known or gone is None:
        return user
    # Perhaps only the name is gone.
    return registry.places.get(f"~{gone.session}", gone)


async def _recall(door: Door, name: Name) -> None:
    """Look up whose name it was, if only the database knows, and the one who asks may moderate."""
    _empowered(door)
    registry, chat = door.chat.registry, door.chat
    if name.key not in chat.accounts.known and _meant(door, name) is None:
        gone = await chat.sessions.gone(name)
        if gone is not None:
            registry.gone.setdefault(name.key, gone)


def _spare(door: Door, name: Name, place: str) -> None:
    """Raises `ChatError`: ``forbidden`` for an admin's place, ``bad_argument`` for one's own."""
    if place[0] == "@" and place[1:] in door.chat.accounts.admins:
        raise ChatError("forbidden", f"{name} is an admin. Nobody can do that to an admin.")
    if place == door.user.place:
        raise ChatError("bad_argument", "That is you. Name somebody else.")


def _sanction(door: Door, name: Name, reason: str, *, address: bool) -> Sanction:
    """A ban or a mute of the account, or of the guest, of that name; by address too, or not."""
    accounts, one = door.chat.accounts, _meant(door, name)
    account = one.account if isinstance(one, User) else None
    if name.key in accounts.known:
        account = name.key
    if account is not None:
        key, place, host = account, "@" + account, ""
    else:
        one = one or door.chat.registry.user(name)
        key, place, host = name.key, one.place, one.host if address else ""
    _spare(door, name, place)
    return Sanction(key, name.shown, place, host, door.user.name.shown, reason)


def _note(door: Door, done: str, reason: str = "") -> None:
    """For the server's log. What somebody wrote stands at the end of it."""
    _log.info("{done} by {by}{why}", done=done, by=door.user.name.shown, why=because(reason))


def _remove(door: Door, room: Room, user: User, what: str, reason: str) -> Name:
    """Send `user` out of the room, or out of the chat; the result says out of which."""
    by = f"{what} by {door.user.name}{because(reason)}"
    if user not in room.members:
        if not door.chat.accounts.admin(door.user):
            raise ChatError("no_such_user", f"{user.name} is not in {door.user.here.name}.")
        door.chat.sessions.close(user, by, Closing(reason=what, text=f"You were {by}."))
        return door.chat.registry.everywhere.name
    user.hears((user.leave(room, by),))
    door.chat.sessions.save(user)
    return room.name


async def _lift(door: Door, room: Room, sanctions: Sanctions, body: str, what: str) -> None:
    name, _ = _who(door, body)
    user = door.chat.registry.users.get(name.key)
    # By the name it was when it came, by the one that is shown, or by today's.
    shown = _plain(name.shown)
    sanction = (
        sanctions.get(name.key)
        or next((one for one in sanctions.values() if _plain(one.shown) == shown), None)
        or next((one for one in sanctions.values() if user and one.means(user)), None)
    )
    if sanction is None:
        raise ChatError("no_such_user", f"{name} is not {what}.")
    # It may have been given by several names of the same one, and before a login and after it.
    whom = [one for one in door.chat.registry.users.values() if sanction.means(one)]
    for same in tuple(sanctions.values()):
        if same.place == sanction.place or any(map(same.means, whom)):
            del sanctions[same.key]
    for one in whom:
        if one is not door.user:
            one.hears((Notice(text=f"You are not {what} any more."),))
    _note(door, f"{sanction.shown} was un{what}")
    await _kept(door, room, Done(text=f"{sanction.shown} is not {what} any more."))


async def _done(door: Door, room: Room, done: str, what: str) -> None:
    room.tell(Notice(text=f"{room.name} {what}."), but=door.user)
    _note(door, f"{room.name} was {done}")
    await _kept(door, room, Done(text=f"{room.name} {what}."))


async def _kept(door: Door, room: Room, reply: Event) -> None:
    """Reply when what was changed would survive the end of the server."""
    door.chat.accounts.keep(room)
    await _stored(door, reply)


async def _stored(door: Door, reply: Event) -> None:
    """The same, for what is kept already. Raises `ChatError` ``internal`` if it cannot be."""
    # Others may change the same meanwhile, which is told after the answer.
    door.hold()
    try:
        await door.chat.log.kept()
    except CancelledError:
        # The connection is ended by others; but what was said there is answered still.
        door.release()
        raise
    except FAILURES:
        raise ChatError(
            "internal",
            "It is done, but could not be stored: if the server ends before it can be, it is lost. "
            "Tell the person who runs the server.",
        ) from None
    door.reply(reply)
    door.release()


def _plain(shown: str) -> str:
    """Nearly what a name is compared by, without the time that takes."""
    return names.composed(shown).casefold()
