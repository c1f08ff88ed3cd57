"""Units of time, in nanoseconds."""

from __future__ import annotations

from typing import Final

MS: Final = 1_000_000
S: Final = 1_000_000_000
