"""Servers to measure: how each is started, and what it has used.

The server has one core and the load another, where there are two. That is set here, for the
process that is started and for this one.
"""

from __future__ import annotations

import os
import resource
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Sequence
from contextlib import AbstractContextManager, nullcontext
from pathlib import Path

from benchmarks.crowd import HOST, Stalled
from benchmarks.dialects import NATS_SERVER, NGIRCD, PYLINGO, Dialect

ROOT = Path(__file__).resolve().parent.parent
PROGRAMS = {"ngircd": "ngircd", "nats": "nats-server"}
DIALECTS = {dialect.name: dialect for dialect in (PYLINGO, NGIRCD, NATS_SERVER)}
TICK = os.sysconf("SC_CLK_TCK")
CORES = sorted(os.sched_getaffinity(0))
SERVING, LOADING = {CORES[0]}, {CORES[-1]}
"""Where a server runs, and where the load does: apart, if there are two cores."""

TWISTD = "from twisted.scripts.twistd import run; run()"
UVLOOP = (
    "import uvloop; from twisted.internet import asyncioreactor; "
    "asyncioreactor.install(uvloop.new_event_loop()); " + TWISTD
)

NGIRCD_CONF = """\
[Global]
Name = irc.example.net
Info = measured
Listen = {host}
{plain}
[Limits]
MaxConnections = 0
MaxConnectionsIP = 0
MaxJoins = 0
MaxPenaltyTime = 0
MaxNickLength = 20
PingTimeout = 600
PongTimeout = 600
[Options]
DNS = no
Ident = no
PAM = no
{secure}
"""


def program(peer: str) -> str | None:
    """Where a peer's program is. Debian keeps some out of the way of those who are not root."""
    return shutil.which(PROGRAMS[peer]) or shutil.which(PROGRAMS[peer], path="/usr/sbin")


def prepare() -> None:
    """Put this process on its core, and let it and its servers have enough connections."""
    os.sched_setaffinity(os.getpid(), LOADING)
    hard = resource.getrlimit(resource.RLIMIT_NOFILE)[1]
    resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))


def heed() -> None:
    """Let what would end this process without its servers stop it as Ctrl-C does."""
    for one in (signal.SIGTERM, signal.SIGHUP):
        # Who said nohup meant it.
        if signal.getsignal(one) is not signal.SIG_IGN:
            signal.signal(one, signal.default_int_handler)


def most_links() -> int:
    """How many connections a process may have here."""
    limit = resource.getrlimit(resource.RLIMIT_NOFILE)[0]
    return 1_000_000 if limit == resource.RLIM_INFINITY else limit - 100


def free_port() -> int:
    """A port that nobody has."""
    with socket.socket() as probe:
        probe.bind((HOST, 0))
        port: int = probe.getsockname()[1]
        return port


def environment() -> dict[str, str]:
    """What servers are started with: this checkout comes first."""
    paths = [str(ROOT), *filter(None, [os.environ.get("PYTHONPATH")])]
    return os.environ | {"PYTHONPATH": os.pathsep.join(paths)}


def twistd(*arguments: str, reactor: str = "") -> list[str]:
    """A command that runs twistd in the foreground; with `reactor` instead of its default."""
    code = UVLOOP if reactor == "uvloop" else TWISTD
    chosen = [f"--reactor={reactor}"] if reactor and reactor != "uvloop" else []
    return [sys.executable, "-c", code, *chosen, "--nodaemon", "--pidfile=", *arguments]


class Server:
    """A server that runs while a ``with`` lasts, in a folder of its own."""

    def __init__(self, name: str, *, tls: bool = False, reactor: str = "") -> None:
        self.name = name
        self.dialect: Dialect = DIALECTS[name]
        self.tls = tls
        self.watch: Callable[[], AbstractContextManager[None]] = nullcontext
        """Around what is measured, the set-up excluded."""
        self.port = free_port()
        self._reactor = reactor
        self._folder = tempfile.TemporaryDirectory(prefix="benchmark-", ignore_cleanup_errors=True)
        self._place = Path(self._folder.name)

    def __enter__(self) -> Server:
        try:
            command = self._command()
            self._process = start(command, self._place)
            reach(self.port, self._process, self._place)
        except BaseException:
            self.__exit__()
            raise
        return self

    def __exit__(self, *_: object) -> None:
        process = getattr(self, "_process", None)
        if process is not None:
            stop(process)
        self._folder.cleanup()

    @property
    def pid(self) -> int:
        """The process."""
        return self._process.pid

    def cpu(self) -> float:
        """Seconds of processor that it has used so far, in itself and in the kernel for it.

        By the scheduler's account of each thread where there is one, which knows milliseconds; else
        by that of the process, in hundredths of a second.
        """
        process = Path(f"/proc/{self.pid}")
        try:
            accounts = [path.read_text() for path in process.glob("task/*/schedstat")]
        except OSError:
            accounts = []
        used = sum(int(account.split()[0]) for account in accounts) / 1e9
        if used:
            return used
        fields = (process / "stat").read_text().rpartition(")")[2].split()
        return (int(fields[11]) + int(fields[12])) / TICK

    def resident(self) -> int:
        """Bytes of memory that it has."""
        for line in Path(f"/proc/{self.pid}/status").read_text().splitlines():
            if line.startswith("VmRSS:"):
                return int(line.split()[1]) * 1024
        raise Stalled(f"{self.name} has ended")

    def log(self) -> str:
        """The end of what it printed."""
        return printed(self._place)

    def _command(self) -> list[str]:
        pem = str(self._place / "both.pem")
        if self.tls:
            from pylingo import tls

            tls.make(Path(pem))
        if self.name == "pylingo":
            secure = ["--tls", pem] if self.tls else []
            return twistd(
                "pylingo", "--interface", HOST, "--port", str(self.port),
                "--rate", "0", "--max-per-host", "0", "--max-users", "0", *secure,
                reactor=self._reactor,
            )  # fmt: skip
        binary = program(self.name)
        if binary is None:
            raise Stalled(f"{self.name} is not installed")
        if self.name == "nats":
            secure = ["--tls", "--tlscert", pem, "--tlskey", pem] if self.tls else []
            return [binary, "-a", HOST, "-p", str(self.port), *secure]
        port = f"Ports = {self.port}"
        config = self._place / "ngircd.conf"
        config.write_text(
            NGIRCD_CONF.format(
                host=HOST,
                plain=f"Ports = {free_port()}" if self.tls else port,
                secure=f"[SSL]\nCertFile = {pem}\nKeyFile = {pem}\n{port}" if self.tls else "",
            )
        )
        return [binary, "-n", "-f", str(config)]


def start(command: Sequence[str], place: Path) -> subprocess.Popen[bytes]:
    """Start `command` on the core for servers."""
    # A child has its parent's cores, its threads from the first on included.
    os.sched_setaffinity(os.getpid(), SERVING)
    try:
        with (place / "log").open("ab") as log:
            return subprocess.Popen(
                command, cwd=place, env=environment(),
                stdin=subprocess.DEVNULL, stdout=log, stderr=log,
            )  # fmt: skip
    finally:
        os.sched_setaffinity(os.getpid(), LOADING)


def printed(place: Path) -> str:
    """The end of what a process that was started there has printed."""
    return (place / "log").read_text(errors="replace")[-2000:]


def reach(port: int, process: subprocess.Popen[bytes], place: Path) -> None:
    """Wait until `process`, which was started in `place`, listens on `port`. Raises `Stalled`."""
    end = time.monotonic() + 30
    while True:
        try:
            socket.create_connection((HOST, port), 1).close()
        except OSError:
            if process.poll() is not None or time.monotonic() > end:
                raise Stalled(f"the server does not listen: {printed(place)}") from None
            time.sleep(0.002)
        else:
            return


def stop(process: subprocess.Popen[bytes]) -> None:
    """End a process, kindly at first."""
    process.send_signal(signal.SIGTERM)
    try:
        process.wait(10)
    except subprocess.TimeoutExpired:
        process.kill()
        process.wait(10)
