"""Producers and sinks whose clocks are wrong: frames are in the right windows, within what they say."""

from __future__ import annotations

import itertools
import json
import re

import pytest
import zmq

from framepair import Pair, subscribe
from framepair.nodes.producer.sources import pattern
from framepair.protocol.clocks import clock
from framepair.protocol.transport.endpoints import EndpointError
from framepair.protocol.wire.reasons import PRODUCER_DROPPED
from framepair.protocol.wire.sync import Ping, decode_pong
from tests.lib.launcher import launcher
from tests.lib.pipeline import (
    PATIENT,
    PATIENT_COMBINER,
    WINDOW_NS,
    Pipeline,
    Unsent,
    checked,
    stamped_ns,
)
from tests.lib.processes import PATIENCE_S, Running
from tests.lib.proxy import Proxy

SOURCE = "synthetic://160x120@25"
# How a sink says a pair's lag where clocks are compared: milliseconds, and by how much that may be wrong.
LAG = re.compile(r"(-?\d+\.\d)±(\d+\.\d)")
SAID = re.compile(r"the clock is (\S+) s ahead and gains (\S+) ppm, as asked for, since (\d+) ns")


class Synced(Pipeline):
    """A pipeline over tcp whose nodes ask the combiner for the time."""

    def __init__(self, *sources: str) -> None:
        super().__init__(list(sources), "tcp")
        assert self.endpoints.sync is not None
        self.sync: str = self.endpoints.sync

    def all_corrected(self, *flags: str) -> Running:
        """Start a combiner that corrects stamps, though all is on one machine."""
        return self.combiner("--sync", self.sync, "--clock", "corrected", *flags)

    def wrong(self, name: str, fault: str, *flags: str) -> Running:
        """Start a producer whose clock is as wrong as ``fault`` says."""
        return self.producer(name, SOURCE, "--sync", self.sync, "--fault", fault, *flags)


class Truth:
    """When a producer's frames really were captured, from what its wrong clock wrote into their pixels."""

    def __init__(self, producer: Running) -> None:
        said = producer.wait_for(SAID.pattern)
        self._ahead_ns = round(float(said[1]) * 1e9)
        self._rate = float(said[2]) / 1e6
        self._since_ns = int(said[3])

    def captured_ns(self, stamped_ns: int) -> int:
        wrong_ns = stamped_ns - self._ahead_ns - self._since_ns
        return self._since_ns + round(wrong_ns / (1 + self._rate))


@pytest.fixture(autouse=True)
def _one_clock(monkeypatch: pytest.MonkeyPatch) -> None:
    """Have all processes agree on UTC, but for what they are told to do wrong."""
    monkeypatch.setenv(clock.OFFSET_VARIABLE, str(clock.utc_offset_ns()))


def worst_error_ns(pair: Pair, source: str, truth: Truth) -> int:
    """Check that all frames are where they belong, within what they say; return by how much one is wrong."""
    errors_ns = []
    for header, image in zip(pair[source].frames, pair[source].images, strict=True):
        stamp = pattern.read(image)
        assert stamp is not None
        assert header.uncertainty_ns is not None
        true_ns = truth.captured_ns(stamp.captured_ns)
        errors_ns.append(abs(header.captured_ns - true_ns))
        assert errors_ns[-1] <= header.uncertainty_ns
        assert pair.start_ns - header.uncertainty_ns <= true_ns
        assert true_ns < pair.end_ns + header.uncertainty_ns
        assert abs(header.captured_ns - stamp.captured_ns) > 2.9e9
    return max(errors_ns)


def test_frames_are_in_the_right_windows_within_the_uncertainty() -> None:
    with Synced("ahead", "behind") as nodes, subscribe(nodes.pub, keep=100) as pairs:
        nodes.all_corrected(*PATIENT_COMBINER)
        truths = {
            "ahead": Truth(nodes.wrong("ahead", "clock@3s,200ppm", *PATIENT)),
            "behind": Truth(nodes.wrong("behind", "clock@-3s,-200ppm", *PATIENT)),
        }
        unsent = Unsent()
        # Long enough for the drift to be more than the uncertainty.
        for pair in itertools.islice(checked(pairs), 25):
            unsent.add_pair(pair)
            for source, truth in truths.items():
                assert worst_error_ns(pair, source, truth) < WINDOW_NS
        assert [totals.late for totals in pairs.stats().totals.values()] == [0, 0]


def test_as_stamped_they_are_refused_as_of_the_future() -> None:
    with Synced("left", "right") as nodes, subscribe(nodes.pub, keep=100) as pairs:
        # What is not told otherwise trusts the clock of its own machine.
        nodes.combiner("--sync", nodes.sync, "--start-timeout", "0.5")
        nodes.wrong("left", "clock@3s,0ppm")
        nodes.producer("right", SOURCE)
        pair = next(pair for pair in checked(pairs) if pair["left"].header.totals.captured > 5)
        assert not pair["left"].frames
        assert pair["left"].header.totals.dropped["future"] > 0
        assert {(f.offset_ns, f.uncertainty_ns) for f in pair["right"].frames} == {(None, 0)}


def test_latencies_are_those_of_the_combiners_clock(monkeypatch: pytest.MonkeyPatch) -> None:
    with Synced("left", "right") as nodes:
        report = nodes.run_dir / "report.json"
        combiner = nodes.all_corrected()
        producers = [nodes.producer(n, SOURCE, "--sync", nodes.sync) for n in nodes.sources]
        # The sink's machine is an hour behind.
        monkeypatch.setenv(clock.OFFSET_VARIABLE, str(clock.utc_offset_ns() - 3600 * 10**9))
        sink = nodes.sink("--sync", nodes.sync, "--json", str(report))
        sink.wait_for(rf"left 5/5 +right 5/5 +{LAG.pattern}", count=5)
        assert [node.stop() for node in (*producers, combiner, sink)] == [0] * 4
        result = json.loads(report.read_text())
    said_ms = [tuple(map(float, lag)) for line in sink.stdout for lag in LAG.findall(line)]
    # A pair is here after its capture, but the clocks that say so may differ: by what is said, rounded here.
    assert [lag for lag in said_ms if not -lag[1] - 0.1 <= lag[0] < PATIENCE_S * 1e3] == []
    lag_ms, uncertainty_ms = result["lag_ms"], result["lag_uncertainty_ms"]
    assert -uncertainty_ms["max"] < lag_ms["p50"] < PATIENCE_S * 1e3
    assert 0 < uncertainty_ms["p50"] < PATIENCE_S * 1e3
    assert any(line.startswith("lag ± ") for line in sink.stdout)
    assert result["ledger_balanced"]


def test_a_file_begins_with_a_window_of_the_combiners(
    tmp_path_factory: pytest.TempPathFactory,
) -> None:
    from tests.lib.videos import write_video

    video = write_video(tmp_path_factory.mktemp("video") / "left.avi", frames=50, fps=25)
    with Synced("left") as nodes, subscribe(nodes.pub, keep=100) as pairs:
        nodes.all_corrected()
        nodes.producer("left", str(video), "--sync", nodes.sync, "--fault", "clock@1.234s,100ppm")
        taken: list[Pair] = list(pairs)
        # All of its frames, five in each window, but for those that its producer counts as unsent: see above.
        unsent = [pair["left"].gaps for pair in taken]
        assert [len(pair["left"]) + gaps for pair, gaps in zip(taken, unsent, strict=True)] == [
            5
        ] * 10
        assert taken[-1]["left"].header.totals.dropped.get(PRODUCER_DROPPED, 0) == sum(unsent) < 10


def test_a_combiner_that_comes_back_is_asked_anew() -> None:
    with Synced("left", "right") as nodes, subscribe(nodes.pub, keep=100) as pairs:
        combiner = nodes.all_corrected()
        left = nodes.wrong("left", "clock@-3s,100ppm")
        nodes.producer("right", SOURCE, "--sync", nodes.sync)
        truth, stream = Truth(left), checked(pairs)
        # On a busy machine the first one may lack frames of a producer that fell behind.
        former = next(pair for pair in stream if pair.complete)
        assert combiner.stop() == 0
        nodes.all_corrected()
        others = (pair for pair in stream if pair.header.run != former.header.run)
        first = next(pair for pair in others if pair.complete)
        for header in first["left"].frames:
            assert header.uncertainty_ns is not None
            error_ns = abs(header.captured_ns - truth.captured_ns(stamped_ns(header)))
            assert error_ns <= header.uncertainty_ns


GARBAGE = [[b""], [b"\xc1" * 100], [b"no", b"question"], [b"x" * 10_000], [Ping(1).encode()] * 3]


def test_questions_that_make_no_sense_disturb_nobody() -> None:
    with Synced("left") as nodes, zmq.Context() as context, context.socket(zmq.DEALER) as dealer:
        combiner = nodes.all_corrected()
        dealer.linger = 0
        dealer.rcvtimeo = int(PATIENCE_S * 1000)
        for garbage in GARBAGE:
            # Each on a connection of its own: one that says too much is cut off.
            with context.socket(zmq.DEALER) as stranger:
                stranger.connect(nodes.sync)
                stranger.send_multipart(garbage)
                stranger.linger = 1000
        dealer.connect(nodes.sync)
        dealer.send(Ping(42, "left", 1).encode())
        pong = decode_pong(dealer.recv())
        assert pong.ping_ns == 42
        assert abs(pong.received_ns - clock.now_ns()) < PATIENCE_S * 1e9
        assert pong.taken == 0
        dealer.send(Ping(43, "nobody", 1).encode())
        assert decode_pong(dealer.recv()).ping_ns == 43
        assert combiner.stop() == 0
        assert not any("Traceback" in line for line in combiner.lines)


def test_without_anybody_to_ask_frames_come_as_they_are_stamped() -> None:
    with Synced("left") as nodes, subscribe(nodes.pub, keep=100) as pairs:
        # Not where the producer asks.
        elsewhere = f"ipc://{nodes.run_dir}/time"
        combiner = nodes.combiner("--clock", "corrected", "--sync", elsewhere)
        producer = nodes.producer("left", SOURCE, "--sync", nodes.sync)
        pair = next(checked(pairs))
        assert {(f.offset_ns, f.uncertainty_ns) for f in pair["left"].frames} == {(None, None)}
        assert pair.lag_uncertainty_ns is None
        assert combiner.wait_for("left: its producer does not say how far its clock is")
        producer.wait_for("nobody answers at .*: .* is that where the combiner tells the time")


def test_an_unknown_clock_is_said_to_be_unknown(monkeypatch: pytest.MonkeyPatch) -> None:
    with Synced("left") as nodes:
        report = nodes.run_dir / "report.json"
        # Producers are believed, whatever they have found out.
        combiner = nodes.combiner("--sync", nodes.sync, "--clock", "stamped")
        elsewhere = nodes.endpoints.pull["left"].replace("127.0.0.1", "0.0.0.0")
        assert combiner.stop() == 0
        nodes.endpoints.pull["left"], reachable = elsewhere, nodes.endpoints.pull["left"]
        combiner = nodes.combiner("--sync", nodes.sync, "--clock", "stamped", "--insecure")
        nodes.endpoints.pull["left"] = reachable
        producer = nodes.producer("left", SOURCE, "--sync", nodes.sync)
        sink = nodes.sink("--json", str(report))
        sink.wait_for(r"left 5/5 +\d+\.\d±\?", count=3)
        assert [node.stop() for node in (producer, combiner, sink)] == [0] * 3
        assert any("nobody knows how wrong lag and hops are" in line for line in sink.stdout)
        assert json.loads(report.read_text())["lag_uncertainty_unknown"] > 0


def test_what_can_not_be_compared_is_refused() -> None:
    with Synced("left") as nodes:
        node = nodes.start(
            "combiner", f"--pull=left={nodes.endpoints.pull['left']}", "--pub", nodes.pub,
            "--clock", "corrected",
        )  # fmt: skip
        assert node.wait() == 2
        assert "--clock corrected needs an address to tell producers the time at" in node.stderr[0]
        pushes = ("--name", "left", "--source", SOURCE, "--push", nodes.endpoints.pull["left"])
        node = nodes.start("producer", *pushes, "--sync", "tcp://127.0.0.1:notaport")
        assert node.wait() == 2
        assert "'tcp://127.0.0.1:notaport' is not tcp://HOST:PORT" in node.stderr[-1]
        with pytest.raises(EndpointError, match="with a port from 1 to 65535"):
            subscribe(nodes.pub, sync="tcp://127.0.0.1:notaport")
        launch = launcher("--run-dir", nodes.run_dir / "run", "--clock", "corrected")
        with Running(launch) as running:
            assert running.wait() == 2
            assert "on one machine there is one clock" in running.stderr[0]


@pytest.mark.parametrize("what", ["stall", pytest.param("cut", marks=pytest.mark.slow)])
def test_frames_flow_when_nobody_tells_the_time_any_more(what: str) -> None:
    with Synced("left") as nodes, subscribe(nodes.pub, keep=100) as pairs:
        nodes.all_corrected()
        proxy = nodes.enter_context(Proxy(int(nodes.sync.rpartition(":")[2])))
        nodes.producer("left", SOURCE, "--sync", f"tcp://127.0.0.1:{proxy.port}")
        stream = checked(pairs)
        # On a busy machine the first one may lack frames that were not sent.
        assert next(pair for pair in stream if pair.complete)
        getattr(proxy, what)()
        # Until that is noticed, some may be held back; then none is, for as long as it lasts.
        seen = list(itertools.islice(stream, 30))
        assert all(pair.complete for pair in seen[15:])
        assert all(frame.offset_ns is not None for pair in seen for frame in pair["left"].frames)
