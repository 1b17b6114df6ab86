"""Figures as tables, as JSON, and in the page about them."""

from __future__ import annotations

import json
import os
import platform
import sqlite3
import subprocess
import sys
import tempfile
import time
from collections.abc import Sequence
from importlib.metadata import version
from pathlib import Path
from statistics import median
from typing import Any, TypeAlias

from benchmarks.growth import CURVES, PANELS
from benchmarks.plot import Panel, Points, svg
from benchmarks.servers import PROGRAMS, program
from benchmarks.workloads import WORKLOADS, Figure

Rows: TypeAlias = Sequence[Sequence[str]]
Found: TypeAlias = dict[str, Any]

PLOT = "growth.svg"
PAGE = "performance.md"
FIGURES = "benchmark.json"


def summary(rounds: Sequence[dict[str, Figure]]) -> Found:
    """Medians of rounds, and of the ratios within each: PyLingo's figure by the other's."""
    found: Found = {}
    for name in rounds[0]:
        have = [(one["pylingo"], one[name]) for one in rounds if name in one and "pylingo" in one]
        if not have:
            continue
        entry: Found = {"value": median(other.value for _, other in have), "rounds": len(have)}
        if have[0][1].cpu is not None:
            entry["cpu_us"] = median(other.cpu or 0 for _, other in have)
            entry["load"] = median(other.load or 0 for _, other in have)
        if have[0][1].note:
            entry["note"] = have[0][1].note
        if name != "pylingo":
            entry["ratio"] = median(our.value / other.value for our, other in have if other.value)
            pairs = [(our.cpu, other.cpu) for our, other in have if our.cpu and other.cpu]
            if pairs:
                entry["cpu_ratio"] = median(our / other for our, other in pairs)
        found[name] = entry
    return found


def tables(found: Found) -> dict[str, str]:
    """Every table there are figures for, by the name of its place in the page."""
    made: dict[str, str] = {}
    if "machine" in found:
        rounds = ", ".join(f"{name}: {times}" for name, times in _rounds(found).items())
        rows = [*found["machine"].items(), ("rounds", rounds)]
        made["machine"] = table(("", ""), [(name, str(value)) for name, value in rows])
    if found.get("workloads"):
        made["workloads"] = _workloads(found["workloads"])
    if found.get("growth"):
        made["growth"] = _growth(found["growth"])
    if found.get("reactors"):
        made["reactors"] = _reactors(found["reactors"])
    if found.get("starting"):
        made["starting"] = table(
            ("command", "seconds"),
            [(f"`{name}`", f"{value:.3f}") for name, value in found["starting"].items()],
        )
    for name, rows in found.get("profiles", {}).items():
        made[f"profile-{name}"] = table(
            ("function", "alone, %", "with what it calls, %"),
            [(f"`{where}`", f"{alone:.1f}", f"{within:.1f}") for where, alone, within in rows],
        )
    return made


def table(head: Sequence[str], rows: Rows) -> str:
    """A table in Markdown that is a table to the eye as well."""
    lines = [tuple(head), *map(tuple, rows)]
    widths = [max(3, *(len(line[column]) for line in lines)) for column in range(len(head))]

    def drawn(line: Sequence[str]) -> str:
        cells = (
            cell.rjust(width) if number and len(head) > 2 else cell.ljust(width)
            for number, (cell, width) in enumerate(zip(line, widths, strict=True))
        )
        return f"| {' | '.join(cells)} |"

    rules = [
        "-" * (width - 1) + (":" if number and len(head) > 2 else "-")
        for number, width in enumerate(widths)
    ]
    return "\n".join([drawn(lines[0]), f"| {' | '.join(rules)} |", *map(drawn, lines[1:])])


def plot(growth: Found) -> str:
    """The curves of growth as a picture."""
    along = {curve.name: curve for curve in CURVES}
    panels = []
    for title, what, names in PANELS:
        curves: dict[str, Points] = {
            along[name].what: [(float(at), cost) for at, cost in growth[name].items()]
            for name in names
            if growth.get(name)
        }
        if curves:
            panels.append(Panel(title, what, "µs of the server's processor", curves))
    return svg(panels)


def write(found: Found, folder: Path) -> None:
    """Put figures, picture and tables into the docs; what was not measured stays as it is.

    Raises `OSError` or `ValueError`, and then all of the docs stay as they are.
    """
    kept = folder / FIGURES
    if kept.exists():
        try:
            before = json.loads(kept.read_text())
        except ValueError as error:
            raise ValueError(f"{kept} cannot be read: {error}") from None
        # Some workloads measured again leave the others as they were, as far as they are told of.
        for section in ("rounds", "workloads", "profiles"):
            found[section] = before.get(section, {}) | found.get(section, {})
        found = before | {name: part for name, part in found.items() if part}
    texts = {FIGURES: json.dumps(found, indent=1, ensure_ascii=False) + "\n"}
    if found.get("growth"):
        texts[PLOT] = plot(found["growth"])
    texts[PAGE] = filled((folder / PAGE).read_text(), tables(found))
    # All of it is on the disk, which may be full, before anything is replaced.
    with tempfile.TemporaryDirectory(dir=folder, prefix=".new-") as new:
        for name, text in texts.items():
            (Path(new) / name).write_text(text)
        for name in texts:
            (Path(new) / name).replace(folder / name)


def filled(page: str, made: dict[str, str]) -> str:
    """`page` with its tables replaced, each between its two marks."""
    for name, text in made.items():
        begin, end = f"<!-- figures: {name} -->", "<!-- end -->"
        before, mark, rest = page.partition(begin)
        if mark:
            page = f"{before}{begin}\n{text}\n{end}{rest.partition(end)[2]}"
    return page


def machine() -> Found:
    """What this ran on."""
    return {
        "processor": f"{_processor()}, {os.cpu_count()} cores",
        "system": f"{platform.system()} {platform.release().split('-')[0]}",
        "Python": platform.python_version(),
        **{name: version(name) for name in ("Twisted", "msgspec")},
        "SQLite": sqlite3.sqlite_version,
        **{PROGRAMS[name]: _peer(name) for name in PROGRAMS if program(name)},
        "date": time.strftime("%Y-%m-%d"),
    }


def _rounds(found: Found) -> dict[str, str]:
    """How many rounds the figures are from; workloads may have been measured at several times."""
    rounds = {name: str(times) for name, times in found.get("rounds", {}).items()}
    times = [one["rounds"] for by in found.get("workloads", {}).values() for one in by.values()]
    if times:
        least, most = min(times), max(times)
        rounds = {"workloads": str(most) if least == most else f"{least} to {most}"} | rounds
    return rounds


def number(value: float) -> str:
    """Three digits that count."""
    if value >= 999_500:
        return f"{value / 1e6:.3g} M"
    if value >= 999.5:
        return f"{round(value, 2 - len(str(int(value))) + 1):,.0f}"
    return f"{value:.3g}"


def _workloads(found: Found) -> str:
    rows = []
    for name, entry in found.items():
        workload = WORKLOADS[name]
        for who, figure in entry.items():
            cpu = f"{number(figure['cpu_us'])} µs" if "cpu_us" in figure else ""
            rows.append(
                (
                    name if who == "pylingo" else "",
                    who,
                    f"{number(figure['value'])} {workload.unit}",
                    f"{figure['ratio']:.2f}" if "ratio" in figure else "",
                    cpu,
                    f"{figure['cpu_ratio']:.2f}" if "cpu_ratio" in figure else "",
                    f"{100 * figure['load']:.0f} %" if "load" in figure else "",
                    figure.get("note", ""),
                )
            )
    head = (
        "workload",
        "server",
        "by the watch",
        "PyLingo / it",
        "processor",
        "PyLingo / it",
        "load",
        "",
    )
    return table(head, rows)


def _growth(found: Found) -> str:
    rows = []
    for curve in CURVES:
        points = found.get(curve.name, {})
        if points:
            costs = [f"{at}: {number(cost)}" for at, cost in points.items()]
            spread = list(points.values())
            last, others = spread[-1], (spread[0], min(spread))
            ratios = [f"{last / other:.2f}" if other else "" for other in others]
            rows.append((curve.what, curve.along, ", ".join(costs), *ratios))
    return table(("µs for", "how many", "costs", "last / first", "last / least"), rows)


def _reactors(found: Found) -> str:
    # One that failed in a workload has no figure there.
    heads = list(dict.fromkeys(head for by_workload in found.values() for head in by_workload))
    rows = [
        (name, *(_pair(by_workload.get(head)) for head in heads))
        for name, by_workload in found.items()
    ]
    return table(("reactor", *heads), rows)


def _pair(entry: Found | None) -> str:
    return f"{entry['value']:.2f} ({entry['cpu']:.2f})" if entry else ""


def _processor() -> str:
    for line in Path("/proc/cpuinfo").read_text().splitlines():
        if line.startswith("model name"):
            return line.partition(":")[2].strip()
    return platform.machine()


def _peer(name: str) -> str:
    binary = program(name)
    assert binary is not None
    said = subprocess.run(
        [binary, "--version"], capture_output=True, text=True, timeout=10, check=False
    ).stdout
    first = said.splitlines()[0] if said else "?"
    numbers = (word.strip("v,") for word in first.split() if word.strip("v")[:1].isdigit())
    return next(numbers, first).partition("-")[0]


class Bar:
    """How far it is, on standard error, where that is a terminal."""

    def __init__(self, steps: int) -> None:
        self._steps = steps
        self._done = 0
        self._begun = time.monotonic()
        self._shown = sys.stderr.isatty()

    def step(self, what: str) -> None:
        """The next step, and what it is."""
        if self._shown:
            share = min(1.0, self._done / self._steps)
            spent = time.monotonic() - self._begun
            left = f"{spent / share - spent:4.0f} s left" if share > 0.03 else ""
            drawn = ("█" * round(30 * share)).ljust(30, "░")
            line = f"{drawn} {100 * share:3.0f} % {left} {what}"
            # A line that wraps could not be drawn over.
            columns = os.get_terminal_size(sys.stderr.fileno()).columns or 80
            sys.stderr.write(f"\r{line[: columns - 1]}\x1b[K")
            sys.stderr.flush()
        self._done += 1

    def clear(self) -> None:
        """Take it away, so that something else can be printed."""
        if self._shown:
            sys.stderr.write("\r\x1b[K")
            sys.stderr.flush()
