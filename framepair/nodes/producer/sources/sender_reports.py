"""A camera's sender reports (RTCP), which FFmpeg hands out beside the packets that follow them."""

from __future__ import annotations

import struct
from dataclasses import dataclass
from typing import Final

from av.packet import Packet
from av.video.stream import VideoStream

SECOND_NS: Final = 1_000_000_000
# Seconds between NTP's epoch, 1900, and that of UTC.
NTP_EPOCH_S: Final = 2_208_988_800
# AVProducerReferenceTime: the packet's time by the camera's clock, in microseconds of UTC.
REFERENCE_TIME: Final = struct.Struct("=qi")
# AVRTCPSenderReport up to its NTP time: a 32.32 fixed-point number, aligned as C does it.
SENDER_REPORT: Final = struct.Struct("=I4xQ")


@dataclass(frozen=True, slots=True)
class Report:
    """At media time ``pts_ns`` it was ``camera_ns`` by the camera's clock."""

    pts_ns: int
    camera_ns: int


class SenderReports:
    """The reports of one stream, as they come with its packets."""

    def __init__(self) -> None:
        self._had_time = False

    def take(self, packet: Packet[VideoStream], pts_ns: int | None) -> Report | None:
        """Return the report that came right before ``packet``, of media time ``pts_ns``; None if none did."""
        had_time, self._had_time = self._had_time, packet.has_sidedata("prft")
        # What comes with the very first report is put beside the picture before, which the parser still held.
        if pts_ns is None or not had_time or not packet.has_sidedata("rtcp_sr"):
            return None
        microseconds, _ = REFERENCE_TIME.unpack_from(bytes(packet.get_sidedata("prft")))
        _, ntp = SENDER_REPORT.unpack_from(bytes(packet.get_sidedata("rtcp_sr")))
        seconds, fraction = divmod(ntp, 2**32)
        camera_ns = (seconds - NTP_EPOCH_S) * SECOND_NS + fraction * SECOND_NS // 2**32
        # FFmpeg goes on from the report to the packet by the nominal rate of media time: back by the same way.
        return Report(pts_ns - (1000 * microseconds - camera_ns), camera_ns)
