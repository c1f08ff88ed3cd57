"""What a launcher has to remove at its end."""

from __future__ import annotations

from pathlib import Path

from framepair.nodes.launcher.cleanup import Leftovers
from framepair.nodes.launcher.guard import Guard


def test_rings_that_came_with_a_reload_are_removed_at_the_end_too(tmp_path: Path) -> None:
    guard = Guard(Leftovers(shm_dir=str(tmp_path)), None)
    assert not guard.leftovers.has_rings()
    guard.expect_rings()
    assert guard.leftovers.has_rings()
