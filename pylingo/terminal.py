"""The client on the terminal that it was started from.

Only this module knows where the terminal is: standard input and output. However it ends, it leaves
them as it found them.
"""

from __future__ import annotations

import argparse
import contextlib
import fcntl
import os
import signal
import sys
import termios
import time
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from typing import Any

from prompt_toolkit.history import FileHistory
from prompt_toolkit.input.vt100 import raw_mode
from twisted.internet.defer import CancelledError, Deferred, ensureDeferred
from twisted.internet.interfaces import IStreamClientEndpoint
from twisted.internet.stdio import StandardIO
from twisted.internet.task import LoopingCall

from pylingo import looks, names
from pylingo.connection import PARTING, Connection, Heard, Ticket
from pylingo.conversation import Conversation
from pylingo.dial import dial
from pylingo.memory import Memory, state_path
from pylingo.protocol import AnyEvent, ChatError, Done, Error, Renamed, Resumed
from pylingo.screen import Screen

MOMENT = 0.1
"""Seconds between two signals that were sent together, at most."""
SAVED = 0.25
"""Seconds between savings of what the next run should know, where that has changed."""


class _History(FileHistory):
    """Lines of earlier runs; written in a thread, for disks can be slow.

    It is not one of the reactor's: at the end those are not waited for, and it is, until a signal.
    """

    def __init__(self, filename: str) -> None:
        super().__init__(filename)
        self._writer = ThreadPoolExecutor(1)

    def load_history_strings(self) -> list[str]:
        try:
            return list(super().load_history_strings())
        except OSError:
            return []

    def store_string(self, string: str) -> None:
        with contextlib.suppress(RuntimeError):  # The system may have no thread for it now.
            self._writer.submit(super().store_string, string)


async def converse(reactor: Any, options: argparse.Namespace) -> int:
    """Talk until the person leaves or the connection ends. The result is the exit status."""
    return await _Talk(reactor, options).run()


class _Talk:
    """One person at this terminal: the screen, the conversation, and what the next run knows."""

    def __init__(self, reactor: Any, options: argparse.Namespace) -> None:
        self._reactor = reactor
        self._options = options
        self._folder = state_path()
        history = self._folder / "history"
        with contextlib.suppress(OSError):
            history.touch(mode=0o600)
        self._memory: Memory | None = None
        """That of the name that was asked for last."""
        self._saving = LoopingCall(self._save)
        self._finished: Deferred[None] = Deferred()
        self._ending = False
        self._conversation = Conversation(
            options.where,
            encrypted=options.tls,
            name=options.name,
            room=options.room,
            resume=self._resume,
        )
        self._tty = Tty(sys.stdin.fileno(), sys.stdout.fileno())
        self._screen = Screen(
            self._conversation,
            lambda: os.get_terminal_size(sys.stdout.fileno()),
            reactor.seconds,
            term=os.environ.get("TERM", "xterm"),
            colour=not options.no_color,
            history=_History(str(history)),
            suspend=self._tty.suspend,
        )

    async def run(self) -> int:
        # A signal ends it as the keys do: not before the terminal is as it was.
        self._reactor.addSystemEventTrigger("before", "shutdown", self._end)
        try:
            with self._tty:
                trouble = await self._talk()
            return self._part(trouble)
        finally:
            # What has not ended then, such as waiting for a silent name server, may be cut short.
            self._finished.callback(None)

    def _part(self, trouble: str) -> int:
        """Remember what the next run should know, and say the last words; the exit status."""
        connection, unsent = self._conversation.connection, self._conversation.unsent
        if connection is not None and (memory := self._mine()) is not None:
            memory.remember(None if connection.closing else self._ticket(connection))
        if trouble:
            print(f"pylingo: {looks.tidy(trouble)}", file=sys.stderr)
        if unsent:
            print("pylingo: This may not have been sent:", file=sys.stderr)
        for text in unsent:
            print(looks.tidy(text), file=sys.stderr)
        return 1 if trouble or unsent else 0

    async def _talk(self) -> str:
        """The result is what to say when it was not the person who ended it."""
        conversation, screen = self._conversation, self._screen
        StandardIO(screen, reactor=self._reactor)
        # Not at once: what has come with it may end us.
        soon = partial(self._reactor.callLater, MOMENT, self._go_on)
        signal.signal(signal.SIGCONT, lambda *_: self._reactor.callFromThread(soon))
        conversation.begin(screen)
        dialing = ensureDeferred(
            dial(self._options, self._reactor, self._connect, conversation.ask)
        )
        conversation.abandon = dialing.cancel
        try:
            connection = await dialing
            self._saving.start(SAVED, now=False)
            await connection.closed
        except ChatError as refused:
            return str(refused)
        except CancelledError:
            return ""
        else:
            return connection.ended
        finally:
            signal.signal(signal.SIGCONT, signal.SIG_DFL)
            if self._saving.running:
                self._saving.stop()
            await screen.close()
            screen.transport.loseConnection()
            await screen.gone

    def _end(self) -> Deferred[None]:
        """The process is to end, which waits for the result."""
        self._ending = True
        self._conversation.end()
        self._reactor.callLater(PARTING, self._screen.give_up)
        return self._finished

    def _go_on(self) -> None:
        """Somebody had stopped the process, and it goes on."""
        if self._ending or self._finished.called:
            pass  # The terminal is as it was found, or will be.
        elif self._tty.ours:
            self._tty.again()
            self._screen.step_aside()
        else:
            self._screen.step_aside(self._tty.suspend)

    # The connection, and what is remembered of it.

    def _connect(self, endpoint: IStreamClientEndpoint, **more: Any) -> Connection:
        name = self._options.name
        connection = self._conversation.connection = Connection(
            endpoint,
            self._heard,
            self._reactor,
            where=self._options.where,
            ticket=self._called(name).recall() if name else None,
            echo=True,
            password=lambda: self._conversation.ask("The server's password: ", hidden=True),
            **more,
        )
        return connection

    def _heard(self, event: Heard) -> None:
        self._conversation.heard(event)
        memory = self._memory
        if isinstance(event, Renamed | Resumed | Done):
            self._save()
        elif isinstance(event, Error) and event.code == "name_taken" and memory and memory.busy:
            # Said once: another name may be asked for next.
            memory.busy = False
            if memory.name == names.kept(self._conversation.user):
                return  # It is ours by now, and another name was meant, or that of a room.
            # Perhaps one whose terminal is gone, and which does not know it yet.
            self._conversation.tell(
                f"-- Another pylingo of yours on this machine is {memory.name}. "
                f"End it, then type {memory.name} again."
            )

    def _called(self, name: str) -> Memory:
        """Where the session of that name is remembered, from now on."""
        before = self._memory
        if before is not None:
            if before.name != names.kept(name):
                before.remember(None)  # It has this very session, or one that has ended.
            before.close()
        # What was given over TLS is not told to who answers without.
        where = f"tls {self._options.where}" if self._options.tls else self._options.where
        self._memory = Memory(self._folder, where, name)
        return self._memory

    def _resume(self, name: str) -> Deferred[AnyEvent] | None:
        """Go on with the session of that name, if one is remembered."""
        ticket, connection = self._called(name).recall(), self._conversation.connection
        return connection.resume(ticket) if ticket and connection else None

    def _mine(self) -> Memory | None:
        """Where the session is remembered, if it is that of the name it was asked for."""
        memory, user = self._memory, names.kept(self._conversation.user)
        return memory if memory is not None and memory.held and memory.name == user else None

    def _ticket(self, connection: Connection) -> Ticket | None:
        """To go on after what was seen: what came since may have met a terminal that is gone."""
        now, shown = connection.ticket, self._conversation.shown
        same = now is not None and shown is not None and now.session == shown.session
        return shown if same else now

    def _save(self) -> None:
        connection, user = self._conversation.connection, self._conversation.user
        if connection is None or (ticket := self._ticket(connection)) is None:
            return
        if memory := self._mine():
            if memory.last != ticket:
                memory.last = ticket
                self._reactor.callInThread(memory.remember, ticket)
        elif user and not names.given(user):
            # By another name than before, which is forgotten; or another client had this one.
            self._called(user).remember(ticket)


class Tty:
    """A terminal that gives keys as they are typed; afterwards, its modes and flags are as found.

    What is typed comes from the first of its `files`.
    """

    def __init__(self, *files: int) -> None:
        self._files = files

    def __enter__(self) -> Tty:
        self._wait()
        self._found = [fcntl.fcntl(file, fcntl.F_GETFL) for file in self._files]
        self._raw = raw_mode(self._files[0])
        self._take()
        return self

    def __exit__(self, *why: object) -> None:
        try:
            # The shell has set the modes that it wants, if it has it; to set others would stop us.
            if self.ours:
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
        self._take()

    def _take(self) -> None:
        with contextlib.suppress(termios.error):
            found = termios.tcgetattr(self._files[0])[0]
            self._raw.__enter__()
            modes = termios.tcgetattr(self._files[0])
            # After `stty cooked` it would strip each byte of a bit.
            modes[0] &= ~(termios.ISTRIP | termios.INPCK)
            if found & termios.IXOFF:
                # A serial line: Ctrl-S and Ctrl-Q say whether it can follow, and are no keys.
                modes[0] |= found & (termios.IXON | termios.IXOFF)
            termios.tcsetattr(self._files[0], termios.TCSANOW, modes)

    def suspend(self) -> None:
        """Give it back to the shell; this returns when the shell lets us go on."""
        ours = [fcntl.fcntl(file, fcntl.F_GETFL) for file in self._files]
        self.__exit__()
        self._wait(stop=True)
        self.__enter__()
        self._flag(ours)

    def _wait(self, *, stop: bool = False) -> None:
        """Stop, in the background, where there is nothing to do, until the shell has us go on.

        The terminal is not ours to give back meanwhile, so signals may end us at once.
        """
        ending = {
            one: signal.signal(one, signal.SIG_DFL) for one in (signal.SIGTERM, signal.SIGHUP)
        }
        if stop:
            os.kill(0, signal.SIGTSTP)
        while not self.ours:
            # As the system would; who started us only to wait, such as timeout(1), is not stopped.
            os.kill(0, signal.SIGTTOU)
            time.sleep(0.1)  # Where the shell is gone, the system does not stop us.
        for one, handler in ending.items():
            signal.signal(one, handler)

    def _flag(self, flags: list[int]) -> None:
        for file, flag in zip(self._files, flags, strict=True):
            fcntl.fcntl(file, fcntl.F_SETFL, flag)
