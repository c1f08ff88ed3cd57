"""The file by which a launcher tells its combiner of other sources."""

from __future__ import annotations

from pathlib import Path

import pytest

from framepair.nodes.common.runtime import Refused
from framepair.nodes.common.sources_file import SourceList, SourcesFile, read, write

LIST = SourceList(3, {"left": 'ipc:///tmp/"a b" ü/left.frames', "right": "tcp://10.0.0.5:7402"})


def test_what_is_written_is_read(tmp_path: Path) -> None:
    path = tmp_path / "sources.toml"
    assert read(path) is None
    write(path, LIST)
    assert read(path) == LIST
    assert [child.name for child in tmp_path.iterdir()] == ["sources.toml"]


def test_each_file_is_seen_once(tmp_path: Path) -> None:
    path = tmp_path / "sources.toml"
    file = SourcesFile(path)
    assert not file.has_changed()
    for version in range(3):
        write(path, SourceList(version, LIST.addresses))
        assert file.has_changed()
        assert not file.has_changed()


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("", "needs a version"),
        ("version = 1", "needs a version, a whole number, and a table"),
        ("version = 1\n[sources]", "needs a version"),
        ('version = "1"\n[sources]\nleft = "tcp://h:1"', "needs a version"),
        ("version = 1\n[sources]\nleft = 1", "left needs an address"),
        ('version = 1\n[sources]\nleft = "left"', "neither ipc"),
        ('version = 1\n[sources]\n"a/b" = "tcp://h:1"', "a source's name"),
        ('version = 1\n[sources]\na = "tcp://h:1"\nb = "tcp://h:1"', "an address of its own"),
        ("version = ", "sources.toml: "),
    ],
)
def test_what_is_no_list_of_sources_is_refused(tmp_path: Path, text: str, said: str) -> None:
    path = tmp_path / "sources.toml"
    path.write_text(text)
    with pytest.raises(Refused, match=said):
        read(path)
