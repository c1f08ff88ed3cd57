"""What a consumer makes of a picture of any encoding."""

from __future__ import annotations

from msgspec.structs import replace

from framepair.nodes.producer.sources.source import Format, Image
from framepair.protocol.client.colours import in_bgr
from tests.lib.stream import Stream


def as_bgr(image: Image, form: Format) -> Image:
    """Return a picture of that format as (height, width, 3) in BGR."""
    header = Stream(shape=form.shape).frame("left", 0)
    return in_bgr(image, replace(header, encoding=form.encoding, colour=form.colour))
