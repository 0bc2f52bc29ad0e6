"""The end of the process: an orderly stop within ten seconds of a signal, an immediate one at a second signal."""

from __future__ import annotations

import asyncio
import logging
import os
import signal
import sys
from contextlib import suppress
from typing import NoReturn

log = logging.getLogger(__name__)

# Seconds since stopping began: at a signal, or when the lease was lost or a part of the operator ended.

SENDS_UNTIL = 6.0
"""After this, no write to Atlas starts: a write that has just started would be cut, with an unknown result."""

CUT_AT = 8.0
"""The calls of running reconciles are cut."""

LAST = 9.9
"""The process ends in any case. Each step after the reconciles may take half of the time left until then."""

STOPPED, FAILED = 0, 1
"""Exit codes: after a signal; after the lease was lost or a part ended unexpectedly."""


class Stopping:
    """Handles SIGTERM and SIGINT, and returns how much time is left after stopping has begun."""

    def __init__(self) -> None:
        self.asked = asyncio.Event()
        self._began: float | None = None

    @property
    def code(self) -> int:
        """The exit code if the process ends now."""
        return STOPPED if self.asked.is_set() else FAILED

    def handle_signals(self) -> None:
        """Handle the signals, also if another part has installed handlers since."""
        loop = asyncio.get_running_loop()
        for number in (signal.SIGTERM, signal.SIGINT):
            loop.add_signal_handler(number, self._on_signal)

    def begin(self) -> None:
        """Record that stopping has begun, and limit its duration."""
        if self._began is None:
            loop = asyncio.get_running_loop()
            self._began = loop.time()
            loop.call_later(LAST, exit_immediately, "the orderly stop took too long")

    def left(self, until: float) -> float:
        """Return the seconds left until one of the times above: all of them if stopping has not begun."""
        if self._began is None:
            return until
        return max(self._began + until - asyncio.get_running_loop().time(), 0.0)

    def share(self) -> float:
        """Return the seconds that the next step may take."""
        return self.left(LAST) / 2

    def _on_signal(self) -> None:
        if self.asked.is_set():
            exit_immediately("a second signal")
        log.info("stopping")
        self.asked.set()
        self.begin()


def exit_immediately(why: str) -> NoReturn:
    """End the process immediately."""
    log.warning("exiting immediately: %s", why)
    end(FAILED)


def end(code: int) -> NoReturn:
    """Exit now, without waiting for threads.

    Closing the loop would wait for them, and a thread that resolves a name while DNS is down takes tens of seconds.
    Output that cannot be written, such as a log line to a full disk, does not change the exit code.
    """
    logging.shutdown()
    for stream in (sys.stdout, sys.stderr):
        with suppress(OSError, AttributeError):  # None: closed before the process started
            stream.flush()
    os._exit(code)
