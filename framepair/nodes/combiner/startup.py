"""Finding the first window, and holding frames until it is known."""

from __future__ import annotations

from collections import deque
from dataclasses import dataclass, field
from typing import Generic

from framepair.nodes.combiner.open_windows import Pixels, ReceivedFrame
from framepair.nodes.combiner.pace import Policy, Rules
from framepair.protocol.wire.frame import MAX_HEADER_BYTES, FrameHeader

# Two windows of a source are held, unless --max-bytes says otherwise, but never more than this: what a frame
# claims of its rate must not decide how much memory the others' start may take, nor the queues.
WINDOWS_HELD = 2
MAX_HELD_BYTES = 1024 * 1024 * 1024


@dataclass(slots=True)
class _Held(Generic[Pixels]):
    """One source's frames, and the first window that it was there for from its start."""

    newest: int
    covered_from: int
    frames: deque[ReceivedFrame[Pixels]] = field(default_factory=deque)
    nbytes: int = 0

    def add(self, frame: ReceivedFrame[Pixels]) -> None:
        """Hold a frame."""
        self.frames.append(frame)
        self.nbytes += _nbytes(frame.header)

    def go_on_with(self, index: int, window_ns: int) -> int:
        """Drop the frames of all windows but the newest, which ``index`` may be; return how many."""
        self.newest = max(index, self.newest)
        self.covered_from = max(self.newest, self.covered_from)
        kept = [f for f in self.frames if f.header.captured_ns // window_ns == self.newest]
        dropped = len(self.frames) - len(kept)
        self.frames, self.nbytes = deque(kept), sum(_nbytes(frame.header) for frame in kept)
        return dropped

    def keep_within(self, most_frames: int, most_bytes: int) -> int:
        """Drop the oldest frames beyond either, whose window is not whole then; return how many."""
        dropped = 0
        while len(self.frames) > most_frames or (len(self.frames) > 1 and self.nbytes > most_bytes):
            self.nbytes -= _nbytes(self.frames.popleft().header)
            self.covered_from = max(self.covered_from, self.newest + 1)
            dropped += 1
        return dropped


class Startup(Generic[Pixels]):
    """The time before the first window: the first one that every source was there for from its start.

    In real time no more than the newest window of each source is held, and when the policy gives up, sources
    that have not begun are not waited for. Offline nothing is dropped and every source is waited for: the
    caller must not read far ahead.
    """

    def __init__(self, rules: Rules, policy: Policy) -> None:
        self._rules = rules
        self._policy = policy
        self._held: dict[str, _Held[Pixels]] = {}
        self._began_ns: int | None = None

    def hold(self, frame: ReceivedFrame[Pixels]) -> int:
        """Hold a frame; return how many of its source's frames were dropped for it."""
        if self._began_ns is None:
            self._began_ns = frame.received_ns
        source, index = frame.header.source, frame.header.captured_ns // self._rules.window_ns
        covered_from = index if self._policy.covers(frame.header) else index + 1
        held = self._held.setdefault(source, _Held(index, covered_from))
        held.add(frame)
        if self._policy.lossless:
            return 0
        dropped = 0 if index == held.newest else held.go_on_with(index, self._rules.window_ns)
        return dropped + held.keep_within(
            self._most_frames(frame.header), self._rules.max_bytes or MAX_HELD_BYTES
        )

    def forget(self, source: str) -> int:
        """Hold no frames of ``source`` any longer; return how many there were."""
        held = self._held.pop(source, None)
        return len(held.frames) if held else 0

    def first_window(self, now_ns: int, *, waiting: bool) -> int | None:
        """Return the first window; None if it is too early to say, since ``waiting`` for a source."""
        if self._began_ns is None or not self._held:
            return None
        if waiting and not self._policy.gives_up_start(self._began_ns, now_ns):
            return None
        return self._policy.first_window([held.covered_from for held in self._held.values()])

    def take(self) -> list[ReceivedFrame[Pixels]]:
        """Return all frames that are held, in order of arrival, and hold them no longer."""
        frames = [frame for held in self._held.values() for frame in held.frames]
        for held in self._held.values():
            held.frames.clear()
        return sorted(frames, key=lambda frame: frame.received_ns)

    def _most_frames(self, header: FrameHeader) -> int:
        return max(1, round(WINDOWS_HELD * header.fps * self._rules.window_ns / 1e9))


def _nbytes(header: FrameHeader) -> int:
    # Frames in shared memory must not pile up for ever either.
    return header.message_bytes + MAX_HEADER_BYTES
