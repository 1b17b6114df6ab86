"""Questions to a person, one after the other.

A hidden question stays until it is answered, because half a password must not become a message. A
question whose answer somebody else waits for stays, too. Of all others, only the newest is asked.
Nothing here knows what they are about, or how they are drawn.
"""

from __future__ import annotations

import unicodedata
from collections.abc import Callable
from dataclasses import dataclass

EXIT = "exit"
"""What leads out, wherever one is; so it is no answer to a question for a name."""


def choice(line: str) -> str:
    """What may be one of few words, in whatever case and width it was typed."""
    return unicodedata.normalize("NFKC", line.strip()).casefold()


def agreed(answer: str) -> bool:
    """Whether that is a yes."""
    return choice(answer) in ("y", "yes")


@dataclass(frozen=True, slots=True, eq=False)
class Question:
    """What stands before the answer, and who is told it.

    The answer to a `hidden` one is neither shown nor kept. One that is `ours` can be taken back;
    others belong to a connection that waits for the answer. The answer may be a `room`.
    """

    prompt: str
    answer: Callable[[str], None]
    hidden: bool = False
    ours: bool = True
    room: bool = False

    @property
    def stays(self) -> bool:
        """Whether no other question takes its place."""
        return self.hidden or not self.ours


class Questions:
    """Those that wait for an answer. `changed` is told when there may be another to be seen."""

    def __init__(self, changed: Callable[[], None]) -> None:
        self._changed = changed
        self._asked: list[Question] = []

    @property
    def now(self) -> Question | None:
        """What is asked now."""
        return self._asked[0] if self._asked else None

    @property
    def hidden(self) -> bool:
        """Whether what is typed is not to be seen, nor kept."""
        return bool(self._asked) and self._asked[0].hidden

    def ask(self, question: Question) -> None:
        """Ask it now, or after those that stay, and in place of the one that does not."""
        first = [one for one in self._asked if one.stays]
        then = [one for one in self._asked if question.stays and not one.stays]
        if first and not question.ours and first[0].prompt == question.prompt:
            # It is asked once more, and may have been answered in part.
            first[0] = question
        else:
            first.append(question)
        self._asked = first + then
        self._changed()

    def answer(self, line: str) -> None:
        """The first of them is answered."""
        self._asked.pop(0).answer(line)

    def withdraw(self, question: Question, unheard: Callable[[str], None]) -> None:
        """Nobody waits for the answer any more.

        What may be half typed, and is hidden, is typed to its end unseen; `unheard` is told it.
        """
        left = []
        if question.hidden and question is self.now:
            left.append(Question(question.prompt, unheard, hidden=True))
        self._asked = left + [one for one in self._asked if one is not question]
        self._changed()

    def settle(self) -> None:
        """What could be seen is answered by what has happened."""
        self._asked = [one for one in self._asked if one.hidden]
