"""The alert rules are in two files, as two programs want them."""

from __future__ import annotations

import textwrap

from tests.lib.processes import ROOT


def test_the_rules_for_the_operator_are_those_for_prometheus() -> None:
    rules = (ROOT / "deploy" / "prometheus" / "framepair.rules.yml").read_text()
    operator = ROOT / "deploy" / "kubernetes" / "components" / "monitoring" / "rules.yaml"
    _, _, spec = operator.read_text().partition("spec:\n")
    assert textwrap.dedent(spec) == rules[rules.index("groups:") :]
