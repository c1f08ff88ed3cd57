"""Debian's own Prometheus scrapes a pipeline's monitor, with the configuration that is deployed."""

from __future__ import annotations

import json
import shutil
import time
import urllib.parse
from pathlib import Path
from typing import Any

import pytest

from framepair.testing import pipeline
from tests.lib.pipeline import free_ports
from tests.lib.processes import PATIENCE_S, ROOT, Running
from tests.lib.scraping import get

DEPLOYED = ROOT / "deploy" / "prometheus"
POLL_S = 0.1
TOKEN = "correct-horse-battery-staple"


def query(url: str, text: str) -> list[dict[str, Any]]:
    status, answer = get(f"{url}/api/v1/query?{urllib.parse.urlencode({'query': text})}")
    found: list[dict[str, Any]] = json.loads(answer)["data"]["result"] if status == 200 else []
    return found


def value(url: str, text: str, at_least: float) -> float:
    """Return what a query finds once it finds one value that is large enough."""
    deadline_s = time.monotonic() + PATIENCE_S
    while time.monotonic() < deadline_s:
        result = query(url, text)
        if len(result) == 1 and (found := float(result[0]["value"][1])) >= at_least:
            return found
        time.sleep(POLL_S)
    raise AssertionError(f"{text} is {query(url, text)}")


def configuration(directory: Path, target: str) -> Path:
    """Return the configuration that is deployed, for this target, which asks for a token."""
    (directory / "token").write_text(TOKEN)
    text = (DEPLOYED / "prometheus.yml").read_text().replace("127.0.0.1:7480", target)
    text = text.replace("_interval: 5s", "_interval: 200ms")
    text = text.replace("# authorization:\n    #", "authorization:\n    ")
    text = text.replace("/etc/prometheus/framepair-token", str(directory / "token"))
    shutil.copy(DEPLOYED / "framepair.rules.yml", directory)
    (directory / "prometheus.yml").write_text(text)
    return directory / "prometheus.yml"


@pytest.mark.skipif(not shutil.which("prometheus"), reason="needs Debian's prometheus")
def test_prometheus_has_the_figures_of_a_running_pipeline(directory: Path) -> None:
    port = free_ports(2)
    monitor, prometheus = f"127.0.0.1:{port}", f"127.0.0.1:{port + 1}"
    file = configuration(directory, monitor)
    flags = ("--monitor", monitor, "--monitor-token", str(directory / "token"))
    command = [
        "prometheus", f"--config.file={file}", f"--storage.tsdb.path={directory / 'data'}",
        f"--web.listen-address={prometheus}",
    ]  # fmt: skip
    url = f"http://{prometheus}"
    with pipeline("left", "right", fps=25, flags=flags), Running(command) as running:
        running.wait_for("Server is ready to receive web requests")
        assert value(url, 'framepair_pairs_total{complete="true",pipeline="cameras"}', 5) >= 5
        assert value(url, "count(framepair_source_up == 1)", 2) == 2
        rate = value(url, 'sum(rate(framepair_frames_total{state="captured"}[3s]))', 40)
        assert rate == pytest.approx(50, rel=0.2)
        lag = "histogram_quantile(0.5, sum by (le) (framepair_pair_lag_seconds_bucket))"
        assert 0 < value(url, lag, 0) < 5
        alerts = json.loads(get(f"{url}/api/v1/rules")[1])["data"]["groups"][0]["rules"]
        assert len(alerts) == (DEPLOYED / "framepair.rules.yml").read_text().count("- alert:")
        assert {alert["health"] for alert in alerts} <= {"ok", "unknown"}
        # On a busy machine one may be pending, as a pair lacks a frame.
        assert all(alert["state"] != "firing" for alert in alerts), alerts
