"""One pipeline without keys and one with keys, for all attacks one after another."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path

import pytest

from framepair import subscribe
from framepair.protocol.transport import keys
from tests.lib.pipeline import PATIENT, PATIENT_COMBINER, Pipeline, checked
from tests.network.hostile.peers import SOURCE, Flow


@pytest.fixture(scope="session", params=["open", "keys"])
def flow(
    request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Flow]:
    made = tmp_path_factory.mktemp("hostile") / "keys" if request.param == "keys" else None
    if made:
        keys.make(made)
    yield from flowing(made)


def flowing(made: Path | None) -> Iterator[Flow]:
    secured = ("--keys", str(made)) if made else ()
    with Pipeline(["left", "right"], "tcp") as nodes, ExitStack() as stack:
        timed = (*secured, "--sync", str(nodes.endpoints.sync))
        combiner = nodes.combiner(*timed, *PATIENT_COMBINER)
        for name in nodes.sources:
            nodes.producer(name, SOURCE, *secured, *PATIENT)
        pairs = stack.enter_context(subscribe(nodes.pub, keep=1000, keys=made))
        stream = checked(pairs)
        assert next(pair for pair in stream if pair.complete)
        yield Flow(nodes, combiner, stream, made)
