"""The monitor's page in a real browser: Debian's chromium, driven by Playwright."""

from __future__ import annotations

import re
import shutil
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import cv2
import numpy as np
import pytest

from framepair.nodes.producer.sources import pattern
from framepair.protocol.memory.ring import Pixels
from tests.lib.pipeline import Pipeline
from tests.lib.processes import PATIENCE_S, Running

sync_api = pytest.importorskip("playwright.sync_api", reason="Playwright is not installed")

CHROMIUM = shutil.which("chromium")
URI = "synthetic://320x240@25"
PERIOD_NS = 40_000_000
# What a page says of a frozen camera, and by when.
FROZEN_S = 3.0

pytestmark = pytest.mark.skipif(
    CHROMIUM is None, reason="there is no chromium: apt-get install chromium"
)


class Browser:
    """A page in a browser, and what it complains of."""

    def __init__(self, page: Any) -> None:
        self.page = page
        self.complaints: list[str] = []
        page.set_default_timeout(PATIENCE_S * 1000)
        page.on("pageerror", lambda error: self.complaints.append(str(error)))
        page.on("console", self._note)

    def _note(self, message: Any) -> None:
        if message.type in ("error", "warning"):
            self.complaints.append(message.text)

    def text(self, selector: str) -> str:
        return str(self.page.text_content(selector))

    def wait(self, expression: str, *given: object) -> Any:
        """Wait until a JavaScript expression is true, and return its value."""
        return self.page.wait_for_function(expression, arg=list(given)).json_value()

    def wait_for_picture_after(self, ns: int) -> None:
        self.wait(
            "([ns]) => [...document.querySelectorAll('figure time')]"
            ".every((each) => BigInt(each.dataset.ns ?? 0) > BigInt(ns))",
            str(ns),
        )

    def do(self, what: Callable[[], object]) -> None:
        """Do something that shows another instant, and wait until it is shown."""
        ns = self.page.get_attribute("#pictures", "data-ns")
        what()
        self.wait("([ns]) => document.querySelector('#pictures').dataset.ns !== ns", ns)

    def seen(self) -> dict[str, pattern.Code]:
        """Return what the codes in the pictures of a screenshot say, by source."""
        codes = {}
        for figure in self.page.locator("figure:has([data-ns])").all():
            code = pattern.read(decoded(figure.locator("canvas").screenshot()))
            assert code is not None
            codes[figure.locator("b").text_content()] = code
        return codes

    def said(self) -> dict[str, int]:
        """Return the stamps that the page says, by source; those without a picture have none."""
        stamps = {
            str(figure.locator("b").text_content()): figure.locator("time").get_attribute("data-ns")
            for figure in self.page.locator("figure").all()
        }
        return {source: int(ns) for source, ns in stamps.items() if ns}


def decoded(png: bytes) -> Pixels:
    image = cv2.imdecode(np.frombuffer(png, np.uint8), cv2.IMREAD_COLOR)
    assert image is not None
    return image.astype(np.uint8)


@contextmanager
def chromium() -> Iterator[Browser]:
    with sync_api.sync_playwright() as playwright:
        # Without a sandbox of its own: tests may run as root.
        browser = playwright.chromium.launch(executable_path=CHROMIUM, args=["--no-sandbox"])
        yield Browser(browser.new_page(viewport={"width": 800, "height": 600}))
        browser.close()


def monitor(pipeline: Pipeline, address: str = "127.0.0.1:0") -> tuple[Running, str]:
    """Start a monitor; return it and its URL."""
    node = pipeline.start("monitor", address, "--sub", pipeline.pub)
    return node, node.wait_for(r"READY (http://\S+)")[1]


def test_the_page_shows_what_the_pipeline_does(subtests: pytest.Subtests) -> None:
    with Pipeline(["left", "right"]) as pipeline, chromium() as browser:
        pipeline.combiner()
        producers = {name: pipeline.producer(name, URI) for name in pipeline.sources}
        node, url = monitor(pipeline)
        browser.page.goto(url)
        browser.wait("() => document.body.classList.contains('well')")
        for check in (pictures_change, holds_and_steps, pairs_say_why, every_width_and_dark):
            with subtests.test(check.__name__):
                check(browser)
                assert browser.complaints == []
        with subtests.test("comes back"):
            comes_back(browser, pipeline, node, url)
        browser.complaints.clear()
        with subtests.test("a frozen camera"):
            a_frozen_camera_is_seen(browser, pipeline, producers["right"])
            assert browser.complaints == []


def pictures_change(browser: Browser) -> None:
    assert re.fullmatch(r"All is well: 2 sources, .*", browser.text("#sentence"))
    browser.wait_for_picture_after(0)
    newest_ns = max(browser.said().values())
    browser.wait_for_picture_after(newest_ns)
    assert all(code.captured_ns >= newest_ns for code in browser.seen().values())


def holds_and_steps(browser: Browser) -> None:
    press = browser.page.keyboard.press
    # Some to step back to.
    browser.wait("() => Number(document.querySelector('#slider').max) >= 5")
    press("Space")
    browser.wait("() => document.querySelector('#when').textContent.startsWith('held')")
    held = agreed(browser) if len(browser.said()) == 2 else step(browser, "ArrowLeft")
    cells = browser.page.locator("#strip i").count()
    browser.wait("([n]) => document.querySelectorAll('#strip i').length > n", cells)
    assert agreed(browser) == held

    before = step(browser, "ArrowLeft")
    assert step(browser, "ArrowLeft")["left"] < before["left"] < held["left"]
    assert step(browser, "ArrowRight") == before
    browser.do(lambda: browser.page.fill("#slider", "0"))
    assert all(ns < before["left"] for ns in browser.said().values())

    browser.page.click("#hold")
    browser.wait_for_picture_after(held["left"] + PERIOD_NS)
    assert browser.text("#when") == "live"


def step(browser: Browser, key: str) -> dict[str, int]:
    """Step to the next instant of which both pictures came, as a busy machine loses frames."""
    while True:
        browser.do(lambda: browser.page.keyboard.press(key))
        if len(browser.said()) == 2:
            return agreed(browser)


def agreed(browser: Browser) -> dict[str, int]:
    """Check that held pictures are what the page says, and of one instant; return their stamps."""
    said, seen = browser.said(), browser.seen()
    assert said.keys() == {"left", "right"}
    for source, code in seen.items():
        assert code.source_crc == pattern.source_crc(source)
        assert code.captured_ns == said[source]
    spread_ns = max(said.values()) - min(said.values())
    assert spread_ns <= PERIOD_NS // 2
    assert browser.text("#spread") == f"spread {spread_ns / 1e6:.2f} ms"
    return said


def pairs_say_why(browser: Browser) -> None:
    browser.page.click("#strip i:last-child")
    assert re.match(r"\d\d:\d\d:\d\d\.\d{3} complete, lag [\d.]+ ms", browser.text("#why"))
    chosen = browser.text("#why")
    browser.page.keyboard.press("ArrowLeft")
    assert browser.text("#why") < chosen
    browser.page.keyboard.press("Escape")
    assert browser.text("#why").startswith("Choose a pair")


def every_width_and_dark(browser: Browser) -> None:
    tops = (
        "() => [...document.querySelectorAll('canvas')].map((c) => c.getBoundingClientRect().top)"
    )
    for width, beside in ((390, False), (1920, True)):
        browser.page.set_viewport_size({"width": width, "height": 1200})
        newest_ns = max(browser.said().values())
        browser.wait_for_picture_after(newest_ns + 10 * PERIOD_NS)
        assert browser.page.evaluate("() => document.documentElement.scrollWidth") <= width
        left, right = browser.page.evaluate(tops)
        assert (left == right) is beside
        browser.wait("() => document.querySelectorAll('figure [data-ns]').length === 2")
        assert browser.seen()
    light = ground(browser)
    browser.page.emulate_media(color_scheme="dark")
    assert ground(browser) < 60 < 200 < light
    browser.page.emulate_media(color_scheme="light")


def ground(browser: Browser) -> float:
    """Return how bright the page is at its edge."""
    return float(decoded(browser.page.screenshot())[:, :8].mean())


def comes_back(browser: Browser, pipeline: Pipeline, node: Running, url: str) -> None:
    assert node.stop() == 0
    browser.wait("() => document.querySelector('#sentence').textContent.includes('not answer')")
    newest_ns = max(browser.said().values())
    _, again = monitor(pipeline, url.removeprefix("http://").strip("/"))
    assert again == url
    browser.wait("() => document.body.classList.contains('well')")
    browser.wait_for_picture_after(newest_ns)


def a_frozen_camera_is_seen(browser: Browser, pipeline: Pipeline, producer: Running) -> None:
    assert producer.stop() == 0
    pipeline.producer("right", URI, "--fault", "freeze@3s,600s")
    state = "document.querySelector('#sources tr:last-child').cells[1].textContent"
    browser.wait(f"() => {state} === 'on'")
    told = browser.wait(f"() => {state} !== 'on' && Date.now()")
    assert "right" in browser.text("#sentence")
    last_ns = browser.page.evaluate(
        "() => fetch('api/state').then((a) => a.json()).then(({sources, now_ns}) => "
        "String(BigInt(now_ns) - BigInt(Math.round("
        "sources.find((each) => each.name === 'right').age_ms * 1e6))))"
    )
    assert told / 1e3 - int(last_ns) / 1e9 <= FROZEN_S
    # The other source goes on, and the frozen one is not shown beside it.
    note = browser.page.locator("figure", has_text="right").locator("p")
    note.wait_for(state="visible")
    assert note.text_content() == "no picture of this instant"
    left = browser.said()["left"]
    browser.wait(
        "([ns]) => BigInt(document.querySelector('figure time').dataset.ns) > BigInt(ns)", str(left)
    )
