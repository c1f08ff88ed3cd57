"""A fixture with a pipeline, for a conftest.py that says pytest_plugins = ["framepair.pytest_plugin"]."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from framepair import testing


@pytest.fixture
def synthetic_pipeline() -> Iterator[testing.Pipeline]:
    """Run a pipeline of two small synthetic sources, left and right, for one test."""
    with testing.pipeline() as running:
        yield running
