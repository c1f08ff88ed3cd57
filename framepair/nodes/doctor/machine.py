"""What of the machine every pipeline needs: libraries, decoders, a clock."""

from __future__ import annotations

import ctypes
import importlib
from collections.abc import Iterator
from importlib import metadata

from framepair.nodes.doctor.finding import Finding

# By the name that is imported, with the name that is installed.
LIBRARIES = {
    "zmq": "pyzmq",
    "numpy": "numpy",
    "av": "av",
    "msgspec": "msgspec",
    "msgpack": "msgpack",
    "simplejpeg": "simplejpeg",
}
# What cameras, files and streams usually have.
CODECS = ("h264", "hevc", "mjpeg", "mpeg4", "vp9", "av1")
# From timex.h: the state of a clock that nothing keeps right, and more room than its structure takes.
TIME_ERROR, TIMEX_BYTES = 5, 512


def libraries() -> Iterator[Finding]:
    """Yield whether the libraries can be loaded, and whether libzmq can encrypt."""
    found, failed = [], []
    for module, package in LIBRARIES.items():
        try:
            importlib.import_module(module)
            found.append(f"{package} {metadata.version(package)}")
        except (ImportError, metadata.PackageNotFoundError) as error:
            failed.append(f"{package} cannot be loaded ({error}): install framepair again with pip")
    if found:
        yield Finding("ok", "libraries", ", ".join(found))
    yield from (Finding("bad", "libraries", sentence) for sentence in failed)
    if not failed:
        yield from _encryption()


def _encryption() -> Iterator[Finding]:
    import zmq

    if not zmq.has("curve"):
        yield Finding(
            "note", "libraries", "this libzmq cannot encrypt: install pyzmq from a wheel for --keys"
        )


def decoders() -> Iterator[Finding]:
    """Yield which video codecs this build of FFmpeg decodes."""
    try:
        from av import codec
    except ImportError:
        return
    missing = [name for name in CODECS if name not in codec.codecs_available]
    if missing:
        lacks = f"no {', '.join(missing)}: install the package av from a wheel"
        yield Finding("note", "decoders", lacks)
    else:
        yield Finding("ok", "decoders", ", ".join(CODECS))


def wall_clock() -> Iterator[Finding]:
    """Yield whether something keeps the wall clock right: stamps of frames are its time at the start."""
    state = ctypes.CDLL(None).adjtimex(ctypes.create_string_buffer(TIMEX_BYTES))
    if state == TIME_ERROR:
        yield Finding(
            "note",
            "clock",
            "nothing keeps the wall clock right, so stamps may be wrong by as much: start an NTP client, such"
            " as systemd-timesyncd; pairs on one machine do not depend on it",
        )
    elif state >= 0:
        yield Finding("ok", "clock", "kept right by NTP")
