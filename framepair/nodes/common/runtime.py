"""What every node does alike: options, signals, logging, saying READY, dying with the launcher."""

from __future__ import annotations

import logging
import math
import os
import resource
import select
import signal
import sys
import time
from collections.abc import Callable, Sequence
from types import FrameType
from typing import Any, NoReturn, cast

from framepair.nodes.common import exit_codes, log_format, streams, usage
from framepair.nodes.common.log_format import Level, LogFormat
from framepair.nodes.common.parent_death import die_with_launcher
from framepair.nodes.common.status import status_file
from framepair.protocol.clocks import clock
from framepair.protocol.transport.endpoints import EndpointError
from framepair.protocol.transport.heartbeat import BEAT_S, Heartbeat

LOG_LEVEL_VARIABLE = "FRAMEPAIR_LOG_LEVEL"
LOG_LEVELS = ("DEBUG", "INFO", "WARNING", "ERROR", "CRITICAL")
# The launcher kills what hasn't stopped after five seconds; a node without one has to see to it itself. As
# long as the work gets on it has more, but less than the ten seconds of docker stop.
STOP_DEADLINE_S, LAST_DEADLINE_S = 5.0, 9.0
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


def refusals() -> tuple[type[Exception], ...]:
    """Return the errors that mean bad usage or a missing precondition."""
    return EndpointError, Refused, *usage.errors()


def run(
    app: Callable[..., object],
    name: str,
    arguments: Sequence[str] | None = None,
    *,
    usage: str = "",
) -> NoReturn:
    """Parse the command line, run the node and exit: 0 after a clean stop, 2 for bad usage, 1 for a failure.

    ``app`` is a CommandLine or a cyclopts.App; ``usage`` is the whole command, for one that lacks something.
    """
    streams.prepare()
    handler = logging.StreamHandler(sys.stderr)
    handler.setFormatter(LineFormatter(name, log_format.current()))
    logging.basicConfig(handlers=[handler], level=_log_level() or "INFO")
    try:
        _run(app, name, arguments, usage)
    finally:
        streams.finish()


def _run(
    app: Callable[..., object], name: str, arguments: Sequence[str] | None, whole: str
) -> NoReturn:
    try:
        _allow_open_files()
        if _log_level() is None:
            asked = os.environ[LOG_LEVEL_VARIABLE]
            raise Refused(f"{LOG_LEVEL_VARIABLE} is {asked!r}: it takes {', '.join(LOG_LEVELS)}")
        _refuse_unknown_format()
        refuse_bad_offset()
        die_with_launcher()
        app(arguments, exit_on_error=False, print_error=False)
    except refusals() as error:
        sentence = streams.visible(usage.sentence(error, whole))
        print(log_format.current().sentence(name, "error", sentence), file=sys.stderr)
        sys.exit(exit_codes.USAGE)
    except Exception:
        log.exception("failed")
        sys.exit(exit_codes.FAILED)
    sys.exit(0)


def _log_level() -> str | None:
    """Return the level that FRAMEPAIR_LOG_LEVEL names, INFO if it names nothing; None if that is no level."""
    level = os.environ.get(LOG_LEVEL_VARIABLE) or "INFO"
    return level if level in logging.getLevelNamesMapping() else None


def _refuse_unknown_format() -> None:
    asked = os.environ.get(log_format.LOG_FORMAT_VARIABLE) or "auto"
    if log_format.resolved(asked) is None:
        takes = ", ".join(log_format.NAMES)
        raise Refused(f"{log_format.LOG_FORMAT_VARIABLE} is {asked!r}: it takes {takes}")


def refuse_bad_offset() -> None:
    """Raise Refused if the offset that was handed over is no number."""
    try:
        clock.handed_over_ns()
    except ValueError as error:
        raise Refused(str(error)) from None


class LineFormatter(logging.Formatter):
    """Writes control characters out: a peer's text must neither steer a terminal nor begin a line."""

    def __init__(self, process: str, line_format: LogFormat) -> None:
        super().__init__()
        self._process = process
        self._line_format = line_format

    def format(self, record: logging.LogRecord) -> str:
        """Return the line of a record, and those of its traceback."""
        lines = [streams.visible(record.getMessage())]
        if record.exc_info:
            traceback = self.formatException(record.exc_info)
            lines += [streams.visible(line) for line in traceback.split("\n")]
        level = cast("Level", record.levelname.lower())
        return self._line_format.record(self._process, level, "\n".join(lines))


def _allow_open_files() -> None:
    """Raise the limit of open files as far as this process may."""
    # Each source takes six in the combiner, and the usual soft limit is 1024. It is that low for programs that
    # wait with select(), as Stop does: its pipe is among the first files that are opened.
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    if soft != hard:
        resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))


class Stop:
    """Whether to stop: a flag that a signal handler may set at any moment.

    Not a threading.Event: its lock isn't reentrant, and the handler may interrupt the very thread that
    holds it. A wait for it is part of the work, so that ``beat`` is called meanwhile.
    """

    def __init__(self, beat: Callable[[], None] = lambda: None) -> None:
        self._is_set = False
        self._beat = beat
        self._read, self._write = os.pipe()
        self._last_s = 0.0

    def set_deadline(self) -> None:
        """Let SIGALRM end this process if it doesn't get on, even if it hangs inside a library."""
        self._last_s = time.monotonic() + LAST_DEADLINE_S
        signal.setitimer(signal.ITIMER_REAL, STOP_DEADLINE_S)

    def extend_deadline(self) -> None:
        """Begin the deadline anew, if there is one: the work has got on."""
        if self._last_s:
            left_s = self._last_s - time.monotonic()
            signal.setitimer(signal.ITIMER_REAL, max(0.01, min(STOP_DEADLINE_S, left_s)))

    def set_done(self, code: int = 0) -> None:
        """Let the deadline end this process with ``code``: what is left, such as threads, is no loss."""
        signal.signal(signal.SIGALRM, lambda *_: os._exit(code))

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
        stop.set_deadline()
        stop.set()

    signal.signal(signal.SIGINT, handle)
    signal.signal(signal.SIGTERM, handle)
    return stop


def keep_buffers() -> None:
    """Have malloc keep freed frame buffers, instead of mapping and faulting in new pages for each frame."""
    import ctypes

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
