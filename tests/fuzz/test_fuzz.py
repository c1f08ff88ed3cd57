"""Every decoder of what comes from the network, and the cores behind them, under bytes that nobody meant.

A few cases always; a million for each target in the slow tests, which Atheris (the extra ``fuzz``) finds
branch by branch, or which are drawn at random where it has no wheel. FRAMEPAIR_FUZZ_CASES is another number of
them, FRAMEPAIR_SEED another beginning.
"""

from __future__ import annotations

import importlib.util
import logging
import os
import random
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.fuzz.targets import TARGETS, Target
from tests.lib.malformed import mutated
from tests.lib.processes import Running, python

FEW = 150
CASES = int(os.environ.get("FRAMEPAIR_FUZZ_CASES", "1000000"))
SEED = int(os.environ.get("FRAMEPAIR_SEED", "1"))
TIMEOUT_S = 7200


@pytest.fixture(autouse=True)
def _quiet() -> Iterator[None]:
    """Log nothing of what peers do wrong: they do nothing else here."""
    logging.disable()
    yield
    logging.disable(logging.NOTSET)


def drawn(target: Target, number: int) -> Iterator[bytes]:
    """Yield bytes at random, and damaged copies of good ones."""
    chance = random.Random(SEED)
    for i in range(number):
        if target.seeds and i % 5:
            yield mutated(chance.choice(target.seeds), chance)
        else:
            yield chance.randbytes(chance.randrange(target.max_bytes))


@pytest.mark.parametrize("name", TARGETS)
def test_some(name: str) -> None:
    for data in (*TARGETS[name].seeds, *drawn(TARGETS[name], FEW)):
        TARGETS[name].run(data)


@pytest.mark.slow
@pytest.mark.timeout(TIMEOUT_S)
@pytest.mark.parametrize("name", TARGETS)
def test_a_million(name: str, directory: Path) -> None:
    print(f"seed {SEED}")
    if importlib.util.find_spec("atheris") is None:
        for data in drawn(TARGETS[name], CASES):
            TARGETS[name].run(data)
        return
    corpus = directory / "corpus"
    corpus.mkdir()
    options = (f"-runs={CASES}", f"-seed={SEED}", f"-artifact_prefix={directory}/", "-timeout=10")
    with Running(python("-m", "tests.fuzz", name, *options, corpus)) as running:
        assert running.wait(TIMEOUT_S) == 0, running.lines[-40:]
        assert any(f"Done {CASES} " in line for line in running.lines)
