"""The launcher with stand-ins for its nodes, which end as they are told to."""

from __future__ import annotations

import json
import signal
from pathlib import Path

from tests.lib.processes import Running, python

# Ends with an exit status that depends on the signal; says so if it was asked to stop, and obeys or not.
STAND_IN = """
import os, signal, sys
name, manners = sys.argv[1:]
def stop(*_):
    os.write(1, f"{name} {manners}\\n".encode())
    if manners == "obeys":
        sys.exit(0)
signal.signal(signal.SIGTERM, stop)
for number, status in (signal.SIGUSR1, 0), (signal.SIGUSR2, 1), (signal.SIGHUP, 2):
    signal.signal(number, lambda *_, status=status: os._exit(status))
os.write(int(os.environ["FRAMEPAIR_HEALTH_FD"]), b"flowing\\npaired\\n")
os.write(1, f"READY {name} {os.getpid()}\\n".encode())
while True:
    signal.pause()
"""
DIES_WITH_LAUNCHER = f"""
from framepair.nodes.common.parent_death import die_with_launcher
die_with_launcher()
{STAND_IN}
"""
# The launcher, with other nodes than its own and other times than usual.
DRIVER = """
import json, os, signal, sys
from framepair.nodes.launcher import main as launch
from framepair.nodes.launcher import commands as table, options, pace, restarts, supervisor as pipeline
stand_ins, settings = map(json.loads, sys.argv[1:3])
table.table = lambda *_, **__: [
    table.Node(
        name, kind, (sys.executable, "-c", script, name, manners),
        restart=settings.get("restart", "never"), patience_s=settings.get("patience_s", 1e6),
    )
    for name, kind, manners, script in stand_ins
]
if settings.pop("interrupt_parsing", False):
    parse = options.parse
    options.parse = lambda *given: (os.kill(os.getpid(), signal.SIGINT), parse(*given))[1]
for module in launch, pace, pipeline, restarts:
    vars(module).update({name: value for name, value in settings.items() if name in vars(module)})
sys.exit(launch.main(sys.argv[3:]))
"""
FINISH, FAIL, REFUSE = signal.SIGUSR1, signal.SIGUSR2, signal.SIGHUP
NAMES = ("left", "right", "combiner", "sink")


def start(
    directory: Path,
    *arguments: str,
    stubborn: tuple[str, ...] = (),
    script: str = STAND_IN,
    in_run_dir: bool = True,
    **settings: object,
) -> Running:
    """Start the launcher with four stand-ins, of which ``stubborn`` ones don't stop when asked to.

    Unless ``in_run_dir`` is False it has a run directory of its own.
    """
    nodes = [
        (
            name,
            name if name in ("combiner", "sink") else "producer",
            "ignores" if name in stubborn else "obeys",
            script,
        )
        for name in NAMES
    ]
    named = ["--run-dir", str(directory / "run")] if in_run_dir else []
    options = [*named, *arguments]
    return Running(python("-c", DRIVER, json.dumps(nodes), json.dumps(settings), *options))


def pids(running: Running) -> dict[str, int]:
    """Wait until all nodes are ready; return their pids by name."""
    return {name: int(running.wait_for(f"^READY {name} (.*)")[1]) for name in NAMES}


def stopped(running: Running) -> list[str]:
    """Return the names of the nodes that were asked to stop, in that order."""
    return [line.split()[0] for line in running.stdout if not line.startswith("READY")]


def nothing_is_left(running: Running, directory: Path) -> bool:
    return running.processes() == [] and list(directory.iterdir()) == []
