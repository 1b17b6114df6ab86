"""The torture, as long as a test may be."""

from __future__ import annotations

import os

from twisted.trial.unittest import SynchronousTestCase

from tests.peer import run, seed


class TortureTests(SynchronousTestCase):
    """Promises 1 to 4, with a server that is killed over and over."""

    def test_nothing_is_lost_and_nothing_comes_twice(self) -> None:
        """Thirty times `kill -9` leave every message stored once and seen once, in order."""
        kills = int(os.environ.get("PYLINGO_KILLS") or 30)
        status, printed = run(
            "tests.torture", "--kills", str(kills), "--seed", str(seed()), seconds=150 + 9 * kills
        )
        print(printed.splitlines()[0] if printed else "")
        self.assertEqual(status, 0, printed)
