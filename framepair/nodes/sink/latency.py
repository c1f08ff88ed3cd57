"""Statistics of durations in bounded memory, and those that a sink takes of each pair."""

from __future__ import annotations

import math
from collections import Counter
from dataclasses import dataclass

from framepair.protocol.client import pace
from framepair.protocol.client.clip import Clip, Pair

# So many buckets between a power of two and the next: the middle of one is within 1/1024 of what it holds.
BUCKETS_PER_OCTAVE = 512
EXACT_BELOW = 2 * BUCKETS_PER_OCTAVE


@dataclass(frozen=True, slots=True)
class Summary:
    """A distribution in milliseconds; percentiles within 0.1 %, the rest exact."""

    p50: float
    p95: float
    p99: float
    max: float
    mean: float
    std: float


class Histogram:
    """Counts of durations in log-linear buckets: 512 for each doubling, however many durations come.

    Durations are whole nanoseconds of either sign, below 2**63. Percentiles are nearest-rank and within 0.1 %
    (exact below 1024 ns); count, maximum, mean and standard deviation are exact.
    """

    def __init__(self) -> None:
        self.count = 0
        self._buckets: Counter[int] = Counter()
        self._max_ns = 0
        self._mean_ns = 0.0
        self._squares = 0.0

    def record(self, duration_ns: int) -> None:
        """Count one duration."""
        self.count += 1
        self._buckets[_bucket(duration_ns)] += 1
        self._max_ns = duration_ns if self.count == 1 else max(self._max_ns, duration_ns)
        # Welford's method: a sum of squares would lose the digits that a small deviation is in.
        from_mean = duration_ns - self._mean_ns
        self._mean_ns += from_mean / self.count
        self._squares += from_mean * (duration_ns - self._mean_ns)

    def percentile_ns(self, percent: int) -> int:
        """Return the smallest duration that ``percent`` of all don't exceed; raises ValueError if empty."""
        rank = -(-percent * self.count // 100)
        if self.count and rank == self.count:
            return self._max_ns
        seen = 0
        for bucket in sorted(self._buckets):
            seen += self._buckets[bucket]
            if seen >= rank:
                return min(_middle_ns(bucket), self._max_ns)
        raise ValueError("no durations recorded")

    def summary(self) -> Summary | None:
        """Return the distribution in milliseconds, None if nothing was recorded."""
        if not self.count:
            return None
        p50, p95, p99 = (self.percentile_ns(percent) / 1e6 for percent in (50, 95, 99))
        std_ns = math.sqrt(self._squares / self.count)
        return Summary(p50, p95, p99, self._max_ns / 1e6, self._mean_ns / 1e6, std_ns / 1e6)


def _bucket(duration_ns: int) -> int:
    """Return the number of the bucket that holds ``duration_ns``; numbers are in order of duration."""
    size = abs(duration_ns)
    shift = max(0, size.bit_length() - EXACT_BELOW.bit_length() + 1)
    bucket = shift * BUCKETS_PER_OCTAVE + (size >> shift)
    return bucket if duration_ns >= 0 else -bucket


def _middle_ns(bucket: int) -> int:
    shift = max(0, abs(bucket) // BUCKETS_PER_OCTAVE - 1)
    lowest = (abs(bucket) - shift * BUCKETS_PER_OCTAVE) << shift
    middle_ns = lowest + (1 << shift) // 2
    return middle_ns if bucket >= 0 else -middle_ns


@dataclass(slots=True)
class CaptureRate:
    """How fast a source captures, from stamps and seq: frames that never came count like those that did."""

    _run: int | None = None
    _seq: int = 0
    _captured_ns: int = 0
    _frames: int = 0
    _time_ns: int = 0

    def add_clip(self, clip: Clip) -> None:
        """Take the frames of the source's next clip."""
        for frame in clip.frames:
            if frame.run == self._run:
                self._frames += frame.seq - self._seq
                self._time_ns += frame.captured_ns - self._captured_ns
            self._run, self._seq, self._captured_ns = frame.run, frame.seq, frame.captured_ns

    @property
    def fps(self) -> float | None:
        """Frames a second, None before two frames of one run came."""
        return self._frames * 1e9 / self._time_ns if self._time_ns > 0 else None


@dataclass(frozen=True, slots=True)
class Throughput:
    """How fast pairs came: ``x_realtime`` seconds of video and ``frames_per_s`` frames a second."""

    x_realtime: float
    frames_per_s: float


class PairTimes:
    """When pairs came, against when their frames were captured.

    ``lag``: newest capture to the whole pair being here. ``interval``: between two pairs. Hops:
    ``transport``, capture to combiner, by frame; ``announce``, end of window to announcement, negative if
    the window could close early; ``delivery``, announcement to the whole pair being here. A pair that the
    end of the stream cut short comes whenever that is found out: it is left out of ``lag``, ``interval``
    and ``announce``. ``uncertainty``: by how much a lag may be wrong, where clocks of several
    machines are compared; ``unknown``: of how many lags nobody knows. With pace
    max, capture times are media time, so that only ``interval`` and ``delivery`` mean anything.
    """

    def __init__(self) -> None:
        self.lag = Histogram()
        self.uncertainty = Histogram()
        self.interval = Histogram()
        self.transport = Histogram()
        self.announce = Histogram()
        self.delivery = Histogram()
        self.unknown = 0
        self.pairs = self.complete = self.partial = self.lacking = self.frames = 0
        self.pace = pace.REAL_TIME
        self._first_start_ns = self._first_received_ns = 0
        self._newest_end_ns = self._newest_ready_ns = 0

    def add_pair(self, pair: Pair) -> int | None:
        """Measure a pair; return the nanoseconds since the one before it, None if it is the first."""
        interval_ns = pair.ready_ns - self._newest_ready_ns if self.pairs else None
        if interval_ns is not None and not pair.partial:
            self.interval.record(interval_ns)
        self.delivery.record(pair.ready_ns - pair.header.closed_ns)
        self.pace = pace.named(pair.header.pace)
        if self.pace.timed:
            self._add_capture_times(pair)
        self._add_counts(pair)
        return interval_ns

    def throughput(self) -> Throughput | None:
        """Return how fast pairs came, from the first frame's arrival in the pipeline on; None if none came."""
        took_s = (self._newest_ready_ns - self._first_received_ns) / 1e9
        if not self.frames or took_s <= 0:
            return None
        video_s = (self._newest_end_ns - self._first_start_ns) / 1e9
        return Throughput(x_realtime=video_s / took_s, frames_per_s=self.frames / took_s)

    def _add_capture_times(self, pair: Pair) -> None:
        frames = [frame for clip in pair.values() for frame in clip.frames]
        for frame in frames:
            if frame.received_ns is not None:
                self.transport.record(frame.received_ns - frame.captured_ns)
        if frames and not pair.partial:
            self.lag.record(pair.lag_ns)
            if pair.lag_uncertainty_ns is None:
                self.unknown += 1
            elif pair.lag_uncertainty_ns:
                self.uncertainty.record(pair.lag_uncertainty_ns)
        if not pair.partial:
            self.announce.record(pair.header.closed_ns - pair.end_ns)

    def _add_counts(self, pair: Pair) -> None:
        frames = [frame for clip in pair.values() for frame in clip.frames]
        if not self.frames and frames:
            self._first_start_ns = pair.start_ns
            self._first_received_ns = min(frame.received_ns or pair.ready_ns for frame in frames)
        newest_ns = max((frame.captured_ns for frame in frames), default=pair.end_ns)
        self._newest_end_ns = newest_ns if pair.partial else pair.end_ns
        self._newest_ready_ns = pair.ready_ns
        self.frames += len(frames)
        self.pairs += 1
        self.complete += pair.complete
        self.partial += pair.partial
        self.lacking += not (pair.complete or pair.partial)
