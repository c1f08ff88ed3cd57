"""docs/options.md says what the declarations say."""

from __future__ import annotations

from docs import make_options
from tests.lib.processes import ROOT


def test_the_page_is_made_from_the_declarations() -> None:
    text = (ROOT / "docs" / "options.md").read_text()
    assert text == make_options.page(), "python -m docs.make_options > docs/options.md"
    for node in ("producer", "combiner", "sink"):
        assert f"framepair.nodes.{node}" in text
