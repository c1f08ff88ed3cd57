"""Names for sources: those that the user gives, else ones made from the address."""

from __future__ import annotations

import contextlib
import os
import re
from collections.abc import Collection, Sequence
from pathlib import Path

from framepair.nodes.common.runtime import Refused
from framepair.protocol.recording import names as recordings
from framepair.protocol.wire.limits import SOURCE_NAME

MAX_NAME = 64
# Users call those nodes so, in flags and files; a source of that name could not be told from them.
OTHERS = ("combiner", "relay", "sink", "recorder", "monitor")
COMBINER, RELAY, SINK, RECORDER, MONITOR = OTHERS
OTHERS_IN_WORDS = f"{', '.join(OTHERS[:-1])} or {OTHERS[-1]}"
NOT_IN_NAMES = re.compile(r"[^A-Za-z0-9_-]+")
# An address that may hold a password: as user:password@host, or as a parameter.
SECRET = re.compile(r"""(?i)(?!synthetic:)\b([a-z][a-z0-9+.-]*://)[^\s"'@?=]*[@?=][^\s"']*""")
# Or as its path: rtsps://host:7441/TOKEN is all that some cameras ask for.
SECRET_PATH = re.compile(r"""(?i)\b(?!synthetic:|file:)([a-z][a-z0-9+.-]*://[^\s"'/]+/)[^\s"']+""")
OPEN_FILE = re.compile(r"/(?:dev|proc/self)/fd/(\d{1,6})")
# Tokens are longer than the names that people give to streams.
MAX_NAME_IN_PATH = 15


def name_sources(arguments: Sequence[str]) -> dict[str, str]:
    """Return the address of each source by its name, in order.

    An argument is NAME=URI if what stands before the first ``=`` can be a name (an address may have a ``=``
    too) and no file is called so as a whole, else a URI alone. Raises Refused if two have the same name or one
    has no address.
    """
    split = [_split(argument) for argument in arguments]
    given = [name for name, _ in split if name]
    if len(set(given)) < len(given):
        twice = next(name for name in given if given.count(name) > 1)
        raise Refused(f"more than one source is called {twice}: give each its own name")
    if reserved := set(OTHERS) & set(given):
        raise Refused(f"{reserved.pop()} is another node: give the source another name")
    uris: dict[str, str] = {}
    for name, uri in split:
        uris[name or _free(_name_of(uri), {*given, *uris, *OTHERS})] = uri
    return uris


def is_name(text: str) -> bool:
    """Return whether ``text`` can name a source; one with a dash in front would be taken for a flag."""
    return SOURCE_NAME.match(text) is not None and not text.startswith("-")


def is_synthetic(uri: str) -> bool:
    """Return whether ``uri`` names frames that are made, not captured."""
    return uri.lower().startswith("synthetic:")


def is_stream(uri: str) -> bool:
    """Return whether ``uri`` names a stream on a network, such as rtsp://…"""
    scheme, found, _ = uri.lower().partition("://")
    return bool(found) and scheme not in ("synthetic", "file")


def is_path(uri: str) -> bool:
    """Return whether ``uri`` is the path of a file, be it there or not, or of a recording."""
    other = uri.isdecimal() or uri.startswith("/dev/") or uri.lower().startswith("file:")
    # Names for several pictures: img_%04d.png, *.png.
    other = other or bool(set("%*?[") & set(uri))
    return not (other or is_synthetic(uri) or is_stream(uri))


def is_missing_file(uri: str) -> bool:
    """Return whether ``uri`` is a path, and no file is there now."""
    path = os.path.expanduser(uri) if uri.startswith("~/") else uri  # noqa: PTH111
    path, _ = recordings.split(path)
    return is_path(uri) and not os.access(path, os.F_OK)


def descriptors(uri: str) -> tuple[int, ...]:
    """Return which open files of this process ``uri`` names: /dev/stdin, or /dev/fd/63, as of <(command)."""
    if uri == "/dev/stdin":
        return (0,)
    matched = OPEN_FILE.fullmatch(uri)
    return (int(matched[1]),) if matched else ()


def holds_secret(uri: str) -> bool:
    """Return whether ``uri`` may hold a password: as ``user:password@host``, as a parameter, or as its path."""
    return without_secrets(uri) != uri


def without_secrets(text: str) -> str:
    """Return ``text`` without what may be a password in its addresses: their paths, or all but the scheme."""
    return SECRET_PATH.sub(r"\1…", SECRET.sub(r"\1…", text))


def _split(argument: str) -> tuple[str | None, str]:
    name, equals, uri = argument.partition("=")
    named = bool(equals) and is_name(name) and not _is_file(argument)
    if not argument or "\0" in argument or (named and not uri):
        raise Refused(f"{argument!r} names no video: give a file, a camera or an address")
    return (name, uri) if named else (None, argument)


def _is_file(argument: str) -> bool:
    with contextlib.suppress(ValueError):
        return os.path.lexists(argument)
    return False


def _name_of(uri: str) -> str:
    if uri.isdecimal():
        return f"camera{uri}"
    scheme, separator, rest = uri.partition("://")
    if scheme.lower() == "synthetic":
        return "synthetic"
    return _clean(_last_part(rest) if separator else Path(uri).stem)


def _last_part(rest: str) -> str:
    """Return the stream's name if it has one, else the host: nothing that is likely to be a password."""
    path = rest.rpartition("@")[2].partition("?")[0]
    parts = [part for part in path.split("/") if part and "=" not in part]
    if len(parts) > 1 and len(Path(parts[-1]).stem) <= MAX_NAME_IN_PATH:
        return Path(parts[-1]).stem
    return parts[0].partition(":")[0] if parts else ""


def _clean(text: str) -> str:
    return NOT_IN_NAMES.sub("-", text).strip("-")[:MAX_NAME] or "source"


def _free(name: str, taken: Collection[str]) -> str:
    count = 1
    free = name
    while free in taken:
        count += 1
        free = f"{name[: MAX_NAME - 5]}-{count}"
    return free
