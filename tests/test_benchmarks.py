"""The benchmarks: that they run, and that what they tell is what they found."""

from __future__ import annotations

import contextlib
import fcntl
import io
import json
import os
import pty
import resource
import signal
import struct
import subprocess
import sys
import termios
import time
from pathlib import Path
from xml.etree import ElementTree

from twisted.trial.unittest import SynchronousTestCase

from benchmarks import __main__ as benchmark
from benchmarks import plot, profiles, report, starting
from benchmarks.crowd import Stalled
from benchmarks.workloads import Figure, Workload
from tests.peer import ROOT, run


class RunTests(SynchronousTestCase):
    """The command, with as little as it can do."""

    def test_quick(self) -> None:
        """A quick run tells of each workload, in a table and as JSON, and exits with 0."""
        path = Path(self.mktemp()).absolute()
        status, printed = run(
            "benchmarks", "--quick", "--rounds", "1", "--only", "ping,churn,starting",
            "--json", str(path), seconds=300,
        )  # fmt: skip
        self.assertEqual(status, 0, printed)
        self.assertIn("| churn", printed)
        found = json.loads(path.read_text())
        self.assertEqual(set(found["workloads"]), {"ping", "churn"})
        for by_server in found["workloads"].values():
            self.assertGreater(by_server["pylingo"]["value"], 0)
        self.assertEqual(found["failed"], [])

    def test_stopped(self) -> None:
        """One that is told to end, ends its server as well, and tells of what there was."""
        folder = Path(self.mktemp()).absolute()
        folder.mkdir()
        with subprocess.Popen(
            [sys.executable, "-m", "benchmarks", "--only", "growth"], cwd=ROOT,
            env=os.environ | {"TMPDIR": str(folder)}, start_new_session=True,
            stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True,
        ) as process:  # fmt: skip
            # What is left holds the pipe.
            self.addCleanup(self._kill, process.pid)
            end = time.monotonic() + 30
            while not list(folder.glob("*/pylingo.sqlite3")) and time.monotonic() < end:
                time.sleep(0.05)
            process.terminate()
            try:
                printed, _ = process.communicate(timeout=30)
            except subprocess.TimeoutExpired:
                self._kill(process.pid)
                self.fail("its server goes on")
        self.assertEqual(process.returncode, 1)
        self.assertIn("benchmarks: stopped; this is what there was", printed)
        self.assertNotIn("Traceback", printed)
        self.assertEqual(list(folder.iterdir()), [])

    def _kill(self, group: int) -> None:
        with contextlib.suppress(ProcessLookupError):
            os.killpg(group, signal.SIGKILL)

    def test_few_files(self) -> None:
        """Where a process may hardly have a file open, it says so."""
        words = [sys.executable, "-m", "benchmarks", "--quick", "--rounds", "1", "--only", "idle"]
        done = subprocess.run(
            ["sh", "-c", 'ulimit -n 100; exec "$@"', "sh", *words], cwd=ROOT, timeout=60,
            capture_output=True, text=True, check=False,
        )  # fmt: skip
        self.assertEqual(done.returncode, 1, done.stderr)
        self.assertIn("too few files open", done.stderr)
        self.assertNotIn("Traceback", done.stderr)

    def test_unread(self) -> None:
        """Figures that nobody reads are told of elsewhere all the same."""
        path = Path(self.mktemp()).absolute()
        near, far = os.pipe()
        os.close(near)
        with open(far, "wb") as unread:
            done = subprocess.run(
                [sys.executable, "-m", "benchmarks", "--quick", "--rounds", "1", "--only", "ping",
                 "--json", str(path)],
                cwd=ROOT, timeout=60, stdout=unread, stderr=subprocess.PIPE, text=True, check=False,
            )  # fmt: skip
        self.assertEqual(
            (done.returncode, done.stderr), (1, "benchmarks: [Errno 32] Broken pipe\n")
        )
        self.assertIn("ping", json.loads(path.read_text())["workloads"])

    def test_unknown(self) -> None:
        """A workload that does not exist is refused with its name, and so is a folder."""
        for option, value, reason in (
            ("--only", "ping,pong", "there is no pong, only ping, "),
            ("--json", "tests", "tests is a folder"),
            ("--json", "nowhere/x", "there is no folder for nowhere/x"),
            ("--docs", "nowhere", f"there is no {report.PAGE} in nowhere"),
        ):
            status, printed = run("benchmarks", option, value, seconds=20)
            self.assertEqual(status, 2)
            self.assertIn(reason, printed)


class ReactorTests(SynchronousTestCase):
    """Reactors beside each other."""

    def test_stopped(self) -> None:
        """A run that was stopped tells of the rounds that were done."""
        measured: list[str] = []

        def once(_workload: Workload, _who: str, _size: float, reactor: str) -> Figure:
            measured.append(reactor)
            if len(measured) > 2 * len(benchmark.SHOWN) * len(stopped.reactors):
                raise KeyboardInterrupt
            return Figure(1.0, 1.0)

        self.patch(benchmark, "once", once)
        stopped = benchmark.Run(benchmark.parse(["--only", "reactors", "--rounds", "5"]))
        self.assertRaises(KeyboardInterrupt, stopped.all)
        self.assertEqual(stopped.found["rounds"], {"reactors": 2})

    def test_first_failed(self) -> None:
        """Where the first has no figure, nobody is told as a ratio to another."""

        def once(_workload: Workload, _who: str, _size: float, reactor: str) -> Figure:
            if reactor == "epoll":
                raise Stalled("no")
            return Figure(1.0, 1.0)

        self.patch(benchmark, "once", once)
        self.patch(sys, "stderr", io.StringIO())
        found = benchmark.Run(benchmark.parse(["--only", "reactors", "--rounds", "1"]))
        found.all()
        self.assertNotIn("reactors", found.found)
        self.assertIn("epoll, ping, round 1: no", found.failed)


class ReportTests(SynchronousTestCase):
    """From figures to tables."""

    def test_ratio(self) -> None:
        """A ratio is the median of those within a round, not the ratio of medians."""
        rounds = [
            {"pylingo": Figure(mine, 1.0), "ngircd": Figure(theirs, 2.0)}
            for mine, theirs in ((10.0, 5.0), (30.0, 10.0), (20.0, 20.0))
        ]
        found = report.summary(rounds)
        self.assertEqual(found["ngircd"]["ratio"], 2.0)
        self.assertEqual(found["ngircd"]["cpu_ratio"], 0.5)
        self.assertEqual(found["pylingo"]["value"], 20.0)

    def test_rounds(self) -> None:
        """The rounds that are told of are those that were measured, whenever that was."""
        one = {"pylingo": Figure(1.0, 1.0)}
        found: report.Found = {
            "machine": {},
            "rounds": {"growth": 5},
            "workloads": {"ping": report.summary([one] * 9), "flood": report.summary([one, {}])},
        }
        self.assertIn("workloads: 1 to 9, growth: 5", report.tables(found)["machine"])
        del found["workloads"]["flood"]
        self.assertIn("workloads: 9, growth: 5", report.tables(found)["machine"])

    def test_not_measured(self) -> None:
        """Where something could not be measured, the rest is told."""
        head = "ping (lower is better)"
        found = {
            "growth": {"joined": {"10": 2.0}},
            "reactors": {"epoll": {}, "poll": {head: {"value": 1.5, "cpu": 1.0}}},
        }
        told = report.tables(found)
        self.assertIn("10: 2", told["growth"])
        self.assertIn("1.50 (1.00)", told["reactors"])

    def test_page(self) -> None:
        """Between its marks a table is replaced; the rest of the page stays."""
        page = "a\n<!-- figures: x -->\nold\n<!-- end -->\nb\n<!-- figures: y -->\n<!-- end -->\n"
        filled = report.filled(page, {"x": "new", "z": "nowhere"})
        self.assertEqual(filled, page.replace("old", "new"))
        self.assertEqual(report.filled(filled, {"x": "new"}), filled)

    def test_full(self) -> None:
        """Where the docs cannot be written, all of them stay as they are."""
        folder = Path(self.mktemp())
        folder.mkdir()
        page = "<!-- figures: starting -->\n<!-- end -->\n" + "x" * 3000
        (folder / report.PAGE).write_text(page)
        limits = resource.getrlimit(resource.RLIMIT_FSIZE)
        self.addCleanup(resource.setrlimit, resource.RLIMIT_FSIZE, limits)
        resource.setrlimit(resource.RLIMIT_FSIZE, (2000, limits[1]))
        with self.assertRaises(OSError):
            report.write({"starting": {"true": 0.1}}, folder)
        resource.setrlimit(resource.RLIMIT_FSIZE, limits)
        self.assertEqual((folder / report.PAGE).read_text(), page)
        self.assertEqual([path.name for path in folder.iterdir()], [report.PAGE])
        (folder / report.FIGURES).write_text("{")
        with self.assertRaisesRegex(ValueError, "cannot be read"):
            report.write({"starting": {"true": 0.1}}, folder)

    def test_marks(self) -> None:
        """The page about performance has a place for every table that can be made."""
        page = (Path(report.__file__).parent.parent / "docs" / report.PAGE).read_text()
        for name in ("machine", "workloads", "growth", "reactors", "starting", "profile-flood"):
            self.assertIn(f"<!-- figures: {name} -->", page)

    def test_numbers(self) -> None:
        """Three digits of a number are told, however large it is."""
        told = [
            report.number(value)
            for value in (0.60721, 12.345, 999.6, 1234.5, 99_950.0, 999_700, 5e6)
        ]
        self.assertEqual(told, ["0.607", "12.3", "1,000", "1,230", "100,000", "1 M", "5 M"])
        growth = report.tables({"growth": {"joined": {"10": 1234.5}}})["growth"]
        self.assertIn("10: 1,230 ", growth)


class BarTests(SynchronousTestCase):
    """How far it is."""

    def test_narrow(self) -> None:
        """It fits into the terminal that it is drawn on, wherever the figures go."""
        near, far = pty.openpty()
        self.addCleanup(os.close, near)
        fcntl.ioctl(far, termios.TIOCSWINSZ, struct.pack("4H", 12, 40, 0, 0))
        with open(far, "w") as terminal:
            self.patch(sys, "stderr", terminal)
            report.Bar(2).step("x" * 200)
            drawn = os.read(near, 4096).decode()
        self.assertEqual(len(drawn.removeprefix("\r").removesuffix("\x1b[K")), 39)


class PlotTests(SynchronousTestCase):
    """The picture."""

    def test_svg(self) -> None:
        """It is well-formed, has a line for each curve and a dot for each point, all inside."""
        panel = plot.Panel("a < b", "many", "µs", {"x": [(10, 1), (5000, 2)], "y": [(10, 0.0)]})
        root = ElementTree.fromstring(plot.svg([panel, panel]))
        space = "{http://www.w3.org/2000/svg}"
        self.assertEqual(len(root.findall(f".//{space}polyline")), 4)
        dots = root.findall(f".//{space}circle")
        self.assertEqual(len(dots), 6)
        for dot in dots:
            self.assertTrue(plot.LEFT <= float(dot.attrib["cx"]) <= plot.WIDTH - plot.RIGHT)
            self.assertTrue(plot.TOP <= float(dot.attrib["cy"]) <= plot.HEIGHT - plot.BOTTOM)

    def test_scale(self) -> None:
        """An axis ends above the largest value, with a few round steps."""
        for most in (0.3, 1.0, 7.45, 19.5, 388.0):
            top, step = plot.scale(most)
            self.assertGreater(top, most)
            self.assertTrue(2 <= round(top / step) <= 7, (most, top, step))


class ProfileTests(SynchronousTestCase):
    """What a profile adds up to."""

    def test_shares(self) -> None:
        """Each function has its own time and that of what it calls; waiting is no work."""
        stacks = (
            "process 1;thread (2);main (a.py:1);work (a.py:5) 30\n"
            "main (a.py:1) 10\n"
            "main (a.py:1);Condition.wait (threading.py:295) 500\n"
        )
        self.assertEqual(
            profiles.shares(stacks), [("work (a.py)", 75.0, 75.0), ("main (a.py)", 25.0, 100.0)]
        )


class StartingTests(SynchronousTestCase):
    """The time that a command takes."""

    def test_ended(self) -> None:
        """It is the command's own, and not that of the next look at it."""
        self.assertLess(min(starting.ended(["sleep", "0.22"]) for _ in range(3)), 0.25)
        with self.assertRaisesRegex(Stalled, "ended with 1"):
            starting.ended(["false"])
