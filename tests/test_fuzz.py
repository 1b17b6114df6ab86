"""The fuzzer, as long as a test may be."""

from __future__ import annotations

import os

from twisted.trial.unittest import SynchronousTestCase

from tests.peer import run, seed


class FuzzTests(SynchronousTestCase):
    """Hostile input against a real server."""

    def test_no_input_breaks_the_server(self) -> None:
        """Mutated frames and random commands leave it prompt, and its log without a traceback."""
        seconds = float(os.environ.get("PYLINGO_FUZZ") or 20)
        status, printed = run(
            "tests.fuzz", "--seconds", str(seconds), "--seed", str(seed()), seconds=seconds + 90
        )
        print(printed.splitlines()[0] if printed else "")
        self.assertEqual(status, 0, printed)
