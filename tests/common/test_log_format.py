"""Lines of a log, for people, the journal and programs."""

from __future__ import annotations

import json
import logging
import os
import re
import sys

import pytest

from framepair.nodes.common import log_format
from framepair.nodes.common.log_format import FORMATS, Name
from framepair.nodes.common.runtime import LineFormatter


def line_of(name: Name, message: str, level: int = logging.WARNING, *, failed: bool = False) -> str:
    info = None
    if failed:
        try:
            raise ValueError("bad\x1b[0m")
        except ValueError:
            info = sys.exc_info()
    record = logging.LogRecord("x", level, __file__, 1, message, (), info)
    return LineFormatter("producer", FORMATS[name]).format(record)


def test_a_line_for_people_has_time_process_and_level() -> None:
    line = line_of("text", "left: a\x1b]b\nc")
    when, _, said = line.partition(" producer ")
    assert re.fullmatch(r"\d{4}-\d\d-\d\d \d\d:\d\d:\d\d,\d{3}", when)
    assert said == r"WARNING left: a\x1b]b\nc"


def test_each_line_for_the_journal_has_a_priority_and_no_time() -> None:
    assert line_of("journal", "hot", logging.ERROR) == "<3>producer: hot"
    lines = line_of("journal", "failed", failed=True).split("\n")
    assert lines[0] == "<4>producer: failed"
    assert lines[-1] == r"<4>ValueError: bad\x1b[0m"
    assert all(line.startswith("<4>") for line in lines)
    assert FORMATS["journal"].message("<4>producer: hot") == "producer: hot"


def test_a_line_of_json_is_one_object_whatever_the_message() -> None:
    line = line_of("json", 'say "ä"', failed=True)
    assert "\n" not in line
    said = json.loads(line)
    assert (said["level"], said["process"]) == ("warning", "producer")
    assert said["message"].startswith('say "ä"\nTraceback')
    assert re.fullmatch(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{3}Z", said["time"])
    assert FORMATS["json"].message(line) == said["message"]


def test_what_another_program_writes_is_wrapped_in_json_and_ours_is_not() -> None:
    own = line_of("json", "hot")
    text = f'{own}\nTraceback\n{{"time": broken\n'.encode()
    lines = FORMATS["json"].foreign("sink", text).decode().splitlines()
    assert lines[0] == own
    assert [json.loads(line)["message"] for line in lines[1:]] == ["Traceback", '{"time": broken']
    for name in ("text", "journal"):
        assert FORMATS[name].foreign("sink", b"\xff a\n") == b"\xff a\n"


def test_auto_is_the_journal_where_stderr_is_its_socket(monkeypatch: pytest.MonkeyPatch) -> None:
    status = os.fstat(2)
    monkeypatch.setenv("JOURNAL_STREAM", f"{status.st_dev}:{status.st_ino}")
    assert log_format.resolved("auto") == "journal"
    monkeypatch.setenv("JOURNAL_STREAM", f"{status.st_dev}:{status.st_ino + 1}")
    assert log_format.resolved("auto") == "text"
    assert log_format.resolved("xml") is None
