"""Where the time of a server goes, where py-spy is installed to tell.

It looks at the server a few hundred times a second from outside, while a workload runs, and its
stacks are added up here by function: the time in a function itself, and with all that it calls.
"""

from __future__ import annotations

import re
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TypeAlias

from benchmarks.crowd import Stalled
from benchmarks.servers import Server
from benchmarks.workloads import WORKLOADS

MOST = 16
"""Functions told of."""
IDLE = ("Condition.wait",)
"""Where a thread waits that has nothing to do."""
Share: TypeAlias = tuple[str, float, float]
_LINE = re.compile(r":\d+\)$")


def spy() -> str | None:
    """Where py-spy is."""
    beside = Path(sys.executable).with_name("py-spy")
    return str(beside) if beside.exists() else shutil.which("py-spy")


def profile(name: str, size: float) -> list[Share]:
    """Functions with their shares of the time, alone and with what they call, in per cent."""
    binary = spy()
    if binary is None:
        raise Stalled("py-spy is not installed")
    with tempfile.TemporaryDirectory(prefix="benchmark-") as folder, Server("pylingo") as server:
        stacks = Path(folder) / "stacks"
        server.watch = lambda: _watching(binary, server.pid, stacks)
        WORKLOADS[name].run(server, size)
        if not stacks.exists():
            raise Stalled("py-spy may not look at the server")
        return shares(stacks.read_text())


@contextmanager
def _watching(binary: str, pid: int, stacks: Path) -> Iterator[None]:
    """Look at a process meanwhile."""
    with subprocess.Popen(
        [binary, "record", "--pid", str(pid), "--format", "raw", "--rate", "400",
         "--function", "--threads", "--output", str(stacks), "--duration", "600"],
        stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL,
    ) as watching:  # fmt: skip
        try:
            # It does not tell when it has begun.
            time.sleep(1)
            yield
        finally:
            watching.send_signal(signal.SIGINT)
            try:
                watching.wait(30)
            except subprocess.TimeoutExpired:
                watching.kill()


def shares(stacks: str) -> list[Share]:
    """Add up folded stacks, one on a line with its count behind it."""
    alone: Counter[str] = Counter()
    within: Counter[str] = Counter()
    total = 0
    for line in stacks.splitlines():
        stack, _, count = line.rpartition(" ")
        frames = [_LINE.sub(")", frame) for frame in stack.split(";") if _LINE.search(frame)]
        if not frames or frames[-1].startswith(IDLE):
            continue
        total += int(count)
        alone[frames[-1]] += int(count)
        for frame in set(frames):
            within[frame] += int(count)
    ours = [name for name, _ in alone.most_common(MOST)]
    return [(name, 100 * alone[name] / total, 100 * within[name] / total) for name in ours]
