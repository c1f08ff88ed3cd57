"""How long something is, as options say it: 90s, 10min or 10m, 1m30s, 24h, 7d."""

from __future__ import annotations

import re
from typing import Final

from framepair.nodes.common.runtime import MAX_SECONDS

PART: Final = re.compile(r"(\d{1,9}(?:\.\d{1,9})?)(s|min|m|h|d)", re.ASCII)
TIME: Final = re.compile(rf"(?:{PART.pattern}){{1,5}}", re.ASCII)
SECONDS: Final = {"s": 1, "m": 60, "min": 60, "h": 3600, "d": 86400}


def parse_s(text: str) -> float:
    """Return the seconds that ``text`` means; raises ValueError if it is no time, or none above 0."""
    parts = PART.findall(text) if TIME.fullmatch(text) else []
    seconds = sum(float(count) * SECONDS[unit] for count, unit in parts)
    if not 0 < seconds <= MAX_SECONDS:
        raise ValueError("It is a time above 0 such as 90s, 10min, 24h or 7d.")
    return seconds


def parse_ns(text: str) -> int:
    """Return the same in nanoseconds, 1 at the least."""
    return max(1, round(parse_s(text) * 1e9))
