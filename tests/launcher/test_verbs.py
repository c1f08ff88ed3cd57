"""What can be asked of framepair, in each of the ways to start it: verbs, help, version."""

from __future__ import annotations

import dataclasses
import os
import shutil
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest

from framepair import __version__
from framepair.nodes.common.runtime import Refused
from framepair.nodes.launcher import verbs
from framepair.nodes.launcher.options import Options
from tests.lib.processes import ROOT, Running, python

WAYS = {
    "launch.py": python(ROOT / "launch.py"),
    "framepair": [str(Path(sys.executable).with_name("framepair"))],
    "-m framepair": python("-m", "framepair"),
    "-m framepair.nodes.launcher": python("-m", "framepair.nodes.launcher"),
}


@pytest.fixture
def directory() -> Iterator[Path]:
    path = Path(tempfile.mkdtemp(prefix="fp-", dir="/tmp"))
    yield path
    shutil.rmtree(path)


@pytest.mark.parametrize("way", WAYS)
def test_all_ways_to_start_it_take_the_same(way: str, directory: Path) -> None:
    if not os.access(WAYS[way][0], os.X_OK):
        pytest.skip("not installed")
    said = {}
    for words in ("--version", "--help", "commands a.mp4", "record a.mp4", "keygen keys"):
        with Running([*WAYS[way], *words.split()], cwd=directory) as running:
            said[words] = running.wait(), running.stdout, running.stderr
    assert said["--version"] == (0, [f"framepair {__version__}"], [])
    assert said["--help"][0] == 0
    assert said["--help"][1][0] == "Usage: framepair [SOURCES] [OPTIONS]"
    assert said["commands a.mp4"][0] == 0
    assert "--name a" in said["commands a.mp4"][1][0]
    sentence = "framepair: record is reserved for a coming command: a file of that name is ./record"
    assert said["record a.mp4"] == (2, [], [sentence])
    assert said["keygen keys"][0] == 0
    assert (directory / "keys" / "server.key_secret").exists()


def test_a_verb_is_the_flag_of_old() -> None:
    assert verbs.read(["run", "a.mp4", "--loop"]) == Options(("a.mp4",), loop=True)
    assert verbs.read(["a.mp4", "--loop"]) == Options(("a.mp4",), loop=True)
    assert verbs.read([]) == verbs.read(["run"]) == Options()
    assert verbs.read(["plan", "a"]) == verbs.read(["a", "--plan"]) == Options(("a",), plan=True)
    assert verbs.read(["commands"]) == verbs.read(["--print"]) == Options(print=True)
    assert verbs.read(["keygen", "d"]) == verbs.read(["--keygen", "d"]) == Options(keygen=Path("d"))


def test_only_the_first_word_is_a_verb() -> None:
    assert verbs.read(["./plan", "run", "record"]) == Options(("./plan", "run", "record"))
    assert verbs.read(["run", "plan"]) == Options(("plan",))
    assert verbs.read(["--", "plan"]) == Options(("plan",))


@pytest.mark.parametrize("word", verbs.RESERVED)
def test_a_verb_to_come_is_reserved(word: str) -> None:
    with pytest.raises(Refused, match=rf"^{word} is reserved .* a file of that name is ./{word}$"):
        verbs.read([word, "--help"])
    assert verbs.read([f"./{word}"]) == Options((f"./{word}",))


@pytest.mark.parametrize("words", ["", "a b", "--window 2", "keys --window 2"])
def test_keygen_takes_one_directory(words: str) -> None:
    with pytest.raises(Refused, match="keygen takes one directory and nothing else"):
        verbs.read(["keygen", *words.split()])


@pytest.mark.parametrize("verb", ["", *verbs.VERBS])
@pytest.mark.parametrize("flag", ["--help", "-h"])
def test_help_fits_a_screen(capsys: pytest.CaptureFixture[str], verb: str, flag: str) -> None:
    assert verbs.read([*verb.split(), flag]) is None
    lines = capsys.readouterr().out.splitlines()
    assert len(lines) <= 45
    assert max(map(len, lines)) <= 100
    assert lines[0].startswith(f"Usage: framepair {verb}".rstrip())
    for option in verbs.VERBS[verb or "run"].often:
        assert any(f"  --{option.replace('_', '-')}" in line for line in lines)
    assert verb or all(f"  {name} " in "\n".join(lines) for name in verbs.VERBS)


def test_all_options_are_in_the_whole_help(capsys: pytest.CaptureFixture[str]) -> None:
    assert verbs.read(["--help-all"]) is None
    text = capsys.readouterr().out
    for field in dataclasses.fields(Options):
        flag = f"--{field.name.replace('_', '-')}" if field.name != "sources" else "SOURCES"
        assert f"  {flag}" in text
    assert max(map(len, text.splitlines())) <= 100
    assert "[default: 0.5]" in text


def test_what_follows_two_dashes_is_no_question(directory: Path) -> None:
    assert verbs.read(["--", "--help"]) == Options(("--help",))


@pytest.mark.parametrize("flag", ["--help", "--help-all", "--version", "--print"])
def test_a_reader_that_has_seen_enough_causes_no_traceback(flag: str) -> None:
    for reader in ("head -1", "true"):
        shell = f"{sys.executable} {ROOT}/launch.py {flag} | {reader}"
        with Running(["bash", "-o", "pipefail", "-c", shell]) as running:
            assert running.wait() == 0
            assert running.stderr == []
