"""What can be asked of framepair, in each of the ways to start it: verbs, help, version."""

from __future__ import annotations

import dataclasses
from pathlib import Path

import pytest

from framepair.nodes.common.runtime import Refused
from framepair.nodes.launcher import verbs
from framepair.nodes.launcher.options import Options


def test_a_verb_is_the_flag_of_old() -> None:
    assert verbs.read(["run", "a.mp4", "--loop"]) == Options(("a.mp4",), loop=True)
    assert verbs.read(["a.mp4", "--loop"]) == Options(("a.mp4",), loop=True)
    assert verbs.read([]) == verbs.read(["run"]) == Options()
    assert verbs.read(["plan", "a"]) == verbs.read(["a", "--plan"]) == Options(("a",), plan=True)
    assert verbs.read(["doctor", "a"]) == Options(("a",), doctor=True)
    assert verbs.read(["commands"]) == verbs.read(["--print"]) == Options(print=True)
    assert verbs.read(["keygen", "d"]) == verbs.read(["--keygen", "d"]) == Options(keygen=Path("d"))


def test_only_the_first_word_is_a_verb() -> None:
    assert verbs.read(["./plan", "run", "record"]) == Options(("./plan", "run", "record"))
    assert verbs.read(["run", "plan"]) == Options(("plan",))
    assert verbs.read(["--", "plan"]) == Options(("plan",))


@pytest.mark.parametrize(
    ("word", "verb"), [("verfy", "verify"), ("recrod", "record"), ("inf", "info"), ("Plan", "plan")]
)
def test_a_misspelt_verb_is_said(
    word: str, verb: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    with pytest.raises(Refused, match=rf"^{word} is no command and no file: did you mean {verb}\?"):
        verbs.program([word, "x.mcap"])
    assert verbs.read([f"./{word}"]) == Options((f"./{word}",))
    assert verbs.read([f"{word}.mp4"]) == Options((f"{word}.mp4",))
    (tmp_path / word).touch()
    assert verbs.read([word]) == Options((word,))


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
    asked = verbs.VERBS[verb or "run"]
    for option in asked.often:
        flag = option.replace("_", "-")
        short = flag.removeprefix(f"{verb}-")
        assert any(f"  --{short if short in asked.short else flag} " in line for line in lines)
    assert verb or all(f"  {name} " in "\n".join(lines) for name in verbs.VERBS)


@pytest.mark.parametrize("verb", [name for name, verb in verbs.VERBS.items() if verb.short])
def test_the_short_flags_of_the_help_are_those_of_the_process(verb: str) -> None:
    for short in verbs.VERBS[verb].short:
        program = verbs.program([verb, f"--{short}=x"])
        assert program == [verbs.VERBS[verb].module, f"--{verb}-{short}=x"]
        assert f"{verb}_{short.replace('-', '_')}" in verbs.VERBS[verb].often


def test_all_options_are_in_the_whole_help(capsys: pytest.CaptureFixture[str]) -> None:
    assert verbs.read(["--help-all"]) is None
    text = capsys.readouterr().out
    for field in dataclasses.fields(Options):
        flag = f"--{field.name.replace('_', '-')}" if field.name != "sources" else "SOURCES"
        assert f"  {flag}" in text
    assert max(map(len, text.splitlines())) <= 100
    assert "[default: auto]" in text


def test_what_follows_two_dashes_is_no_question(directory: Path) -> None:
    assert verbs.read(["--", "--help"]) == Options(("--help",))
