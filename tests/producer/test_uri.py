"""URIs: what they mean, what is refused, and that no password gets out."""

from __future__ import annotations

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from framepair.nodes.producer.sources.opening import parse
from framepair.nodes.producer.sources.source import Format, SourceError
from framepair.nodes.producer.sources.uri import redact


@pytest.mark.parametrize(
    ("uri", "kind", "location"),
    [
        ("left.mp4", "file", "left.mp4"),
        ("./0", "file", "./0"),
        ("10:30.mp4", "file", "10:30.mp4"),
        ("file:left.mp4", "file", "left.mp4"),
        ("file:///data/my%20left.mp4", "file", "/data/my left.mp4"),
        ("file://localhost/left.mp4", "file", "/left.mp4"),
        ("0", "camera", "/dev/video0"),
        ("12", "camera", "/dev/video12"),
        ("/dev/video0", "camera", "/dev/video0"),
        ("/dev/v4l/by-id/usb-x", "camera", "/dev/v4l/by-id/usb-x"),
        ("rtsp://host/stream", "stream", "rtsp://host/stream"),
        ("RTSP://user:secret@host:554/S", "stream", "rtsp://user:secret@host:554/S"),
        ("rtsps://host/stream", "stream", "rtsps://host/stream"),
        ("https://host/video?x=1", "stream", "https://host/video?x=1"),
        ("rtmp://host/live", "stream", "rtmp://host/live"),
        ("udp://@239.0.0.1:1234", "stream", "udp://@239.0.0.1:1234"),
        ("udp://:1234", "stream", "udp://:1234"),
        ("tcp://[::1]:1234", "stream", "tcp://[::1]:1234"),
    ],
)
def test_a_uri_names_one_kind_of_source(uri: str, kind: str, location: str) -> None:
    source = parse(uri)
    assert (source.kind, source.location, source.synthetic) == (kind, location, None)
    assert source.live == (kind in {"camera", "stream"})


@pytest.mark.parametrize(
    ("uri", "wanted"),
    [
        ("synthetic://", Format((1080, 1920, 3))),
        ("synthetic://1280x720@30", Format((720, 1280, 3), fps=30.0)),
        ("synthetic://@5", Format((1080, 1920, 3), fps=5.0)),
        ("synthetic://640x480/?frames=9", Format((480, 640, 3), total=9)),
        (
            "synthetic://640x480@29.97?encoding=mono8&frames=250",
            Format((480, 640, 1), "mono8", 29.97, total=250),
        ),
    ],
)
def test_a_synthetic_source_is_described_by_its_uri(uri: str, wanted: Format) -> None:
    assert parse(uri).synthetic == wanted
    assert str(parse(uri)) == uri


@pytest.mark.parametrize(
    "uri",
    ["", "a\0b", "\udcff.mp4", "file:///%FF\udcff", "file:///a%00", "file://elsewhere/a.mp4", "file://",
     "ftp://host/a.mp4", "ftp://u:a b@host/", "rtsp://u:a b@\0", "rtsp://", "rtsp:///x",
     "http://[::1", "rtsp://host:port/", "rtsp://u:a b@host/", "synthetic://63x36", "synthetic://64x35",
     "synthetic://1280", "synthetic://1280x", "synthetic://640x480@", "synthetic://640x480@0",
     "synthetic://640x480@1001", "synthetic://99999x99999", "synthetic://640x480@nan",
     "synthetic://640x480?frames=-1", "synthetic://640x480?encoding=rgb8", "synthetic://640x480?fps=3",
     "synthetic://\u0661\u0662x480", "synthetic://" + "9" * 5000 + "x480"],
)  # fmt: skip
def test_a_uri_that_means_nothing_is_refused_in_one_sentence(uri: str) -> None:
    with pytest.raises(SourceError) as refusal:
        parse(uri)
    assert "\n" not in str(refusal.value)
    assert "u:a" not in str(refusal.value)


@settings(deadline=None)
@given(st.text(st.characters(exclude_categories=[])))
def test_any_text_is_understood_or_refused(uri: str) -> None:
    try:
        parse(uri)
    except SourceError:
        return


SECRETS = st.text(st.characters(codec="utf-8", exclude_categories=["Z", "C"]), min_size=1).filter(
    lambda text: not any(character.isspace() for character in text)
)


@settings(deadline=None)
@given(user=st.text("abc", min_size=1), password=SECRETS)
def test_no_password_is_shown(user: str, password: str) -> None:
    secret = f"{password}!secret!"
    uri = f"rtsp://{user}:{secret}@host/path"
    message = f"cannot open '{uri}' (rtsp://{user}:{secret}@host), then {uri}: gone"
    assert "!secret!" not in redact(message)
    assert redact(uri) == "rtsp://host/…"
    assert "!secret!" not in what_is_shown_of(uri)


def what_is_shown_of(uri: str) -> str:
    try:
        source = parse(uri)
    except SourceError as error:
        return str(error)
    return f"{source} {source!r}"


@pytest.mark.parametrize(
    ("uri", "shown"),
    [
        ("http://host/v?user=me&password=secret&x=1", "http://host/…"),
        ("http://host?access_token=secret", "http://host/…"),
        ("rtsp://host/user=me_password=secret_channel=1", "rtsp://host/…"),
        ("rtsps://host:7441/TOKEN", "rtsps://host:7441/…"),
        ("rtsp://[::1]:554/TOKEN", "rtsp://[::1]:554/…"),
        ("rtsp://host:554/", "rtsp://host:554/"),
        ("udp://@239.0.0.1:1234", "udp://239.0.0.1:1234"),
        ("synthetic://1280x720@30", "synthetic://1280x720@30"),
    ],
)
def test_of_an_address_the_host_is_shown(uri: str, shown: str) -> None:
    assert redact(uri) == shown
    assert str(parse(uri)) == shown


def test_a_path_is_shown_as_it_is() -> None:
    assert str(parse("/home/me@work/key=1.mp4")) == "/home/me@work/key=1.mp4"
