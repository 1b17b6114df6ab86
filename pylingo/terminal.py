"""The client on the terminal that it was started from.

Only here is it known where the terminal is: standard input and output. They are left as they were
found, whatever way it ends.
"""

from __future__ import annotations

import argparse
import contextlib
import fcntl
import os
import signal
import sys
from typing import Any

from prompt_toolkit.history import FileHistory
from prompt_toolkit.input.vt100 import raw_mode
from twisted.internet.interfaces import IStreamClientEndpoint

from pylingo import looks
from pylingo.client import dial
from pylingo.connection import Connection, Heard
from pylingo.conversation import Conversation
from pylingo.memory import Memory, state_path
from pylingo.protocol import AnyEvent, ChatError, Done, Renamed, Resumed
from pylingo.screen import Screen

SAVED = 2.0
"""Seconds between savings of what the next run should know."""


class _History(FileHistory):
    """Lines of earlier runs; written in a thread, for disks can be slow."""

    def __init__(self, filename: str, reactor: Any) -> None:
        super().__init__(filename)
        self._reactor = reactor

    def load_history_strings(self) -> list[str]:
        try:
            return list(super().load_history_strings())
        except OSError:
            return []

    def store_string(self, string: str) -> None:
        self._reactor.callInThread(self._store, string)

    def _store(self, string: str) -> None:
        with contextlib.suppress(OSError):
            super().store_string(string)


async def converse(reactor: Any, options: argparse.Namespace) -> int:
    """Talk until the person leaves or the connection ends. The result is the exit status."""
    from twisted.internet.defer import CancelledError, Deferred, ensureDeferred
    from twisted.internet.stdio import StandardIO
    from twisted.internet.task import LoopingCall

    where = options.where
    folder = state_path()
    history = folder / "history"
    with contextlib.suppress(OSError):
        history.touch(mode=0o600)
    memories: list[Memory] = []

    def current() -> Connection:
        assert conversation.connection is not None
        return conversation.connection

    def recall(name: str) -> Memory:
        for memory in memories:
            memory.close()
        memories[:] = [Memory(folder, where, name)]
        return memories[0]

    def resume(name: str) -> Deferred[AnyEvent] | None:
        ticket = recall(name).recall()
        return current().resume(ticket) if ticket is not None else None

    def mine() -> bool:
        """Whether the session is one to be remembered: that of the name it was asked for."""
        return bool(memories) and memories[0].name == current().user.casefold()

    def save() -> None:
        ticket = current().ticket
        if mine() and ticket is not None:
            reactor.callInThread(memories[0].remember, ticket)

    def heard(event: Heard) -> None:
        conversation.heard(event)
        if isinstance(event, Renamed | Resumed | Done):
            save()

    def connect(endpoint: IStreamClientEndpoint, **more: Any) -> Connection:
        connection = conversation.connection = Connection(
            endpoint,
            heard,
            reactor,
            where=where,
            ticket=recall(options.name).recall() if options.name else None,
            echo=True,
            password=lambda: conversation.ask("The server's password: ", hidden=True),
            **more,
        )
        return connection

    conversation = Conversation(
        where, encrypted=options.tls, name=options.name, room=options.room, resume=resume
    )
    tty = Tty(sys.stdin.fileno(), sys.stdout.fileno())
    screen = Screen(
        conversation,
        lambda: os.get_terminal_size(sys.stdout.fileno()),
        reactor.seconds,
        term=os.environ.get("TERM", "xterm"),
        colour=not options.no_color,
        history=_History(str(history), reactor),
        suspend=tty.suspend,
    )
    saving = LoopingCall(save)
    finished: Deferred[None] = Deferred()

    def end() -> Deferred[None]:
        conversation.leaving = True
        conversation.leave()
        return finished

    # A signal ends it as the keys do: not before the terminal is as it was.
    reactor.addSystemEventTrigger("before", "shutdown", end)
    signal.signal(signal.SIGHUP, lambda *_: reactor.callFromThread(reactor.stop))

    def go_on() -> None:
        if finished.called:
            pass  # The terminal is as it was found.
        elif tty.ours:
            tty.again()
            screen.redraw()
        else:
            screen.suspend()

    trouble = ""
    try:
        with tty:
            StandardIO(screen, reactor=reactor)
            signal.signal(signal.SIGCONT, lambda *_: reactor.callFromThread(go_on))
            conversation.begin(screen)
            dialing = ensureDeferred(dial(options, reactor, connect, conversation.ask))
            conversation.abandon = dialing.cancel
            try:
                await dialing
                conversation.abandon = lambda: None
                conversation.arrived()
                saving.start(SAVED, now=False)
                await current().closed
                trouble = _last_words(current())
            except ChatError as refused:
                trouble = str(refused)
            except CancelledError:
                pass
            finally:
                signal.signal(signal.SIGCONT, signal.SIG_DFL)
                if saving.running:
                    saving.stop()
                await screen.close()
                screen.transport.loseConnection()
                await screen.gone
    finally:
        finished.callback(None)
    if conversation.connection is not None and mine():
        memories[0].remember(None if current().closing else current().ticket)
    if trouble:
        print(f"pylingo: {looks.tidy(trouble)}", file=sys.stderr)
    if conversation.unsent:
        print("pylingo: This may not have been sent:", file=sys.stderr)
    for text in conversation.unsent:
        print(looks.tidy(text), file=sys.stderr)
    return 1 if trouble or conversation.unsent else 0


def _last_words(connection: Connection) -> str:
    """What to say when it was not the person who ended it."""
    closing = connection.closing
    if connection.doubt:
        return connection.doubt
    return closing.text if closing is not None and closing.reason != "bye" else ""


class Tty:
    """A terminal that gives keys as they are typed; afterwards, its modes and flags are as found.

    What is typed comes from the first of its `files`.
    """

    def __init__(self, *files: int) -> None:
        self._files = files

    def __enter__(self) -> Tty:
        self._found = [fcntl.fcntl(file, fcntl.F_GETFL) for file in self._files]
        self._raw = raw_mode(self._files[0])
        self._raw.__enter__()
        return self

    def __exit__(self, *why: object) -> None:
        try:
            self._raw.__exit__(*why)
        finally:
            self._flag(self._found)

    @property
    def ours(self) -> bool:
        """Whether it is us whom the shell lets use it."""
        try:
            return os.tcgetpgrp(self._files[0]) == os.getpgrp()
        except OSError:
            return True  # It is no shell that we were started from.

    def again(self) -> None:
        """Somebody else has stopped us; the shell has changed the modes meanwhile."""
        self._raw.__enter__()

    def suspend(self) -> None:
        """Give it back to the shell; this returns when the shell lets us go on."""
        ours = [fcntl.fcntl(file, fcntl.F_GETFL) for file in self._files]
        if self.ours:
            self.__exit__()
        else:
            # The shell has set the modes that it wants; to set others would stop us right here.
            self._flag(self._found)
        # The terminal is not ours to give back, so these may end us at once.
        ending = {
            one: signal.signal(one, signal.SIG_DFL) for one in (signal.SIGTERM, signal.SIGHUP)
        }
        os.kill(0, signal.SIGTSTP)
        while not self.ours:
            # It was told to go on in the background, where there is nothing for it to do.
            os.kill(0, signal.SIGTSTP)
        self.__enter__()
        for one, handler in ending.items():
            signal.signal(one, handler)
        self._flag(ours)

    def _flag(self, flags: list[int]) -> None:
        for file, flag in zip(self._files, flags, strict=True):
            fcntl.fcntl(file, fcntl.F_SETFL, flag)
