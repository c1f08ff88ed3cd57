"""The pictures of a recording as frames of FFmpeg, whichever program has written them."""

from __future__ import annotations

from typing import Final, cast

import av
import numpy as np
from av.video.codeccontext import VideoCodecContext
from av.video.frame import VideoFrame
from av.video.reformatter import ColorRange, Colorspace

from framepair.protocol.recording import images
from framepair.protocol.wire.frame import Encoding, FrameHeader
from framepair.protocol.wire.header import ProtocolError

# What decodes pictures that are files.
DECODERS: Final = {"jpeg": "mjpeg", "jpg": "mjpeg", "png": "png", "webp": "webp"}
# What the names of pixels are in FFmpeg: those that other programs use, and ours.
PIXELS: Final = {"bgr8": "bgr24", "8UC3": "bgr24", "rgb8": "rgb24", "mono8": "gray", "8UC1": "gray"}
OURS: Final[dict[Encoding, str]] = {
    "bgr8": "bgr24",
    "rgb8": "rgb24",
    "mono8": "gray",
    "i420": "yuv420p",
}
MATRICES: Final = {
    "bt601": Colorspace.ITU601,
    "bt709": Colorspace.ITU709,
    "fcc": Colorspace.FCC,
    "smpte240m": Colorspace.SMPTE240M,
}


def decoded(image: images.Image, header: FrameHeader | None) -> VideoFrame:
    """Return the picture ``image``, which ``header`` describes if framepair has written it.

    Raises ProtocolError if it is damaged or of a kind that is not known.
    """
    try:
        if image.kind == images.RAW:
            return _ours(image, header) if header else _from_pixels(image)
        decoder = cast(VideoCodecContext, av.CodecContext.create(DECODERS[image.format], "r"))
        packet = av.Packet(bytes(image.data))
        return [*decoder.decode(packet), *decoder.decode(None)][0]
    except (av.FFmpegError, KeyError, ValueError, IndexError):
        raise ProtocolError(f"a picture of format {image.format!r} cannot be decoded") from None


def _ours(image: images.Image, header: FrameHeader) -> VideoFrame:
    """Return a frame of the pixels that a header describes."""
    pixels = np.frombuffer(image.data, np.uint8).reshape(header.shape)
    # FFmpeg has rows of grey, and planes one below the other, without channels.
    flat = pixels if header.shape[2] == 3 else pixels[..., 0]
    frame = VideoFrame.from_ndarray(np.ascontiguousarray(flat), format=OURS[header.encoding])
    if header.encoding == "i420" and header.colour is not None:
        frame.colorspace = MATRICES.get(header.colour.matrix, Colorspace.ITU601)
        frame.color_range = ColorRange.JPEG if header.colour.full else ColorRange.MPEG
    return frame


def _from_pixels(image: images.Image) -> VideoFrame:
    """Return a frame of pixels whose lines may be longer than the picture is wide."""
    channels = 1 if PIXELS[image.format] == "gray" else 3
    lines = np.frombuffer(image.data, np.uint8).reshape(image.height, -1)
    pixels = np.ascontiguousarray(lines[:, : image.width * channels])
    shape = (image.height, image.width) if channels == 1 else (image.height, image.width, channels)
    return VideoFrame.from_ndarray(pixels.reshape(shape), format=PIXELS[image.format])
