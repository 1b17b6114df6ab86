"""Figures about a running server, for Prometheus, and a page that says it is well.

They are read from the server when somebody asks; nothing is counted twice, and nothing here is
loaded unless ``--metrics`` says so.
"""

from __future__ import annotations

import os
from collections.abc import Iterator

from prometheus_client import CONTENT_TYPE_LATEST, generate_latest
from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, Metric
from twisted.web.resource import Resource
from twisted.web.server import Request, Site

from pylingo.server import ChatFactory


class Pages(Resource):
    """``/metrics`` and ``/health``, and for every other path a word about them."""

    isLeaf = True

    def __init__(self, factory: ChatFactory) -> None:
        Resource.__init__(self)
        self._factory = factory

    def render_HEAD(self, request: Request) -> bytes:
        # Twisted's own makes a page, and complains in the log that nobody wants it.
        request.setHeader("content-length", str(len(self.render_GET(request))))
        return b""

    def render_GET(self, request: Request) -> bytes:
        (name, *_) = request.postpath or [b""]
        if name == b"metrics":
            request.setHeader("content-type", CONTENT_TYPE_LATEST)
            return generate_latest(self)
        request.setHeader("content-type", "text/plain; charset=utf-8")
        if name != b"health":
            request.setResponseCode(404)
            return b"there are /metrics and /health\n"
        if self._factory.chat.log.failing:
            request.setResponseCode(503)
            return b"messages cannot be stored; the log says why\n"
        return b"ok\n"

    def collect(self) -> Iterator[Metric]:
        """The figures as they are now."""
        factory, chat = self._factory, self._factory.chat
        for name, help, value in (
            ("connections", "Connections", len(factory.doors)),
            ("users", "Users, lingering ones included", len(chat.registry.users)),
            ("lingering", "Users without a connection", len(chat.registry.lingering)),
            ("rooms", "Rooms", len(chat.registry.rooms)),
            ("queue_high_bytes", "The most that ever waited for one peer", factory.turn.high),
            ("reactor_lag_seconds", "How late the last look at all came", factory.lag),
        ):
            yield GaugeMetricFamily(f"pylingo_{name}", help, value)
        for name, help, count in (
            ("messages", "Messages stored", chat.log.stored),
            ("deliveries", "Messages told to members of rooms", factory.turn.deliveries),
            ("sent_bytes", "Bytes for clients", factory.turn.sent),
            ("slow", "Peers dropped for reading too slowly", factory.slow),
            ("refused", "Connections past the bounds", factory.refused),
            ("commits", "Transactions", chat.log.groups),
            ("commit_seconds", "Seconds spent in transactions", chat.log.seconds),
        ):
            yield CounterMetricFamily(f"pylingo_{name}", help, count)


def site(factory: ChatFactory) -> Site:
    """What serves them."""
    # Somebody asks every few seconds: that is nothing for the log.
    return Site(Pages(factory), logPath=os.devnull)
