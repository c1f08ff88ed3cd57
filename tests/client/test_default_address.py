"""subscribe() without an address: what is in the default run directory is this user's, or is refused."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

import framepair
from framepair import subscribe
from framepair.protocol.transport.endpoints import EndpointError
from tests.lib.processes import PATIENCE_S
from tests.lib.publisher import combiner_at
from tests.lib.stream import Stream

NOBODY = 65534
as_root = pytest.mark.skipif(os.getuid() != 0, reason="needs root to give files to another user")


@pytest.fixture
def run_dir(directory: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Give the default run directory, which is not there yet, below a directory that any user may write to."""
    monkeypatch.delenv("FRAMEPAIR_SUB", raising=False)
    monkeypatch.delenv("XDG_RUNTIME_DIR", raising=False)
    monkeypatch.setattr("tempfile.tempdir", str(directory))
    directory.chmod(0o1777)
    return directory / f"framepair-{os.getuid()}"


def refusal() -> str:
    with pytest.raises(EndpointError) as refused:
        subscribe()
    assert "\n" not in str(refused.value)
    assert "FRAMEPAIR_SUB" in str(refused.value)
    return str(refused.value)


def test_a_directory_that_is_missing_is_made_for_this_user_alone(run_dir: Path) -> None:
    with subscribe() as subscription:
        assert run_dir.stat().st_mode & 0o777 == 0o700
        with combiner_at(f"ipc://{run_dir}/pairs") as combiner:
            combiner.wait_for_subscriber()
            combiner.send(*Stream().whole(0))
            assert subscription.get(PATIENCE_S) is not None


@as_root
def test_a_directory_that_another_user_made_is_refused(run_dir: Path) -> None:
    with combiner_at(f"ipc://{run_dir}/pairs"):
        os.chown(run_dir, NOBODY, NOBODY)
        assert f"{run_dir} belongs to another user" in refusal()


@as_root
def test_a_link_that_another_user_made_is_refused(run_dir: Path, directory: Path) -> None:
    (directory / "private").mkdir(mode=0o700)
    run_dir.symlink_to(directory / "private")
    os.chown(run_dir, NOBODY, NOBODY, follow_symlinks=False)
    assert f"{run_dir} belongs to another user" in refusal()


@as_root
def test_a_socket_from_when_the_directory_was_open_is_refused(run_dir: Path) -> None:
    with combiner_at(f"ipc://{run_dir}/pairs"):
        run_dir.chmod(0o777)
        os.chown(run_dir / "pairs", NOBODY, NOBODY)
        assert "chmod 700 it" in refusal()
        run_dir.chmod(0o700)
        assert f"{run_dir}/pairs is not a socket of this user: remove it" in refusal()


@as_root
def test_an_address_that_is_given_is_believed(
    run_dir: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with combiner_at(f"ipc://{run_dir}/pairs") as combiner:
        os.chown(run_dir, NOBODY, NOBODY)
        with subscribe(f"ipc://{run_dir}/pairs"):
            combiner.wait_for_subscriber()
        monkeypatch.setenv("FRAMEPAIR_SUB", f"ipc://{run_dir}/pairs")
        with subscribe():
            combiner.wait_for_subscriber()


def test_directories_may_be_strings(directory: Path, run_dir: Path) -> None:
    address = f"ipc://{directory}/pairs"
    with subscribe(address, shm_dir=str(directory / "rings"), keys=str(directory)) as subscription:
        assert not subscription.ended
    with pytest.raises(framepair.EndpointError, match=r"cannot read keys from .*missing"):
        subscribe("tcp://192.0.2.1:7400", keys=str(directory / "missing"))
