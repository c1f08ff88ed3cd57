"""A command line that can't be used: the sentence names flag, value and what to say instead."""

from __future__ import annotations

import pytest
from cyclopts import CycloptsError

from framepair.nodes.common.runtime import Refused
from framepair.nodes.common.source_options import EachSource, of_sources
from framepair.nodes.common.usage import sentence
from framepair.nodes.launcher import options
from framepair.nodes.recorder import main as recorder


@pytest.mark.parametrize(
    ("asked", "said"),
    [
        (EachSource(fps=("abc",)), 'Invalid value "abc" for --fps. It must be a number.'),
        (EachSource(stream=("x",)), 'Invalid value "x" for --stream. It must be a whole number.'),
    ],
)
def test_a_value_that_is_no_number(asked: EachSource, said: str) -> None:
    with pytest.raises(Refused) as found:
        of_sources(asked, ["left"])
    assert str(found.value) == said


def test_the_launchers_numbers_too() -> None:
    with pytest.raises(CycloptsError) as found:
        options.parse(["--duration", "x"])
    assert sentence(found.value) == 'Invalid value "x" for --duration. It must be a number.'


def test_what_is_left_out_is_shown(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(CycloptsError) as found:
        recorder.app([], exit_on_error=False, print_error=False)
    usage = "framepair record DIR --sub ADDRESS"
    assert sentence(found.value, usage) == f"too few arguments: {usage}"
    with pytest.raises(CycloptsError) as found:
        recorder.app(["d", "--sub=x", "--keys"], exit_on_error=False, print_error=False)
    assert "--keys" in sentence(found.value, usage)
    assert capsys.readouterr().err == ""
