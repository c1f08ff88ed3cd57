"""Launchers of several hosts make one pipeline together."""

from __future__ import annotations

import contextlib
import shutil
import tempfile
from pathlib import Path

import pytest

from framepair.nodes.launcher.control import Reply, Request, ask
from framepair.protocol.transport.endpoints import control_path
from tests.lib.launcher import launcher
from tests.lib.pipeline import free_ports
from tests.lib.processes import Running

HERE = """
listen = "tcp://127.0.0.1:{port}"
window = 0.2

[sources]
left = "synthetic://160x120@25"
right = "synthetic://160x120@25"

[hosts]
left = "cam-pi"
combiner = "nuc"
sink = "desk"
"""


@pytest.mark.parametrize(
    "order",
    [
        ("desk", "cam-pi", "nuc"),
        pytest.param(("cam-pi", "nuc", "desk"), marks=pytest.mark.slow),
    ],
)
def test_launchers_of_several_hosts_make_one_pipeline(
    tmp_path: Path, order: tuple[str, ...]
) -> None:
    file, run_dir = tmp_path / "pipeline.toml", Path(tempfile.mkdtemp(prefix="fp-"))
    file.write_text(HERE.format(port=free_ports(4)))
    command = launcher("--config", file, "--run-dir", run_dir, "--verbose")
    with contextlib.ExitStack() as stack:
        stack.callback(shutil.rmtree, run_dir)
        hosts = {host: stack.enter_context(Running([*command, "--host", host])) for host in order}
        hosts["desk"].wait_for(r"left 5/5 +right 5/5", count=3)
        # One of them stops and comes back; the others go on meanwhile.
        assert hosts["cam-pi"].stop() == 0
        hosts["desk"].wait_for("left is (over|offline)|left (ended|offline)")
        again = stack.enter_context(Running([*command, "--host", "cam-pi"]))
        hosts["desk"].wait_for(r"left 5/5 +right 5/5", count=3 + len(hosts["desk"].stdout))
        assert again.stop() == 0
        assert hosts["nuc"].stop() == 0
        assert hosts["desk"].stop() == 0
        assert "The ledger balances" in hosts["desk"].stdout[-1]
        for running in (*hosts.values(), again):
            assert running.processes() == []
            assert not any("ended with" in line for line in running.stderr)


def test_each_host_reloads_its_own_copy(tmp_path: Path) -> None:
    """A source comes on the other host, over tcp, and the first one goes; the combiner's host is asked first.

    One that a host that starts now would look for at another port changes nothing, and says what would.
    """
    file, run_dir = tmp_path / "pipeline.toml", Path(tempfile.mkdtemp(prefix="fp-"))
    port = free_ports(6)
    before = "max_sources = 3\n" + HERE.format(port=port)
    file.write_text(before)
    command = launcher("--config", file, "--run-dir", run_dir, "--verbose")
    with contextlib.ExitStack() as stack:
        stack.callback(shutil.rmtree, run_dir)
        hosts = {
            host: stack.enter_context(Running([*command, "--host", host]))
            for host in ("nuc", "cam-pi", "desk")
        }
        hosts["desk"].wait_for(r"left 5/5 +right 5/5", count=3)
        paths = (control_path(run_dir), control_path(run_dir, "cam-pi"))
        file.write_text(before.replace("left =", "door ="))
        for path in paths:
            assert ask(path, Request()).sentence.startswith("door would have the port of left: ")
        door = '\ndoor = "synthetic://160x120@25"\n\n[hosts]\ndoor = "cam-pi"'
        file.write_text(before.replace("\n\n[hosts]", door))
        for path in paths:
            assert ask(path, Request()) == Reply(0, "added: door")
        hosts["desk"].wait_for(r"left 5/5 +right 5/5 +door 5/5", count=3)
        assert "started producer door" in "".join(hosts["cam-pi"].stderr)
        assert "started producer door" not in "".join(hosts["nuc"].stderr)
        without = before.replace("\n\n[hosts]", door)
        for line in ('left = "synthetic://160x120@25"\n', 'left = "cam-pi"\n'):
            assert line in without
            without = without.replace(line, "")
        file.write_text(without)
        for path in paths:
            said = ask(path, Request()).sentence
            # The combiner's own host reaches right without a port; a host that starts now does not, either.
            assert said.endswith(f"say in the table [ports], on all hosts: door = {port + 4}")
        file.write_text(f"{without}\n[ports]\ndoor = {port + 4}\n")
        for path in paths:
            assert ask(path, Request()) == Reply(0, "removed: left")
        hosts["desk"].wait_for(r"^\S+ +\S+ +right 5/5 +door 5/5", count=3)
        assert sum("started producer door" in line for line in hosts["cam-pi"].stderr) == 1
        for host in ("cam-pi", "nuc", "desk"):
            assert hosts[host].stop() == 0
            assert hosts[host].processes() == []
        assert "The ledger balances" in hosts["desk"].stdout[-1]
        assert list(run_dir.iterdir()) == []
