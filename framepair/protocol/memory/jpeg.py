"""``jpeg``: each frame is a small file in the message, for links that the pixels don't fit."""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final, Self

from framepair.protocol.memory.payload import Packed, Payload, Place, check_message
from framepair.protocol.memory.planes import planes_of
from framepair.protocol.wire.limits import ProtocolError

if TYPE_CHECKING:
    from framepair.protocol.memory.ring import Pixels, Shape
    from framepair.protocol.wire.frame import Encoding

DEFAULT_QUALITY, MAX_QUALITY = 90, 100


@dataclass(frozen=True, slots=True)
class Jpeg(Payload):
    """Pixels compressed as JPEG, of ``quality`` 1 to 100."""

    name = "jpeg"
    what = f"compressed, with quality {DEFAULT_QUALITY} unless told otherwise"
    usages = ("jpeg", "jpeg:QUALITY")
    argument = f"a quality from 1 to {MAX_QUALITY}"
    slow = True

    quality: int = DEFAULT_QUALITY

    @classmethod
    def parse(cls, argument: str | None) -> Self:
        """Return the payload of that quality; raises ValueError if it is none."""
        if argument is None:
            return cls()
        if not argument.isdecimal() or not 1 <= int(argument) <= MAX_QUALITY:
            raise ValueError(f"{argument!r} is not {cls.argument}")
        return cls(int(argument))

    def __str__(self) -> str:
        return f"{self.name}:{self.quality}"

    def writer(self, place: Place) -> JpegWriter:  # noqa: ARG002 - it needs no place
        """Return a producer's end."""
        return JpegWriter(self.quality)

    @classmethod
    def store(cls, data: Pixels | memoryview, out: Pixels, encoding: Encoding) -> None:
        """Decode the file into ``out``; raises ProtocolError if it is damaged or of another size."""
        decode(data if isinstance(data, memoryview) else data.data, out, encoding)

    def message_bytes(self, image: Pixels, encoding: Encoding) -> int:
        """Return the size of the file that ``image`` becomes."""
        return len(encode(image, self.quality, encoding))


class JpegWriter:
    """Memory that each frame is drawn into anew: what travels is a file that is made from it."""

    def __init__(self, quality: int) -> None:
        self._quality = quality
        self._frame: Pixels | None = None

    def reserve(self, shape: Shape) -> Pixels:
        """Return memory for the next frame, (height, width, channels); raises NoRoom if it is too large."""
        import numpy as np

        check_message(shape)
        if self._frame is None or self._frame.shape != shape:
            self._frame = np.empty(shape, np.uint8)
        return self._frame

    def pack(self, seq: int, encoding: Encoding) -> Packed:  # noqa: ARG002 - the ring has to know
        """Return the frame as a JPEG file."""
        if self._frame is None:
            raise ValueError("no frame was reserved")
        return Packed(encode(self._frame, self._quality, encoding), "jpeg")

    def close(self) -> None:
        """Do nothing: the memory is this object's own."""


MARKER, START_OF_SCAN, END_OF_IMAGE = b"\xff", 0xDA, b"\xff\xd9"
# Beginnings of frames that are not baseline or extended sequential ones: progressive, lossless and others.
OTHER_FRAMES = {*range(0xC2, 0xD0)} - {0xC4, 0xC8, 0xCC}
# What ends a scan: any marker but those that a scan has in it.
IN_SCAN = re.compile(rb"\xff[^\x00\xd0-\xd7]")
# What a JPEG has of each encoding. Video has half of the resolution in colour before it gets here.
COLOURS: Final[dict[Encoding, tuple[str, str]]] = {
    "bgr8": ("BGR", "420"),
    "rgb8": ("RGB", "420"),
    "mono8": ("GRAY", "Gray"),
}
# As simplejpeg says it of files with these: colours, and their resolution.
GREY, IN_PLANES = ("Gray", "Gray"), ("YCbCr", "420")
# FFmpeg counts more pixels than a picture has: it is cut into blocks.
SPARE_PIXELS = 64


def encode(image: Pixels, quality: int, encoding: Encoding) -> bytes:
    """Return ``image`` as a JPEG file of ``quality`` 1 to 100; the levels of planes are kept as they are."""
    import numpy as np
    import simplejpeg

    if encoding == "i420":
        planes = (np.ascontiguousarray(plane) for plane in planes_of(image))
        file: bytes = simplejpeg.encode_jpeg_yuv_planes(*planes, quality=quality)
    else:
        colours, subsampling = COLOURS[encoding]
        file = simplejpeg.encode_jpeg(
            image, quality=quality, colorspace=colours, colorsubsampling=subsampling
        )
    return file


def decode(file: memoryview, out: Pixels, encoding: Encoding) -> None:
    """Decode a JPEG file into ``out``, without holding the interpreter's lock.

    Raises ProtocolError if the file is damaged or is not of that size; ``out`` may be half written then.
    """
    import simplejpeg

    try:
        _check(file, out.shape, encoding)
        if encoding == "i420":
            _decode_planes(file, out)
        else:
            simplejpeg.decode_jpeg(file, colorspace=COLOURS[encoding][0], buffer=out)
    except ProtocolError:
        raise
    except (ValueError, TypeError, IndexError) as error:
        raise ProtocolError(f"it is no whole JPEG: {error}") from None


def decode_scaled(file: memoryview, shape: Shape, encoding: Encoding, min_width: int) -> Pixels:
    """Return the picture of a JPEG file of ``shape``, (height, width, channels), scaled while it is decoded.

    It is the smallest one of a number of eighths that has ``min_width`` pixels, and costs less than the whole.
    Raises ProtocolError if the file is damaged or is not of that size; not for planes.
    """
    import simplejpeg

    try:
        _check(file, shape, encoding)
        colours = COLOURS[encoding][0]
        picture: Pixels = simplejpeg.decode_jpeg(file, colorspace=colours, min_width=min_width)
    except ProtocolError:
        raise
    except (ValueError, TypeError, IndexError) as error:
        raise ProtocolError(f"it is no whole JPEG: {error}") from None
    return picture


def described(file: memoryview) -> tuple[Shape, Encoding] | None:
    """Return shape and encoding of what ``decode`` makes of a file; None if it would refuse it."""
    import simplejpeg

    try:
        _refuse_slow(file)
        height, width, *found = simplejpeg.decode_jpeg_header(file)
    except (ProtocolError, ValueError, TypeError, IndexError):
        return None
    if tuple(found) == GREY:
        return (height, width, 1), "mono8"
    return ((height, width, 3), "bgr8") if found[0] == IN_PLANES[0] else None


def _check(file: memoryview, shape: Shape, encoding: Encoding) -> None:
    """Raise ProtocolError, or what the decoder does, unless a file is of ``shape`` and ``encoding``."""
    import simplejpeg

    from framepair.protocol.wire.frame import picture_size

    _refuse_slow(file)
    *sides, colour, subsampling = simplejpeg.decode_jpeg_header(file)
    found = (colour, subsampling)
    width, height = picture_size(shape, encoding)
    if sides != [height, width] or (found == GREY) != (encoding == "mono8"):
        raise ProtocolError(f"a JPEG of {sides[1]}x{sides[0]}, not {width}x{height}")
    if encoding == "i420" and found != IN_PLANES:
        raise ProtocolError(f"a JPEG with {colour} in {subsampling}, not with planes in 420")


def _decode_planes(file: memoryview, out: Pixels) -> None:
    """Decode a file whose colours are in half the resolution; simplejpeg can't give its planes."""
    import av
    import numpy as np
    from av.video.frame import VideoFrame

    height, width, _ = out.shape
    decoder = av.CodecContext.create("mjpeg", "r")
    decoder.thread_count = 1
    most = (width + SPARE_PIXELS) * (height + SPARE_PIXELS)
    # Without explode, what is missing of a picture is grey.
    decoder.options = {"err_detect": "explode", "max_pixels": str(most)}
    try:
        frames = decoder.decode(av.Packet(bytes(file)))
    except av.FFmpegError as error:
        raise ProtocolError(f"it is no whole JPEG: {error.strerror}") from None
    found = [frame for frame in frames if isinstance(frame, VideoFrame)]
    if [(frame.format.name, frame.width) for frame in found] != [("yuvj420p", width)]:
        raise ProtocolError("it is no JPEG with planes in 420")
    for plane, place in zip(found[0].planes, planes_of(out), strict=True):
        lines = np.frombuffer(memoryview(plane), np.uint8).reshape(-1, plane.line_size)
        np.copyto(place, lines[: place.shape[0], : place.shape[1]])


def _refuse_slow(file: memoryview) -> None:
    """Raise ProtocolError unless all of the picture is in one scan, as ``encode`` makes it.

    A picture in many scans, which are allowed to say the same again and again, takes hours to decode.
    """
    position = 2
    while file[position : position + 1] == MARKER:
        kind = file[position + 1]
        length = int.from_bytes(file[position + 2 : position + 4], "big")
        position += 2 + length
        if kind in OTHER_FRAMES or length < 2:
            raise ProtocolError("a JPEG of a kind that takes too long to decode")
        if kind == START_OF_SCAN:
            break
    found = IN_SCAN.search(file, position)
    if found is None or bytes(file[found.start() :]) != END_OF_IMAGE:
        raise ProtocolError("it is no whole JPEG: its first scan is not followed by its end")
