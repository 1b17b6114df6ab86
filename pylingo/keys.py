"""What keys do to the line that is typed, and how terminals write them.

prompt_toolkit knows what most keys do. This is what it does not know, or does otherwise than people
who type in every script expect. What leads out of the line (to enter it, to leave) is the screen's.
"""

from __future__ import annotations

import re
from codecs import getincrementaldecoder
from collections.abc import Callable
from functools import partial
from unicodedata import category

from prompt_toolkit.application.current import get_app
from prompt_toolkit.buffer import Buffer
from prompt_toolkit.clipboard import InMemoryClipboard
from prompt_toolkit.completion import CompleteEvent, get_common_complete_suffix
from prompt_toolkit.document import Document
from prompt_toolkit.filters import (
    Condition,
    Filter,
    has_completions,
    is_searching,
    shift_selection_mode,
)
from prompt_toolkit.input.ansi_escape_sequences import ANSI_SEQUENCES
from prompt_toolkit.key_binding import KeyBindings, KeyPressEvent
from prompt_toolkit.key_binding.bindings.named_commands import get_by_name
from prompt_toolkit.key_binding.key_bindings import Binding

_CURSOR = re.compile(r"\x1b\[(\d{1,5});(\d{1,5})R")
"""How a terminal says where the cursor is; it is asked that each time something was printed."""
_KEY = re.compile(
    r"\x1b\[200~.*?(?:\x1b\[201~|\Z)"
    # Of the console, of rxvt, a mouse that another program has left on, and all others.
    r"|\x1b\[\[[A-E]|\x1b\[\d+\$|\x1b\[M(?:[^\x00-\x1f]{3})?|\x1b\[[0-?]*[ -/]*[@-Z\\-~]"
    r"|\x1bO(?:[2-8][A-DFHP-S]|[A-DFHMP-Sa-d](?![A-Za-z]))"
    # What another program had asked the terminal.
    r"|\x1b[]P][^\x07\x1b]*(?:\x07|\x1b\\)",
    re.DOTALL,
)
"""What is pasted, which stays as it is; or a key of several characters (ECMA-48, 5.4)."""
_HALF = re.compile(r"\x1b?\x1b(?:\[\[?[0-?]*[ -/]*|O[2-8]?|[]P][^\x00-\x1f]*\x1b?)?\Z")
"""What may be the first half of one, or of what the terminal says, and an Escape before that."""
_MEANT = {"\x1b[P": "\x1b[3~", "\x1bOM": "\r"}
"""What prompt_toolkit does not know as what it does: Delete in st, Shift-Enter in Konsole."""
_PASTED, _PASTED_END = "\x1b[200~", "\x1b[201~"
"""What a terminal puts around what is pasted."""
_ESCAPE, _NOTHING = "\x1b", "\x1b[E"
"""A key that begins others, and one that prompt_toolkit ignores, so that none is begun."""
_INTERRUPT = "\x03"
"""Ctrl-C."""


class Keyboard:
    """What a terminal sends, as keys that prompt_toolkit knows.

    `placed` is told in which row and column the terminal says that its cursor is. That is no key,
    and must not come between two, as Escape and Enter.
    """

    def __init__(self, placed: Callable[[int, int], None]) -> None:
        self.half = ""
        """What more may come of, on a slow line: the next `read` goes on with it."""
        self._placed = placed
        self._decoder = getincrementaldecoder("utf-8")("replace")
        self._pasting = False
        """Whether what is pasted has begun, and not ended."""
        self._tail = ""
        """The last keys, which may be the first half of a mark around that."""
        self._escaped = False
        """Whether the last key was Escape, on an empty line."""

    def read(self, data: bytes) -> str:
        """The keys in what came last."""
        # What is not UTF-8 could be drawn, but neither sent nor stored.
        keys = _CURSOR.sub(self._place, self.half + self._decoder.decode(data))
        self.half = ""
        if (half := _HALF.search(keys)) and not self._within(keys[: half.start()]):
            self.half, keys = half[0], keys[: half.start()]
        keys = self._translated(keys)
        if keys and self._escaped:
            self._escaped = False
            # With the next key, Escape would mean something about a word, which is not there, and
            # what is typed next would be without its first character, such as a slash. But it may
            # be the rest of a key that is very late.
            if not keys.startswith(("[", "O")):
                return _NOTHING + keys
        return keys

    def rest(self, *, empty: bool = False) -> str:
        """What nothing more has come of, so it was Escape, or the like; the line may be `empty`."""
        keys, self.half = self.half, ""
        self._escaped = empty and {*keys} == {_ESCAPE}
        return self._translated(keys)

    def _translated(self, keys: str) -> str:
        if self._pasting and keys == _INTERRUPT:
            # The end got lost on the way, and until it comes no key does anything.
            keys = _PASTED_END + keys
        elif self._pasting:
            # What comes behind the end is keys again.
            before = _PASTED + self._tail
            keys = _KEY.sub(_known, before + keys)[len(before) :]
        elif _PASTED not in self._tail + keys[: len(_PASTED) - 1]:
            keys = _KEY.sub(_known, keys)
        self._pasting = self._within(keys)
        self._tail = (self._tail + keys)[1 - len(_PASTED) :]
        return keys

    def _within(self, keys: str) -> bool:
        """Whether what comes behind `keys` is pasted."""
        seen = self._tail + keys
        begun, ended = seen.rfind(_PASTED), seen.rfind(_PASTED_END)
        return self._pasting if begun == ended else begun > ended

    def _place(self, said: re.Match[str]) -> str:
        self._placed(int(said[1]), int(said[2]))
        return ""


def _known(found: re.Match[str]) -> str:
    """A key as prompt_toolkit knows it; of any other it would type all but the first character."""
    key = found[0]
    pasted = key.startswith(_PASTED)
    return key if pasted or key in ANSI_SEQUENCES else _MEANT.get(key, "")


def editing(hidden: Filter) -> KeyBindings:
    """The keys that edit the line; what is `hidden` is a password."""
    keys = KeyBindings()
    typing = ~is_searching
    # Escape is also how each key with Alt begins.
    alone = Condition(_alone)

    @keys.add("escape", "enter", filter=typing)
    def _(event: KeyPressEvent) -> None:
        event.current_buffer.newline(copy_margin=False)

    @keys.add("c-p", filter=typing & ~has_completions)
    def _(event: KeyPressEvent) -> None:
        event.current_buffer.history_backward(count=event.arg)

    @keys.add("c-n", filter=typing & ~has_completions)
    def _(event: KeyPressEvent) -> None:
        event.current_buffer.history_forward(count=event.arg)

    @keys.add("tab", filter=typing)
    def _(event: KeyPressEvent) -> None:
        # At once, for the next key may be there already.
        buffer = event.current_buffer
        if buffer.complete_state is not None:
            buffer.complete_next()
            return
        asked = CompleteEvent(completion_requested=True)
        found = [*buffer.completer.get_completions(buffer.document, asked)]
        if len(found) == 1:
            buffer.apply_completion(found[0])
        elif found:
            buffer.insert_text(get_common_complete_suffix(buffer.document, found))
            buffer.start_completion()

    @keys.add("escape", filter=typing & has_completions & alone, eager=True)
    def _(event: KeyPressEvent) -> None:
        event.current_buffer.cancel_completion()

    @keys.add("escape", "/")
    def _(event: KeyPressEvent) -> None:
        # Completing is Tab's; and a command without its slash would be said to the room.
        event.current_buffer.insert_text("/")

    # Where something is selected, they end that at first, and come again.
    @keys.add("c-left", filter=~shift_selection_mode)
    @keys.add("escape", "left")
    @keys.add("escape", "b")
    def _(event: KeyPressEvent) -> None:
        event.current_buffer.cursor_position -= _word_before(event)

    @keys.add("c-right", filter=~shift_selection_mode)
    @keys.add("escape", "right")
    @keys.add("escape", "f")
    def _(event: KeyPressEvent) -> None:
        event.current_buffer.cursor_position += _word_after(event)

    @keys.add("escape", "backspace")
    def _(event: KeyPressEvent) -> None:
        cut = event.current_buffer.delete_before_cursor(max(0, _word_before(event)))
        _keep(event, cut, "")

    @keys.add("c-delete")
    @keys.add("escape", "d")
    def _(event: KeyPressEvent) -> None:
        _keep(event, "", event.current_buffer.delete(max(0, _word_after(event))))

    for key, name in (("c-u", "unix-line-discard"), ("c-k", "kill-line")):
        keys.add(key)(partial(_cut, get_by_name(name)))

    def stay(_: KeyPressEvent) -> None:
        """What is typed stays as it is."""

    # Scrolling is the terminal's, and a line is never entered as a comment.
    for pressed in (("pageup",), ("pagedown",), ("escape", "#")):
        keys.add(*pressed)(stay)
    # With these a terminal on a serial line says that it cannot follow, and that it can again.
    for key in ("c-s", "c-q"):
        keys.add(key, filter=typing)(stay)
    # A macro would keep a password that is typed.
    keys.add("c-x", "(")(stay)
    # prompt_toolkit fails to go up or down by less than one line.
    counted = Condition(lambda: (get_app().key_processor.arg or "1").startswith(("-", "0")))
    for key in ("up", "down", "s-up", "s-down"):
        keys.add(key, filter=counted)(stay)
    # To bring back, or look for, another line: none belongs into a password.
    for key in ("up", "down", "c-p", "c-n", "c-r"):
        keys.add(key, filter=hidden)(stay)
    for key in ("<", ">", ".", "_", "c-y"):
        keys.add("escape", key, filter=hidden)(stay)

    # Of keys that it knows, and has no use for, prompt_toolkit would type the characters.
    @keys.add("<any>", filter=Condition(_written_long))
    def _(event: KeyPressEvent) -> None:
        """Nothing is typed."""

    return keys


def _written_long() -> bool:
    """Whether terminals write the key that is looked at with several characters."""
    return get_app().key_processor.key_buffer[0].data.startswith("\x1b")


def _alone() -> bool:
    """Whether no other key has come with the one that is looked at."""
    keys = get_app().key_processor
    return not (keys.input_queue or keys.key_buffer[1:])


def _cut(command: Binding, event: KeyPressEvent) -> None:
    """Cut as prompt_toolkit does; where there is nothing to cut, what was cut before is kept."""
    clipboard, event.app.clipboard = event.app.clipboard, InMemoryClipboard()
    try:
        command.call(event)
    finally:
        cut, event.app.clipboard = event.app.clipboard.get_data(), clipboard
    if cut.text:
        clipboard.set_data(cut)


def _keep(event: KeyPressEvent, before: str, after: str) -> None:
    """Keep what was cut, around what the same key has cut just before, to be put back."""
    if before or after:
        kept = event.app.clipboard.get_data().text if event.is_repeat else ""
        event.app.clipboard.set_text(before + kept + after)


def _word_before(event: KeyPressEvent) -> int:
    """How far it is from the cursor back to where a word begins."""
    found = _words(event.current_buffer).find_previous_word_beginning(count=event.arg)
    if found is None:
        return event.current_buffer.cursor_position if event.arg > 0 else 0
    return -found


def _word_after(event: KeyPressEvent) -> int:
    """How far it is from the cursor to where a word ends."""
    return _words(event.current_buffer).find_next_word_ending(count=event.arg) or 0


def _words(buffer: Buffer) -> Document:
    """What is typed, with the words of every script made of letters that prompt_toolkit knows."""
    known = (
        c if c.isascii() or c.isspace() else "-" if category(c).startswith("P") else "x"
        for c in buffer.text
    )
    return Document("".join(known), buffer.cursor_position)
