"""What a service manager hears: a socket of the test's own in place of systemd's."""

from __future__ import annotations

import os
import socket
from pathlib import Path

import pytest

from framepair.nodes.launcher.condition import Condition
from framepair.nodes.launcher.service_manager import VARIABLES, ServiceManager


def heard(manager: socket.socket) -> list[str]:
    """Return the lines that have come."""
    lines = []
    manager.setblocking(False)
    while True:
        try:
            lines += manager.recv(4096).decode().split("\n")
        except BlockingIOError:
            return lines


def condition(sentence: str, *, ready: bool = False, stopping: bool = False) -> Condition:
    return Condition(ready, stopping, sentence)


@pytest.mark.parametrize("abstract", [False, True])
def test_what_is_news_is_told_once(
    directory: Path, monkeypatch: pytest.MonkeyPatch, abstract: bool
) -> None:
    name = f"{directory}/notify"
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as manager:
        manager.bind(f"\0{name}" if abstract else name)
        monkeypatch.setenv("NOTIFY_SOCKET", f"@{name}" if abstract else name)
        monkeypatch.setenv("WATCHDOG_USEC", "4000000")
        monkeypatch.setenv("WATCHDOG_PID", str(os.getpid()))
        ours = ServiceManager.from_environment()
        # No node may speak for the launcher.
        assert not set(VARIABLES) & set(os.environ)
        ours.tell(condition("none yet"), 100.0)
        assert heard(manager) == ["STATUS=none yet", "WATCHDOG=1"]
        ours.tell(condition("none yet"), 101.9)
        assert heard(manager) == []
        ours.tell(condition("all flow", ready=True), 102.0)
        assert heard(manager) == ["STATUS=all flow", "READY=1", "WATCHDOG=1"]
        ours.tell(condition("stopping", ready=True, stopping=True), 103.0)
        assert heard(manager) == ["STATUS=stopping", "STOPPING=1"]


@pytest.mark.parametrize("pid", ["1", ""])
def test_a_watchdog_of_another_process_is_not_fed(
    directory: Path, monkeypatch: pytest.MonkeyPatch, pid: str
) -> None:
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as manager:
        manager.bind(f"{directory}/notify")
        monkeypatch.setenv("NOTIFY_SOCKET", f"{directory}/notify")
        monkeypatch.setenv("WATCHDOG_USEC", "4000000")
        monkeypatch.setenv("WATCHDOG_PID", pid)
        ServiceManager.from_environment().tell(condition("x"), 1.0)
        assert ("WATCHDOG=1" in heard(manager)) is (pid == "")


def test_without_a_manager_nothing_happens_nor_when_it_is_gone(directory: Path) -> None:
    ServiceManager(None, 1.0).tell(condition("x"), 1.0)
    ServiceManager(f"{directory}/gone", 1.0).tell(condition("x"), 1.0)
