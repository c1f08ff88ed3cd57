"""``--probe``: what a source's frames look like, as a line of JSON, for those that plan a pipeline."""

# Not "from __future__ import annotations": cyclopts looks names up in the module of the class that inherits.
import json
import sys
from contextlib import closing
from dataclasses import dataclass
from typing import Annotated

import msgspec

from framepair.nodes.common import exit_codes
from framepair.nodes.common.options import Opening
from framepair.nodes.common.plain_words import Detail
from framepair.nodes.common.runtime import Refused
from framepair.nodes.common.source_options import SourceOptions, parse_size
from framepair.nodes.producer.sources.opening import open_capture, parse
from framepair.nodes.producer.sources.source import Capture, CaptureLost, FrameLost, SourceError
from framepair.nodes.producer.sources.thinning import thinned
from framepair.nodes.producer.sources.uri import Wanted
from framepair.protocol.clocks import clock
from framepair.protocol.memory import payloads
from framepair.protocol.memory.payload import Payload


@dataclass(frozen=True, kw_only=True)
class Options(SourceOptions, Opening):
    """What a producer is told of its source, to look at it as well as to capture it."""

    name: str
    """Name of the source: letters, digits, _ and -."""
    source: str = ""
    """A video file, a camera (0, /dev/video0), a stream (rtsp://…, http://…) or synthetic://WIDTHxHEIGHT@FPS.
    A URL with a password belongs in FRAMEPAIR_SOURCE: other users can read flags."""
    payload: Annotated[str, Detail(help=f"How pixels travel. {payloads.HELP}.")] = "raw"

    def wanted(self) -> Wanted:
        """Return what frames are to be made of the source."""
        size = parse_size(self.size) if self.size else None
        return Wanted(self.stream, self.fps, self.pixels, size, self.stamp)

    def payload_asked(self) -> Payload:
        """Return what ``payload`` asks for; raises Refused if it asks for nothing that there is."""
        try:
            return payloads.parse(self.payload)
        except ValueError as error:
            raise Refused(f"--payload {error}") from None


def probe(options: Options) -> None:
    """Print the source's format as JSON, and as message_bytes what its first frame takes in a message.

    Exit with 1 if the source can't be opened now, with 2 if there can be no such source.
    """
    payload = options.payload_asked()
    try:
        parse(options.source)
    except SourceError as error:
        raise Refused(f"{options.name}: {error}") from None
    try:
        capture = open_capture(
            options.name,
            options.source,
            loop=False,
            open_timeout_s=options.open_timeout,
            read_timeout_s=options.read_timeout,
            allow_redirects=options.allow_redirects,
            wanted=options.wanted(),
        )
    except SourceError as error:
        print(f"producer: {error}", file=sys.stderr)
        sys.exit(exit_codes.FAILED)
    with closing(thinned(capture, options.fps)) as capture:
        found = msgspec.to_builtins(capture.format)
        message_bytes = _message_bytes(capture, payload)
    print(json.dumps({**found, "message_bytes": message_bytes}), flush=True)


def _message_bytes(capture: Capture, payload: Payload) -> int | None:
    """Return how many bytes a message has for the first frame, None if it can't be read."""
    import numpy as np

    try:
        if not capture.grab():
            return None
        memory = np.empty(capture.format.shape, np.uint8)
        image = capture.retrieve(memory, 0, clock.now_ns())
        return payload.message_bytes(image, capture.format.encoding)
    except (CaptureLost, FrameLost, SourceError):
        return None
