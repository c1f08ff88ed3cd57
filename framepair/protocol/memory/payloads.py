"""The table of payloads: to add one is a module like ``jpeg``, a line here, its name in wire's PayloadKind."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from framepair.protocol.memory.auto import Auto
from framepair.protocol.memory.jpeg import Jpeg
from framepair.protocol.memory.payload import Payload
from framepair.protocol.memory.raw import Raw
from framepair.protocol.memory.shm import Shm

if TYPE_CHECKING:
    from framepair.protocol.wire.frame import PayloadKind

PAYLOADS: Final[dict[PayloadKind, type[Payload]]] = {
    payload.name: payload for payload in (Raw, Shm, Jpeg)
}
DEFAULT: Final[Payload] = Raw()
# What may be asked for: those, and what becomes one of them.
WORDS: Final[dict[str, type[Payload]]] = {str(kind): each for kind, each in PAYLOADS.items()} | {
    "auto": Auto
}


def _words() -> str:
    words = [usage for payload in WORDS.values() for usage in payload.usages]
    return f"{', '.join(words[:-1])} or {words[-1]}"


def _usage() -> str:
    arguments = [payload.argument for payload in WORDS.values() if payload.argument]
    return f"{_words()} with {', '.join(arguments)}"


# For sentences and help: how payloads are written, what each is, and those without a limit of their own.
USAGE: Final = _usage()
NAMES: Final = _words()
HELP: Final = "; ".join(
    f"{' or '.join(payload.usages)}: {payload.what}" for payload in WORDS.values()
)
ACROSS_HOSTS: Final = " or ".join(
    name for name, payload in PAYLOADS.items() if not payload.one_machine
)
LOSSLESS: Final = " or ".join(name for name, payload in PAYLOADS.items() if payload.waits)


def parse(text: str) -> Payload:
    """Return the payload that ``text``, NAME or NAME:ARGUMENT, asks for; raises ValueError if there is none."""
    name, colon, argument = text.partition(":")
    try:
        if name in WORDS:
            return WORDS[name].parse(argument if colon else None)
    except ValueError:
        pass
    raise ValueError(f"{text!r} is not {USAGE}")
