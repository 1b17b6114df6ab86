"""A clock for what waits. `time.time` is for dates: that clock can be set, this one only goes on.

Twisted's reactors take the time of day for both. Where that is set back, whatever waits waits for
as much longer, even what is to be done at the end of the turn.
"""

from __future__ import annotations

import time
from functools import partial
from typing import Any

steady = partial(time.clock_gettime, getattr(time, "CLOCK_BOOTTIME", time.CLOCK_MONOTONIC))
"""Seconds since some moment; where the system can tell, also those that the machine slept."""


def keep_steady(reactor: Any) -> None:
    """Let `reactor` go on by that clock from the time it is; what waits in it goes by it, too."""
    ahead: float = reactor.seconds() - steady()

    def seconds() -> float:
        return ahead + steady()

    for call in reactor.getDelayedCalls():
        call.seconds = seconds
    reactor.seconds = seconds
