"""Recordings that are played again by real nodes: what comes is what was announced and on disk then."""

from __future__ import annotations

import subprocess
from pathlib import Path

import pytest
from msgspec.structs import replace

from framepair.nodes.recorder.archive import segments
from framepair.protocol.client.losses import TotalsSum
from framepair.protocol.recording.ledger import Announcement
from framepair.protocol.wire.pair import PairHeader, Totals
from tests.lib.launcher import SMALL, launcher
from tests.lib.processes import PATIENCE_S
from tests.lib.recordings import announced, frames

WINDOW_NS = 200_000_000
FLAGS = ("--window", "0.2", "--no-sink", "--payload", "jpeg")


def framepair(directory: Path, *words: str | Path) -> str:
    """Run a pipeline to its end; return what it logged."""
    done = subprocess.run(
        launcher(*words, *FLAGS, "--run-dir", directory / "run"),
        capture_output=True,
        text=True,
        timeout=3 * PATIENCE_S,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    return done.stderr


def same(header: PairHeader, totals: dict[str, Totals]) -> PairHeader:
    """Return a pair's header without what another combiner's clock says, and its totals as given."""
    clips = {
        name: replace(clip, received_ns=0, sent_ns=0, totals=totals[name])
        for name, clip in header.clips.items()
    }
    return replace(header, run=0, seq=0, previous=None, closed_ns=0, pace="max", clips=clips)


def pairs(found: list[Announcement]) -> tuple[list[PairHeader], dict[str, Totals]]:
    """Return the pairs with their totals over all combiners, and those at the end."""
    total, told = TotalsSum(), []
    for header in found:
        if isinstance(header, PairHeader):
            totals = {name: clip.totals for name, clip in header.clips.items()}
            total.update(header.run, totals, ended=False)
            told.append(same(header, total.sum()))
        else:
            total.update(header.run, header.totals, ended=True)
    return told, total.sum()


FAULTS = {
    "drops, a freeze and a restart": ("left:drop@0.1", "left:freeze@3s,0.7s", "right:crash@1.5s"),
    "another combiner": ("combiner:kill@2s", "right:drop@0.1"),
}


@pytest.mark.parametrize(
    "kind",
    ["drops, a freeze and a restart", pytest.param("another combiner", marks=pytest.mark.slow)],
)
def test_every_field_of_every_pair_is_as_it_was_announced(directory: Path, kind: str) -> None:
    """Windows, frames, gaps, losses by reason and completeness, of a run in which much went wrong."""
    faults = [word for fault in FAULTS[kind] for word in ("--fault", fault)]
    framepair(directory, *SMALL, "--record", directory / "a", "--duration", "5", *faults)
    framepair(directory, directory / "a", "--record", directory / "b", "--pace", "max")
    a, b = segments(directory / "a"), segments(directory / "b")
    before, after = pairs(announced(a)), pairs(announced(b))
    lost_at_first = {name: clip.frames for name, clip in before[0][0].clips.items()}
    on_disk = {name: (header.captured_ns, picture) for name, header, picture in frames(a)}
    first_ns = before[0][0].end_ns
    for (name, _, _), (at_ns, _) in on_disk.items():
        lost_at_first[name] -= at_ns < first_ns
    assert len(before[0]) > 5
    assert not all(header.complete for header in before[0])
    # The recorder may have begun within the first window.
    if not any(lost_at_first.values()):
        assert after == before
    assert [without_totals(h) for h in after[0][1:]] == [without_totals(h) for h in before[0][1:]]
    played = {name: (header.captured_ns, picture) for name, header, picture in frames(b)}
    assert played == on_disk


def without_totals(header: PairHeader) -> PairHeader:
    return same(header, dict.fromkeys(header.clips, Totals()))
