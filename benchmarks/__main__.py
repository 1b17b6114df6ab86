"""The command line: what to measure, how often, and where to put the figures."""

from __future__ import annotations

import argparse
import importlib.util
import json
import os
import statistics
import sys
from collections.abc import Callable, Iterable, Iterator, Sequence
from functools import partial
from pathlib import Path
from typing import TypeAlias

from benchmarks import growth, profiles, report, servers, starting
from benchmarks.crowd import Stalled
from benchmarks.report import Bar, Found
from benchmarks.workloads import WORKLOADS, Figure, once

MORE = ("growth", "reactors", "starting", "profiles")
"""What there is beside the workloads; only on request, for it takes minutes."""
QUICK = 0.1
"""The size of a quick run."""
REACTORS = ("epoll", "asyncio", "uvloop", "poll")
SHOWN = ("ping", "flood", "rooms")
"""Workloads that reactors are compared by."""
PROFILED = ("flood", "rooms")
LONG = 6.0
"""The size of a workload that is profiled."""


Step: TypeAlias = tuple[str, Callable[[], None]]
"""What is measured, and what measures it and puts it into what was found."""


class Run:
    """One run: what was asked for, and what was found so far."""

    def __init__(self, options: argparse.Namespace) -> None:
        self.rounds: int = options.rounds
        self.quick: bool = options.quick
        self.size = QUICK if options.quick else 1.0
        self.peers: list[str] = options.peers
        self.only: list[str] = options.only
        self.failed: list[str] = []
        self.found: Found = {"machine": report.machine()}
        self.reactors = [r for r in REACTORS if r != "uvloop" or importlib.util.find_spec("uvloop")]
        if "reactors" in self.only and "uvloop" not in self.reactors:
            print("benchmarks: uvloop is not installed, and is left out", file=sys.stderr)

    def all(self) -> None:
        """Everything that was asked for; where something cannot be measured, the others go on."""
        steps: list[Step] = []
        for name in self.only:
            steps += self._workload(name) if name in WORKLOADS else getattr(self, f"_{name}")()
        bar = Bar(len(steps))
        try:
            for what, measure in steps:
                bar.step(what)
                try:
                    measure()
                except (Stalled, OSError) as error:
                    self.failed.append(f"{what}: {error}")
                    bar.clear()
                    print(f"benchmarks: {self.failed[-1]}", file=sys.stderr)
        finally:
            bar.clear()

    def tell(self, how: Callable[[], object]) -> bool:
        """Tell what was found in one way; where that cannot be, the others still may."""
        try:
            how()
        except (OSError, ValueError) as error:
            self.failed.append(str(error))
            print(f"benchmarks: {error}", file=sys.stderr)
            return False
        return True

    def _rounds(self, name: str, figures: Iterable[Sequence[object]]) -> None:
        """Remember how many rounds each figure of a section is from, at least."""
        self.found.setdefault("rounds", {})[name] = min(map(len, figures))

    def _workload(self, name: str) -> Iterator[Step]:
        """Each server in turn, round after round."""
        workload = WORKLOADS[name]
        rounds: list[dict[str, Figure]] = [{} for _ in range(self.rounds)]

        def measure(figures: dict[str, Figure], who: str) -> None:
            figures[who] = once(workload, who, self.size)
            # Where a server failed in the first round, another may tell of it.
            fullest = sorted(rounds, key=len, reverse=True)
            self.found.setdefault("workloads", {})[name] = report.summary(fullest)

        for number, figures in enumerate(rounds, 1):
            for who in ("pylingo", *self.peers):
                if who not in workload.unable:
                    yield f"{name}, {who}, round {number}", partial(measure, figures, who)

    def _growth(self) -> Iterator[Step]:
        points: dict[str, dict[int, list[float]]] = {}

        def measure(curve: growth.Curve, at: int) -> None:
            cost = growth.measure(curve, at, self.size)
            points.setdefault(curve.name, {}).setdefault(at, []).append(cost)
            self.found["growth"] = {
                name: {str(at): statistics.median(costs) for at, costs in sorted(by.items())}
                for name, by in points.items()
            }
            self._rounds("growth", (costs for by in points.values() for costs in by.values()))

        for number in range(1, self.rounds + 1):
            for curve in growth.CURVES:
                for at in growth.possible(curve, self.quick):
                    what = f"growth of {curve.name}, {at}, round {number}"
                    yield what, partial(measure, curve, at)

    def _reactors(self) -> Iterator[Step]:
        """Each by each workload, as a ratio to the first, within one round."""
        ratios: dict[str, dict[str, list[tuple[float, float]]]] = {}

        def measure(figures: dict[str, Figure], name: str, reactor: str) -> None:
            figure = figures[reactor] = once(WORKLOADS[name], "pylingo", self.size, reactor)
            first = figures.get(self.reactors[0])
            if first is None:
                raise Stalled(f"there is no figure of {self.reactors[0]} to compare it with")
            cpu = (figure.cpu or 0) / first.cpu if first.cpu else 0.0
            ratio = figure.value / first.value, cpu
            ratios.setdefault(reactor, {}).setdefault(name, []).append(ratio)
            self.found["reactors"] = {
                reactor: {
                    f"{name} ({WORKLOADS[name].better} is better)": {
                        "value": statistics.median(value for value, _ in pairs),
                        "cpu": statistics.median(cpu for _, cpu in pairs),
                    }
                    for name, pairs in by.items()
                }
                for reactor, by in ratios.items()
            }
            self._rounds("reactors", (pairs for by in ratios.values() for pairs in by.values()))

        for number in range(1, self.rounds + 1):
            for name in SHOWN:
                figures: dict[str, Figure] = {}
                for reactor in self.reactors:
                    what = f"{reactor}, {name}, round {number}"
                    yield what, partial(measure, figures, name, reactor)

    def _starting(self) -> Iterator[Step]:
        found: dict[str, list[float]] = {}

        def measure(name: str, number: int) -> None:
            seconds = starting.STARTS[name]()
            # The first round warms the caches.
            if number:
                found.setdefault(name, []).append(seconds)
                self.found["starting"] = {k: statistics.median(v) for k, v in found.items()}
                self._rounds("starting", found.values())

        for number in range(2 * self.rounds + 1):
            for name in starting.STARTS:
                yield f"starting {name}", partial(measure, name, number)

    def _profiles(self) -> Iterator[Step]:
        def measure(name: str) -> None:
            found = profiles.profile(name, LONG * self.size)
            self.found.setdefault("profiles", {})[name] = found

        for name in PROFILED:
            yield f"profile of {name}", partial(measure, name)


def parse(arguments: Sequence[str] | None = None) -> argparse.Namespace:
    """Read the command line."""
    parser = argparse.ArgumentParser(
        prog="python -m benchmarks",
        description="How fast the server is. Figures are for comparing within one run.",
        epilog="Workloads: "
        + "; ".join(f"{name}: {row.what}" for name, row in WORKLOADS.items())
        + f". And on request: {', '.join(MORE)}.",
    )
    parser.add_argument("--only", default="", metavar="NAMES", help="these, with commas between")
    parser.add_argument("--all", action="store_true", help="workloads and all that there is")
    parser.add_argument("--rounds", type=int, default=3, help="how often each (default: 3)")
    parser.add_argument("--quick", action="store_true", help="a tenth of the size")
    parser.add_argument(
        "--peers", nargs="?", const=",".join(servers.PROGRAMS), default="", metavar="NAMES",
        help="beside these as well, where they are installed (without names: all known)",
    )  # fmt: skip
    parser.add_argument("--json", type=Path, metavar="FILE", help="write the figures there")
    parser.add_argument("--docs", type=Path, metavar="FOLDER", help="write them into the docs")
    options = parser.parse_args(arguments)
    names = [*WORKLOADS, *MORE] if options.all else list(WORKLOADS)
    missing = []
    if "profiles" in names and profiles.spy() is None and not options.only:
        names.remove("profiles")
        missing.append("py-spy")
    options.only = [name for name in options.only.split(",") if name] or names
    unknown = set(options.only) - {*WORKLOADS, *MORE}
    if unknown:
        there = ", ".join((*WORKLOADS, *MORE))
        parser.error(f"there is no {', '.join(sorted(unknown))}, only {there}")
    asked = [name for name in options.peers.split(",") if name]
    if set(asked) - set(servers.PROGRAMS):
        parser.error(f"peers are {', '.join(servers.PROGRAMS)}")
    options.peers = [name for name in asked if servers.program(name)]
    missing += [servers.PROGRAMS[name] for name in asked if name not in options.peers]
    if options.quick and options.docs:
        parser.error("a quick run is too short for the docs")
    if options.rounds < 1:
        parser.error("--rounds has to be 1 or more")
    if options.json and not options.json.absolute().parent.is_dir():
        parser.error(f"there is no folder for {options.json}")
    if options.json and options.json.is_dir():
        parser.error(f"{options.json} is a folder")
    if options.docs and not (options.docs / report.PAGE).is_file():
        parser.error(f"there is no {report.PAGE} in {options.docs}")
    if options.docs and missing:
        parser.error(f"for the docs, install {', '.join(missing)}, too")
    for name in missing:
        print(f"benchmarks: {name} is not installed, and is left out", file=sys.stderr)
    return options


def main(arguments: Sequence[str] | None = None) -> int:
    """Measure, and tell. The exit status is 1 if something could not be measured."""
    options = parse(arguments)
    servers.prepare()
    servers.heed()
    run = Run(options)
    try:
        run.all()
    except KeyboardInterrupt:
        print("benchmarks: stopped; this is what there was", file=sys.stderr)
        run.failed.append("stopped")
    told = "".join(f"\n{name}\n\n{text}\n" for name, text in report.tables(run.found).items())
    if options.docs and run.failed:
        print("benchmarks: the docs stay as they are, for not all went well", file=sys.stderr)
    elif options.docs:
        run.tell(partial(report.write, run.found, options.docs))
    if options.json:
        figures = run.found | {"quick": run.quick, "failed": run.failed}
        text = json.dumps(figures, indent=1, ensure_ascii=False) + "\n"
        run.tell(partial(options.json.write_text, text))
    if not run.tell(partial(print, told, end="", flush=True)):
        # What is left of it would be tried once more at the end.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
    return 1 if run.failed else 0


if __name__ == "__main__":
    sys.exit(main())
