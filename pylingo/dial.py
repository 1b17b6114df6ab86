"""How the client connects: it makes a started connection from an address, with or without TLS.

Nothing here knows where lines come from; questions to a person go through `ask`.
"""

from __future__ import annotations

import argparse
from collections.abc import Callable
from typing import Any

from twisted.internet.defer import Deferred
from twisted.internet.endpoints import (
    HostnameEndpoint,
    TCP4ClientEndpoint,
    TCP6ClientEndpoint,
)
from twisted.internet.interfaces import IStreamClientEndpoint

from pylingo.connection import Connection
from pylingo.protocol import ChatError
from pylingo.questions import agreed

PATIENCE = 10.0
"""Seconds that one try to connect takes at most; by then there may be another network."""


async def dial(
    options: argparse.Namespace,
    reactor: Any,
    connection: Callable[..., Connection],
    ask: Callable[[str], Deferred[str]] | None,
) -> Connection:
    """Connect, with or without TLS; the result is a `connection` that has been started.

    An unknown certificate is shown to the person by `ask`, and remembered after a yes. Raises
    `ChatError` with a sentence where there is no getting in, or none that can be trusted.
    """

    async def start(endpoint: IStreamClientEndpoint, **more: Any) -> Connection:
        made = connection(endpoint, **more)
        await made.start()
        return made

    # In capitals, a name in another script would be refused.
    host = options.host.lower()
    bare: IStreamClientEndpoint = HostnameEndpoint(reactor, host, options.port, timeout=PATIENCE)
    if "%" in options.host:
        # It would forget the interface.
        bare = TCP6ClientEndpoint(reactor, options.host, options.port, timeout=PATIENCE)
    elif "_" in options.host:
        # It would refuse what no domain can be called, but a container can.
        try:
            options.host.encode("idna")
        except UnicodeError:
            # The reactor would tell that to its log, and never to us.
            raise ChatError(
                "unreachable",
                f"{options.where} is not a name that a host can have. Check the spelling.",
            ) from None
        bare = TCP4ClientEndpoint(reactor, options.host, options.port, timeout=PATIENCE)
    if not options.tls:
        return await start(bare)

    # Loaded here, for they take a while.
    from platformdirs import user_config_path
    from twisted.internet.endpoints import wrapClientTLS

    from pylingo import tls
    from pylingo.memory import own

    where = options.where
    pin = tls.Pin(where, own(user_config_path) / "known_hosts")
    try:
        vouched, pinned = tls.Caller(host), tls.Caller(host, vouched=False)
    except ValueError:
        raise ChatError(
            "unreachable",
            f"{where} is not a name that a certificate can be for. Check the spelling, or give "
            "the address.",
        ) from None
    if pin.expected is None:
        try:
            return await start(wrapClientTLS(vouched, bare))
        except ChatError as trouble:
            if trouble.code != "untrusted":
                raise
    while True:
        try:
            return await start(wrapClientTLS(pinned, bare), check=pin)
        except ChatError as trouble:
            # Where one was known, or none was seen, there is nothing to ask.
            if trouble.code != "untrusted" or pin.expected or not pin.seen:
                raise
        if ask is None:
            raise ChatError(
                "untrusted",
                f"The certificate of {where} is not known: {pin.seen}. "
                "Connect once on a terminal that is not a dumb one, and answer yes.",
            )
        answer = await ask(
            f"No authority confirms that this is {where}. The SHA-256 fingerprint "
            f"of its certificate is\n{pin.seen}\nIs that right? Ask who runs the server. [yes/no] "
        )
        if not agreed(answer):
            raise ChatError("untrusted", f"Not connected to {where}, because you did not say yes.")
        try:
            pin.trust()
        except tls.CertificateError as trouble:
            raise ChatError("untrusted", str(trouble)) from None
