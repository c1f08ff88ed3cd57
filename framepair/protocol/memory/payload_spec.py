"""How the user asks for pixels to travel. Apart from payload, for the launcher: it must not load numpy."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal, get_args

DEFAULT_QUALITY, MAX_QUALITY = 90, 100
WORDS = "raw, shm, jpeg or jpeg:QUALITY with a quality from 1 to 100"

Kind = Literal["raw", "shm", "jpeg"]


@dataclass(frozen=True, slots=True)
class Spec:
    """What a user asks for: how pixels travel, and with ``jpeg`` at which quality."""

    kind: Kind
    quality: int = DEFAULT_QUALITY

    @classmethod
    def parse(cls, text: str) -> Spec:
        """Return what ``text`` asks for: raw, shm, jpeg or jpeg:QUALITY; raises ValueError otherwise."""
        name, colon, quality = text.partition(":")
        for kind in get_args(Kind):
            if name == kind and not colon:
                return cls(kind)
        in_range = quality.isdecimal() and 1 <= int(quality) <= MAX_QUALITY
        if name != "jpeg" or not in_range:
            raise ValueError(f"{text!r} is not {WORDS}")
        return cls("jpeg", int(quality))

    def __str__(self) -> str:
        return f"{self.kind}:{self.quality}" if self.kind == "jpeg" else self.kind
