"""What is deployed beside a monitor: alert rules, a scrape configuration and a dashboard know its metrics."""

from __future__ import annotations

import json
import re
import shutil
import subprocess
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.lib.processes import ROOT
from tests.lib.scraping import METRICS

PROMETHEUS = ROOT / "deploy" / "prometheus"
GRAFANA = ROOT / "deploy" / "grafana"
RULES = PROMETHEUS / "framepair.rules.yml"
needs_promtool = pytest.mark.skipif(
    not shutil.which("promtool"), reason="needs promtool, of Debian's prometheus"
)


def dashboard() -> dict[str, Any]:
    found: dict[str, Any] = json.loads((GRAFANA / "framepair.json").read_text())
    return found


def queries() -> Iterator[str]:
    """Yield what the dashboard asks Prometheus, with values for its variables."""
    for panel in dashboard()["panels"]:
        for target in panel["targets"]:
            text = target["expr"].replace("$__rate_interval", "1m")
            yield text.replace("$pipeline", ".*").replace("$source", ".*")


@needs_promtool
@pytest.mark.parametrize(
    ("check", "name"),
    [
        ("check rules", "framepair.rules.yml"),
        ("check config", "prometheus.yml"),
        ("test rules", "framepair.test.yml"),
    ],
)
def test_promtool_accepts_the_files_and_the_alerts_fire_when_they_should(
    check: str, name: str
) -> None:
    done = subprocess.run(
        ["promtool", *check.split(), PROMETHEUS / name],
        capture_output=True, text=True, check=False, timeout=60,
    )  # fmt: skip
    assert done.returncode == 0, done.stdout + done.stderr


@needs_promtool
def test_prometheus_can_read_what_the_dashboard_asks(tmp_path: Path) -> None:
    rules = [{"record": f"asked:{i}", "expr": text} for i, text in enumerate(queries())]
    file = tmp_path / "queries.yml"
    # JSON is YAML.
    file.write_text(json.dumps({"groups": [{"name": "dashboard", "rules": rules}]}))
    done = subprocess.run(
        ["promtool", "check", "rules", file],
        capture_output=True, text=True, check=False, timeout=60,
    )  # fmt: skip
    assert done.returncode == 0, done.stdout + done.stderr
    assert len(rules) > 10


@pytest.mark.parametrize("text", [pytest.param(RULES.read_text(), id="alerts"), *queries()])
def test_only_metrics_and_labels_are_named_that_a_monitor_has(text: str) -> None:
    named = re.findall(
        r"\b(framepair_\w+?)(?:_bucket)?(?:\{(.*?)\}|\[| ==| and|$)", text, re.MULTILINE
    )
    assert named
    for name, selectors in named:
        assert name in METRICS
        for label in re.findall(r"(\w+)[!=]~?=?\"", selectors):
            assert label in METRICS[name] | {"pipeline"}


def test_every_metric_is_on_the_dashboard_or_identifies_a_pipeline() -> None:
    text = " ".join(queries()) + json.dumps(dashboard()["templating"])
    assert [name for name in METRICS if name not in text] == []


def test_the_dashboard_finds_its_datasource_by_the_name_that_is_provisioned() -> None:
    datasource = (GRAFANA / "provisioning" / "datasources" / "prometheus.yaml").read_text()
    first = dashboard()["templating"]["list"][0]["current"]
    assert f"name: {first['text']}\n" in datasource
    assert f"uid: {first['value']}\n" in datasource
    numbers = [panel["id"] for panel in dashboard()["panels"]]
    assert sorted(set(numbers)) == sorted(numbers)
