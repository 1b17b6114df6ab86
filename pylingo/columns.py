"""How many columns, and rows, text takes on a terminal.

Terminals disagree about that, and prompt_toolkit with them. What is printed must not look like
another line where a row of it begins, and the cursor must be where it is looked for.

Nothing here draws.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from functools import cache, partial
from string import ascii_uppercase
from typing import Any, cast
from unicodedata import category

from prompt_toolkit.formatted_text import fragment_list_to_text, to_formatted_text
from prompt_toolkit.layout.controls import UIContent
from prompt_toolkit.layout.processors import Processor, Transformation, TransformationInput
from prompt_toolkit.layout.screen import Char
from prompt_toolkit.utils import get_cwidth

from pylingo.looks import Line, plain

PIECES = {
    0x200D: "+",
    0xFE0F: "\u200b",
    **{0x1F3FB + n: "＋" for n in range(5)},
    **{0x1F1E6 + n: letter for n, letter in enumerate(ascii_uppercase)},
}
"""What stands in the line that is typed for what joins several characters into one picture.

Terminals disagree about how many columns such a picture has; the cursor, and the prompt with it,
would be where nobody looks for them."""
ENDLESS = 10**6
"""Rows of a line that has no room at all beside what stands before it."""

_BLANK = r"[<＜\s\u2800\u3164\uffa0]"
_SIGN = "[‼\u01c3\u02d7─━\u1438‐-―−﹘﹣－‹«<〈《⟨❬❰＜［〔【〖⟦＊∗⁎✱✲✳»›！]"
_BEGINNING = re.compile(
    rf"(?=\w\w?(?:[^\w\s\x00-/;-\x7f]|[\u02d0\ua4fd])\w\w{_BLANK}"
    rf"|\w{{1,6}}[^\w\s]\w\w[^\w\s]\w\w{_BLANK}|<|--|!!|\[|\*{_BLANK}|{_SIGN})"
)
"""Where stands what our own lines begin with, or what looks like that: a time, a date, a sign."""
_DOUBTFUL = re.compile(
    "[\xad\u115f\u2630-\u2637\u268a-\u268f\u3164\u3248-\u324f\u4dc0-\u4dff\uffa0"
    "\U0001d300-\U0001d37f]"
)
"""What became wide in Unicode 16, or is of different widths in different tables."""


def hung(line: Line, columns: int) -> Line:
    """`line`, indented where the terminal may go on with what looks like a line of its own.

    Where it is sure which characters begin a row, it stays one line, to be copied as such.
    """
    text = plain(line)
    if text.isascii() and text.isprintable() and not _BEGINNING.search(text, columns - 1):
        return line  # What looks like a beginning, if anything, is in the first row.
    # Without what takes no room on a terminal.
    visible = [at for at, character in enumerate(text) if _columns(character)]
    seen = "".join(text[at] for at in visible)
    beginnings = {visible[found.start()] for found in _BEGINNING.finditer(seen)}
    if 2 * max(beginnings, default=0) + 1 < columns:
        return line  # So it is here, too, however wide the terminal draws what is before it.
    sure = not doubtful(text)
    told: Line = []
    at = least = most = 0
    before = ""
    for style, piece in line:
        shown = ""
        for character in piece:
            size = _columns(character)
            # Where a wide one does not fit into a row, a column of that stays free.
            free = 0 if sure else most // columns + 1
            if sure and size == 2 and most % columns == columns - 1:
                least = most = most + 1
                # What is put before it here would go there.
                shown += " " if at in beginnings else ""
            if at in beginnings and (most + free) // columns > max(0, least - 1) // columns:
                # A row may begin here; where it is sure, it does.
                least = most = 2
                shown += "  " if sure else "\n  "
            shown += character
            unsure = not sure and (before == "\u200d" or doubtful(character))
            least += 0 if unsure else size
            most += 2 if unsure else size
            at, before = at + 1, character
        told.append((style, shown))
    return told


def _columns(character: str) -> int:
    """How many it takes; a soft hyphen is shown by few terminals."""
    return 0 if character == "\xad" else get_cwidth(character)


def doubtful(text: str) -> bool:
    """Whether terminals disagree about how many columns it takes.

    Some give a column of their own to the spacing marks of Hindi, Tamil and others, and some, as
    prompt_toolkit does, none. What is new in Unicode they may not know yet.
    """
    return not text.isascii() and (
        any(ord(c) in PIECES or category(c) in ("Mc", "Cn") for c in text)
        or _DOUBTFUL.search(text) is not None
    )


class Pieces(Processor):
    """Shows the `PIECES` of pictures in the line that is typed."""

    def apply_transformation(self, transformation_input: TransformationInput) -> Transformation:
        fragments = transformation_input.fragments
        return Transformation([(style, text.translate(PIECES)) for style, text, *_ in fragments])


def measured(create: Callable[..., UIContent]) -> Callable[..., UIContent]:
    """What `create` makes, with the rows that its lines will really have.

    prompt_toolkit forgets the column at the end of a row that is left free where a wide character
    does not fit, so that the last row, and the cursor in it, would not be seen.
    """

    def measured(*given: Any, **named: Any) -> UIContent:
        content: Any = create(*given, **named)
        content.get_height_for_line = cache(partial(_rows, content))
        return cast(UIContent, content)

    return measured


def _rows(
    content: UIContent, line: int, width: int, prefix: Any, slice_stop: int | None = None
) -> int:
    def before(row: int) -> str:
        return fragment_list_to_text(to_formatted_text(prefix(line, row))) if prefix else ""

    row = column = 0
    for character in before(0):
        size = get_cwidth(character)
        if column + size > width:
            row, column = row + 1, 0
        column += size
    for character in fragment_list_to_text(content.get_line(line))[:slice_stop]:
        # Such as a tab is drawn as ^I.
        size = get_cwidth(Char.display_mappings.get(character, character))
        if column + size > width:
            row, column = row + 1, get_cwidth(before(row + 1))
            if column + size > width:
                return ENDLESS
        column += size
    return row + 1
