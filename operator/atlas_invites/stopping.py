"""The end of the process: in order within ten seconds of the signal, at the second signal at once."""

from __future__ import annotations

import asyncio
import logging
import os
import signal
import sys
from contextlib import suppress
from typing import NoReturn

log = logging.getLogger(__name__)

# Seconds after stopping has begun: at a signal, or where the lease is lost or a part of the operator has ended.

SENDS_UNTIL = 6.0
"""No write to Atlas starts any more: one that has just begun would be cut, and nobody would know its result."""

CUT_AT = 8.0
"""The calls of running reconciles are cut."""

LAST = 9.9
"""The process ends in any case. Each step after the reconciles may take half of the time that is left until then."""

STOPPED, FAILED = 0, 1
"""Exit codes: after a signal; after the loss of the lease, or where a part ended by itself."""


class Stopping:
    """Takes SIGTERM and SIGINT, and tells how much time is left once the end has begun."""

    def __init__(self) -> None:
        self.asked = asyncio.Event()
        self._began: float | None = None

    @property
    def code(self) -> int:
        """The exit code if the process were to end now."""
        return STOPPED if self.asked.is_set() else FAILED

    def take_signals(self) -> None:
        """Take the signals, from whoever has taken them since."""
        loop = asyncio.get_running_loop()
        for number in (signal.SIGTERM, signal.SIGINT):
            loop.add_signal_handler(number, self._on_signal)

    def begin(self) -> None:
        """Record that the end has begun, and limit how long it may take."""
        if self._began is None:
            loop = asyncio.get_running_loop()
            self._began = loop.time()
            loop.call_later(LAST, end_at_once, "stopping in order took too long")

    def left(self, until: float) -> float:
        """Return the seconds that are left until one of the times above; all of them if the end has not begun."""
        if self._began is None:
            return until
        return max(self._began + until - asyncio.get_running_loop().time(), 0.0)

    def share(self) -> float:
        """Return the seconds that one more step may take."""
        return self.left(LAST) / 2

    def _on_signal(self) -> None:
        if self.asked.is_set():
            end_at_once("a second signal")
        log.info("stopping")
        self.asked.set()
        self.begin()


def end_at_once(why: str) -> NoReturn:
    """End the process without any order."""
    log.warning("ending at once: %s", why)
    end(FAILED)


def end(code: int) -> NoReturn:
    """End the process where it is, whatever its threads do.

    To close the loop would wait for them, and one that looks up a name while DNS does not answer takes tens of seconds.
    What can no longer be written, such as a log line to a full disk, does not change the exit code.
    """
    logging.shutdown()
    for stream in (sys.stdout, sys.stderr):
        with suppress(OSError, AttributeError):  # None: closed before the process started
            stream.flush()
    os._exit(code)
