"""Which relay a consumer trusts: none that another user could have put there, now or later."""

from __future__ import annotations

import contextlib
import os
import socket
from collections.abc import Iterator
from pathlib import Path

import pytest

from framepair.protocol.client.route import Route
from framepair.protocol.transport import endpoints, relays

ELSEWHERE = "tcp://192.0.2.1:7400"


@pytest.fixture
def run_dir(directory: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Make the default run directory, as a launcher does."""
    monkeypatch.setenv("XDG_RUNTIME_DIR", str(directory))
    relays.make_directory(relays.address_of(ELSEWHERE))
    return endpoints.default_run_dir()


@contextlib.contextmanager
def listening(address: str) -> Iterator[None]:
    with socket.socket(socket.AF_UNIX) as bound:
        bound.bind(address.removeprefix("ipc://"))
        bound.listen()
        yield


def routes(monkeypatch: pytest.MonkeyPatch, combiner: str) -> set[str]:
    """Return where a consumer receives, be it told of the relay or not."""
    found = set()
    for told in (combiner, ""):
        monkeypatch.setenv(relays.RELAYED_VARIABLE, told)
        found.add(Route(combiner, Path("/nowhere")).address)
    return found


def share(run_dir: Path, how: str) -> None:
    """Let another user put something in the place of ``run_dir`` or into it."""
    if how == "link":
        moved = run_dir.rename(run_dir.with_name("moved"))
        run_dir.symlink_to(moved)
    if how in ("directory", "link"):
        os.chown(run_dir, 1, 1, follow_symlinks=False)
    else:
        run_dir.chmod(0o770)


def test_a_relay_in_a_directory_of_this_user_is_used(
    run_dir: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    relay = relays.address_of(ELSEWHERE)
    assert relay.startswith(f"ipc://{run_dir}/")
    assert not relays.listens(relay)
    with listening(relay):
        assert relays.listens(relay)
        assert routes(monkeypatch, ELSEWHERE) == {relay}


needs_root = pytest.mark.skipif(os.getuid() != 0, reason="only root may give a file away")


@pytest.mark.parametrize(
    "how",
    [
        "mode",
        pytest.param("directory", marks=needs_root),
        pytest.param("link", marks=needs_root),
    ],
)
def test_a_relay_where_others_could_put_one_is_not_used(
    run_dir: Path, how: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    relay = relays.address_of(ELSEWHERE)
    with listening(relay):
        share(run_dir, how)
        assert not relays.listens(relay)
        assert routes(monkeypatch, ELSEWHERE) == {ELSEWHERE}


def test_a_relay_beside_the_combiners_socket_may_be_in_a_shared_directory(
    directory: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    directory.chmod(0o770)
    combiner = f"ipc://{directory}/pairs"
    with listening(relays.address_of(combiner)):
        assert routes(monkeypatch, combiner) == {relays.address_of(combiner)}


@needs_root
def test_a_socket_of_another_user_is_no_relay(
    directory: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    combiner = f"ipc://{directory}/pairs"
    relay = relays.address_of(combiner)
    with listening(relay):
        os.chown(relay.removeprefix("ipc://"), 1, 1)
        assert routes(monkeypatch, combiner) == {combiner}
