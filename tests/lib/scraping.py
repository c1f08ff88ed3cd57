"""What a monitor answers, as a browser, a health check or Prometheus asks for it."""

from __future__ import annotations

import json
import urllib.error
import urllib.request
from typing import Any, Final

from prometheus_client.parser import text_string_to_metric_families

TIMEOUT_S = 20.0
# What dashboards and alerts rely on: each metric, with its labels.
METRICS: Final[dict[str, set[str]]] = {
    "framepair_frames_total": {"source", "state"},
    "framepair_frames_lost_total": {"source", "reason"},
    "framepair_pairs_total": {"complete"},
    "framepair_pair_lag_seconds": set(),
    "framepair_hop_seconds": {"hop"},
    "framepair_source_up": {"source"},
    "framepair_source_frame_age_seconds": {"source"},
    "framepair_capture_uncertainty_seconds": {"source", "stamp"},
    "framepair_source_reopened_total": {"source"},
    "framepair_node_restarts_total": {"node"},
    "framepair_build_info": {"version"},
}


def get(url: str) -> tuple[int, str]:
    """Return status and text of an answer."""
    try:
        with urllib.request.urlopen(url, timeout=TIMEOUT_S) as answer:
            return answer.status, answer.read().decode()
    except urllib.error.HTTPError as error:
        with error:
            return error.code, error.read().decode()


def state(url: str) -> dict[str, Any]:
    """Return what the page is told."""
    found: dict[str, Any] = json.loads(get(f"{url}api/state")[1])
    return found


def counters(url: str) -> dict[str, float]:
    """Return the samples of all counters and histograms, by name and labels."""
    families = text_string_to_metric_families(get(f"{url}metrics")[1])
    return {
        f"{sample.name} {sorted(sample.labels.items())}": sample.value
        for family in families
        if family.type in ("counter", "histogram")
        for sample in family.samples
    }


def labelled(found: dict[str, float], name: str, **labels: str) -> float:
    """Return the sum of the samples of ``name`` that have these labels."""
    return sum(
        value
        for sample, value in found.items()
        if sample.startswith(f"{name} ")
        and all(f"('{label}', '{text}')" in sample for label, text in labels.items())
    )
