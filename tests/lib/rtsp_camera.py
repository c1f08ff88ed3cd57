"""An RTSP camera for tests: H.264 whose frames bear the time of their capture, and faults that cameras have.

It runs before a client comes, as cameras do: a client joins in the middle, at the next key frame.
"""

from __future__ import annotations

import base64
import contextlib
import functools
import hashlib
import queue
import random
import re
import socket
import struct
import threading
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from fractions import Fraction
from typing import Final, Literal

import av
import numpy as np
from av.video.codeccontext import VideoCodecContext

from framepair.nodes.producer.sources import pattern
from framepair.protocol.clocks import clock

SOURCE: Final = "cam"
RTP_HZ: Final = 90_000
# Seconds between NTP's epoch, 1900, and that of UTC.
NTP_EPOCH_S: Final = 2_208_988_800
MAX_RTP_BYTES: Final = 1400
PAYLOAD_TYPE: Final = 96
SSRC: Final = 0x5EED
USER, PASSWORD, REALM, NONCE = "me", "secret", "camera", "0123456789abcdef"

Auth = Literal["none", "basic", "digest"]
Reports = Literal["right", "when_sent", "none"]


@dataclass(frozen=True)
class Faults:
    """What is wrong with a camera.

    ``jitter_s``: frames are sent up to that much late, in order. ``ahead_s`` and ``drift`` (seconds a
    second) are its clock's; the drift is its sampling clock's, too. ``reports``: sender reports are right,
    pair the last frame's time with when they are sent, or don't come; the first comes ``first_report_s``
    after PLAY.
    """

    jitter_s: float = 0.0
    ahead_s: float = 0.0
    drift: float = 0.0
    reports: Reports = "right"
    first_report_s: float = 0.0
    report_every_s: float = 1.0
    b_frames: int = 0


@dataclass
class _Client:
    """A connection: where its packets go, and what was sent to it."""

    connection: socket.socket
    lock: threading.Lock = field(default_factory=threading.Lock)
    udp: socket.socket | None = None
    ports: tuple[int, int] = (0, 0)
    playing_s: float | None = None
    reported_s: float = 0.0
    has_key_frame: bool = False
    seq: int = 0
    packets: int = 0
    nbytes: int = 0

    def send(self, channel: int, data: bytes) -> None:
        if self.udp is not None:
            self.udp.sendto(data, (self.connection.getpeername()[0], self.ports[channel]))
            return
        with self.lock:
            self.connection.sendall(struct.pack(">cBH", b"$", channel, len(data)) + data)


@dataclass(frozen=True)
class _Unit:
    """An encoded frame: its NAL units, and when it was captured by the camera's and by the true clock."""

    nals: list[bytes]
    key: bool
    rtp: int
    captured_ns: int


class RtspCamera:
    """A camera that runs from entering the context to leaving it, whether or not a client watches.

    ``url`` is where it is. ``stall()`` makes it send nothing until ``go_on()``, its connections open;
    ``restart()`` closes all connections and serves again after a while; ``resize()`` changes the picture. It
    says that it sends ``claimed_fps`` frames a second, ``fps`` unless told otherwise.
    """

    def __init__(
        self,
        fps: float = 25,
        size: tuple[int, int] = (320, 192),
        *,
        auth: Auth = "none",
        faults: Faults | None = None,
        claimed_fps: float | None = None,
    ) -> None:
        self.fps, self._size, self._auth = fps, size, auth
        self._claimed_fps = claimed_fps or fps
        self._faults = faults or Faults()
        self._random = random.Random(1)
        self._rtp_start = self._random.getrandbits(32)
        self._clients: list[_Client] = []
        self._lock = threading.Lock()
        self._over, self._stalled = threading.Event(), threading.Event()
        self._units: queue.SimpleQueue[tuple[float, _Unit] | None] = queue.SimpleQueue()
        self._threads: list[threading.Thread] = []
        self._began_ns = clock.now_ns()
        self._listener = self._listen(0)
        self.port = self._listener.getsockname()[1]
        self.captured = 0

    @property
    def url(self) -> str:
        """The camera's address, with user and password if it asks for them."""
        user = "" if self._auth == "none" else f"{USER}:{PASSWORD}@"
        return f"rtsp://{user}127.0.0.1:{self.port}/live"

    def __enter__(self) -> RtspCamera:
        for run in (self._film, self._deliver, self._serve):
            self._start(run)
        return self

    def __exit__(self, *_: object) -> None:
        self._over.set()
        self._units.put(None)
        self._hang_up()
        for thread in self._threads:
            thread.join()

    def stall(self) -> None:
        """Send nothing from now on, but keep connections open."""
        self._stalled.set()

    def go_on(self) -> None:
        """Send again after a stall; what was captured meanwhile is lost."""
        self._stalled.clear()

    def restart(self, away_s: float) -> None:
        """Close all connections, and serve again after ``away_s``."""
        self._hang_up()
        time.sleep(away_s)
        self._listener = self._listen(self.port)
        self._start(self._serve)

    def resize(self, size: tuple[int, int]) -> None:
        """Go on in another size, from the next frame on."""
        self._size = size

    def _start(self, run: Callable[[], None]) -> None:
        thread = threading.Thread(target=run, daemon=True)
        thread.start()
        self._threads.append(thread)

    # Filming: frames on an absolute schedule, drawn at the time that they bear.

    def _film(self) -> None:
        encoder, encoded = self._encoder(), self._size
        pending: dict[int, int] = {}
        while not self._over.wait(self._until_next_s()):
            if self._size != encoded:
                encoder, encoded = self._encoder(), self._size
            captured_ns = clock.now_ns()
            image = np.full((encoded[1], encoded[0], 3), 110, np.uint8)
            pattern.stamp(image, SOURCE, self.captured, captured_ns)
            frame = av.VideoFrame.from_ndarray(image, format="bgr24")
            frame.pts = self.captured
            pending[self.captured] = captured_ns
            self.captured += 1
            for packet in encoder.encode(frame):
                self._queue(bytes(packet), bool(packet.is_keyframe), pending.pop(packet.pts or 0))

    def _until_next_s(self) -> float:
        due_ns = self._began_ns + round(self.captured * 1e9 / self.fps)
        return max(0.0, (due_ns - clock.now_ns()) / 1e9)

    def _encoder(self) -> VideoCodecContext:
        encoder = av.CodecContext.create("libx264", "w")
        encoder.width, encoder.height = self._size
        encoder.pix_fmt = "yuv420p"
        encoder.framerate = rate = Fraction(self._claimed_fps).limit_denominator(1000)
        encoder.time_base = 1 / rate
        encoder.gop_size, encoder.max_b_frames = max(1, round(self.fps)), self._faults.b_frames
        encoder.thread_count = 1
        tune = {} if self._faults.b_frames else {"tune": "zerolatency"}
        encoder.options = {"preset": "ultrafast", "x264-params": "repeat-headers=1"} | tune
        if self._faults.b_frames:
            encoder.options = {**encoder.options, "preset": "veryfast", "b-adapt": "0"}
        return encoder

    def _queue(self, data: bytes, key: bool, captured_ns: int) -> None:
        since_s = (captured_ns - self._began_ns) / 1e9 * (1 + self._faults.drift)
        rtp = (self._rtp_start + round(since_s * RTP_HZ)) % 2**32
        nals = [nal.rstrip(b"\0") for nal in re.split(rb"\0\0\x01", data) if nal.rstrip(b"\0")]
        at_s = time.monotonic() + self._random.uniform(0, self._faults.jitter_s)
        self._units.put((at_s, _Unit(nals, key, rtp, captured_ns)))

    # Sending.

    def _deliver(self) -> None:
        while (item := self._units.get()) is not None:
            at_s, unit = item
            if self._over.wait(max(0.0, at_s - time.monotonic())):
                return
            if self._stalled.is_set():
                continue
            with self._lock:
                playing = [client for client in self._clients if client.playing_s is not None]
            for client in playing:
                with contextlib.suppress(OSError):
                    self._send(client, unit)

    def _send(self, client: _Client, unit: _Unit) -> None:
        if not (client.has_key_frame or unit.key):
            return
        client.has_key_frame = True
        self._report(client, unit)
        for data, last in _packetized(unit.nals):
            head = struct.pack(
                ">BBHII", 0x80, PAYLOAD_TYPE | last << 7, client.seq % 2**16, unit.rtp, SSRC
            )
            client.seq += 1
            client.packets += 1
            client.nbytes += len(data)
            client.send(0, head + data)

    def _report(self, client: _Client, unit: _Unit) -> None:
        now_s, faults = time.monotonic(), self._faults
        first_s = (client.playing_s or 0) + faults.first_report_s
        due_s = max(first_s, client.reported_s + faults.report_every_s)
        if faults.reports == "none" or now_s < due_s:
            return
        client.reported_s = now_s
        true_ns = clock.now_ns() if faults.reports == "when_sent" else unit.captured_ns
        since_s = (true_ns - self._began_ns) / 1e9
        camera_ns = true_ns + round((faults.ahead_s + faults.drift * since_s) * 1e9)
        seconds, rest_ns = divmod(camera_ns, 10**9)
        ntp = (seconds + NTP_EPOCH_S) << 32 | rest_ns * 2**32 // 10**9
        body = struct.pack(">IQIII", SSRC, ntp, unit.rtp, client.packets, client.nbytes % 2**32)
        name = b"\1\6camera"
        names = struct.pack(">I", SSRC) + name + bytes(4 - len(name) % 4)
        client.send(
            1,
            struct.pack(">BBH", 0x80, 200, len(body) // 4)
            + body
            + struct.pack(">BBH", 0x81, 202, len(names) // 4)
            + names,
        )

    # Serving.

    def _listen(self, port: int) -> socket.socket:
        return socket.create_server(("127.0.0.1", port))

    def _serve(self) -> None:
        listener = self._listener
        with contextlib.suppress(OSError), listener:
            while not self._over.is_set():
                connection, _ = listener.accept()
                connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
                client = _Client(connection)
                with self._lock:
                    self._clients.append(client)
                self._start(functools.partial(self._talk, client))

    def _hang_up(self) -> None:
        with contextlib.suppress(OSError):
            self._listener.shutdown(socket.SHUT_RDWR)
        self._listener.close()
        with self._lock:
            for client in self._clients:
                with contextlib.suppress(OSError):
                    client.connection.shutdown(socket.SHUT_RDWR)

    def _talk(self, client: _Client) -> None:
        with contextlib.suppress(OSError), client.connection:
            for method, headers in _requests(client.connection):
                answer = self._answer(client, method, headers)
                with client.lock:
                    client.connection.sendall(answer)
                if method == "PLAY" and b" 200 " in answer:
                    client.playing_s = time.monotonic()
        with self._lock:
            self._clients.remove(client)
        if client.udp is not None:
            client.udp.close()

    def _answer(self, client: _Client, method: str, headers: dict[str, str]) -> bytes:
        if method != "OPTIONS" and not self._authorized(method, headers.get("authorization", "")):
            return _response(headers, "401 Unauthorized", {"WWW-Authenticate": self._challenge()})
        more, body = {"Session": "1;timeout=60"}, b""
        if method == "OPTIONS":
            more = {"Public": "OPTIONS, DESCRIBE, SETUP, PLAY, GET_PARAMETER, TEARDOWN"}
        if method == "DESCRIBE":
            more, body = {"Content-Type": "application/sdp"}, self._sdp()
        if method == "SETUP":
            more |= {"Transport": _transport(client, headers["transport"])}
        return _response(headers, "200 OK", more, body)

    def _sdp(self) -> bytes:
        lines = [
            "v=0", "o=- 0 0 IN IP4 127.0.0.1", "s=camera", "t=0 0", f"m=video 0 RTP/AVP {PAYLOAD_TYPE}",
            "c=IN IP4 0.0.0.0", f"a=rtpmap:{PAYLOAD_TYPE} H264/{RTP_HZ}",
            f"a=fmtp:{PAYLOAD_TYPE} packetization-mode=1", "a=control:track1",
        ]  # fmt: skip
        return ("\r\n".join(lines) + "\r\n").encode()

    def _challenge(self) -> str:
        if self._auth == "basic":
            return f'Basic realm="{REALM}"'
        return f'Digest realm="{REALM}", nonce="{NONCE}"'

    def _authorized(self, method: str, given: str) -> bool:
        if self._auth == "none":
            return True
        if self._auth == "basic":
            return given == "Basic " + base64.b64encode(f"{USER}:{PASSWORD}".encode()).decode()
        fields = dict(re.findall(r'(\w+)="([^"]*)"', given))
        secret, request = f"{USER}:{REALM}:{PASSWORD}", f"{method}:{fields.get('uri', '')}"
        expected = _md5(f"{_md5(secret)}:{NONCE}:{_md5(request)}")
        return fields.get("response") == expected


def _packetized(nals: list[bytes]) -> Iterator[tuple[bytes, bool]]:
    """Yield RTP payloads, and whether each is a picture's last; NAL units that are too long in parts, FU-A."""
    for index, nal in enumerate(nals):
        last_nal = index == len(nals) - 1
        if len(nal) <= MAX_RTP_BYTES:
            yield nal, last_nal
            continue
        indicator, kind, rest = nal[0] & 0xE0 | 28, nal[0] & 0x1F, nal[1:]
        for start in range(0, len(rest), MAX_RTP_BYTES):
            part = rest[start : start + MAX_RTP_BYTES]
            begins, ends = start == 0, start + MAX_RTP_BYTES >= len(rest)
            yield bytes([indicator, begins << 7 | ends << 6 | kind]) + part, last_nal and ends


def _requests(connection: socket.socket) -> Iterator[tuple[str, dict[str, str]]]:
    """Yield each request's method and headers, past the receiver reports among them."""
    with connection.makefile("rb") as file:
        while first := file.read(1):
            if first == b"$":
                _, length = struct.unpack(">BH", file.read(3))
                file.read(length)
                continue
            method = (first + file.readline()).decode().split()[0]
            headers = {}
            while line := file.readline().decode().strip():
                name, _, value = line.partition(":")
                headers[name.lower()] = value.strip()
            yield method, headers


def _response(
    request: dict[str, str], status: str, headers: dict[str, str], body: bytes = b""
) -> bytes:
    lines = [f"RTSP/1.0 {status}", f"CSeq: {request.get('cseq', '0')}"]
    lines += [f"{name}: {value}" for name, value in headers.items()]
    lines += [f"Content-Length: {len(body)}"] if body else []
    return ("\r\n".join(lines) + "\r\n\r\n").encode() + body


def _transport(client: _Client, asked: str) -> str:
    """Set the client's transport up as it asks for; return what the camera says to that."""
    if "TCP" in asked:
        return "RTP/AVP/TCP;unicast;interleaved=0-1"
    rtp, rtcp = (int(port) for port in re.findall(r"client_port=(\d+)-(\d+)", asked)[0])
    client.udp, client.ports = socket.socket(socket.AF_INET, socket.SOCK_DGRAM), (rtp, rtcp)
    client.udp.bind(("127.0.0.1", 0))
    port = client.udp.getsockname()[1]
    return f"RTP/AVP;unicast;client_port={rtp}-{rtcp};server_port={port}-{port + 1}"


def _md5(text: str) -> str:
    return hashlib.md5(text.encode()).hexdigest()
