"""What was found out about one thing that a pipeline needs."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

# ok: it is there. note: it may matter. bad: the pipeline cannot run, or not as it should.
Level = Literal["ok", "note", "bad"]


@dataclass(frozen=True, slots=True)
class Finding:
    """One line: what was looked at, and how that is; if it is not ok, also what to do."""

    level: Level
    what: str
    said: str

    def __str__(self) -> str:
        return f"{self.level:4}  {self.what}: {self.said}"
