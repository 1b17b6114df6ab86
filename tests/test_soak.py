"""The soak, as short as a test must be."""

from __future__ import annotations

import os

from twisted.trial.unittest import SynchronousTestCase

from tests.peer import run, seed


class SoakTests(SynchronousTestCase):
    """A server that was busy, and is not any more."""

    def test_it_is_as_big_afterwards_as_before(self) -> None:
        """Memory, open files, rooms and users come back to where they began."""
        minutes = float(os.environ.get("PYLINGO_SOAK") or 0.25)
        status, printed = run(
            "tests.soak", "--minutes", str(minutes), "--seed", str(seed()),
            seconds=180 + 120 * minutes,
        )  # fmt: skip
        print(printed.splitlines()[0] if printed else "")
        self.assertEqual(status, 0, printed)
