"""PyLingo: room-based chat for the terminal, on Twisted."""

__version__ = "1.0.0"
