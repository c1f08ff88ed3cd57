"""Decoded frames as the pictures that are wanted: pixels, size, the right way up, in memory that is given."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from typing import Final, Protocol

import av
import numpy as np
from av.video.frame import VideoFrame
from av.video.plane import VideoPlane
from av.video.reformatter import ColorRange, Colorspace, Interpolation, VideoReformatter
from numpy.typing import NDArray

from framepair.nodes.producer.sources.fitting import Fitting
from framepair.nodes.producer.sources.source import Format, FrameLost
from framepair.nodes.producer.sources.uri import AS_IT_IS, Wanted
from framepair.protocol.memory.planes import planes_of
from framepair.protocol.wire.frame import Colour, Encoding, Matrix

Image = NDArray[np.uint8]
Shape = tuple[int, int, int]

# FFmpeg's AVColorSpace. Where a video names none, swscale takes BT.601, as it does for YCgCo and the like.
MATRICES: Final[Mapping[int, Matrix]] = {
    1: "bt709",
    4: "fcc",
    7: "smpte240m",
    9: "bt2020",
    10: "bt2020",
}
# What the planes of RGB and grey pictures are made with: nothing of their range is lost.
OF_RGB: Final = Colour("bt601", full=True)
I420_FORMATS: Final = frozenset({"yuv420p", "yuvj420p"})


class Pictures:
    """Makes pictures of decoded frames, as ``wanted``. ``name`` is the source's, for what is said of it."""

    def __init__(self, name: str, wanted: Wanted = AS_IT_IS) -> None:
        self._name, self._is_scaled = name, wanted.size is not None
        self._fitting = Fitting(name, wanted)
        self._maker = MAKERS[wanted.pixels or "bgr8"]
        self._reformatter = VideoReformatter()

    def format(self, frame: VideoFrame, known: Format) -> Format:
        """Return ``known`` with shape, encoding and colour of the picture that ``frame`` becomes."""
        shape, colour = self._maker.shape(*self._sides(frame)), self._maker.colour(frame)
        if (shape, self._maker.encoding, colour) == (known.shape, known.encoding, known.colour):
            return known
        return replace(known, shape=shape, encoding=self._maker.encoding, colour=colour)

    def retrieve(self, frame: VideoFrame, out: Image, known: Format) -> tuple[Image, Format]:
        """Write the picture into ``out``, or into memory of its own if it has another shape.

        Return it and its format; raises FrameLost if the frame can't be converted.
        """
        found = self.format(frame, known)
        picture = out if out.shape == found.shape else np.empty(found.shape, np.uint8)
        try:
            self._write(frame, picture)
        except av.FFmpegError as error:
            raise FrameLost(
                f"source {self._name}: a frame cannot be converted: {error.strerror}"
            ) from None
        return picture, found

    def _write(self, frame: VideoFrame, out: Image) -> None:
        turns = _quarter_turns(frame)
        size = None
        if self._is_scaled:
            width, height = self._sides(frame)
            size = (height, width) if turns % 2 else (width, height)
        self._maker.write(frame, _Scaling(self._reformatter, size), turns, out)

    def _sides(self, frame: VideoFrame) -> tuple[int, int]:
        """Return width and height of the picture."""
        upright = (frame.width, frame.height)
        return self._fitting.sides(*(upright[::-1] if _quarter_turns(frame) % 2 else upright))


class _Scaling:
    """Conversion by swscale, to ``size`` (width, height; None: the frame's own).

    The result is a frame of its own, a copy more than swscale needs, 0.7 ms of 14 ms for BGR in 1080p: PyAV
    has it write into memory of its own only (PyAV #2294).
    """

    def __init__(self, reformatter: VideoReformatter, size: tuple[int, int] | None) -> None:
        self._reformatter, self.size = reformatter, size

    def to(
        self,
        frame: VideoFrame,
        pixels: str,
        *,
        matrix: Colorspace | None = None,
        full: bool | None = None,
    ) -> VideoFrame:
        """Return the frame as ``pixels``, with that range and matrix; raises av.FFmpegError."""
        width, height = self.size or (frame.width, frame.height)
        smaller = width < frame.width and height < frame.height
        levels = {None: None, True: ColorRange.JPEG, False: ColorRange.MPEG}[full]
        return self._reformatter.reformat(
            frame,
            width=width,
            height=height,
            format=pixels,
            dst_colorspace=matrix,
            dst_color_range=levels,
            # To 640x360, area takes a third of the time. Without another size only colour is scaled,
            # if anything, as OpenCV has it.
            interpolation=Interpolation.AREA if smaller else Interpolation.BICUBIC,
            # A picture is scaled in 4 ms, and other producers need the processors.
            threads=1,
        )


class Maker(Protocol):
    """Makes pictures of one encoding."""

    encoding: Encoding

    def shape(self, width: int, height: int) -> Shape:
        """Return the shape of the array for a picture of that size."""

    def colour(self, frame: VideoFrame) -> Colour | None:
        """Return what the levels mean that the picture will have, None if they are plain RGB."""

    def write(self, frame: VideoFrame, scaling: _Scaling, turns: int, out: Image) -> None:
        """Write the picture, turned by so many quarters; raises av.FFmpegError if it can't be converted."""


class _Packed:
    """Three channels side by side."""

    def __init__(self, encoding: Encoding, pixels: str) -> None:
        self.encoding, self._pixels = encoding, pixels

    def shape(self, width: int, height: int) -> Shape:
        return height, width, 3

    def colour(self, frame: VideoFrame) -> None:  # noqa: ARG002
        return None

    def write(self, frame: VideoFrame, scaling: _Scaling, turns: int, out: Image) -> None:
        scaled = scaling.to(frame, self._pixels)
        lines = _lines(scaled.planes[0])[:, : 3 * scaled.width]
        np.copyto(out, np.rot90(lines.reshape(scaled.height, scaled.width, 3), turns))


class _Luma:
    """The luma plane of a video, or its grey, as it is: one channel."""

    encoding: Encoding = "mono8"

    def shape(self, width: int, height: int) -> Shape:
        return height, width, 1

    def colour(self, frame: VideoFrame) -> Colour:
        return _colour(frame)

    def write(self, frame: VideoFrame, scaling: _Scaling, turns: int, out: Image) -> None:
        if not _begins_with_luma(frame):
            frame = _in_planes(frame, scaling)
        elif scaling.size is not None:
            # Its colour need not be scaled, and of grey swscale changes no level.
            luma = np.ascontiguousarray(_plane(frame.planes[0]))
            frame = scaling.to(VideoFrame.from_ndarray(luma, format="gray"), "gray")
        np.copyto(out[..., 0], np.rot90(_plane(frame.planes[0]), turns))


class _Planes:
    """Luma and two planes of colour in half its width and height, as they are decoded: I420."""

    encoding: Encoding = "i420"

    def shape(self, width: int, height: int) -> Shape:
        return height * 3 // 2, width, 1

    def colour(self, frame: VideoFrame) -> Colour:
        return _colour(frame)

    def write(self, frame: VideoFrame, scaling: _Scaling, turns: int, out: Image) -> None:
        if frame.format.name not in I420_FORMATS or scaling.size is not None:
            frame = _in_planes(frame, scaling)
        # In rows with gaps, the planes of colour could not be views.
        whole = out if out.flags.c_contiguous else np.empty(out.shape, np.uint8)
        for plane, place in zip(frame.planes, planes_of(whole), strict=True):
            height, width = place.shape[::-1] if turns % 2 else place.shape
            np.copyto(place, np.rot90(_plane(plane)[:height, :width], turns))
        if whole is not out:
            np.copyto(out, whole)


MAKERS: Final[Mapping[Encoding, Maker]] = {
    "bgr8": _Packed("bgr8", "bgr24"),
    "rgb8": _Packed("rgb8", "rgb24"),
    "mono8": _Luma(),
    "i420": _Planes(),
}


def _in_planes(frame: VideoFrame, scaling: _Scaling) -> VideoFrame:
    """Return the frame as yuv420p, with the levels that ``_colour`` names."""
    colour = _colour(frame)
    matrix = Colorspace.ITU601 if colour is OF_RGB else None
    return scaling.to(frame, "yuv420p", matrix=matrix, full=colour.full)


def _colour(frame: VideoFrame) -> Colour:
    """Return matrix and range of a frame's planes, or of those that it is converted to."""
    pixels = frame.format
    if pixels.is_rgb or pixels.has_palette or len(pixels.components) < 3:
        return OF_RGB
    full = frame.color_range == ColorRange.JPEG or pixels.name.startswith("yuvj")
    return Colour(MATRICES.get(frame.colorspace, "bt601"), full=full)


def _begins_with_luma(frame: VideoFrame) -> bool:
    """Return whether the first plane is luma, or grey, of 8 bits."""
    pixels = frame.format
    planar = pixels.is_planar and not pixels.is_rgb and pixels.components[0].bits == 8
    return planar or pixels.name == "gray"


def _lines(plane: VideoPlane) -> Image:
    """Return a plane's bytes, (height, bytes a line), valid as long as they are referred to."""
    return np.frombuffer(memoryview(plane), np.uint8).reshape(plane.height, plane.line_size)


def _plane(plane: VideoPlane) -> Image:
    """Return a plane of 8 bits a pixel, (height, width)."""
    return _lines(plane)[:, : plane.width]


def _quarter_turns(frame: VideoFrame) -> int:
    return round(frame.rotation / 90) % 4
