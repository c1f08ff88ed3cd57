"""Signs of life: what a node or a consumer tells the launcher that started it, and a status file."""

from __future__ import annotations

import contextlib
import os
import time
from typing import Literal, NamedTuple, Protocol, get_args

# A descriptor that the launcher hands to each process it starts: one word a line is written to it. The launcher
# tells a producer with lines: until NANOSECONDS, the capture time at which to end; play NANOSECONDS, when a
# recording begins, by CLOCK_MONOTONIC.
DESCRIPTOR_VARIABLE = "FRAMEPAIR_HEALTH_FD"
BEAT_S = 0.5
MAX_RECEIVED_BYTES = 100
# A week.
MAX_BUSY_S = 7 * 86400.0

# ready: the work has begun. flowing: frames come, in a combiner from every source or after --start-timeout.
# paired: a pair with frames was announced, or received. done: the work is over, whatever the exit status will
# be, so there is nothing to start again. busy SECONDS: no beat has to come for so long. beat: the work goes on.
# idle: it does, but without a frame for IDLE_S. A combiner says of the list of sources VERSION: that it took or
# refused it, and that the last pairs of those that it removes are out (closed).
Word = Literal[
    "ready", "flowing", "paired", "done", "busy", "beat", "idle", "took", "refused", "closed"
]
OfList = Literal["took", "refused", "closed"]
MAX_VERSION = 2**53
# The most that the number behind a word may be, by word; the others have none.
NUMBERS: dict[Word, float] = {
    "busy": MAX_BUSY_S,
    "took": MAX_VERSION,
    "refused": MAX_VERSION,
    "closed": MAX_VERSION,
}
# Longer than the frames of a slow source are apart, and than a camera takes to be opened again at once.
IDLE_S = 10.0


class Said(NamedTuple):
    """What a node has said, and for how many seconds that holds or of which list; 0 if it doesn't matter."""

    word: Word
    number: float = 0.0


def parse(line: str) -> Said | None:
    """Return what a line says, None if that is nothing."""
    text, _, number = line.partition(" ")
    word = next((word for word in get_args(Word) if word == text), None)
    if word not in NUMBERS:
        return Said(word) if word and not number else None
    with contextlib.suppress(ValueError):
        if 0 <= (value := float(number)) <= NUMBERS[word]:
            return Said(word, value)
    return None


class StatusWriter(Protocol):
    """Where else a heartbeat is noted."""

    def write(self, now_s: float, frames: int) -> None:
        """Note a turn of the work loop, and that ``frames`` have passed so far."""


class Heartbeat:
    """Tells the launcher, if there is one, that the work goes on; a process that hangs is silent.

    The work loop itself calls ``beat`` at each turn, with or without a frame; at most one beat per BEAT_S is
    sent, and none ever blocks. ``status`` is told at each turn.
    """

    def __init__(self, status: StatusWriter | None = None) -> None:
        number = os.environ.get(DESCRIPTOR_VARIABLE, "")
        self._descriptor = int(number) if number.isdecimal() else None
        with contextlib.suppress(OSError):
            if self._descriptor is not None:
                os.set_blocking(self._descriptor, False)
        self._status = status
        self._frames = self._sent_frames = 0
        self._frame_s = 0.0
        self._told: set[Word] = set()
        self._unsent: list[str] = []
        self._received = b""
        self._next_s = 0.0

    def beat(self) -> None:
        """Send that the work goes on."""
        now_s = time.monotonic()
        if self._status is not None:
            self._status.write(now_s, self._frames)
        if now_s >= self._next_s:
            self._next_s = now_s + BEAT_S
            self._send()

    def count_frames(self, count: int = 1) -> None:
        """Count frames that have passed, for the status."""
        self._frames += count

    def tell(self, word: Word) -> None:
        """Send ``word``, once: later calls with the same word do nothing."""
        if word not in self._told:
            self._told.add(word)
            self._unsent.append(word)
            self._send()

    def tell_version(self, word: OfList, version: int) -> None:
        """Send what became of the list of sources ``version``."""
        self._unsent.append(f"{word} {version}")
        self._send()

    def tell_busy(self, seconds: float) -> None:
        """Send that no beat will come for up to ``seconds``; 0 takes that back."""
        # Only the last of them counts.
        self._unsent = [line for line in self._unsent if not line.startswith("busy")]
        self._unsent.append(f"busy {seconds:.3f}")
        self._send()

    @property
    def has_launcher(self) -> bool:
        """Whether there is a launcher that may say something."""
        return self._descriptor is not None

    def read_until_ns(self) -> int | None:
        """Return the capture time at which the launcher wants this source to end; None if it hasn't said so."""
        return self._read("until")

    def read_play_ns(self) -> int | None:
        """Return when a recording is to begin, by CLOCK_MONOTONIC; None if the launcher hasn't said so."""
        return self._read("play")

    def _read(self, word: str) -> int | None:
        if self._descriptor is not None:
            with contextlib.suppress(OSError):
                self._received += os.read(self._descriptor, MAX_RECEIVED_BYTES)
        *lines, _ = self._received.split(b"\n")
        for said, _, number in (line.partition(b" ") for line in lines):
            if said == word.encode() and number.isdigit():
                return int(number)
        return None

    def _send(self) -> None:
        """Send what is unsent, and a beat in any case; what doesn't go now goes with the next beat."""
        if self._descriptor is None:
            return
        lines = "".join(f"{word}\n" for word in (*self._unsent, self._pulse(time.monotonic())))
        try:
            # Far below PIPE_BUF: written whole or not at all.
            os.write(self._descriptor, lines.encode())
        except BlockingIOError:
            # A launcher that is stopped doesn't read.
            return
        except OSError:
            self._descriptor = None
        self._unsent.clear()

    def _pulse(self, now_s: float) -> Word:
        """Return the word for work that goes on, with frames or without."""
        if self._frames != self._sent_frames:
            self._sent_frames, self._frame_s = self._frames, now_s
        return "idle" if self._frames and now_s > self._frame_s + IDLE_S else "beat"
