"""What is said of a command line that can't be used: one sentence."""

from __future__ import annotations

import re
from typing import Final

from cyclopts import CycloptsError, MissingArgumentError

# What the parser says of a word that is no number, in words of Python's types.
NO_NUMBER: Final = re.compile(
    r'Invalid value for (?P<flag>.+?): unable to convert "(?P<value>.*)" into (?P<type>float|int)\.'
)
TYPES: Final = {"float": "a number", "int": "a whole number"}


def sentence(error: Exception, usage: str = "") -> str:
    """Return what ``error`` says, in one line; ``usage`` is shown if it lacks what it needs."""
    text = " ".join(str(error).split())
    if (
        usage
        and isinstance(error, MissingArgumentError)
        and error.argument
        and error.argument.required
    ):
        return f"too few arguments: {usage}"
    return NO_NUMBER.sub(_no_number, text) if isinstance(error, CycloptsError) else text


def _no_number(found: re.Match[str]) -> str:
    return (
        f'Invalid value "{found["value"]}" for {found["flag"]}. It must be {TYPES[found["type"]]}.'
    )
