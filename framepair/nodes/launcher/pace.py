"""What differs between real time and offline work for the launcher: one object, which it asks."""

from __future__ import annotations

from dataclasses import dataclass

from framepair.nodes.launcher.options import Options
from framepair.nodes.launcher.restarts import Policy

# How long the rest may go on once the videos are over. Offline, a slow consumer may hold up the last pairs.
SETTLE_S, SETTLE_OFFLINE_S = 5.0, 60.0


@dataclass(frozen=True, slots=True)
class Duration:
    """How long frames should flow, up to a window's end; ``utc_offset_s`` is UTC minus the monotonic clock."""

    seconds: float
    window_s: float
    utc_offset_s: float
    start_timeout_s: float
    """For how long the last sources are waited for, once all nodes have started."""

    def until_ns(self, now_s: float) -> int:
        """Return the capture time at which frames should end that have flowed since ``now_s``."""
        window_ns = round(self.window_s * 1e9)
        end_ns = round((now_s + self.utc_offset_s) * 1e9) + round(self.seconds * 1e9)
        return -(-end_ns // window_ns) * window_ns

    def left_s(self, until_ns: int, now_s: float) -> float:
        """Return how long it takes from ``now_s`` to the capture time ``until_ns``."""
        return until_ns / 1e9 - self.utc_offset_s - now_s


class RealTime:
    """Frames flow by the clock: the launcher ends them, and a node that fails loses only its own time."""

    restart: Policy = "on-failure"
    """Of nodes for which the user asks for nothing else."""
    sources_change = True
    """Whether sources may come and go."""

    def settle_s(self) -> float:
        """Return how long the rest may go on once the videos are over."""
        return SETTLE_S

    def until_ns(self, options: Options) -> int | None:  # noqa: ARG002
        """Return the media time at which producers end, None if the launcher tells them when."""
        return None

    def duration(self, options: Options, utc_offset_ns: int) -> Duration | None:
        """Return how long frames should flow, None for ever; ``utc_offset_ns``: UTC minus monotonic clock."""
        if options.duration is None:
            return None
        offset_s = utc_offset_ns / 1e9
        return Duration(options.duration, options.window, offset_s, options.start_timeout)

    def keeps_sources(self, options: Options) -> bool:
        """Return whether a source that fails again and again leaves the others going."""
        return options.on_failure == "keep"

    def consumers(self, options: Options) -> int:
        """Return how many consumers the first pair waits for."""
        return options.consumers


class Offline(RealTime):
    """Every pair needs all sources and reaches every consumer: what is lost of a run is lost."""

    # A new producer would begin its video again.
    restart: Policy = "never"
    sources_change = False

    def settle_s(self) -> float:
        """Return how long the rest may go on once the videos are over."""
        return SETTLE_OFFLINE_S

    def until_ns(self, options: Options) -> int | None:
        """Return the media time at which producers end, None for the end of the videos."""
        return None if options.duration is None else round(options.duration * 1e9)

    def duration(self, options: Options, utc_offset_ns: int) -> Duration | None:  # noqa: ARG002
        """Return None: producers end by media time."""
        return None

    def keeps_sources(self, options: Options) -> bool:  # noqa: ARG002
        """Return False: without one of them no pair is whole."""
        return False

    def consumers(self, options: Options) -> int:
        """Return how many consumers the first pair waits for: a recorder is one more, beside a sink.

        So is a monitor, which is never the only one.
        """
        recorders = bool(options.record) and not options.no_sink
        return options.consumers + recorders + bool(options.monitor)


def of(options: Options) -> RealTime:
    """Return the pace that the options ask for."""
    return Offline() if options.pace == "max" else RealTime()
