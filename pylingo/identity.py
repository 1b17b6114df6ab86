"""The commands about who one is: the server's password, and names that are somebody's own."""

from __future__ import annotations

import hmac

from twisted.logger import Logger

from pylingo.accounts import wrong
from pylingo.commands import Door, command, replay, saved
from pylingo.protocol import LARGEST_MESSAGE_ID, ChatError, Closing, Done

_log = Logger()


@command("enter", "PASSWORD", "Give the server's password, where it has one.", cost=3, open=True)
async def enter(door: Door, body: str) -> Done:
    chat, user = door.chat, door.user
    if user.entered:
        return Done(text="You are in already; there is no password to give.")
    whose = f"door {user.host}"
    chat.accounts.tries.check(whose)
    if not hmac.compare_digest(body.strip().encode(), chat.password.encode()):
        raise wrong()
    chat.accounts.tries.right(whose)
    user.entered = True
    await saved(door)
    return Done(text="That is the password. You are in.")


@command("register", "PASSWORD", "Make the name you have your own.", cost=3)
async def register(door: Door, body: str) -> Done:
    user = door.user
    if user.name.skeleton.startswith("guest-"):
        raise ChatError("bad_argument", "Choose a name first: /name NAME")
    await door.chat.accounts.register(user, body, door.chat.sessions.save)
    await saved(door)
    _log.info("{user} registered", user=user.name.shown)
    return Done(text=f"{user.name} is yours now. Next time: /login {user.name}")


@command("login", "NAME PASSWORD", "Take a name that is your own.", cost=3)
async def login(door: Door, body: str) -> None:
    shown, _, password = body.strip().partition(" ")
    if not shown:
        raise ChatError("bad_argument", "Say whose name, and its password: /login NAME PASSWORD")
    accounts, user = door.chat.accounts, door.user
    account = await accounts.login(user, shown, password)
    before, last = door.chat.registry.owners.get(account.name.key), door.chat.registry.last
    if before is not user:
        if before in door.chat.registry.lingering:
            # It may come back, as a guest, to learn what became of its last words.
            door.chat.sessions.supersede(before)
        elif before is not None:
            text = "You have logged in from another connection."
            door.chat.sessions.close(before, "replaced", Closing(reason="replaced", text=text))
        user.handed = LARGEST_MESSAGE_ID
    accounts.enter(user, account)
    door.hold()
    await saved(door)
    door.reply(Done(text=f"You are logged in as {user.name}.", user=user.name.shown))
    _log.info("{user} logged in", user=user.name.shown)
    if before is not user:
        places = [(user.place, account.read), (f"~{user.session}", last)]
        await replay(door, places, private=True)
        user.handed = door.chat.registry.last
        door.chat.sessions.save(user)
    door.release()


@command("password", "PASSWORD", "Give your name another password.", cost=3)
async def password(door: Door, body: str) -> Done:
    await door.chat.accounts.change(door.user, body)
    return Done(text="Your password was changed.")
