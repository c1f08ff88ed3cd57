"""/metrics: the names that dashboards and alerts rely on, in a format that Prometheus takes."""

from __future__ import annotations

import contextlib
import re
import shutil
import subprocess
from collections.abc import Iterator

import pytest
from prometheus_client.parser import text_string_to_metric_families

from framepair.nodes.monitor import metrics
from framepair.nodes.monitor.state import State
from tests.lib.scraping import METRICS
from tests.lib.stream import Stream
from tests.lib.units import MS
from tests.lib.watched import Watched


def scraped(monitor: Watched) -> str:
    @contextlib.contextmanager
    def read() -> Iterator[tuple[State, int]]:
        yield monitor.state, monitor.now_ns

    return metrics.text(read)().decode()


def watched() -> Watched:
    """Return a monitor of a pipeline that lost frames, and one announcement."""
    pipeline, monitor = Stream(fps=25, period_ns=40 * MS, first=10), Watched()
    known = {"stamp": "driver", "uncertainty_ns": 300_000}
    monitor.hear(*pipeline.next(clips={"left": known}))
    pipeline.lose(3)
    pipeline.next()
    for _ in range(3):
        monitor.hear(*pipeline.next(clips={"left": known}))
    return monitor


def value(text: str, sample: str) -> float:
    found = re.search(rf"^{re.escape(sample)} (\S+)$", text, re.MULTILINE)
    assert found is not None, f"no {sample} in:\n{text}"
    return float(found[1])


def test_there_are_these_metrics_with_these_labels_and_no_others() -> None:
    found: dict[str, set[str]] = {}
    for family in text_string_to_metric_families(scraped(watched())):
        name = f"{family.name}_total" if family.type == "counter" else family.name
        found[name] = {label for each in family.samples for label in each.labels} - {"le"}
    assert found == METRICS


def test_metrics_say_what_became_of_frames_and_pairs() -> None:
    text = scraped(watched())
    assert value(text, 'framepair_frames_total{source="left",state="captured"}') == 103
    assert value(text, 'framepair_frames_total{source="left",state="paired"}') == 75
    assert value(text, 'framepair_frames_total{source="left",state="lost"}') == 28
    lost = 'framepair_frames_lost_total{reason="publisher_overflow",source="left"}'
    assert value(text, lost) == 25
    assert value(text, 'framepair_pairs_total{complete="true"}') == 4
    assert value(text, 'framepair_pairs_total{complete="false"}') == 0
    assert value(text, 'framepair_pairs_total{complete="unknown"}') == 1
    assert value(text, 'framepair_pair_lag_seconds_bucket{le="0.05"}') == 4
    assert value(text, "framepair_pair_lag_seconds_sum") == pytest.approx(4 * 0.045)
    assert value(text, 'framepair_source_up{source="left"}') == 1
    assert value(text, 'framepair_source_frame_age_seconds{source="right"}') == 0.045
    age = 'framepair_capture_uncertainty_seconds{source="left",stamp="driver"}'
    assert value(text, age) == 0.0003
    assert value(text, 'framepair_node_restarts_total{node="producer left"}') == 0


def test_a_monitor_that_has_heard_nothing_has_metrics_too() -> None:
    text = scraped(Watched())
    assert value(text, 'framepair_pairs_total{complete="true"}') == 0
    assert "source=" not in text


@pytest.mark.skipif(not shutil.which("promtool"), reason="needs promtool, of Debian's prometheus")
@pytest.mark.parametrize("monitor", [Watched(), watched()], ids=["at first", "later"])
def test_promtool_has_nothing_to_say(monitor: Watched) -> None:
    done = subprocess.run(
        ["promtool", "check", "metrics"], input=scraped(monitor), capture_output=True, text=True,
        check=False, timeout=60,
    )  # fmt: skip
    assert (done.returncode, done.stdout, done.stderr) == (0, "", "")
