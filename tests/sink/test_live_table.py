"""The running view of a terminal: what the table says, and where on the terminal it is drawn."""

from __future__ import annotations

import fcntl
import io
import os
import pty
import struct
import termios
from collections.abc import Iterator
from typing import IO, Any

import pytest
from msgspec.structs import replace
from rich.console import Console

from framepair import Pair
from framepair.nodes.sink.live_table import LiveTable
from framepair.nodes.sink.pinned_area import PinnedArea
from framepair.nodes.sink.screen import Screen
from framepair.protocol.client.assembly import Assembly
from framepair.protocol.wire.pair import Totals
from tests.lib.stream import Stream, feed
from tests.lib.units import MS, S


def pair_of(stream: Stream, window: int, counts: dict[str, int], **clips: Any) -> Pair:
    assembly = Assembly(1, max_bytes=10**9)
    feed(assembly, *stream.window(window, counts), stream.pair(window, clips))
    pair = assembly.take()
    assert pair is not None
    return pair


def text_of(table: LiveTable, now_ns: int, most: int = 10, width: int = 79) -> list[str]:
    console = Console(file=io.StringIO(), width=width)
    console.print(table.table(now_ns, most), crop=True)
    console.print(table.sentence(), no_wrap=True, overflow="ellipsis")
    assert isinstance(console.file, io.StringIO)
    return [line.rstrip() for line in console.file.getvalue().splitlines()]


def test_a_row_says_how_a_source_is_and_what_it_has_lost() -> None:
    stream, table = Stream(period_ns=200 * MS), LiveTable()
    table.add_pair(pair_of(stream, 0, {}), None)
    lost = Totals(dropped={"transport": 3, "startup": 9}, late=2, paired=5)
    offline = {"missing": "offline", "totals": replace(lost, paired=5), "complete": False}
    table.add_pair(pair_of(stream, 1, {"right": 0}, right=offline), S)
    assert text_of(table, 2 * S + 300 * MS) == [
        "source  state    frames  fps  lag ms  age s  lost",
        "left    ok          5/5  5.0     0.0    0.5  0",
        "right   offline     0/5  0.0       -    1.5  transport 3, late 2",
        "pairs 2  complete 2  lost 0  lag 200.0 ms  interval 1.000 s",
    ]


def test_there_is_a_table_before_there_are_two_pairs() -> None:
    table = LiveTable()
    assert text_of(table, 0)[-1] == "pairs 0  complete 0  lost 0  lag - ms  interval - s"


def test_no_more_rows_than_fit_and_no_wider() -> None:
    sources = [f"camera-with-a-long-name-{number}" for number in range(30)]
    stream, table = Stream(sources), LiveTable()
    lost = Totals(dropped={"publisher_overflow": 10**6, "producer_dropped": 10**6}, paired=5)
    table.add_pair(pair_of(stream, 0, {}, **{sources[0]: {"totals": lost}}), None)
    lines = text_of(table, S, most=7, width=60)
    assert len(lines) == 1 + 7 + 1 + 1
    assert lines[8] == "and 23 more"
    assert max(map(len, lines)) <= 60


@pytest.fixture
def terminal() -> Iterator[tuple[int, IO[str]]]:
    """Yield the outer end of a terminal, and what writes to its inner one."""
    outer, inner = pty.openpty()
    resize(outer, 80, 24)
    with os.fdopen(inner, "w") as file:
        yield outer, file
    os.close(outer)


def resize(outer: int, columns: int, rows: int) -> None:
    fcntl.ioctl(outer, termios.TIOCSWINSZ, struct.pack("HHHH", rows, columns, 0, 0))


def test_lines_are_drawn_at_the_bottom_and_the_others_scroll(
    terminal: tuple[int, IO[str]],
) -> None:
    outer, file = terminal
    area = PinnedArea(file)
    area.draw(["one", "two"])
    first = os.read(outer, 4096).decode()
    assert "\x1b[1;22r" in first
    assert "\x1b[23;1H\x1b[2Kone\x1b[24;1H\x1b[2Ktwo" in first
    area.draw(["three", "four"])
    again = os.read(outer, 4096).decode()
    assert "\x1b[23;1H\x1b[2Kthree" in again
    assert "22r" not in again
    resize(outer, 60, 12)
    area.draw(["five", "six"])
    assert "\x1b[1;10r" in os.read(outer, 4096).decode()
    area.close()
    assert "\x1b[r\x1b[11;1H\x1b[J" in os.read(outer, 4096).decode()
    area.close()


def test_a_low_terminal_shows_fewer_lines(terminal: tuple[int, IO[str]]) -> None:
    outer, file = terminal
    resize(outer, 80, 6)
    area = PinnedArea(file)
    area.draw(["one", "two"])
    drawn = os.read(outer, 4096).decode()
    assert "one" in drawn
    assert "two" not in drawn


@pytest.mark.parametrize(
    ("options", "term", "pace", "view"),
    [
        ({}, "xterm", "realtime", "TableView"),
        ({}, "dumb", "realtime", "Lines"),
        ({}, "xterm", "max", "Lines"),
        ({"lines": True}, "xterm", "realtime", "Lines"),
        ({"quiet": True}, "xterm", "realtime", "Nothing"),
    ],
)
def test_who_gets_a_table(
    options: dict[str, bool],
    term: str,
    pace: Any,
    view: str,
    terminal: tuple[int, IO[str]],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setenv("TERM", term)
    screen = Screen(**options)
    screen.console.file = terminal[1]
    pair = pair_of(Stream(pace=pace), 0, {})
    assert type(screen._choose(pair)).__name__ == view
