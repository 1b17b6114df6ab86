"""The person's command line: ``pylingo [HOST[:PORT]]``.

On a terminal it shows a `Screen`; with redirected input it is a `Pipe`, which sends each line and
prints what comes. Either is joined to a `Connection` here, and this is all the joining there is.
"""

from __future__ import annotations

import argparse
import os
import sys
from typing import TYPE_CHECKING, Any, NoReturn

from pylingo import __version__

if TYPE_CHECKING:
    from twisted.internet.interfaces import IStreamClientEndpoint

PORT = 5000


def main(arguments: list[str] | None = None) -> None:
    """Run the client; the exit status is 0 when all went well."""
    options = parse(arguments)
    # Nothing of Twisted is loaded for --help, which should answer at once.
    if sys.stdin.isatty() and sys.stdout.isatty() and not options.json:
        from pylingo.terminal import run
    else:
        from pylingo.pipe import run
    raise SystemExit(run(options))


def parse(arguments: list[str] | None = None) -> argparse.Namespace:
    """Read the command line; exits with a sentence, and status 1, where it is wrong."""
    parser = _Parser(prog="pylingo", description="Chat in rooms, in the terminal.")
    parser.add_argument(
        "address",
        nargs="?",
        default=f"127.0.0.1:{PORT}",
        metavar="HOST[:PORT]",
        help=f"the server (default: 127.0.0.1:{PORT})",
    )
    parser.add_argument("-n", "--name", default="", help="who to be")
    parser.add_argument("-r", "--room", default="", help="where to go")
    parser.add_argument(
        "--json", action="store_true", help="print events as JSON lines, for scripts"
    )
    parser.add_argument(
        "--no-color",
        action="store_true",
        default=bool(os.environ.get("NO_COLOR")),
        help="plain text",
    )
    parser.add_argument("--version", action="version", version=f"pylingo {__version__}")
    options = parser.parse_args(arguments)
    try:
        options.host, options.port = address(options.address)
    except ValueError as error:
        parser.error(str(error))
    return options


def address(text: str) -> tuple[str, int]:
    """Split ``HOST``, ``HOST:PORT`` or ``[IPV6]:PORT``. Raises `ValueError` with a sentence."""
    if text.startswith("["):
        host, _, rest = text[1:].partition("]")
        port = rest.removeprefix(":") if rest else str(PORT)
    elif text.count(":") > 1:
        host, port = text, str(PORT)
    else:
        host, colon, port = text.partition(":")
        port = port if colon else str(PORT)
    if not host:
        raise ValueError("Say which host: pylingo HOST or pylingo HOST:PORT")
    if not (port.isascii() and port.isdigit() and 0 < int(port) < 65536):
        raise ValueError(f"{port!r} is no port. It has to be a number from 1 to 65535.")
    return host, int(port)


def endpoint(options: argparse.Namespace, reactor: Any) -> IStreamClientEndpoint:
    """What to connect to."""
    from twisted.internet.endpoints import HostnameEndpoint

    return HostnameEndpoint(reactor, options.host, options.port)


class _Parser(argparse.ArgumentParser):
    def error(self, message: str) -> NoReturn:
        self.exit(1, f"pylingo: {message}\nTry pylingo --help.\n")
