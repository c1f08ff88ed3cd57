"""What a monitor answers, as a browser, a health check or Prometheus asks for it."""

from __future__ import annotations

import json
import urllib.error
import urllib.request
from typing import Any

from prometheus_client.parser import text_string_to_metric_families

TIMEOUT_S = 20.0


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
