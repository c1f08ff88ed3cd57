"""An interpreter that exits with a subscription in whatever state."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

from tests.lib.processes import PATIENCE_S, ROOT

SCRIPTS = {
    "never used": "subscription = subscribe(address)",
    "waits": "subscription = subscribe(address); subscription.get(0.1)",
    "in a cycle": "a = [subscribe(address)]; a.append(a)",
    "dropped": "subscribe(address)",
    "fails": "subscription = subscribe(address); sys.exit(3)",
    "other thread": "threading.Thread(target=lambda: subscribe(address).get(0.1)).start()",
    "closed in a thread": "threading.Thread(target=subscribe(address).close).start()",
}


@pytest.mark.parametrize("script", SCRIPTS.values(), ids=SCRIPTS.keys())
def test_the_interpreter_exits_without_a_word(script: str, directory: Path) -> None:
    address = f"ipc://{directory}/pairs"
    program = (
        f"import sys, threading\nfrom framepair import subscribe\naddress = {address!r}\n{script}\n"
    )
    done = subprocess.run(
        [sys.executable, "-X", "dev", "-W", "error", "-c", program],
        cwd=ROOT,
        capture_output=True,
        text=True,
        timeout=PATIENCE_S,
        check=False,
    )
    assert (done.stdout, done.stderr) == ("", "")
    assert done.returncode == (3 if "exit" in script else 0)
