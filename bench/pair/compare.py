"""The designs on two videos, one after the other."""

from __future__ import annotations

import importlib
from collections.abc import Callable, Sequence
from typing import cast

from bench.frames import FULL_HD, Shape
from bench.pair.design import Design, NoPairs
from bench.pair.measure import measure
from bench.tables import Section

DESIGNS = ("queues", "pipes", "raw_tcp", "raw", "shm")
SOURCES = 2


def compare(
    designs: Sequence[str], seconds: int, say: Callable[[str], None], shape: Shape = FULL_HD
) -> Section:
    """Have each design pair two videos for so many seconds."""
    rows = []
    for name in designs:
        design = load(name)
        say(f"pair: {design.NAME}, {seconds} s")
        row: Section = {"design": name, "name": design.NAME, "why_not": None}
        try:
            row |= measure(design.run, SOURCES, seconds, shape).summary()
        except NoPairs as error:
            row["why_not"] = str(error)
        rows.append(row)
    return {"seconds": seconds, "sources": SOURCES, "shape": list(shape), "rows": rows}


def load(name: str) -> Design:
    """Return the module of a design."""
    return cast(Design, importlib.import_module(f"bench.pair.{name}"))
