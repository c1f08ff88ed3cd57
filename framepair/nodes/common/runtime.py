"""What every node does alike: options, signals, logging, saying READY, dying with the launcher."""

from __future__ import annotations

import ctypes
import logging
import math
import os
import select
import signal
import sys
import time
from collections.abc import Callable, Sequence
from types import FrameType
from typing import Any, NoReturn

import cyclopts

from framepair.nodes.common import exit_codes
from framepair.nodes.common.parent_death import die_with_launcher
from framepair.nodes.common.status import status_file
from framepair.protocol.transport.endpoints import EndpointError
from framepair.protocol.transport.heartbeat import BEAT_S, Heartbeat

LOG_LEVEL_VARIABLE = "FRAMEPAIR_LOG_LEVEL"
# The launcher kills what hasn't stopped after five seconds; a node without one has to see to it itself.
STOP_DEADLINE_S = 5.0
MAX_SECONDS = 1e9
# A stop may come twice: from systemd and from the launcher, or from timeout(1), which signals a process
# and then its group. That is not somebody who loses patience.
ECHO_S = 0.5
# From glibc's malloc.h. The largest threshold that it takes is half the size of a heap.
M_TRIM_THRESHOLD, M_MMAP_THRESHOLD = -1, -3
MMAP_THRESHOLD_BYTES = 32 * 1024 * 1024
TRIM_THRESHOLD_BYTES = 512 * 1024 * 1024

log = logging.getLogger(__name__)


class Refused(Exception):  # noqa: N818 - it is not an error of the program
    """A missing precondition: the message is one sentence that says what to do; the node exits with 2."""


def run(app: cyclopts.App, name: str, arguments: Sequence[str] | None = None) -> NoReturn:
    """Parse the command line, run the node and exit: 0 after a clean stop, 2 for bad usage, 1 for a failure."""
    logging.basicConfig(
        stream=sys.stderr,
        level=os.environ.get(LOG_LEVEL_VARIABLE, "INFO"),
        format=f"%(asctime)s {name} %(levelname)s %(message)s",
    )
    try:
        die_with_launcher()
        app(arguments, exit_on_error=False, print_error=False)
    except (cyclopts.CycloptsError, EndpointError, Refused) as error:
        print(f"{name}: {' '.join(str(error).split())}", file=sys.stderr)
        sys.exit(exit_codes.USAGE)
    except Exception:
        log.exception("failed")
        sys.exit(exit_codes.FAILED)
    sys.exit(0)


class Stop:
    """Whether to stop: a flag that a signal handler may set at any moment.

    Not a threading.Event: its lock isn't reentrant, and the handler may interrupt the very thread that
    holds it. A wait for it is part of the work, so that ``beat`` is called meanwhile.
    """

    def __init__(self, beat: Callable[[], None] = lambda: None) -> None:
        self._is_set = False
        self._beat = beat
        self._read, self._write = os.pipe()

    def set(self) -> None:
        """Set the flag and end a wait for it."""
        self._is_set = True
        os.write(self._write, b"\0")

    def is_set(self) -> bool:
        """Return whether the flag is set."""
        return self._is_set

    def wait(self, timeout_s: float) -> bool:
        """Wait until the flag is set, ``timeout_s`` at most; return whether it is set."""
        until_s = time.monotonic() + timeout_s
        while not self._is_set and (left_s := until_s - time.monotonic()) > 0:
            self._beat()
            # Not poll(): it counts in milliseconds, and frames are paced with this.
            select.select([self._read], [], [], min(left_s, BEAT_S))
        return self._is_set


def stop_on_signals(heartbeat: Heartbeat) -> Stop:
    """Return a flag that SIGINT or SIGTERM sets; a second Ctrl-C ends the process at once."""
    stop = Stop(heartbeat.beat)
    began_s = 0.0

    def handle(number: int, _frame: FrameType | None) -> None:
        nonlocal began_s
        if stop.is_set():
            # Supervisors may send a signal to the process and to its group: that is no second Ctrl-C.
            if number == signal.SIGINT and time.monotonic() > began_s + ECHO_S:
                os._exit(128 + number)
            return
        began_s = time.monotonic()
        # SIGALRM's default action ends the process even if it hangs inside a library.
        signal.setitimer(signal.ITIMER_REAL, STOP_DEADLINE_S)
        stop.set()

    signal.signal(signal.SIGINT, handle)
    signal.signal(signal.SIGTERM, handle)
    return stop


def keep_buffers() -> None:
    """Have malloc keep freed frame buffers, instead of mapping and faulting in new pages for each frame."""
    set_option: Callable[..., Any] | None = getattr(ctypes.CDLL(None), "mallopt", None)
    if set_option is not None:
        set_option(M_MMAP_THRESHOLD, MMAP_THRESHOLD_BYTES)
        set_option(M_TRIM_THRESHOLD, TRIM_THRESHOLD_BYTES)


def nanoseconds(flag: str, seconds: float, *, above: float = -math.ulp(0.0)) -> int:
    """Return ``seconds`` in nanoseconds; raises Refused unless it is finite, and 0 or more (or ``above``)."""
    if not above < seconds < MAX_SECONDS:
        raise Refused(
            f"{flag} {seconds}: it takes seconds, {'more than 0' if above == 0 else '0 or more'}"
        )
    return max(1, round(seconds * 1e9)) if above == 0 else round(seconds * 1e9)


def heartbeat() -> Heartbeat:
    """Return what tells the launcher and the status file, as far as there are any, that the work goes on."""
    return Heartbeat(status_file())


def ready(what: str, heartbeat: Heartbeat) -> None:
    """Tell the launcher that the work has begun, and log a line READY for scripts and people."""
    heartbeat.tell("ready")
    log.info("READY %s", what)
