"""The terminal as a Twisted protocol: it draws lines above a prompt, and turns keys into lines.

prompt_toolkit edits and draws. Its input comes from `dataReceived`, and its output goes to the
transport. So everything that carries a terminal's bytes can be the transport; today it is the local
terminal. Messages are printed above the prompt and scroll into the terminal's own scrollback. The
line that is being typed, its cursor and an open menu of completions stay.

Nothing here knows the network, or where its terminal is.
"""

from __future__ import annotations

import asyncio
import os
import sys
from collections.abc import Callable, Coroutine, Iterable
from contextlib import ExitStack, suppress
from typing import Any, Protocol, cast

from prompt_toolkit.application.current import set_app
from prompt_toolkit.application.run_in_terminal import in_terminal, run_in_terminal
from prompt_toolkit.clipboard import InMemoryClipboard
from prompt_toolkit.completion import CompleteEvent, Completer, Completion
from prompt_toolkit.data_structures import Size
from prompt_toolkit.document import Document
from prompt_toolkit.filters import Condition, is_searching
from prompt_toolkit.formatted_text import FormattedText
from prompt_toolkit.history import History
from prompt_toolkit.input import create_pipe_input
from prompt_toolkit.key_binding import KeyBindings, KeyPressEvent
from prompt_toolkit.layout import Dimension
from prompt_toolkit.layout.controls import SearchBufferControl
from prompt_toolkit.layout.processors import TabsProcessor
from prompt_toolkit.output import ColorDepth
from prompt_toolkit.output.vt100 import Vt100_Output
from prompt_toolkit.renderer import print_formatted_text
from prompt_toolkit.search import stop_search
from prompt_toolkit.shortcuts import PromptSession
from prompt_toolkit.styles import Attrs, Style
from twisted.internet.defer import Deferred
from twisted.internet.protocol import Protocol as TwistedProtocol
from twisted.internet.protocol import connectionDone
from twisted.python.failure import Failure

from pylingo.columns import PIECES, Pieces, doubtful, hung, measured
from pylingo.keys import Keyboard, editing
from pylingo.looks import COLOURS, Line, info

MENU = 6
"""Lines that a menu of completions has, where the screen is large enough."""
SHOWN_PENDING = 5
"""Lines that wait to be acknowledged, shown above the prompt."""
PATIENCE = 2.0
"""Seconds within which a second Ctrl-C ends it."""
SIZE = Size(rows=24, columns=80)
"""That of a terminal that does not know how many it has."""
HALF = 0.05
"""Seconds that the other half of a key may take to come, over a slow line."""
SOON = 0.01
"""Seconds until more keys are handed on, where there are very many."""

_NAMES = [
    "ansired",
    "ansigreen",
    "ansiyellow",
    "ansiblue",
    "ansimagenta",
    "ansicyan",
    "ansibrightred",
    "ansibrightblue",
    "ansibrightmagenta",
]
"""Without the bright ones that nobody can read on white."""
assert len(_NAMES) == COLOURS

STYLE = Style.from_dict(
    {
        # Dim, and not grey: there are palettes in which that is the background.
        "time": "dim",
        "me": "bold",
        "action": "italic",
        "private": "ansimagenta",
        "mention": "bold reverse",
        "replayed": "dim",
        "info": "dim",
        "notice": "bold",
        "come": "ansigreen",
        "go": "dim",
        "error": "bold ansired",
        "motd": "",
        "menu": "bold",
        "command": "bold",
        "pending": "italic dim",
        "prompt": "bold",
        "bottom-toolbar": "reverse",
        **{f"name{number}": name for number, name in enumerate(_NAMES)},
    }
)


class Desk(Protocol):
    """Who the screen is for: what it shows besides lines, and whom it hands what is typed."""

    @property
    def hidden(self) -> bool:
        """Whether what is typed is not to be seen, nor kept."""

    @property
    def prompt(self) -> str:
        """What stands before the line that is typed."""

    @property
    def bar(self) -> str:
        """The line at the bottom."""

    def waiting(self) -> list[str]:
        """What was said and is not acknowledged yet."""

    def complete(self, text: str) -> list[tuple[str, int, str]]:
        """What could stand where `text` ends: each with how much it replaces, and a help."""

    def keeps(self, text: str) -> bool:
        """Whether a line that was entered is one to come back to."""

    def typing(self, text: str) -> None:
        """What is being typed has changed."""

    def typed(self, text: str) -> None:
        """A line, or a block of them, was entered."""

    def drawn(self) -> None:
        """All that was shown so far is written to the terminal."""

    def asked(self, now: float) -> None:
        """The terminal is asked for an answer to what was written so far; `now` is in seconds."""

    def seen(self) -> None:
        """It has answered the first of those questions that it had not."""

    def leave(self) -> None:
        """The person wants to go."""

    def lost(self) -> None:
        """The terminal is gone."""

    def cancel(self) -> bool:
        """The person does not want to answer a question; whether there was one."""

    @property
    def urgent(self) -> bool:
        """Whether one Ctrl-C is enough."""


class Screen(TwistedProtocol):
    """A terminal with a prompt. `done` fires when it is no longer drawn on, `gone` when it
    was written to for the last time.

    `size` gives columns and rows; `seconds` is a clock; `suspend` gives the terminal back to the
    shell, if there is one, and returns when it may be used again.
    """

    transport: Any

    def __init__(
        self,
        desk: Desk,
        size: Callable[[], tuple[int, int]],
        seconds: Callable[[], float],
        *,
        term: str = "xterm",
        colour: bool = True,
        history: History | None = None,
        suspend: Callable[[], None] = lambda: None,
    ) -> None:
        self.done: Deferred[None] = Deferred()
        self.gone: Deferred[None] = Deferred()
        self._desk = desk
        self._size = size
        self._seconds = seconds
        self._term = term
        self._output_type = _Terminal if colour else _Plain
        self._history = history
        self._suspend = suspend
        self._lines: list[Line] = []
        self._printing: asyncio.Future[None] | None = None
        self._interrupted = -PATIENCE
        self._draft: Document | None = None
        """What was being typed when something hidden was asked."""
        self._keyboard = Keyboard(self._placed)
        self._typed = bytearray()
        """Keys that were not handed on yet."""
        self._left = False
        self._row = 0
        """In which row the prompt begins, or somewhat below it; 0 if the terminal never said it."""
        self._marked = False
        """Whether there were marks in what was drawn last that `_draw_anew` is about."""
        self._resources = ExitStack()

    # The terminal's side.

    def connectionMade(self) -> None:
        self._input = self._resources.enter_context(create_pipe_input())
        self._inlet: int = cast(Any, self._input).pipe.write_fd
        os.set_blocking(self._inlet, False)
        stream: Any = _Stream(self.transport)
        self._output = self._output_type(stream, self._known_size, term=self._term)
        self._output.asked = lambda: self._desk.asked(self._seconds())
        self._session: PromptSession[str] = PromptSession(
            self._prompt,
            input=self._input,
            output=self._output,
            style=STYLE,
            completer=_Completer(self._desk),
            complete_while_typing=False,
            multiline=True,
            prompt_continuation="  ",
            is_password=Condition(lambda: self._desk.hidden),
            history=self._history,
            key_bindings=self._keys(),
            input_processors=[TabsProcessor(char1=" ", char2=" "), Pieces()],
            bottom_toolbar=lambda: f" {self._desk.bar} ",
            erase_when_done=True,
        )
        # A line is taken by our own keys. Others would end the prompt with it.
        buffer = self._session.default_buffer
        buffer.accept_handler = lambda _: True
        buffer.on_text_changed += lambda _: self._desk.typing(buffer.text)
        self._app = self._session.app
        self._app.renderer.cpr_not_supported_callback = None
        self._app.before_render += lambda _: self._draw_anew()
        self._window = self._app.layout.current_window
        self._window.height = self._height
        control = cast(Any, self._window.content)
        control.create_content = measured(control.create_content)
        running = asyncio.ensure_future(
            self._session.prompt_async(
                handle_sigint=False, set_exception_handler=False, pre_run=self._begun
            )
        )
        Deferred.fromFuture(running).addBoth(self._ended)

    def dataReceived(self, data: bytes) -> None:
        self._take(self._keyboard.read(data))
        if half := self._keyboard.half:
            asyncio.get_running_loop().call_later(HALF, self._take_half, half)

    def _take_half(self, half: str) -> None:
        # If it has become another one, that is waited for.
        if half == self._keyboard.half:
            self._take(self._keyboard.rest(empty=not self._session.default_buffer.text))

    def _take(self, keys: str) -> None:
        self._typed += keys.encode()
        self._feed()

    def _placed(self, row: int, column: int) -> None:
        if row == 1 < column <= 16 and not self._app.renderer.waiting_for_cpr:
            return  # It is F3 with Shift, Control or Alt, which terminals write in the same way.
        self._row = row
        self._desk.seen()
        # At the end, too, this is waited for.
        self._app.renderer.report_absolute_cursor_row(row)
        if not self._left:
            self._app.invalidate()

    def _feed(self) -> None:
        """Hand on what is taken at once: to wait for the rest would be to wait for ourselves."""
        if self._left:
            return
        with suppress(BlockingIOError):
            del self._typed[: os.write(self._inlet, self._typed)]
        if self._typed:
            asyncio.get_running_loop().call_later(SOON, self._feed)

    def connectionLost(self, reason: Failure = connectionDone) -> None:  # noqa: ARG002
        if not self._left:
            self._desk.lost()
        self.give_up()

    def give_up(self) -> None:
        """Do not wait until all is written: the terminal may take nothing any more."""
        if not self.gone.called:
            self.gone.callback(None)

    # The desk's side.

    def show(self, lines: Iterable[Line]) -> None:
        """Print lines above the prompt."""
        self._lines += lines
        if self._lines and self._printing is None and not self._left:
            with set_app(self._app):
                self._printing = asyncio.ensure_future(self._print_above())

    def refresh(self) -> None:
        """Draw the prompt and the bar anew."""
        if self._left:
            return
        # A line that was begun is not the beginning of a password.
        buffer = self._session.default_buffer
        if self._desk.hidden and self._draft is None:
            with set_app(self._app):
                if self._app.layout.is_searching:
                    stop_search()
            self._draft = buffer.document
            if drafted := self._drafted():
                self._draft = drafted
            self._empty()
        elif self._draft is not None and not self._desk.hidden:
            # With nothing to be undone: that would be the secret.
            self._empty(self._draft)
            self._draft = None
            # What was cut out of it is not to be seen later either.
            self._app.clipboard = InMemoryClipboard()
        self._app.invalidate()

    def _drafted(self) -> Document | None:
        """What is being typed; an earlier line that is just looked at can be found again."""
        buffer = self._session.default_buffer
        if buffer.text in buffer.history.get_strings():
            buffer.history_forward(count=sys.maxsize)
        return buffer.document if buffer.text else None

    def ring(self) -> None:
        """Ring the bell once."""
        self._output.bell()

    def close(self) -> Deferred[None]:
        """Take the prompt away and let go of the terminal."""
        if not self._left:
            self._left = True
            buffer = self._session.default_buffer
            if self._desk.keeps(buffer.text):
                # Whoever ended it, the line can be brought back in the next run.
                buffer.append_to_history()
            if self._app.is_running:
                self._app.exit()
        return self.done

    async def _print_above(self) -> None:
        try:
            while self._lines and self._app.is_running:
                await run_in_terminal(self._print)
        finally:
            self._printing = None

    def step_aside(self, meanwhile: Callable[[], None] = lambda: None) -> None:
        """Take the prompt away, do something, and draw it again from where the cursor is then."""

        async def step_aside() -> None:
            async with in_terminal():
                # In the next turn of the loop it can be written, in the one after it has been.
                await asyncio.sleep(0)
                await asyncio.sleep(0)
                meanwhile()

        if not self._left:
            with set_app(self._app):
                self._app.create_background_task(step_aside())

    def _print(self) -> None:
        lines, self._lines = self._lines, []
        self._desk.drawn()
        columns = self._known_size().columns
        told = (hung(line, columns) for line in lines)
        text = FormattedText([piece for line in told for piece in (*line, ("", "\n"))])
        print_formatted_text(self._output, text, STYLE)

    def _draw_anew(self) -> None:
        """Where terminals disagree about columns, draw all of it: no move within it would be sure.

        Pictures are shown in pieces, about which they agree.
        """
        buffer, before = self._session.default_buffer, self._marked
        seen = [self._desk.prompt, *self._desk.waiting()[-SHOWN_PENDING:]]
        if not self._desk.hidden:
            seen.append(buffer.text)
        if buffer.complete_state is not None:
            seen += (one.text for one in buffer.complete_state.completions)
        search = self._app.layout.current_control
        if isinstance(search, SearchBufferControl):
            found = buffer.document_for_search(search.searcher_search_state)
            seen += search.buffer.text, found.text
        self._marked = any(doubtful(text.translate(PIECES)) for text in seen)
        if not (before or self._marked):
            return
        renderer, rows = self._app.renderer, self._known_size().rows
        drawn = renderer.last_rendered_screen
        # It begins where it did, or above, if it grew. To ask would be to do without the bar.
        self._row = min(self._row, rows + 1 - (drawn.height if drawn is not None else 1))
        renderer.erase()
        if self._row > 0 and not renderer.waiting_for_cpr:
            renderer.report_absolute_cursor_row(self._row)

    def _begun(self) -> None:
        if self._left:
            self._app.exit()  # It was closed before it was there.

    def _ended(self, result: object) -> None:
        self._left = True
        if self._lines:
            self._print()
        self._resources.close()
        self.done.callback(None)
        if isinstance(result, Failure):
            result.raiseException()

    # Drawing and keys.

    def _known_size(self) -> Size:
        columns, rows = self._size()
        return Size(rows or SIZE.rows, columns or SIZE.columns)

    def _height(self) -> Dimension:
        """What is typed takes half of the screen at most, a menu of completions as much."""
        rows, columns = self._known_size()
        most = max(1, rows // 2)
        window = self._window
        lines = window.content.preferred_height(columns, most, True, window.get_line_prefix) or 1
        menu = self._session.default_buffer.complete_state is not None
        return Dimension(min=min(MENU, most) if menu else 1, preferred=max(lines, MENU * menu))

    def _prompt(self) -> FormattedText:
        waiting = self._desk.waiting()
        pieces: Line = []
        if len(waiting) > SHOWN_PENDING:
            pieces.append(("class:pending", f"… and {len(waiting) - SHOWN_PENDING} more\n"))
        for text in waiting[-SHOWN_PENDING:]:
            room = max(10, self._known_size().columns - 14)
            line = text.strip().split("\n")[0][: room // 2].translate(PIECES)
            pieces.append(("class:pending", f"… {line} (sending)\n"))
        return FormattedText([*pieces, ("class:prompt", self._desk.prompt.translate(PIECES))])

    def _empty(self, left: Document | None = None) -> None:
        """Take away what is typed, but for what is `left`.

        The next key may be there already, and bring an earlier line back.
        """
        buffer = self._session.default_buffer
        buffer.reset(left)
        with set_app(cast(Any, _AtOnce)):
            buffer.load_history_if_not_yet_loaded()

    def _keys(self) -> KeyBindings:
        """Those that edit the line, and those that lead out of it."""
        keys = editing(hidden=Condition(lambda: self._desk.hidden))
        typing = ~is_searching

        @keys.add("enter", filter=typing)
        @keys.add("c-o", filter=typing)
        def _(event: KeyPressEvent) -> None:
            buffer = event.current_buffer
            text = buffer.text
            if self._desk.keeps(text):
                buffer.append_to_history()
            self._empty()
            self._desk.typed(text)

        @keys.add("c-z")
        def _(_: KeyPressEvent) -> None:
            self.step_aside(self._suspend)

        @keys.add("c-d")
        def _(event: KeyPressEvent) -> None:
            if event.current_buffer.text:
                event.current_buffer.delete()
            elif not self._session.default_buffer.text:
                self._desk.leave()

        @keys.add("c-c", filter=typing | Condition(lambda: self._desk.urgent))
        @keys.add("<sigint>")
        def _(event: KeyPressEvent) -> None:
            if self._app.layout.is_searching:
                stop_search()
            now, typed = self._seconds(), event.current_buffer.text
            if self._desk.urgent and self._desk.keeps(typed):
                # It ends at once; the line can be brought back in the next run.
                event.current_buffer.append_to_history()
            elif drafted := self._drafted():
                # It may have been meant for what was marked, to copy that.
                event.app.clipboard.set_text(drafted.text)
            # At first, for a line may come back that was begun before the question.
            self._empty()
            if self._desk.cancel():
                pass
            elif typed and not self._desk.urgent:
                # Somebody who cleared a line with it knows what it does.
                self._interrupted = now
            elif self._desk.urgent or now - self._interrupted < PATIENCE:
                self._desk.leave()
            else:
                self._interrupted = now
                self.show([info("Press Ctrl-C once more to leave.")])

        return keys


class _Terminal(Vt100_Output):
    """A terminal whose scrollback is for what was said, and not for prompts of before.

    `asked` is told when it is asked where its cursor is.
    """

    asked: Callable[[], None]

    def ask_for_cpr(self) -> None:
        self.asked()
        super().ask_for_cpr()

    def erase_down(self) -> None:
        # From the first column on, wherever the terminal has the cursor. tmux keeps a copy of all
        # that is erased from the first corner on: so the first row is erased by itself, and the
        # rest from its second column on.
        self.write_raw("\r\x1b7\x1b[K\x1b[C\x1b[J\x1b8")


class _Plain(_Terminal):
    """A terminal that is told to show all letters in the same way."""

    def set_attributes(self, attrs: Attrs, color_depth: ColorDepth) -> None:
        """Neither colours nor anything else."""

    def reset_attributes(self) -> None:
        """There is nothing to take back."""


class _AtOnce:
    """In place of the application, which would load earlier lines in a later turn of the loop."""

    @staticmethod
    def create_background_task(loading: Coroutine[Any, Any, None]) -> asyncio.Future[None]:
        with suppress(StopIteration):
            # It waits for nothing, unless the history does.
            loading.send(None)
        loaded: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        loaded.set_result(None)
        return loaded


class _Completer(Completer):
    def __init__(self, desk: Desk) -> None:
        self._desk = desk

    def get_completions(
        self,
        document: Document,
        complete_event: CompleteEvent,  # noqa: ARG002
    ) -> Iterable[Completion]:
        for text, replaced, help in self._desk.complete(document.text_before_cursor):
            yield Completion(text, -replaced, text.translate(PIECES), display_meta=help)


class _Stream:
    """As much of a text file as `Vt100_Output` writes to."""

    encoding = "utf-8"

    def __init__(self, transport: Any) -> None:
        self._transport = transport

    def write(self, text: str) -> int:
        self._transport.write(text.encode(errors="replace"))
        return len(text)

    def flush(self) -> None:
        """The transport does that."""

    def isatty(self) -> bool:
        return True
