"""Doors with TLS whose bytes take the short way.

    protocol --> TLS (Twisted's) --> Direct --> the socket, if nothing waits for it
                                          '---> otherwise the transport, and TLS has to wait

Twisted's own doors gather what is written in a turn of the reactor, and leave the sending to that.
Here it was gathered before. To encrypt it at once, and to save two visits to the kernel for each
write, is about half of what a delivery over TLS costs.

Nothing here knows certificates, or what is said.
"""

from __future__ import annotations

from collections.abc import Callable
from socket import socket
from typing import Any

from twisted.internet.defer import Deferred
from twisted.internet.interfaces import (
    IListeningPort,
    IProtocolFactory,
    IPullProducer,
    IPushProducer,
    ISSLTransport,
    IStreamServerEndpoint,
    ITCPTransport,
)
from twisted.internet.ssl import CertificateOptions
from twisted.protocols.tls import TLSMemoryBIOFactory, TLSMemoryBIOProtocol
from zope.interface import directlyProvides, implementer, providedBy


@implementer(IStreamServerEndpoint)
class EncryptedDoor:
    """An endpoint whose connections are encrypted, as Twisted's `wrapServerTLS` makes one."""

    def __init__(self, options: CertificateOptions, door: IStreamServerEndpoint) -> None:
        self._options = options
        self._door = door

    def listen(self, protocolFactory: IProtocolFactory) -> Deferred[IListeningPort]:
        return self._door.listen(_Factory(self._options, False, protocolFactory))


class Direct:
    """A TCP transport whose bytes go to the socket at once, if none wait for it.

    What the socket does not take is left to the transport; meanwhile the producer is paused.
    """

    def __init__(self, transport: Any) -> None:
        directlyProvides(self, providedBy(transport))
        self._transport = transport
        self._socket: socket = transport.getHandle()
        self._producer: IPushProducer | None = None
        self._full = False

    def __getattr__(self, name: str) -> Any:
        return getattr(self._transport, name)

    def write(self, data: bytes) -> None:
        if self._full:
            self._transport.write(data)
        else:
            try:
                sent = self._socket.send(data)
            except OSError:
                # Full; or broken, and then the transport will find out in its own way.
                sent = 0
            if sent == len(data):
                return
            self._full = True
            rest = _Rest(data[sent:], self._transport, self._taken)
            self._transport.registerProducer(rest, False)
        if self._producer is not None:
            # Each time, for TLS lets it go on after a handshake, whatever waits here.
            self._producer.pauseProducing()

    def _taken(self) -> None:
        self._full = False
        if self._producer is not None:
            self._producer.resumeProducing()

    def registerProducer(self, producer: IPushProducer, _: bool) -> None:
        """Only for one that pushes, as that of TLS does."""
        self._producer = producer
        if self._full:
            producer.pauseProducing()

    def unregisterProducer(self) -> None:
        self._producer = None


@implementer(IPullProducer)
class _Rest:
    """What a socket has not taken, for its transport, which asks for more when that was taken."""

    def __init__(self, data: bytes, transport: Any, taken: Callable[[], None]) -> None:
        self._data = data
        self._transport = transport
        self._done = taken

    def resumeProducing(self) -> None:
        data, self._data = self._data, b""
        if data:
            self._transport.write(data)
        else:
            self._transport.unregisterProducer()
            self._done()

    def stopProducing(self) -> None:
        """The connection is gone, as its protocol is told, too."""


class _Protocol(TLSMemoryBIOProtocol):
    def makeConnection(self, transport: Any) -> None:
        plain = ITCPTransport.providedBy(transport) and not ISSLTransport.providedBy(transport)
        super().makeConnection(Direct(transport) if plain else transport)


class _Factory(TLSMemoryBIOFactory):
    protocol = _Protocol
