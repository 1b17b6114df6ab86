"""The commands about identity: sessions, the server's password, registered names."""

from __future__ import annotations

import hmac

from msgspec.structs import replace
from twisted.logger import Logger

from pylingo import names
from pylingo.commands import Door, banned_here, command, is_number, locked_out, saved
from pylingo.history import FAILURES
from pylingo.passwords import wrong
from pylingo.protocol import ChatError, Closing, Done, Resumed, first_word
from pylingo.rooms import NAMES_WITH_JOINED, Gone, User
from pylingo.sessions import Asleep

_log = Logger()


@command("resume", "TOKEN ID", "Go on with an earlier session.", cost=3, open=True)
async def resume(door: Door, body: str) -> None:
    token, number = first_word(body.strip())
    if not is_number(number):
        raise ChatError("bad_argument", "Give the session's token and the last message's id.")
    # Earlier messages of this connection are answered here, before the user changes.
    await door.chat.log.flushed()
    user = await _found(door, token)
    if user is not door.user:
        _log.info("{guest} is {user}, who is back", guest=str(door.user), user=user.name.shown)
        user.host = door.user.host
        door.user = user
        user.resume(door.hear)
    # Now, for it stores the session as that of somebody who is here, and from where.
    fresh = door.chat.sessions.token(user, used=token)
    await _catch_up(door, fresh, token, int(number))


@command("enter", "PASSWORD", "Give the server's password, if it has one.", cost=3, open=True)
async def enter(door: Door, body: str) -> Done:
    chat, user = door.chat, door.user
    if user.entered:
        return Done(text="You are in already. No password is needed.")
    if not body.strip():
        raise ChatError("bad_argument", "Give the server's password.")
    whose = f"for this server from {user.whence}"
    chat.passwords.tries.check(whose)
    given, wanted = body.strip(), names.composed(chat.password)
    # To compose very many marks takes long, and no letter comes apart into more than four.
    too_long = len(given) > 4 * len(wanted)
    if too_long or not hmac.compare_digest(names.composed(given).encode(), wanted.encode()):
        raise wrong()
    chat.passwords.tries.right(whose)
    user.entered = True
    await saved(door)
    return Done(text="That is the password. You are in.")


@command("register", "PASSWORD", "Register the name you have, with a password.", cost=3)
async def register(door: Door, body: str) -> Done:
    user = door.user
    if any(looks.startswith("guest-") for looks in user.name.skeletons):
        raise ChatError("bad_argument", "Choose a name first: /name NAME")
    if door.chat.registry.rules.banned(user) is not None:
        # Whoever was here before the ban may stay, but not become one whom it does not hit.
        raise banned_here()
    await door.chat.accounts.register(user, body, door.chat.sessions.save)
    await saved(door)
    _log.info("{user} registered", user=str(user))
    return Done(text=f"{user.name} is yours now. Next time: /login {user.name}")


@command("login", "NAME PASSWORD", "Log in to a name that you registered.", cost=3)
async def login(door: Door, body: str) -> None:
    shown, password = first_word(body.strip())
    accounts, user = door.chat.accounts, door.user
    account = await accounts.login(user, shown, password)
    # What has arrived, has arrived at the account of before.
    door.settle()
    before, last = door.chat.registry.places.get(f"@{account.name.key}"), door.chat.registry.last
    if before is not user:
        if before in door.chat.registry.lingering:
            # It may come back, as a guest, to learn what became of its last words.
            door.chat.sessions.supersede(before)
        elif before is not None:
            text = "You have logged in from another connection."
            door.chat.sessions.close(before, "replaced", Closing(reason="replaced", text=text))
        user.login = last
    _log.info("{user} logged in as {account}", user=str(user), account=account.name.shown)
    # A user who has to leave a room for it hears that after the answer, with the new name.
    door.hold()
    accounts.enter(user, account)
    await saved(door)
    door.reply(Done(text=f"You are logged in as {user.name}.", user=user.name.shown))
    if before is not user:
        await _replay(door, last, last)
    door.release()


@command("password", "PASSWORD", "Change the password of your name.", cost=3)
async def password(door: Door, body: str) -> Done:
    await door.chat.accounts.change(door.user, body)
    _log.info("{user} changed the password", user=str(door.user))
    return Done(text="Your password was changed.")


async def _found(door: Door, token: str) -> User:
    """The user whose session `token` is: here, lingering, or brought back from the database.

    The user that the door had until now is ended, so that name and account are free. Raises
    `ChatError` ``not_resumable``, ``password_required``, or ``forbidden`` for the banned, and for
    guests at a banned address.
    """
    chat, rules = door.chat, door.chat.registry.rules
    back: User | Asleep | None = chat.sessions.find(token)
    if back is None:
        stored = await chat.sessions.stored(token)
        # Another connection may have come back to the same session meanwhile.
        back = chat.sessions.find(token, stored) or stored
    if back is None:
        raise ChatError(
            "not_resumable", "That session has ended. Go on as you are: /name and /join."
        )
    if isinstance(back, User):
        guest, entered, banned = back.account is None, back.entered, False
    else:
        guest = not chat.accounts.restorable(back.account, door.user)
        entered, banned = True, back.banned(rules)
    # The connection that asks may have an account; it goes on without it.
    here = door.user
    as_guest = Gone(here.name, f"~{here.session}", here.host, here.session)
    if banned or (guest and rules.banned(as_guest) is not None):
        raise banned_here()
    if not entered:
        raise locked_out()
    if back is not door.user:
        door.settle()
        chat.sessions.close(door.user)
    return back if isinstance(back, User) else chat.sessions.revive(back)


async def _catch_up(door: Door, token: str, used: str, after: int) -> None:
    """Tell a resumed user what was missed, in pieces, then go on live.

    The `token` is for the next time; where it cannot be stored, that is the one that was `used`.
    """
    user, chat = door.user, door.chat
    # Live messages wait: those after the newest one that was told by now.
    door.hold()
    room, last = user.room, chat.registry.last
    resumed = Resumed(
        user=user.name.shown,
        room=room.name.shown if room else None,
        users=room.shown(NAMES_WITH_JOINED) if room else (),
        count=len(room.members) if room else 0,
        topic=room.topic if room else "",
        session=token,
    )
    try:
        await chat.log.kept()
    except FAILURES:
        resumed = replace(resumed, session=used)
    door.reply(resumed)
    await _replay(door, after, last)
    door.release()


async def _replay(door: Door, after: int, upto: int) -> None:
    """Tell the user what was said after an id, and up to another, in order, in pieces.

    The door is holding. What it has kept back by the next piece is a part of that.
    """
    user, registry, log = door.user, door.chat.registry, door.chat.log
    places = [(f"~{user.session}", after)]
    if user.account is not None:
        start = max(after, user.session)
        if user.login is not None and after <= user.login:
            # Nothing was seen since the login, so what came before it may still have to be told.
            start = min(start, door.chat.accounts.known[user.account].read)
        places.append((user.place, start))
    # They may have been sent out meanwhile, which they hear next.
    if (room := user.room) is not None:
        places.append((room.place, max(after, user.rooms[room])))
    while True:
        missed, complete = await log.missed(places, upto)
        door.replay(missed)
        await door.drained()
        if complete:
            break
        # Of a room that one was sent out of meanwhile, nothing more.
        here = {room.place for room in user.rooms}
        places = [
            (place, max(start, missed[-1].id))
            for place, start in places
            if place in here or place[0] != "#"
        ]
        upto = registry.last
        door.release(messages=False)
        door.hold()
    user.told = max(user.told, upto)
