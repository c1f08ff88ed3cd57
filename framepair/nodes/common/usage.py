"""What is said of a command line that can't be used: one sentence."""

from __future__ import annotations

import re
import sys
from typing import Final

# What the parser says of a word that is no number, in words of Python's types.
NO_NUMBER: Final = re.compile(
    r'Invalid value for (?P<flag>.+?): unable to convert "(?P<value>.*)" into (?P<type>float|int)\.'
)
TYPES: Final = {"float": "a number", "int": "a whole number"}


def errors() -> tuple[type[Exception], ...]:
    """Return what the parser raises for bad usage; nothing while it was not needed, and so not imported."""
    cyclopts = sys.modules.get("cyclopts")
    return (cyclopts.CycloptsError,) if cyclopts else ()


def sentence(error: Exception, usage: str = "") -> str:
    """Return what ``error`` says, in one line; ``usage`` is shown if it lacks what it needs."""
    text = " ".join(str(error).split())
    if not isinstance(error, errors()):
        return text
    if usage and _lacks_argument(error):
        return f"too few arguments: {usage}"
    return NO_NUMBER.sub(_no_number, text)


def _lacks_argument(error: Exception) -> bool:
    from cyclopts import MissingArgumentError

    missing = isinstance(error, MissingArgumentError) and error.argument
    return bool(missing and missing.required)


def _no_number(found: re.Match[str]) -> str:
    return (
        f'Invalid value "{found["value"]}" for {found["flag"]}. It must be {TYPES[found["type"]]}.'
    )
