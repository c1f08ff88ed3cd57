"""Who gets an answer from the monitor's server: by name, origin, method and token."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from importlib.resources import files

import pytest

from framepair.nodes import monitor
from framepair.nodes.monitor import server
from tests.lib.served import STATE, ask, request, served, upgrade

TOKEN = "correct-horse+battery"
# As an address has it: its plus would be a space.
QUOTED = TOKEN.replace("+", "%2B")
PATHS = ("/", "/page.js", "/page.css", "/icon.svg", "/api/state", "/metrics")


@pytest.fixture(scope="module")
def port() -> Iterator[int]:
    with served(hosts=("lab-7",)) as bound:
        yield bound


@pytest.fixture(scope="module")
def guarded_port() -> Iterator[int]:
    with served(token=TOKEN) as bound:
        yield bound


def test_the_page_its_state_and_metrics_are_served_with_headers_that_allow_nothing_else(
    port: int,
) -> None:
    for path in PATHS:
        status, text = ask(port, request(path))
        assert status == 200, path
        head = text.partition("\r\n\r\n")[0].lower()
        assert "content-security-policy: default-src 'none'; script-src 'self'" in head
        assert "unsafe" not in head
        assert "x-content-type-options: nosniff" in head
        assert "access-control" not in head
        assert "server:" not in head
    _, text = ask(port, request("/api/state"))
    assert json.loads(text.partition("\r\n\r\n")[2]) == STATE
    _, text = ask(port, request("/metrics"))
    assert text.endswith("framepair_up 1\n")


@pytest.mark.parametrize(
    ("host", "status"),
    [
        ("127.0.0.1", 200),
        ("127.0.0.1:8080", 200),
        ("[::1]:8080", 200),
        ("localhost:1", 200),
        ("LocalHost", 200),
        ("lab-7:7480", 200),
        ("evil.example", 421),
        ("evil.example:7480", 421),
        ("localhost.evil.example", 421),
        ("127.0.0.1.evil.example", 421),
        ("[evil.example]", 421),
    ],
)
def test_a_name_that_a_page_elsewhere_may_have_pointed_here_is_refused(
    port: int, host: str, status: int
) -> None:
    assert ask(port, request("/api/state", host=host))[0] == status
    assert ask(port, upgrade(host=host))[0] == (101 if status == 200 else 403)


@pytest.mark.parametrize(
    ("origin", "status"),
    [
        ("http://127.0.0.1", 101),
        ("http://evil.example", 403),
        ("http://127.0.0.1:8080", 403),
        ("http://localhost", 403),
        ("null", 403),
    ],
)
def test_a_page_of_another_origin_gets_no_pictures(port: int, origin: str, status: int) -> None:
    assert ask(port, upgrade(f"Origin: {origin}"))[0] == status
    assert ask(port, upgrade())[0] == 101


@pytest.mark.parametrize("method", ["POST", "PUT", "DELETE", "PATCH", "OPTIONS", "TRACE", "HACK"])
def test_there_is_nothing_to_write(port: int, method: str) -> None:
    for path in PATHS:
        assert ask(port, request(path, "Content-Length: 0", method=method))[0] == 405


@pytest.mark.parametrize(
    "path", ["/../server.py", "/%2e%2e/server.py", "/page/index.html", "//page.js", "/page.js%00"]
)
def test_there_are_no_other_files(port: int, path: str) -> None:
    assert ask(port, request(path))[0] in (400, 404)


def test_without_the_token_there_is_nothing_but_health(guarded_port: int) -> None:
    for path in (
        *PATHS,
        "/nothing",
        "/?token=",
        "/?token=wrong",
        f"/?token={TOKEN}",
        f"/?token={QUOTED[:-1]}",
    ):
        status, text = ask(guarded_port, request(path))
        assert (status, "needs its token" in text) == (401, True)
    assert ask(guarded_port, upgrade())[0] == 403
    for wrong in ("Bearer", "Bearer ", f"Basic {TOKEN}", f"Bearer {TOKEN}x", "Bearer \xff"):
        assert ask(guarded_port, request("/api/state", f"Authorization: {wrong}"))[0] == 401
    for wrong in ("framepair=", f"framepair={TOKEN}", "framepair=x", "a=b; ;=;", '"'):
        assert ask(guarded_port, request("/api/state", f"Cookie: {wrong}"))[0] == 401
    assert ask(guarded_port, request("/healthz"))[0] == 200


def test_the_token_comes_in_a_header_or_once_in_an_address_that_sets_a_cookie(
    guarded_port: int,
) -> None:
    bearer = f"Authorization: Bearer {TOKEN}"
    assert ask(guarded_port, request("/metrics", bearer, host="monitor.example"))[0] == 200
    assert ask(guarded_port, upgrade(bearer))[0] == 101

    status, text = ask(guarded_port, request(f"/?token={QUOTED}"))
    head = text.lower()
    assert status == 303
    assert "location: /\r\n" in head
    cookie = next(line for line in text.split("\r\n") if line.startswith("set-cookie: "))
    assert cookie.endswith("; Path=/; HttpOnly; SameSite=Lax; Max-Age=31536000")
    own = "Cookie: other=1; " + cookie.removeprefix("set-cookie: ").partition(";")[0]
    assert TOKEN not in own
    assert ask(guarded_port, request("/api/state", own))[0] == 200
    assert ask(guarded_port, upgrade(own, "Origin: http://127.0.0.1"))[0] == 101
    # A page elsewhere has its visitor's cookie sent along, but not its own origin.
    assert ask(guarded_port, upgrade(own, "Origin: http://evil.example"))[0] == 403


def test_health_says_why() -> None:
    with served(reason="no pair for 12 s") as port:
        status, text = ask(port, request("/healthz"))
        assert (status, text.endswith("\r\n\r\nno pair for 12 s, False\n")) == (503, True)
        assert ask(port, request("/healthz?complete"))[1].endswith("no pair for 12 s, True\n")
    with served() as port:
        assert ask(port, request("/healthz"))[1].endswith("\r\n\r\nwell\n")


def test_the_page_is_short_and_has_nothing_from_elsewhere() -> None:
    page = {name: (files(monitor) / "page" / name).read_text() for name, _ in server.PAGE.values()}
    assert sum(len(text.splitlines()) for text in page.values()) < 500
    for text in page.values():
        assert not re.search(r"//[a-z]", text.replace("http://www.w3.org/2000/svg", ""))
        # Names and reasons are text of others.
        assert not re.search(r"innerHTML|outerHTML|insertAdjacent|document\.write|eval\(", text)
        assert not re.search(r"\bon[a-z]+=\"|style=\"|javascript:", text)
