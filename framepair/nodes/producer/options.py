"""What a producer can be told."""

# Not "from __future__ import annotations": cyclopts looks names up in the module of the class that inherits.
import math
from dataclasses import dataclass, replace
from typing import Annotated

from framepair.nodes.common.options import ONLY_ON, SEVERAL, Producing
from framepair.nodes.producer import probe
from framepair.nodes.producer.sources.uri import Wanted


@dataclass(frozen=True, kw_only=True)
class Options(probe.Options, Producing):
    """What a producer can be told."""

    push: str
    """Where to push frames: the combiner's address for this source, ipc:///PATH or tcp://HOST:PORT."""
    sync: str | None = None
    """Where a combiner on another machine tells the time. Frames that would be late aren't sent then."""
    returns: Annotated[bool, ONLY_ON] = False
    """It will be started again when its video is over, which consumers should not take for the end."""
    until: float = math.inf
    """Capture time at which to end: seconds of UTC or, with --pace max, of the video."""
    play_at: float | None = None
    """When a recording begins to play, or a little later, so that all of its sources do: seconds of UTC."""
    fault: Annotated[tuple[str, ...], SEVERAL] = ()
    """Fail on purpose: freeze@10s,5s, crash@5s, slow@3s,50ms, drop@0.01, skew@200ms or garbage@8s; times count
    from the first frame on."""

    def wanted(self) -> Wanted:
        """Return what frames are to be made of the source."""
        return replace(super().wanted(), start_ns=self.begin_ns, speed=self.speed)

    def until_ns(self) -> int | None:
        """Return ``until`` in nanoseconds, None if there is no such time."""
        return None if math.isinf(self.until) else round(self.until * 1e9)

    def play_at_ns(self) -> int | None:
        """Return ``play_at`` in nanoseconds, None if it may be now."""
        return None if self.play_at is None else round(self.play_at * 1e9)
