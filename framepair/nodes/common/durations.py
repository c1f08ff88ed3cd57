"""How long something is, as options say it: 90s, 10min or 10m, 24h, 7d."""

from __future__ import annotations

import re
from typing import Final

from framepair.nodes.common.runtime import MAX_SECONDS

TIME: Final = re.compile(r"(\d{1,9}(?:\.\d{1,9})?)(s|m|min|h|d)", re.ASCII)
SECONDS: Final = {"s": 1, "m": 60, "min": 60, "h": 3600, "d": 86400}


def parse_s(text: str) -> float:
    """Return the seconds that ``text`` means; raises ValueError if it is no time, or none above 0."""
    matched = TIME.fullmatch(text)
    seconds = float(matched[1]) * SECONDS[matched[2]] if matched else 0.0
    if not 0 < seconds <= MAX_SECONDS:
        raise ValueError("It is a time above 0 such as 90s, 10min, 24h or 7d.")
    return seconds


def parse_ns(text: str) -> int:
    """Return the same in nanoseconds, 1 at the least."""
    return max(1, round(parse_s(text) * 1e9))
