"""The person's command line: ``pylingo [HOST[:PORT]]``.

On a terminal it shows a `Screen`. With redirected input or output, with ``--json``, or where the
terminal cannot move its cursor (``TERM=dumb``), it is a `Pipe`, which sends each line and prints
what comes.
"""

from __future__ import annotations

import argparse
import contextlib
import os
import signal
import sys
from typing import Any, NoReturn

from pylingo import __version__

PORT = 5000
ENDS = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP, signal.SIGQUIT)
"""What ends it in good order."""
PATIENCE = 1
"""Seconds that it waits for its own threads at the end."""


def main(arguments: list[str] | None = None) -> None:
    """Run the client; the exit status is 0 when all went well."""
    _open_streams()
    options = parse(arguments)
    if signal.getsignal(signal.SIGINT) is signal.default_int_handler:
        # Until there is something to end in good order: nobody is to see a traceback.
        signal.signal(signal.SIGINT, signal.SIG_DFL)
    # Nothing of Twisted is loaded for --help, which should answer at once.
    dumb = os.environ.get("TERM") in ("dumb", "unknown")
    if sys.stdin.isatty() and sys.stdout.isatty() and not (dumb or options.json):
        from twisted.internet import asyncioreactor

        # What draws the screen needs asyncio's loop.
        asyncioreactor.install()
        from pylingo.terminal import converse
    else:
        from pylingo.pipe import converse
    from twisted.internet.task import deferLater, react

    from pylingo.clock import keep_steady

    status = 1

    async def talk(reactor: Any) -> None:
        nonlocal status
        keep_steady(reactor)
        # In its first turn the reactor has made the signals its own.
        await deferLater(reactor, 0)
        for one in ENDS:
            if signal.getsignal(one) is not signal.SIG_IGN:
                signal.signal(one, lambda *_: reactor.callFromThread(_stop, reactor))
        reactor.addSystemEventTrigger("during", "shutdown", signal.alarm, PATIENCE)
        status = await converse(reactor, options)
        raise SystemExit(status)

    # A thread may wait for a silent name server, and cannot be told to stop.
    signal.signal(signal.SIGALRM, lambda *_: os._exit(status))
    try:
        react(talk)
    finally:
        signal.alarm(0)
        # What still waits, such as for a disk, another signal ends.
        for one in ENDS:
            if signal.getsignal(one) is not signal.SIG_IGN:
                signal.signal(one, signal.SIG_DFL)


def _stop(reactor: Any) -> None:
    from twisted.internet.error import ReactorNotRunning

    # It may have been told so before.
    with contextlib.suppress(ReactorNotRunning):
        reactor.stop()


def _open_streams() -> None:
    """Open the standard streams that were closed when we were started; they lead nowhere."""
    for number, (name, mode) in enumerate((("stdin", "r"), ("stdout", "w"), ("stderr", "w"))):
        try:
            os.fstat(number)
        except OSError:
            # The lowest free number is the missing one.
            os.open(os.devnull, os.O_RDWR)
            setattr(sys, name, open(number, mode, closefd=False))  # noqa: SIM115 - as long as we run


def parse(arguments: list[str] | None = None) -> argparse.Namespace:
    """Read the command line; exits with a sentence, and status 1, where it is wrong."""
    parser = _Parser(
        prog="pylingo",
        description="Chat in rooms, in the terminal. In the chat, /help shows the commands.",
        epilog="Without a terminal, the server's password, if it has one, is read from "
        "PYLINGO_PASSWORD in the environment.",
    )
    parser.add_argument(
        "address",
        nargs="?",
        default=f"127.0.0.1:{PORT}",
        metavar="HOST[:PORT]",
        help=f"the server (default: 127.0.0.1:{PORT})",
    )
    parser.add_argument("-n", "--name", default="", help="the name to take")
    parser.add_argument("-r", "--room", default="", help="the room to join")
    parser.add_argument("--tls", action="store_true", help="encrypt the connection")
    parser.add_argument(
        "--json", action="store_true", help="print events as JSON lines, for scripts"
    )
    parser.add_argument(
        "--no-color",
        action="store_true",
        default=bool(os.environ.get("NO_COLOR")),
        help="plain text, as with NO_COLOR in the environment",
    )
    parser.add_argument("--version", action="version", version=f"pylingo {__version__}")
    options, more = parser.parse_known_args(arguments)
    # What is no Unicode, as from another encoding, is U+FFFD.
    options.name, options.room, options.address = (
        text.encode(errors="surrogateescape").decode(errors="replace")
        for text in (options.name, options.room, options.address)
    )
    try:
        options.host, options.port = address(options.address)
        host = f"[{options.host}]" if ":" in options.host else options.host
        options.where = f"{host}:{options.port}"
    except ValueError as error:
        parser.error(str(error))
    if more and more[0].isdigit():
        parser.error(f"Put the port after a colon: pylingo {options.address}:{more[0]}")
    elif more:
        parser.error(f"{more[0]!r} is not an option.")
    return options


def address(text: str) -> tuple[str, int]:
    """Split ``HOST``, ``HOST:PORT`` or ``[IPV6]:PORT``. Raises `ValueError` with a sentence."""
    if "://" in text:
        raise ValueError("Give only the host and the port: pylingo HOST or pylingo HOST:PORT")
    if text.startswith("["):
        host, _, rest = text[1:].partition("]")
        port = rest.removeprefix(":") if rest else str(PORT)
    elif text.count(":") > 1:
        host, port = text, str(PORT)
    else:
        host, colon, port = text.partition(":")
        port = port if colon else str(PORT)
    if not host:
        raise ValueError("Give the host: pylingo HOST or pylingo HOST:PORT")
    if not (port.isascii() and port.isdigit() and 0 < int(port) < 65536):
        raise ValueError(f"{port!r} is not a port. Give a number from 1 to 65535.")
    return host, int(port)


class _Parser(argparse.ArgumentParser):
    def error(self, message: str) -> NoReturn:
        self.exit(1, f"pylingo: {message}\nTry pylingo --help.\n")
