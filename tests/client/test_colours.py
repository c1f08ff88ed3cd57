"""Pictures of any encoding as BGR, by what their headers say."""

from __future__ import annotations

import numpy as np
import pytest
from msgspec.structs import replace

from framepair.protocol.client.colours import in_bgr
from framepair.protocol.wire.frame import Colour, FrameHeader
from tests.lib.pictures import picture
from tests.lib.stream import Stream


def header(shape: tuple[int, int, int], **fields: object) -> FrameHeader:
    return replace(Stream(shape=shape).frame("left", 0), **fields)


def test_bgr_is_not_copied() -> None:
    image = picture((48, 64, 3))
    assert in_bgr(image, header(image.shape)) is image


def test_other_channels_are_put_in_order_in_memory_of_their_own() -> None:
    image = picture((48, 64, 3))
    found = in_bgr(image, header(image.shape, encoding="rgb8"))
    assert (found == image[..., ::-1]).all()
    assert found.flags.c_contiguous
    assert not np.shares_memory(found, image)


@pytest.mark.parametrize(
    ("colour", "expected"),
    [
        (None, [0, 16, 126, 235, 255]),
        (Colour("bt709", full=True), [0, 16, 126, 235, 255]),
        (Colour("bt709", full=False), [0, 0, 128, 255, 255]),
    ],
)
def test_luma_becomes_grey_from_black_to_white(colour: Colour | None, expected: list[int]) -> None:
    image = np.array([0, 16, 126, 235, 255], np.uint8).reshape(1, 5, 1)
    found = in_bgr(image, header(image.shape, colour=colour))
    assert found.tolist() == [[[level] * 3 for level in expected]]


def test_planes_without_more_are_bt601_in_limited_range() -> None:
    # Blue 40, green 180, red 90, by the textbook.
    image = np.zeros((72, 64, 1), np.uint8)
    image[:48], image[48:60], image[60:] = 134, 80, 98
    known = header(image.shape, encoding="i420")
    for colour in (None, Colour("bt601", full=False)):
        found = in_bgr(image, replace(known, colour=colour))
        assert found.shape == (48, 64, 3)
        assert np.abs(found.reshape(-1, 3).astype(int) - (40, 180, 90)).max() <= 3
    other = in_bgr(image, replace(known, colour=Colour("bt709", full=True)))
    assert np.abs(other.reshape(-1, 3).astype(int) - (40, 180, 90)).max() > 10
