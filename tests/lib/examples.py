"""How many examples the property tests try."""

from __future__ import annotations

import os
from typing import Final

THOROUGH: Final = bool(os.environ.get("FRAMEPAIR_THOROUGH"))


def examples(count: int) -> int:
    """Return ``count``, enough for a run of the fast tests, or ten times that if FRAMEPAIR_THOROUGH is set."""
    return 10 * count if THOROUGH else count
