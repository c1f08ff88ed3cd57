"""What names a source, and how it may be shown: an address may hold a password, or be one."""

from __future__ import annotations

import re
from dataclasses import dataclass, field
from typing import Final

from framepair.nodes.producer.sources.source import Format, SourceError
from framepair.protocol.wire.frame import Encoding, StampGrade

# Rates that a source may say it has; others are taken for mistakes.
MIN_FPS, MAX_FPS = 0.01, 1000.0

# Up to the last @, because there are passwords with @ and / in them, although they ought to be escaped.
CREDENTIALS = re.compile(r"((?<!synthetic)(?<!file)://)\S*@", re.IGNORECASE)
# Behind the host, as far as an address goes in a sentence: rtsps://host:7441/TOKEN needs no other password.
PATH = re.compile(r"((?<!synthetic)(?<!file)://[^\s/?#'\"]+)[/?#][^\s'\")]+", re.IGNORECASE)


@dataclass(frozen=True, slots=True)
class SourceUri:
    """What a URI means: its ``kind``, and a path, a device, a URL or a synthetic format.

    ``live``: its frames come at their own time. ``location`` may hold a password and is therefore left out of
    the repr; ``str()`` is fit for a log.
    """

    kind: str
    location: str = field(repr=False)
    live: bool = False
    synthetic: Format | None = None

    def __str__(self) -> str:
        return redact(self.location)


# Width and height in pixels; None: as the other one and the picture's proportions have it.
Size = tuple[int | None, int | None]


@dataclass(frozen=True, slots=True)
class Wanted:
    """What frames are to be made of a source; None: as it has them.

    ``stream`` is the number of the video stream to play, from 0; ``fps`` how many frames a second there may be,
    the rate of those without times; ``size`` is for the picture that a consumer sees, the right way up;
    ``stamp`` is the clock to stamp frames by, the best that there is unless told otherwise. A file or recording
    is played from ``start_ns`` on, ``speed`` times as fast.
    """

    stream: int | None = None
    fps: float | None = None
    pixels: Encoding | None = None
    size: Size | None = None
    stamp: StampGrade | None = None
    start_ns: int = 0
    speed: float = 1.0


AS_IT_IS: Final = Wanted()


@dataclass(frozen=True, slots=True)
class Opening:
    """How a source is opened: whether a recording is ``loop``ed, how long a live one may take, in seconds.

    ``allow_redirects`` follows a URL to other addresses.
    """

    loop: bool
    open_timeout_s: float
    read_timeout_s: float
    allow_redirects: bool = False
    wanted: Wanted = AS_IT_IS


def split_scheme(uri: str) -> tuple[str, str]:
    """Return the scheme of ``uri`` in small letters, "" if it has none, and what follows its ``://``."""
    scheme, separator, rest = uri.partition("://")
    return (scheme.lower(), rest) if separator else ("", uri)


def check(uri: str) -> None:
    """Raise SourceError for what can name no source of any kind."""
    # Libraries crash on what cannot be encoded, and a zero byte ends their strings.
    if "\0" in uri or uri != uri.encode(errors="replace").decode():
        raise SourceError("a source's URI is not UTF-8, or has a zero byte in it: rename the file")


def redact(text: str) -> str:
    """Return ``text``, a URI or a message with some in it, with scheme and host alone of network addresses."""
    return PATH.sub(r"\1/…", CREDENTIALS.sub(r"\1", text))
