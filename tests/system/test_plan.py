"""What --plan says beforehand: links, memory, shared memory, and what speaks against it."""

from __future__ import annotations

import json
import re
from dataclasses import replace
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest

from framepair.nodes.estimate import bounds, main
from framepair.nodes.estimate.bounds import Format, Limits, Source
from framepair.nodes.launcher import topology
from framepair.nodes.launcher.options import parse
from framepair.protocol.memory import payloads
from framepair.protocol.memory.shared_ring import SharedRing
from framepair.protocol.wire.limits import MAX_FRAME_BYTES
from tests.lib.launcher import launcher
from tests.lib.processes import ROOT, Running, python
from tests.lib.shm import own_directory, small_file_system

LIMITS = Limits(window_s=1.0, max_bytes=None, keep=2, history_s=4.0, max_wait_s=0.0)
FRAME = 1920 * 1080 * 3


def source(payload: str = "raw", address: str = "ipc:///x", **fields: Any) -> Source:
    form = Format(**{"shape": (1080, 1920, 3), **fields})
    return Source("left", form, payloads.parse(payload), synthetic=True, address=address)


def planned(directory: Path, *arguments: str | Path) -> tuple[dict[str, Any], Running]:
    report = directory / "plan.json"
    command = launcher("--plan", "--json", report, *arguments)
    with Running(command) as running:
        running.wait()
    assert not any("Traceback" in line for line in running.lines)
    return json.loads(report.read_text()) if report.exists() else {}, running


def test_a_link_carries_what_is_captured() -> None:
    assert source().link_bytes_per_s == 25 * FRAME
    assert source("shm").link_bytes_per_s == 0


def test_queues_are_two_windows_unless_told_otherwise() -> None:
    assert bounds.queue_bytes(source(), LIMITS) == 50 * FRAME
    few = replace(LIMITS, max_bytes=10 * FRAME + 1)
    assert bounds.queue_bytes(source(), few) == 10 * FRAME


def test_a_stalled_consumer_costs_what_the_sources_that_there_may_be_take() -> None:
    two = [source(), source()]
    assert bounds.published_bytes(two, LIMITS) == 100 * FRAME
    assert bounds.published_bytes(two, replace(LIMITS, max_sources=2)) == 100 * FRAME
    # A queue of 402 messages, of which eight announce pairs.
    eight = bounds.published_bytes(two, replace(LIMITS, max_sources=8))
    assert eight // FRAME == 402 - 8


@pytest.mark.parametrize(
    ("manifest", "limit"),
    [
        ("compose.yaml", r"memory: \$\{COMBINER_MEMORY:-(\d+)g\}"),
        ("deploy/kubernetes/base/combiner.yaml", r"limits: \{memory: (\d+)Gi\}"),
    ],
)
def test_a_combiners_container_has_room_for_three_stalled_consumers_and_strangers(
    manifest: str, limit: str
) -> None:
    (found,) = re.findall(limit, (ROOT / manifest).read_text())
    planned = bounds.combiner_bytes([source(), source()], LIMITS, subscribers=3)
    # One largest frame, and what comes in between two looks at the connections.
    assert planned + 2 * MAX_FRAME_BYTES < int(found) * 2**30


def needs(*arguments: str, shm_dir: Path) -> main.Needs:
    options = parse([*arguments, "--shm-dir", str(shm_dir)])
    small = source(shape=(120, 160, 3))
    return main.find_needs(options, topology.plan(options), [small, small])


def test_a_relay_counts_with_its_rings(tmp_path: Path) -> None:
    without = needs("--relay", "never", "--record", "r", shm_dir=tmp_path)
    assert (without.shared_bytes, "relay" in without.processes) == (0, False)
    relayed = needs("--record", "r", shm_dir=tmp_path)
    assert relayed.shared_bytes == 2 * payloads.parse("shm").ring_bytes((120, 160, 3), 25.0, 4.0)
    assert relayed.processes["relay"] > relayed.shared_bytes + bounds.BASE_BYTES["relay"]
    assert relayed.processes == {**without.processes, "relay": relayed.processes["relay"]}
    with small_file_system(1024 * 1024) as small:
        needed = needs("--record", "r", shm_dir=small / "rings")
    (sentence,) = needed.verdicts
    assert sentence.startswith(f"{small} has 1 MB, a relay's rings need 13 MB: without them each")
    assert (needed.shared_bytes, needed.processes) == (0, without.processes)
    assert needed.refusals == []


def test_a_consumer_holds_the_windows_that_are_open_while_a_pair_waits() -> None:
    at_once, half, ten = (
        bounds.sink_bytes([source()], replace(LIMITS, max_wait_s=wait_s)) for wait_s in (0, 0.5, 10)
    )
    assert half - at_once == round(bounds.HEAP * 26 * FRAME)
    assert ten - at_once == round(bounds.HEAP * 10 * 26 * FRAME)


def test_a_ring_is_as_large_as_said() -> None:
    small = source("shm", shape=(48, 64, 3))
    with own_directory() as shm:
        shm.mkdir(mode=0o700)
        ring = SharedRing(shm, "left.1.0", 102, (48, 64, 3))
        assert (shm / ring.name).stat().st_size == bounds.ring_bytes(small, LIMITS)
        ring.close()
        shm.rmdir()


def test_what_is_more_than_a_network_carries_is_said() -> None:
    far = "tcp://10.0.0.5:7401"
    planes = source(address=far, shape=(1620, 1920, 1), encoding="i420", fps=50.0)
    assert main.described(planes) == "left raw 1080p50"
    (sentence,) = main.of_links([source(address=far)], "ipc:///x")
    assert sentence.startswith("left raw 1080p25 = 1.24 Gbit/s: more than 1 GbE carries")
    assert list(main.of_links([source(address=far, fps=15.0)], "ipc:///x")) == []
    assert list(main.of_links([source()], "ipc:///x")) == []
    assert len(list(main.of_links([source()], "tcp://10.0.0.5:7400"))) == 1


def test_more_memory_than_there_is_is_said() -> None:
    (sentence,) = main.of_memory(10**15)
    assert sentence.startswith("the nodes may take 1000000.0 GB and ")
    assert list(main.of_memory(1)) == []


def test_of_synthetic_sources_and_files_all_is_known(directory: Path) -> None:
    path = directory / "a.avi"
    writer = cv2.VideoWriter(str(path), cv2.VideoWriter.fourcc(*"MJPG"), 20.0, (320, 240))
    for _ in range(3):
        writer.write(np.zeros((240, 320, 3), np.uint8))
    writer.release()
    asked = ("--pixels", "left=i420", "--fps", "left=5", "--size", "a=160x")
    plan, running = planned(directory, "left=synthetic://160x120@10", path, *asked)
    assert running.process.returncode == 0
    assert plan["links"]["left"][1] == 160 * 120 * 3 / 2 * 5
    assert plan["links"]["a"][1] == 160 * 120 * 3 * 20
    assert plan["links"]["pairs"][1] == plan["links"]["left"][1] + plan["links"]["a"][1]
    assert list(plan["processes"]) == [
        "producer left",
        "producer a",
        "combiner",
        "sink",
    ]
    assert plan["verdicts"] == []


def test_what_an_unknown_source_sends_is_not_said_to_be_nothing(directory: Path) -> None:
    plan, running = planned(directory, "left=synthetic://160x120@10", "yard=http://127.0.0.1:9/x")
    assert running.process.returncode == 0
    assert "producer yard" in plan["processes"]
    assert plan["verdicts"] == ["yard can't be opened now: what it takes is not known"]
    assert plan["links"]["left"][1] == 160 * 120 * 3 * 10
    assert plan["links"]["yard"][1] is None
    assert plan["links"]["pairs"][1] is None
    rows = [line.split() for line in running.stdout if "//" in line]
    assert [row[-2:] for row in rows if row[:1] in (["yard"], ["pairs"])] == [["?", "?"]] * 2


def test_a_file_that_is_not_there_is_one_sentence_unless_it_is_waited_for(
    directory: Path,
) -> None:
    missing = directory / "missing.mp4"
    plan, running = planned(directory, "left=synthetic://160x120@10", missing)
    assert running.process.returncode == 2
    assert plan == {}
    (sentence,) = running.stderr
    assert sentence.startswith(f"framepair: missing: there is no file {missing}: correct the path")
    plan, running = planned(directory, "left=synthetic://160x120@10", missing, "--wait")
    assert running.process.returncode == 0
    assert plan["links"]["missing"][1] is None


def test_a_plan_that_does_not_fit_is_exit_code_2(directory: Path) -> None:
    with small_file_system(1024 * 1024) as small:
        shared = ("--payload", "shm", "--shm-dir", small / "rings", "--history", "10")
        plan, running = planned(directory, "left=synthetic://160x120@25", *shared)
        assert running.process.returncode == 2
        (sentence,) = plan["refusals"]
        assert sentence.startswith(f"{small} has 1 MB, the rings need 15 MB: choose a smaller")
        assert list(small.iterdir()) == []


def test_a_plan_with_auto_says_which_sources_are_sent_raw(directory: Path) -> None:
    with small_file_system(16 * 1024 * 1024) as small:
        sources = ("left=synthetic://160x120@25", "right=synthetic://640x480@25")
        plan, running = planned(
            directory, *sources, "--payload", "auto", "--shm-dir", small / "rings"
        )
    assert running.process.returncode == 0
    (sentence,) = plan["verdicts"]
    assert sentence == f"right is sent raw: its ring needs 94 MB and {small} has 10 MB"
    assert [plan["links"][name][1] for name in ("left", "right")] == [0, 25 * 640 * 480 * 3]
    assert 0 < plan["shared_bytes"] < 16 * 1024 * 1024


def test_frames_too_large_for_a_message_are_refused_but_not_for_shared_memory(
    directory: Path,
) -> None:
    plan, running = planned(directory, "a=synthetic://8000x5600@1")
    assert running.process.returncode == 2
    (sentence,) = plan["refusals"]
    assert sentence.startswith("a: a frame of 8000x5600 has 134400000 bytes and a message may have")
    plan, _ = planned(directory, "a=synthetic://8000x5600@1", "--payload", "shm")
    assert not any("a message may have" in sentence for sentence in plan["refusals"])


def test_what_cannot_be_planned_is_one_sentence(directory: Path) -> None:
    _, running = planned(directory, "--payload", "best")
    assert running.process.returncode == 2
    assert len(running.stderr) == 1


def test_a_source_that_cannot_be_one_is_one_sentence(directory: Path) -> None:
    plan, running = planned(directory, "left=synthetic://0x0@0", "right=synthetic://")
    assert running.process.returncode == 2
    assert plan == {}
    (sentence,) = running.stderr
    assert sentence.startswith("framepair: left: ")


def test_an_address_with_a_password_is_in_no_command_and_no_message(directory: Path) -> None:
    # The producer that looks at it is told in its environment; a flag of ours would be the user's doing.
    file = directory / "pipeline.toml"
    file.write_text('[sources]\nleft = "http://u:hunter2@127.0.0.1:9/x"\n')
    script = """
import subprocess, sys
from framepair.nodes.estimate import main
start = subprocess.Popen
def told(command, **options):
    assert "hunter2" not in " ".join(command)
    assert "hunter2" in options["env"]["FRAMEPAIR_SOURCE"]
    print("started", command[4])
    return start(command, **options)
subprocess.Popen = told
sys.exit(main.main())
"""
    with Running(python("-c", script, "plan", "--config", file)) as running:
        assert running.wait() == 0
        assert "started --probe" in running.stdout
        assert "left can't be opened now: what it takes is not known" in running.stdout
        assert "hunter2" not in "".join(running.lines)


def probed(*flags: str) -> Running:
    command = python("-m", "framepair.nodes.producer", "--probe", "--name", "left", *flags)
    with Running(command) as running:
        running.wait()
    return running


def test_a_producer_says_what_its_source_is() -> None:
    running = probed("--source", "synthetic://160x120@10")
    (line,) = running.stdout
    assert json.loads(line) == {
        "shape": [120, 160, 3],
        "encoding": "bgr8",
        "fps": 10.0,
        "total": 0,
        "live": False,
        "colour": None,
        "begins_ns": None,
        "start_ns": 0,
        "message_bytes": 160 * 120 * 3,
    }
    small, large = (
        json.loads(probed("--source", "synthetic://160x120@10", "--payload", f"jpeg:{q}").stdout[0])
        for q in (10, 100)
    )
    assert 0 < small["message_bytes"] < large["message_bytes"]


@pytest.mark.parametrize(
    ("flags", "code"),
    [
        (["--source", "missing.mp4"], 1),
        (["--source", ""], 2),
        (["--source", "synthetic://0x0@0"], 2),
        (["--source", "0", "--payload", "best"], 2),
    ],
)
def test_a_source_that_is_not_there_is_told_from_one_that_cannot_be(
    flags: list[str], code: int
) -> None:
    running = probed(*flags)
    assert running.process.returncode == code
    assert running.stdout == []
    assert running.stderr[-1].startswith("producer: ")
