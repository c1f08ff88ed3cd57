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
from tests.lib.busy import allowed
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
    # On a busy machine the recorder is there only after seconds.
    seconds = str(min(20.0, allowed(5)))
    framepair(directory, *SMALL, "--record", directory / "a", "--duration", seconds, *faults)
    framepair(directory, directory / "a", "--record", directory / "b", "--pace", "max")
    a, b = segments(directory / "a"), segments(directory / "b")
    before, after = pairs(announced(a)), pairs(announced(b))
    on_disk = {name: (header.captured_ns, picture) for name, header, picture in frames(a)}
    # The recorder may have begun within the first window, or on a busy machine within one that came later, but
    # before the first was announced: what has no frame on disk is not played.
    begun = next(i for i, header in enumerate(before[0]) if set() < names(header) <= on_disk.keys())
    assert len(before[0]) - begun > 5
    assert not all(header.complete for header in before[0][begun:])
    if begun == 0:
        assert after == before
    recorded = before[0][begun:]
    played = [header for header in after[0] if header.window >= recorded[0].window]
    assert [without_totals(h) for h in played] == [without_totals(h) for h in recorded]
    again = {name: (header.captured_ns, picture) for name, header, picture in frames(b)}
    assert again == on_disk


def names(header: PairHeader) -> set[tuple[str, int, int]]:
    """Return the source, run and seq of each frame of a pair."""
    return {
        (name, span.run, seq)
        for name, clip in header.clips.items()
        for span in clip.spans
        for seq in range(span.first, span.first + span.count)
    }


def without_totals(header: PairHeader) -> PairHeader:
    return same(header, dict.fromkeys(header.clips, Totals()))
