"""What is said of recordings: of one file, of a directory of them, and of none."""

from __future__ import annotations

from pathlib import Path

import pytest

from framepair.nodes.common.runtime import Refused
from framepair.nodes.recordings import main
from tests.lib import recordings


def test_a_directory_stands_for_its_files(
    directory: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    path = directory / "20261129T120000.000Z.mcap"
    recordings.write(path)
    (directory / "notes.txt").touch()
    main.info(path)
    of_file = capsys.readouterr().out
    main.info(directory)
    assert capsys.readouterr().out == of_file
    main.export(directory, to=directory / "videos")
    assert str(directory / "videos" / "left.mp4") in capsys.readouterr().out


def test_what_is_no_recording_is_refused(directory: Path) -> None:
    with pytest.raises(
        Refused, match=r"cannot use none\.mcap: No such file or directory: check the path$"
    ):
        main.verify(Path("none.mcap"))
    with pytest.raises(Refused, match=r"has no \.mcap file in it: name a recording$"):
        main.verify(directory)
