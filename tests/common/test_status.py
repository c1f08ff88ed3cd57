"""The status file: what its times say."""

from __future__ import annotations

import time
from pathlib import Path

from framepair.nodes.common.status import StatusFile


def test_a_status_that_cannot_be_written_stops_nothing(directory: Path) -> None:
    file = StatusFile(directory / "nowhere" / "status")
    file.write(1.0, 1)
    assert not (directory / "nowhere").exists()


def test_the_file_is_written_once_a_second_and_dates_the_newest_frame(directory: Path) -> None:
    path = directory / "status"
    file = StatusFile(path)
    file.write(10.0, 0)
    assert (path.read_text(), path.stat().st_mtime) == ("0 frames\n", 0.0)
    file.write(10.4, 7)
    assert path.read_text() == "0 frames\n"
    before_s = time.time()
    file.write(11.0, 7)
    after_s = time.time()
    assert path.read_text() == "7 frames\n"
    # The frame had passed 0.6 s before; times of files are whole nanoseconds.
    assert before_s - 0.6 - 1e-3 <= path.stat().st_mtime <= after_s - 0.6 + 1e-3
