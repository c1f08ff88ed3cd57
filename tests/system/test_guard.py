"""kill -9 of the launcher, of its guard, and of programs that have children: nothing of it all is left."""

from __future__ import annotations

import os
import signal
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from framepair.nodes.launcher import guard
from tests.lib.busy import allowed
from tests.lib.launcher import launcher
from tests.lib.processes import Running, wait_for_exit
from tests.lib.shm import own_directory, rings, until

PAIR = r"left +\d/\d +right +\d/\d"
# Of the promise: from a kill -9 of the launcher until nothing is left, on a machine that is not busy otherwise.
GONE_S = 2.0
NODES = 4
ATTEMPTS = 5
SINK = "sh -c 'echo begun; sleep 1000; true'"
STUBBORN = """sh -c 'trap "" TERM HUP INT; echo begun; sleep 1000; sleep 1000; true'"""


@pytest.fixture
def shm() -> Iterator[Path]:
    with own_directory() as path:
        yield path


def launch(directory: Path, *arguments: str | Path, shm: Path | None = None) -> Running:
    """Start the launcher with two small sources, in shared memory if ``shm`` is given."""
    small = [f"{name}=synthetic://160x120@25" for name in ("left", "right")]
    shared = ("--payload", "shm", "--shm-dir", shm, "--history", "1") if shm else ()
    command = launcher("--run-dir", directory / "run", "--window", "0.2")
    flags = [*small, *shared, "--verbose", *arguments]
    return Running([*command, *map(str, flags)], cwd=directory)


def pid_of(running: Running, node: str, count: int = 1) -> int:
    """Return the pid of a node at its ``count``-th start."""
    return int(running.wait_for(f"^framepair: started {node} as process (.*)", count=count)[1])


def check_killed(running: Running, directory: Path, shm: Path) -> float:
    """Kill the launcher and check that all else goes without anybody's help; return how long that took."""
    killed_s = time.monotonic()
    running.process.kill()
    running.wait_until_gone()
    took_s = time.monotonic() - killed_s
    assert list(directory.iterdir()) == []
    assert not shm.exists()
    return took_s


def works(running: Running) -> None:
    running.wait_for(PAIR)


def has_a_stopped_producer(running: Running) -> None:
    works(running)
    os.kill(pid_of(running, "producer left"), signal.SIGSTOP)


def has_stopped_nodes(running: Running) -> None:
    works(running)
    for pid in running.session():
        if pid != running.process.pid:
            os.kill(pid, signal.SIGSTOP)


def has_a_frozen_producer(running: Running) -> None:
    running.wait_for("left offline")


def has_begun(running: Running) -> None:
    running.wait_for("^begun")
    until(lambda: "READY" in " ".join(running.stderr))


CASES: dict[str, tuple[Callable[[Running], None], tuple[str, ...]]] = {
    "plain": (works, ()),
    "frozen producer": (
        has_a_frozen_producer,
        ("--fault", "left:freeze@0.5s,1000s", "--start-timeout", "1", "--idle-timeout", "0.4"),
    ),
    "stopped producer": (has_a_stopped_producer, ()),
    "stopped nodes": (has_stopped_nodes, ()),
    "sink with a child": (has_begun, ("--sink", SINK)),
    "stubborn sink with a child": (has_begun, ("--sink", STUBBORN)),
}


@pytest.mark.parametrize(
    "case", ["plain", "frozen producer", "stopped nodes", "stubborn sink with a child"]
)
def test_nothing_outlives_a_launcher_that_is_killed(directory: Path, shm: Path, case: str) -> None:
    moment, arguments = CASES[case]
    with launch(directory, *arguments, shm=shm) as running:
        moment(running)
        check_killed(running, directory, shm)


@pytest.mark.slow
@pytest.mark.parametrize("case", CASES)
def test_all_is_gone_in_time(directory: Path, shm: Path, case: str) -> None:
    moment, arguments = CASES[case]
    with launch(directory, *arguments, shm=shm) as running:
        moment(running)
        # Another test may keep the machine busy meanwhile.
        most_s = 2 * GONE_S if "PYTEST_XDIST_WORKER" in os.environ else GONE_S
        assert check_killed(running, directory, shm) < most_s


def test_what_the_guard_waits_for_is_within_the_time_promised() -> None:
    assert guard.GRACE_S + guard.KILL_S + guard.LOCKS_S < GONE_S


@pytest.mark.parametrize(
    ("nodes", "sink"),
    [
        *((nodes, None) for nodes in range(1, NODES + 1)),
        # It is started first.
        (1, STUBBORN),
        *(pytest.param(n, STUBBORN, marks=pytest.mark.slow) for n in range(2, NODES + 1)),
    ],
    ids=lambda value: {None: "sink", STUBBORN: "stubborn sink"}.get(value),
)
def test_nothing_outlives_a_launcher_that_is_killed_while_it_starts(
    directory: Path, shm: Path, nodes: int, sink: str | None
) -> None:
    with launch(directory, *(("--sink", sink) if sink else ()), shm=shm) as running:
        until(lambda: len(running.session()) > nodes)
        check_killed(running, directory, shm)


def test_who_starts_again_at_once_waits_for_the_guard(directory: Path, shm: Path) -> None:
    with launch(directory, "--sink", STUBBORN, shm=shm) as killed:
        has_begun(killed)
        killed.process.kill()
        killed.process.wait()
        with launch(directory, shm=shm) as running:
            running.wait_for(PAIR)
            killed.wait_until_gone()
            assert len(rings(shm)) == 2
            assert running.stop() == 0
        assert not shm.exists()


@pytest.mark.parametrize("number", [signal.SIGKILL, signal.SIGSTOP], ids=["killed", "stopped"])
def test_without_its_guard_the_pipeline_goes_on(directory: Path, number: signal.Signals) -> None:
    with launch(directory) as running:
        running.wait_for(PAIR)
        os.kill(running.guard(), number)
        os.kill(pid_of(running, "producer left"), signal.SIGKILL)
        pid_of(running, "producer left", count=2)
        running.wait_for(PAIR, count=len(running.stdout) + 2)
        assert running.stop() == 0
        assert running.processes() == []
        assert not any("Traceback" in line for line in running.stderr)
    assert list(directory.iterdir()) == []


def test_signals_to_all_do_not_end_the_guard(directory: Path, shm: Path) -> None:
    with launch(directory, shm=shm) as running:
        running.wait_for(PAIR)
        for number in guard.IGNORED:
            os.kill(running.guard(), number)
        check_killed(running, directory, shm)


def test_the_guard_is_told_who_there_is_and_hands_nothing_on(directory: Path) -> None:
    with launch(directory) as running:
        running.wait_for(PAIR)
        pipe = Path(f"/proc/{running.guard()}/fd/0").readlink()
        holders = [
            pid
            for pid in running.processes()
            if pipe in [path.readlink() for path in Path(f"/proc/{pid}/fd").iterdir()]
        ]
        assert sorted(holders) == sorted([running.process.pid, running.guard()])
        assert running.stop() == 0
    assert guard.left_behind(["+7\n", "+8\n", "-7\n"]) == {8}
    assert guard.left_behind(["+7\n", f"{guard.GOODBYE}\n"]) is None
    assert guard.left_behind([]) == set()


CHILDREN = pytest.mark.parametrize(
    "sink",
    [
        pytest.param(SINK, id="sink", marks=pytest.mark.slow),
        pytest.param(STUBBORN, id="stubborn sink"),
    ],
)


@CHILDREN
def test_the_children_of_a_sink_end_with_the_pipeline(directory: Path, sink: str) -> None:
    with launch(directory, "--sink", sink) as running:
        has_begun(running)
        running.stop()
        assert running.processes() == []
    assert list(directory.iterdir()) == []


@CHILDREN
def test_the_children_of_a_sink_that_is_killed_end_before_it_is_back(
    directory: Path, sink: str
) -> None:
    with launch(directory, "--sink", sink) as running:
        has_begun(running)
        until(lambda: "sleep" in commands(running))
        former = running.pid_of("sleep", "1000")
        os.kill(pid_of(running, "sink"), signal.SIGKILL)
        pid_of(running, "sink", count=2)
        assert wait_for_exit(former, 0)
        running.stop()
        assert running.processes() == []


def commands(running: Running) -> list[str]:
    return [Path(f"/proc/{pid}/comm").read_text().strip() for pid in running.session()]


def test_a_sink_of_ours_below_a_shell_has_its_last_word(directory: Path) -> None:
    # The shell ends at once, and what it leaves has CHILDREN_S: too little now and then on a busy machine.
    attempts = min(ATTEMPTS, round(allowed(1.0)))
    assert any(has_last_word_below_a_shell(directory) for _ in range(attempts))


def has_last_word_below_a_shell(directory: Path) -> bool:
    """Run and stop a pipeline whose sink is below a shell; return whether its report came to its end."""
    sink = f"sh -c '{sys.executable} -m framepair.nodes.sink --sub {{sub}}; true'"
    with launch(directory, "--sink", sink) as running:
        running.wait_for(PAIR)
        running.stop()
        assert not any("the launcher is gone" in line for line in running.lines)
        assert running.processes() == []
        return "The ledger balances" in running.stdout[-1]
