"""A combiner whose list of sources changes: real sockets and a real core, and producers of the test's own."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from pathlib import Path

import pytest
import zmq

from framepair.nodes.combiner import source_list
from framepair.nodes.combiner.inbox import receiving
from framepair.nodes.combiner.intake import Intake
from framepair.nodes.combiner.open_windows import ReceivedFrame
from framepair.nodes.combiner.pace import Rules
from framepair.nodes.combiner.source_list import SourceListFollower
from framepair.nodes.combiner.windows import Windows
from framepair.nodes.common.sources_file import SourceList, SourcesFile, write
from framepair.protocol.clocks import clock
from framepair.protocol.transport import sockets
from framepair.protocol.transport.heartbeat import OfList
from framepair.protocol.wire.frame import FrameHeader, SourceEnd
from tests.lib.feed import frame
from tests.lib.processes import PATIENCE_S
from tests.lib.units import MS


class Words:
    """What the launcher hears."""

    def __init__(self) -> None:
        self.said: list[tuple[OfList, int]] = []

    def tell_version(self, word: OfList, version: int) -> None:
        self.said.append((word, version))


class Turning(ExitStack):
    """The work loop of a combiner of left and right, turn by turn, without a publisher."""

    def __init__(self, directory: Path) -> None:
        super().__init__()
        self._directory = directory
        self._path = directory / "sources.toml"
        context = self.enter_context(sockets.new_context())
        self._context, self._bell = context, threading.Event()
        addresses = self._addresses("left", "right")
        self.inboxes = self.enter_context(
            receiving(context, addresses, self._bell, lossless=False, keys=None)
        )
        self.words = Words()
        rules = Rules(window_ns=100 * MS, max_wait_ns=100 * MS, idle_timeout_ns=200 * MS)
        self.windows: Windows[zmq.Frame] = Windows(addresses, rules, run=1)
        self.intake = Intake(self.inboxes.values(), self.windows)
        self.changes = SourceListFollower(
            SourcesFile(self._path),
            self.windows,
            self.intake,
            self.inboxes,
            self.words,  # type: ignore[arg-type]
        )
        self.pairs: list[set[str]] = []
        self.gone: list[str] = []

    def ask(self, version: int, *sources: str) -> None:
        write(self._path, SourceList(version, self._addresses(*sources)))

    def producer(self, source: str) -> sockets.Socket:
        address = self._addresses(source)[source]
        return self.enter_context(sockets.push(self._context, address, hwm=10, lossless=True))

    def until(self, over: Callable[[], bool], *producers: Producer) -> None:
        """Turn until ``over``; the producers send a frame at each turn."""
        deadline_ns = clock.now_ns() + round(PATIENCE_S * 1e9)
        while not over():
            assert clock.now_ns() < deadline_ns, (self.words.said, self.gone, self.pairs[-3:])
            for producer in producers:
                producer.send()
            self._bell.wait(0.01)
            self._bell.clear()
            now_ns = clock.now_ns()
            for incoming in self.intake.take(now_ns):
                if isinstance(incoming, ReceivedFrame):
                    self.windows.frame(incoming)
                elif isinstance(incoming.header, SourceEnd):
                    self.windows.end(incoming.header, incoming.received_ns)
            self.windows.release(now_ns)
            self.pairs += [set(pair.clips) for pair in self.windows.closed(now_ns)]
            self.gone += self.changes.turn(now_ns)

    def _addresses(self, *sources: str) -> dict[str, str]:
        return {source: f"ipc://{self._directory}/{source}" for source in sources}


class Producer:
    """Sends a frame whenever it is told to."""

    def __init__(self, turning: Turning, source: str, run: int = 1) -> None:
        self._socket, self._source, self._run = turning.producer(source), source, run
        self.sent = 0

    def send(self) -> None:
        now_ns = clock.now_ns()
        header: FrameHeader = frame(
            self._source, self.sent, captured_ns=now_ns, next_ns=now_ns + 1, run=self._run
        )
        self._socket.send_multipart([header.encode(), b"x" * header.nbytes])
        self.sent += 1

    def end(self) -> None:
        end = SourceEnd(self._source, self._run, self.sent, 0, "stopped")
        self._socket.send(end.encode())


@pytest.fixture
def turning(tmp_path: Path) -> Iterator[Turning]:
    with Turning(tmp_path) as turning:
        yield turning


def test_a_source_comes_and_another_goes_with_its_last_word(turning: Turning) -> None:
    left, right = Producer(turning, "left"), Producer(turning, "right")
    turning.until(lambda: {"left", "right"} in turning.pairs, left, right)
    turning.ask(1, "left", "door")
    turning.until(lambda: ("took", 1) in turning.words.said, left)
    door = Producer(turning, "door")
    turning.until(lambda: ("closed", 1) in turning.words.said, left, right)
    right.send()
    right.end()
    turning.until(lambda: turning.gone == ["right"], left)
    totals = turning.windows.totals()["right"]
    assert totals.captured == right.sent
    assert totals.dropped["removed"] >= 1
    turning.until(lambda: turning.pairs[-1] == {"left", "door"}, left, door)
    assert list(turning.inboxes.addresses) == ["left", "door"]
    # It can return, at the same address.
    turning.ask(2, "left", "door", "right")
    turning.until(lambda: ("closed", 2) in turning.words.said, left)
    again = Producer(turning, "right", run=2)
    turning.until(
        lambda: turning.pairs[-1] == {"left", "door", "right"},
        left,
        door,
        again,
    )
    assert turning.words.said == [("took", 1), ("closed", 1), ("took", 2), ("closed", 2)]


def test_a_producer_that_says_nothing_more_is_not_waited_for(
    turning: Turning, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(source_list, "LAST_WORD_S", 0.1)
    left = Producer(turning, "left")
    left.send()
    turning.ask(1, "left")
    turning.until(lambda: turning.gone == ["right"], left)


def test_a_list_that_cannot_be_followed_changes_nothing(
    turning: Turning, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    left = Producer(turning, "left")
    (tmp_path / "yard").write_text("another program's file")
    turning.ask(1, "left", "door", "yard")
    turning.until(lambda: bool(turning.words.said), left)
    assert turning.words.said == [("refused", 1)]
    assert "yard is there and is not a socket" in caplog.text
    assert list(turning.inboxes.addresses) == list(turning.windows.totals()) == ["left", "right"]
    assert not (tmp_path / "door").exists()
    assert not [thread for thread in threading.enumerate() if thread.name == "receive door"]
    (tmp_path / "sources.toml").write_text("version = 2")
    turning.until(lambda: "needs a version" in caplog.text, left)
    assert turning.words.said[1:] == [("refused", 2)]
    turning.ask(3, "left", "door")
    turning.until(lambda: ("took", 3) in turning.words.said, left)
