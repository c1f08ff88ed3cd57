"""What is put beside compose.yaml: videos, a consumer of one's own; and what each container may read."""

from __future__ import annotations

import json
import re
import subprocess
import time
from collections.abc import Iterator
from pathlib import Path
from urllib.error import HTTPError
from urllib.request import HTTPCookieProcessor, build_opener, urlopen

import pytest

from framepair import __version__
from tests.docker.test_compose import WHOLE, WITHOUT_LEFT, Stack, compose, image, run, wait
from tests.lib.processes import ROOT
from tests.lib.timed_videos import write_timed

__all__ = ["compose", "image"]

pytestmark = pytest.mark.timeout(600)
INSTALLED = """
from importlib import metadata
print(*{f"{found.name}=={found.version}" for found in metadata.distributions()})
"""
CONSUMER = """
from framepair import subscribe
for pair in subscribe():
    print("got", sorted(pair), flush=True)
"""


@pytest.fixture
def stack(compose: list[str], image: str, directory: Path) -> Iterator[Stack]:
    # Ended before ``directory``, which may hold a file of it.
    stack = Stack(compose, "compose.yaml", image)
    try:
        yield stack
    finally:
        stack("down", "--volumes", "--timeout", "10")


def said(stack: Stack, service: str, *command: str) -> str:
    """Return what a command in a service's container says, whether it succeeds or not."""
    [container] = stack.containers(service)
    words = ["docker", "exec", container, *command]
    done = subprocess.run(words, capture_output=True, text=True, check=False, timeout=60)
    return done.stdout + done.stderr


def files(stack: Stack, service: str, directory: str) -> list[str]:
    return sorted(said(stack, service, "find", directory, "-type", "f", "-printf", r"%P\n").split())


def test_the_image_is_the_command(image: str) -> None:
    assert run("docker", "run", "--rm", image, "--version").strip() == f"framepair {__version__}"
    assert "Usage: framepair" in run("docker", "run", "--rm", image, "--help")
    # Every package is one that deploy/constraints.txt names, of that version: two builds are alike.
    installed = run("docker", "run", "--rm", "--entrypoint=python", image, "-c", INSTALLED)
    named = (ROOT / "deploy" / "constraints.txt").read_text().lower()
    lines = {line for line in named.splitlines() if not line.startswith("#")}
    assert set(installed.lower().replace("_", "-").split()) - {f"framepair=={__version__}"} == lines
    labels = run("docker", "inspect", "--format", "{{json .Config.Labels}}", image)
    assert '"org.opencontainers.image.title":"framepair"' in labels


def test_a_whole_pipeline_is_one_container_with_frames_in_shared_memory(image: str) -> None:
    words = ["docker", "run", "--detach", "--init", "--env=FRAMEPAIR_STATUS=/dev/shm/s"]
    health = ["--health-cmd=healthcheck", "--health-interval=1s"]
    sources = [f"{name}=synthetic://160x120@25" for name in ("left", "right")]
    container = run(*words, *health, image, *sources, "--payload", "shm").strip()
    try:
        wait(lambda: re.search(WHOLE, run("docker", "logs", container)) is not None)
        form = "{{.State.Health.Status}}"
        wait(lambda: run("docker", "inspect", "--format", form, container).strip() == "healthy")
        run("docker", "stop", container)
        assert "The ledger balances" in run("docker", "logs", container)
    finally:
        run("docker", "rm", "--force", container)


def test_without_room_in_shared_memory_a_pipeline_says_how_much_it_needs(image: str) -> None:
    words = ["docker", "run", "--rm", "--init", "--shm-size=64m", image, "--payload", "shm"]
    done = subprocess.run(words, capture_output=True, text=True, check=False, timeout=120)
    assert done.returncode == 2, done.stderr
    assert re.search(r"a ring of [\d.]+ MiB is needed", done.stderr), done.stderr


def test_each_node_has_its_own_keys_only_and_an_interrupted_start_is_repaired(stack: Stack) -> None:
    stack("up", "--detach", "--no-build")
    stack.until_health("healthy", "keys", "left", "right", "combiner", "sink")
    # Again, and it is as it was.
    stack("up", "--detach", "--no-build")
    for node in "left", "right", "sink":
        assert files(stack, node, "/keys") == ["pipeline/client.key_secret", "pipeline/server.key"]
        assert "Read-only file system" in said(stack, node, "touch", "/keys/new")
    assert files(stack, "combiner", "/keys") == [
        *(f"pipeline/clients/{node}.key" for node in ("left", "monitor", "right", "sink")),
        "pipeline/server.key_secret",
    ]
    for node, source in ("left", "left"), ("right", "right"), ("sink", ""), ("monitor", ""):
        key = said(stack, "combiner", "cat", f"/keys/pipeline/clients/{node}.key")
        assert re.search(rf'^ *sources = "{source}"$', key, re.MULTILINE), key
    before = said(stack, "keys", "cat", "/made/left/pipeline/server.key")
    # As if it had ended before the combiner's keys were there.
    said(stack, "keys", "sh", "-c", "mv /made/combiner/pipeline /made/combiner/new")
    stack("restart", "keys", "left", "right", "combiner", "sink")
    stack.until_health("healthy", "keys", "left", "right", "combiner", "sink")
    after = [said(stack, "keys", "cat", f"/made/{n}/pipeline/server.key") for n in ("left", "sink")]
    assert after[0] == after[1] != before
    stack.until_pair(WHOLE)


def test_up_returns_once_all_is_well_and_again(stack: Stack) -> None:
    if not stack.has_compose_2:
        pytest.skip("docker-compose 1.29 knows no up --wait")
    for _ in range(2):
        started_s = time.monotonic()
        stack("up", "--detach", "--wait", "--no-build")
        assert time.monotonic() - started_s < 60
        for service in "keys", "left", "right", "combiner", "sink":
            assert stack.state(stack.containers(service)[0])["health"] == "healthy"


def test_what_cannot_work_is_unhealthy_and_not_tried_again(stack: Stack) -> None:
    stack.set(LEFT="/videos/nothere.mp4")
    stack("up", "--detach", "--no-build")
    stack.until_health("unhealthy", "left")
    [left] = stack.containers("left")
    assert stack.state(left)["restarts"] == 0
    said = run("docker", "logs", left)
    assert said.count("nothere.mp4") == 1, said
    assert "correct what it says" in said
    stack("stop", "left")
    assert stack.state(left)["ExitCode"] == 2


def test_an_address_that_is_a_secret_is_in_no_environment(stack: Stack, directory: Path) -> None:
    directory.chmod(0o755)
    secret = directory / "right.url"
    secret.write_text("synthetic://160x120@25")
    secret.chmod(0o644)
    overlay = directory / "cameras.yaml"
    overlay.write_text(
        (ROOT / "deploy" / "cameras.yaml").read_text().replace("./right.url", str(secret))
    )
    stack.add(overlay, RIGHT="synthetic://320x240@10")
    # There is no camera for the left one.
    stack("up", "--detach", "--no-build", "right", "combiner", "sink")
    stack.until_pair(WITHOUT_LEFT)
    [right] = stack.containers("right")
    assert secret.read_text() not in run("docker", "inspect", right)


def test_the_monitor_is_for_a_browser_of_this_machine_that_has_its_token(stack: Stack) -> None:
    stack("up", "--detach", "--no-build")
    stack.until_health("healthy", "monitor")
    [monitor] = stack.containers("monitor")
    address = run("docker", "port", monitor, "7480").strip()
    assert re.fullmatch(r"127\.0\.0\.1:\d+", address)
    query = said(stack, "monitor", "cat", "/keys/pipeline/page").strip().rpartition("/")[2]
    with pytest.raises(HTTPError, match="401"):
        urlopen(f"http://{address}/api/state")
    browser = build_opener(HTTPCookieProcessor())
    with browser.open(f"http://{address}/{query}") as page:
        assert b"<html" in page.read()
    with browser.open(f"http://{address}/api/state") as state:
        found = json.load(state)
    assert [source["name"] for source in found["sources"]] == ["left", "right"]


def test_videos_that_are_over_end_everything_once(stack: Stack, directory: Path) -> None:
    videos = directory / "videos"
    videos.mkdir()
    for name in "left", "right":
        write_timed(videos / f"{name}.mp4", [number / 25 for number in range(125)])
    directory.chmod(0o755)
    overlay = directory / "videos.yaml"
    overlay.write_text(
        (ROOT / "deploy" / "videos.yaml").read_text().replace("./videos", str(videos))
    )
    stack.add(overlay, LEFT="/videos/left.mp4", RIGHT="/videos/right.mp4")
    stack("up", "--detach", "--no-build")
    nodes = ("left", "right", "combiner", "sink")
    for node in nodes:
        wait(lambda one=node: stack.state(stack.containers(one)[0])["Status"] == "exited")  # type: ignore[misc]
    for node in nodes:
        state = stack.state(stack.containers(node)[0])
        assert (state["ExitCode"], state["restarts"]) == (0, 0), node
    assert "The ledger balances" in run("docker", "logs", stack.containers("sink")[0])


def test_a_consumer_of_ones_own_is_a_service(stack: Stack, image: str, directory: Path) -> None:
    model = directory / "model.py"
    model.write_text(CONSUMER)
    directory.chmod(0o755)
    model.chmod(0o644)
    stack.add(ROOT / "deploy" / "consumer.yaml", MODEL=str(model), CONSUMER_IMAGE=image)
    stack("up", "--detach", "--no-build")
    logs = ("docker", "logs", stack.containers("model")[0])
    wait(lambda: run(*logs).count("got ['left', 'right']") >= 2)
