"""How a line of a log looks: for people, for the journal with its priority in front, or as a JSON object.

FRAMEPAIR_LOG_FORMAT says which of them a process writes, and the launcher sets it for its nodes: their stderr
is a pipe to the launcher, so they cannot see for themselves that the journal listens.
"""

from __future__ import annotations

import json
import os
import re
from datetime import UTC, datetime
from typing import Any, Literal, Protocol, get_args

Name = Literal["auto", "text", "journal", "json"]
NAMES: tuple[Name, ...] = get_args(Name)
Level = Literal["debug", "info", "warning", "error", "critical"]
LOG_FORMAT_VARIABLE = "FRAMEPAIR_LOG_FORMAT"
# Device and inode of the socket that the journal reads; systemd sets it for the services that log to it.
JOURNAL_VARIABLE = "JOURNAL_STREAM"
STDERR = 2
# As syslog(3) numbers them.
PRIORITIES: dict[Level, int] = {"debug": 7, "info": 6, "warning": 4, "error": 3, "critical": 2}
PRIORITY = re.compile(r"^<[0-7]>")


class LogFormat(Protocol):
    """Lines of one format, without their newline. A ``message`` may be a text and its traceback."""

    def sentence(self, process: str, level: Level, message: str) -> str:
        """Return what ``process`` tells the user."""

    def record(self, process: str, level: Level, message: str) -> str:
        """Return a log record of ``process``."""

    def foreign(self, process: str, text: bytes) -> bytes:
        """Return whole lines that ``process`` wrote, in whatever format, as lines of this one."""

    def message(self, line: str) -> str:
        """Return the message in a line of this format."""


class Text:
    """Lines for people."""

    def sentence(self, process: str, _level: Level, message: str) -> str:
        """Return the process and its message."""
        return f"{process}: {message}"

    def record(self, process: str, level: Level, message: str) -> str:
        """Return the local time, the process, the level and the message."""
        now = datetime.now()
        time = f"{now:%Y-%m-%d %H:%M:%S},{now.microsecond // 1000:03}"
        return f"{time} {process} {level.upper()} {message}"

    def foreign(self, _process: str, text: bytes) -> bytes:
        """Return ``text``: people and the journal take any line."""
        return text

    def message(self, line: str) -> str:
        """Return ``line``."""
        return line


class Journal(Text):
    """Lines with their syslog priority in front, which the journal takes off; it has the time itself."""

    def sentence(self, process: str, level: Level, message: str) -> str:
        """Return the process and its message, each line with the priority."""
        lines = f"{process}: {message}".split("\n")
        return "\n".join(f"<{PRIORITIES[level]}>{line}" for line in lines)

    def record(self, process: str, level: Level, message: str) -> str:
        """Return the same as for a sentence."""
        return self.sentence(process, level, message)

    def message(self, line: str) -> str:
        """Return ``line`` without its priority."""
        return PRIORITY.sub("", line)


class Json:
    """A JSON object a line: time (UTC), level, process and message."""

    def sentence(self, process: str, level: Level, message: str) -> str:
        """Return one object; a message of several lines is one text in it."""
        time = datetime.now(UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z")
        said = {"time": time, "level": level, "process": process, "message": message}
        return json.dumps(said, ensure_ascii=False)

    def record(self, process: str, level: Level, message: str) -> str:
        """Return the same as for a sentence."""
        return self.sentence(process, level, message)

    def foreign(self, process: str, text: bytes) -> bytes:
        """Return the lines that are objects as they are, and objects that hold the others."""
        lines = text.decode(errors="replace").splitlines()
        own = (line if _parsed(line) else self.sentence(process, "info", line) for line in lines)
        return "".join(f"{line}\n" for line in own).encode()

    def message(self, line: str) -> str:
        """Return the message in the object, or ``line`` if it is none."""
        return str(_parsed(line).get("message", line))


FORMATS: dict[Name, LogFormat] = {"text": Text(), "journal": Journal(), "json": Json()}


def current() -> LogFormat:
    """Return the format that the environment names; text if it names none that there is."""
    name = resolved(os.environ.get(LOG_FORMAT_VARIABLE) or "auto")
    return FORMATS.get(name or "text", FORMATS["text"])


def resolved(name: str) -> Name | None:
    """Return the format that ``name`` means here: auto is journal where stderr is the journal's, else text.

    None if there is no such format.
    """
    if name == "auto":
        return "journal" if _journal_listens() else "text"
    return next((known for known in NAMES if known == name), None)


def _journal_listens() -> bool:
    try:
        status = os.fstat(STDERR)
    except OSError:
        return False
    return os.environ.get(JOURNAL_VARIABLE) == f"{status.st_dev}:{status.st_ino}"


def _parsed(line: str) -> dict[str, Any]:
    """Return the object in ``line``; an empty one if there is none of ours."""
    if not line.startswith('{"time"'):
        return {}
    try:
        said = json.loads(line)
    except ValueError:
        return {}
    return said if isinstance(said, dict) else {}
