"""deploy/systemd/framepair.service under a real systemd, the init of a container."""

from __future__ import annotations

import re
import subprocess
import uuid
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.docker.test_compose import compose, image, run, wait
from tests.lib.processes import ROOT

__all__ = ["compose", "image"]

pytestmark = pytest.mark.timeout(600)
UNIT = ROOT / "deploy" / "systemd" / "framepair.service"
TAG = "framepair:test-systemd"
# The image has framepair where the unit expects it.
DOCKERFILE = """
FROM {image}
USER root
RUN apt-get update && apt-get install --yes --no-install-recommends systemd systemd-sysv
"""
# For systemd's mounts, namespaces and signals. Not --privileged: an engine may lack some of what that gives.
CAPABILITIES = ("SYS_ADMIN", "SYS_PTRACE", "SYS_NICE", "SYS_BOOT", "SYSLOG", "NET_ADMIN")
# Engines mount cgroups read-only, and propagate no mount: without that a service cannot read its credentials.
INIT = """
for each in /sys/fs/cgroup /sys/fs/cgroup/*; do mount -o remount,bind,rw $each 2>/dev/null; done
mount --make-rshared / && exec /sbin/init
"""
CONFIG = "/etc/framepair/pipeline.toml"
SMALL = "synthetic://160x120@25"
# Waited for, as nothing listens there.
ABSENT = "rtsp://127.0.0.1:9/none"
# A line of the report: captured, delivered, late, in flight, gaps, frames a second, dropped.
ONLY_THE_START_IS_MISSING = r"^ *{} +\d+ +\d+ +0 +0 +0 +\S+ +(startup \d+)? *$"


class Service:
    """framepair in a container in which systemd runs."""

    def __init__(self, container: str, files: Path) -> None:
        self._container = container
        self._config = files / "pipeline.toml"
        self._cursor = ""

    def configure(self, **sources: str) -> None:
        """Write a configuration with these sources."""
        lines = "".join(f'{name} = "{uri}"\n' for name, uri in sources.items())
        self.write(f"[sources]\n{lines}")

    def write(self, config: str) -> None:
        """Write a configuration that may be a bad one."""
        self._config.write_text(config)
        self._config.chmod(0o600)

    def __call__(self, *command: str) -> str:
        """Return what a command in the container says."""
        return run("docker", "exec", self._container, *command)

    def fails(self, *command: str) -> bool:
        """Run a command in the container; return whether it fails."""
        words = ["docker", "exec", self._container, *command]
        return subprocess.run(words, capture_output=True, check=False, timeout=120).returncode != 0

    def is_there(self) -> bool:
        """Return whether the container runs."""
        return not self.fails("true")

    def is_up(self) -> bool:
        """Return whether systemd has started all that it starts at first."""
        return not self.fails("systemctl", "is-active", "multi-user.target")

    def now(self, name: str) -> str:
        """Return a property of the unit."""
        return self("systemctl", "show", "--property", name, "--value", "framepair").strip()

    def until(self, name: str, value: str) -> None:
        """Wait until a property of the unit is so."""
        wait(lambda: self.now(name) == value)

    def mark(self) -> None:
        """Have ``journal`` return what is said from now on only."""
        said = self("journalctl", "--no-pager", "--lines=0", "--show-cursor")
        self._cursor = said.partition("cursor: ")[2].strip()

    def journal(self) -> str:
        """Return what the service has said, and systemd of it."""
        self("journalctl", "--sync")
        after = f"--after-cursor={self._cursor}"
        return self("journalctl", "--no-pager", "--output=cat", "--unit=framepair", after)


@pytest.fixture(scope="module")
def machine(image: str, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Service]:
    """Start a container with systemd and the unit, which is not started."""
    _build(image, tmp_path_factory.mktemp("systemd"))
    files = tmp_path_factory.mktemp("framepair")
    container = f"fp{uuid.uuid4().hex[:8]}"
    run(
        *("docker", "run", "--detach", "--name", container, "--env=container=docker"),
        *(f"--cap-add={each}" for each in CAPABILITIES),
        *("--security-opt=seccomp=unconfined", "--security-opt=apparmor=unconfined"),
        *("--cgroupns=private", "--tmpfs=/run", "--tmpfs=/tmp", "--stop-signal=SIGRTMIN+3"),
        f"--volume={UNIT}:/etc/systemd/system/framepair.service:ro",
        f"--volume={files}:/etc/framepair",
        *("--entrypoint=sh", TAG, "-c", INIT),
    )
    try:
        service = Service(container, files)
        wait(lambda: service.is_up() or not service.is_there())
        if not service.is_there():
            pytest.skip(f"systemd does not start here: {run('docker', 'logs', container)}")
        yield service
    finally:
        run("docker", "rm", "--force", "--volumes", container)


def _build(image: str, directory: Path) -> None:
    (directory / "Dockerfile").write_text(DOCKERFILE.format(image=image))
    words = ["docker", "build", "--network=host", f"--tag={TAG}", str(directory)]
    built = subprocess.run(words, capture_output=True, text=True, check=False, timeout=500)
    if built.returncode != 0:
        pytest.skip(
            f"systemd cannot be added to {image}: {built.stdout[-300:]}{built.stderr[-300:]}"
        )


@pytest.fixture
def service(machine: Service) -> Iterator[Service]:
    """Return the unit with two small sources, not started."""
    machine.configure(left=SMALL, right=SMALL)
    machine.mark()
    yield machine
    machine("systemctl", "stop", "framepair")
    machine.fails("systemctl", "reset-failed", "framepair")


def test_the_unit_can_do_little(machine: Service) -> None:
    machine("systemd-analyze", "verify", "framepair.service")
    rated = machine("systemd-analyze", "security", "--no-pager", "framepair")
    [exposure] = re.findall(r"Overall exposure level for framepair.service: ([\d.]+)", rated)
    assert float(exposure) <= 3.0, rated


def test_it_is_active_once_all_sources_flow_and_says_which_do(service: Service) -> None:
    service.configure(left=SMALL, right=ABSENT)
    service("systemctl", "start", "--no-block", "framepair")
    service.until("StatusText", "left: frames flow; right: no frame yet")
    assert service.now("ActiveState") == "activating"
    # Until it is active systemd would hold systemctl reload back.
    service.configure(left=SMALL, right=SMALL)
    service("framepair", "reload", "--run-dir", "/run/framepair", "--config", CONFIG)
    service.until("ActiveState", "active")
    assert 'frames flow"' in service("systemctl", "status", "--no-pager", "framepair")
    # It has none of the rights of root, and files of its own only in its run directory.
    assert service("stat", "--format=%U", f"/proc/{service.now('MainPID')}").strip() != "root"
    service("systemctl", "stop", "framepair")
    assert service.fails("test", "-e", "/run/framepair")


def test_a_reload_changes_sources_and_the_others_lose_nothing(service: Service) -> None:
    service("systemctl", "start", "framepair")
    service.configure(left=SMALL, right=SMALL, door=SMALL)
    service("systemctl", "reload", "framepair")
    wait(lambda: re.search(r"door.*: frames flow$", service.now("StatusText")) is not None)
    service.configure(left=SMALL, right=SMALL)
    service("systemctl", "reload", "framepair")
    service.until("StatusText", "left, right: frames flow")
    said = service.journal()
    assert "framepair: added: door" in said
    assert "framepair: removed: door" in said

    for bad, why in (
        ("left = [", f"{CONFIG} is not TOML"),
        ("window = 3\n[sources]\nleft = '0'", "--window"),
    ):
        service.write(bad)
        assert service.fails("systemctl", "reload", "framepair")
        assert why in service.journal()
    assert service.now("ActiveState") == "active"
    assert service.now("StatusText") == "left, right: frames flow"

    service("systemctl", "stop", "framepair")
    said = service.journal()
    for source in "left", "right":
        assert re.search(ONLY_THE_START_IS_MISSING.format(source), said, re.MULTILINE), said
    assert "The ledger balances" in said


def test_a_launcher_that_hangs_is_started_again(service: Service) -> None:
    service("systemctl", "start", "framepair")
    service("systemctl", "kill", "--kill-whom=main", "--signal=STOP", "framepair")
    service.until("NRestarts", "1")
    service.until("ActiveState", "active")
    assert service.now("StatusText") == "left, right: frames flow"


def test_what_cannot_work_is_not_started_again(service: Service) -> None:
    service.write("left = [")
    assert service.fails("systemctl", "start", "framepair")
    assert service.now("ExecMainStatus") == "2"
    # auto-restart, if it were to be.
    assert service.now("SubState") == "failed"
    assert "is not TOML" in service.journal()
