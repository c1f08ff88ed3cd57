"""What it was measured on."""

from __future__ import annotations

import os
import platform
import time
from importlib import metadata
from pathlib import Path

OURS = ("pyzmq", "numpy", "opencv-python")
PEERS = ("imagezmq", "vidgear", "faster-fifo", "iceoryx2", "eclipse-zenoh")


def describe() -> dict[str, object]:
    """Return the machine, the date and the versions that figures depend on."""
    return {
        "cpu": _cpu(),
        "cores": os.cpu_count(),
        "memory_gb": round(os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES") / 1e9),
        "linux": platform.release(),
        "python": platform.python_version(),
        "date": time.strftime("%Y-%m-%d"),
        "versions": {name: found for name in OURS + PEERS if (found := _version(name))},
    }


def sentence(machine: dict[str, object]) -> str:
    """Return the machine and the date in a line."""
    return (
        f"{machine['cores']} cores ({machine['cpu']}), {machine['memory_gb']} GB, Linux {machine['linux']},"
        f" Python {machine['python']}, {machine['date']}"
    )


def _cpu() -> str:
    for line in Path("/proc/cpuinfo").read_text().splitlines():
        if line.startswith("model name"):
            return line.partition(":")[2].strip()
    return platform.machine()


def _version(name: str) -> str | None:
    try:
        return metadata.version(name)
    except metadata.PackageNotFoundError:
        return None
