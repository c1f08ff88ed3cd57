"""Plain command lines are read without the parser, and mean the same to both."""

from __future__ import annotations

import dataclasses
import importlib
import subprocess
import sys
from typing import Any

import pytest
from cyclopts import CycloptsError
from hypothesis import given, settings
from hypothesis import strategies as st

from framepair.nodes.common import plain_words
from framepair.nodes.common.runtime import Refused
from framepair.nodes.launcher import options as launcher_options
from framepair.nodes.launcher.commands import table
from framepair.nodes.launcher.options import Options
from framepair.nodes.launcher.topology import plan

PARSER = launcher_options.app()
FIELDS = {field.name: field for field in dataclasses.fields(Options)}
FLAGS = [f"--{name.replace('_', '-')}" for name in FIELDS]
TEXTS = st.sampled_from(
    [
        "", "0", "1", "007", "2.5", "1e3", "-1", "-", "nan", "inf", "none", "null", "auto", "max", "realtime",
        "i420", "left=i420", "x=y", "640x360", "90s", "/tmp/a b", "shm", "jpeg:80", "raw", "true", "False",
        "99999999999", "0.5", "1_000", "0x10", "+1", " 1",
    ]
)  # fmt: skip
WORDS = st.one_of(
    TEXTS,
    st.sampled_from([*FLAGS, "--no-loop", "--", "-h", "--windo", "--max_wait"]),
    st.builds("{}={}".format, st.sampled_from(FLAGS), TEXTS),
)
LINES = st.lists(WORDS, max_size=4) | st.builds(
    lambda flag, text, rest: [flag, text, *rest],
    st.sampled_from(FLAGS),
    TEXTS,
    st.lists(WORDS, max_size=2),
)


@given(LINES)
@settings(max_examples=100, deadline=None)
def test_what_is_plain_means_what_the_parser_makes_of_it(words: list[str]) -> None:
    plain = plain_words.read(Options, words)
    if plain is not None and plain.config is None:
        parsed = PARSER(words, exit_on_error=False, print_error=False)
        assert parsed == plain


@pytest.mark.parametrize(
    "words",
    [
        ["--window", "0"], ["--window", "nan"], ["--window"], ["--nothing"], ["--pace", "fast"],
        ["--report-every", "1"], ["--keep", "x"], ["--strict=x"], ["--help"],
    ],
)  # fmt: skip
def test_what_cannot_be_used_is_left_to_the_parser(words: list[str]) -> None:
    assert plain_words.read(Options, words) is None
    if words != ["--help"]:
        with pytest.raises((CycloptsError, Refused)):
            launcher_options.parse(words)


def test_a_variable_is_left_to_the_parser(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("FRAMEPAIR_WINDOW", "2")
    assert plain_words.read(Options, []) is None
    assert launcher_options.parse([]).window == 2.0


@pytest.mark.parametrize(
    "asked",
    [
        Options(),
        Options(
            ("left=0", "right=a b.mp4"), window=0.5, max_wait=2.0, pace="max", duration=3.0,
            pixels=("i420",), fps=("left=2.5",), offset=("right=-40ms",), strict=True, keep=4,
        ),
    ],
)  # fmt: skip
def test_what_the_launcher_starts_is_plain(asked: Any) -> None:
    for node in table(asked, plan(asked)):
        app = importlib.import_module(f"framepair.nodes.{node.kind}.main").app
        words = node.command[3:]
        plain = plain_words.read(app.options, words)
        _, bound, _ = app.parse_args(words, exit_on_error=False, print_error=False)
        assert plain is not None
        for field in dataclasses.fields(plain):
            assert getattr(plain, field.name) == getattr(bound.arguments["options"], field.name)


@pytest.mark.parametrize(
    ("node", "unneeded"),
    [
        ("producer", {"cyclopts", "rich", "asyncio", "cv2", "av"}),
        ("combiner", {"cyclopts", "rich", "asyncio", "numpy"}),
        ("sink", {"cyclopts", "rich", "asyncio"}),
        (
            "launcher",
            {
                "cyclopts",
                "rich",
                "asyncio",
                "numpy",
                "zmq",
                "msgspec",
                "hashlib",
                "ctypes",
                "tomllib",
            },
        ),
    ],
)
def test_a_node_imports_nothing_that_its_start_does_not_need(node: str, unneeded: set[str]) -> None:
    modules = [f"framepair.nodes.{node}.main"]
    if node == "launcher":
        modules += [
            f"framepair.nodes.launcher.{name}" for name in ("verbs", "topology", "pipeline")
        ]
    code = f"import sys, {', '.join(modules)}; print(*sys.modules)"
    command = [sys.executable, "-P", "-c", code]
    found = subprocess.run(command, stdout=subprocess.PIPE, check=True, text=True)
    assert not unneeded & set(found.stdout.split())
