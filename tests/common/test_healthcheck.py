"""The status file: what it holds, and what is said of it."""

from __future__ import annotations

from pathlib import Path

import pytest

from framepair.nodes.common.status import Status, StatusFile, complaint, read


def test_a_status_that_cannot_be_written_stops_nothing(directory: Path) -> None:
    file = StatusFile(directory / "nowhere" / "status")
    file.write(1.0, 1)
    assert not (directory / "nowhere").exists()


def test_the_file_is_written_once_a_second_and_dates_the_newest_frame(directory: Path) -> None:
    path = directory / "status"
    file = StatusFile(path)
    file.write(10.0, 0)
    assert read(path) == Status(frames=0, turn_s=10.0, frame_s=None)
    file.write(10.4, 7)
    assert read(path).turn_s == 10.0
    file.write(11.0, 7)
    assert read(path) == Status(frames=7, turn_s=11.0, frame_s=10.4)


@pytest.mark.parametrize(
    ("now_s", "wrong"),
    [(12.0, None), (13.5, "no frame for 3.1 s"), (14.5, "hangs")],
)
def test_what_is_wrong(now_s: float, wrong: str | None) -> None:
    said = complaint(Status(frames=7, turn_s=11.0, frame_s=10.4), now_s, 3.0)
    assert (said or "").startswith(wrong or "")
    assert bool(said) == bool(wrong)
