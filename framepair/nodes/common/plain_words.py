"""Command lines as the launcher writes them, read in a millisecond: cyclopts takes 0.2 s for that.

What is not plain, such as ``--help``, a variable or a value that is refused, is left to cyclopts, which also
explains it; both read the same declarations.
"""

from __future__ import annotations

import dataclasses
import os
import re
import types
import typing
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, Final, Literal, TypeVar

PREFIX: Final = "FRAMEPAIR_"
WHOLE: Final = re.compile(r"0|[1-9][0-9]{0,14}")
NUMBER: Final = re.compile(r"[0-9]{1,15}(\.[0-9]{1,15})?")
# cyclopts takes these for None.
NOTHING: Final = ("none", "null")

T = TypeVar("T")


class Detail:
    """What an option's annotation says beside its type: arguments of the cyclopts.Parameter that it becomes.

    ``validator`` takes the type and the value, and raises ValueError for one that can't be used. Of several
    details the last that says something wins.
    """

    def __init__(
        self,
        *,
        group: str | None = None,
        validator: Callable[[object, Any], None] | None = None,
        **arguments: object,
    ) -> None:
        self.group = group
        self.validator = validator
        self.arguments = arguments


class _NotPlain(Exception):  # noqa: N818 - it is not an error of the user
    """The words are for cyclopts."""


def variable(name: str) -> str:
    """Return the environment variable of the option ``name``, written as a field or as a flag."""
    return PREFIX + name.lstrip("-").replace("-", "_").upper()


def read(options: type[T], words: Sequence[str]) -> T | None:
    """Return what ``words`` ask for, as the dataclass ``options``; None if they are not plain."""
    hints = typing.get_type_hints(options, include_extras=True)
    try:
        values = _values(options, hints, words)
        _check(hints, values)
        return options(**values)
    # TypeError: something that is required is missing.
    except (_NotPlain, TypeError, ValueError):
        return None


def _values(options: Any, hints: Mapping[str, Any], words: Sequence[str]) -> dict[str, Any]:
    fields = {field.name: field for field in dataclasses.fields(options)}
    if any(os.environ.get(variable(name)) for name in fields):
        raise _NotPlain
    positional = [name for name, field in fields.items() if not field.kw_only]
    said: dict[str, list[str]] = {}
    for name, text in _pairs(words, hints, positional):
        said.setdefault(name, []).append(text)
    return {name: _value(_type(hints[name]), texts) for name, texts in said.items()}


def _pairs(
    words: Sequence[str], hints: Mapping[str, Any], positional: list[str]
) -> Iterator[tuple[str, str]]:
    """Yield the name of each option that is given and its text, which is empty for a switch."""
    left = iter(words)
    for word in left:
        if not word.startswith("--"):
            if len(positional) != 1 or word.startswith("-") or not word:
                raise _NotPlain
            yield positional[0], word
            continue
        flag, equals, text = word[2:].partition("=")
        name = flag.replace("-", "_")
        if name not in hints or "_" in flag or name in positional:
            raise _NotPlain
        switch = _type(hints[name]) is bool
        if not switch and not equals:
            text = next(left, "-")
        if (switch and equals) or (not switch and not text) or (not equals and text[:1] == "-"):
            raise _NotPlain
        yield name, text


def _type(hint: Any) -> Any:
    """Return the type in an annotation, which may be a union or an alias."""
    return typing.get_args(hint)[0] if hasattr(hint, "__metadata__") else hint


def _value(kind: Any, texts: list[str]) -> object:
    if typing.get_origin(kind) is tuple:
        return tuple(texts)
    if len(texts) > 1:
        raise _NotPlain
    return True if kind is bool else _scalar(kind, texts[0])


def _scalar(kind: Any, text: str) -> object:
    kinds = typing.get_args(kind) if _is_union(kind) else (kind,)
    if text.lower() in NOTHING:
        raise _NotPlain
    if float in kinds and NUMBER.fullmatch(text):
        return float(text)
    if int in kinds and WHOLE.fullmatch(text):
        return int(text)
    for each in kinds:
        if typing.get_origin(each) is Literal and text in typing.get_args(each):
            return text
        if each in (str, Path):
            return each(text)
    raise _NotPlain


def _is_union(kind: Any) -> bool:
    return isinstance(kind, types.UnionType) or typing.get_origin(kind) is typing.Union


def _check(hints: Mapping[str, Any], values: Mapping[str, object]) -> None:
    for name, value in values.items():
        said = getattr(hints[name], "__metadata__", ())
        if not all(isinstance(each, Detail) for each in said):
            raise _NotPlain
        checks = [each.validator for each in said if each.validator]
        for check in checks[-1:]:
            check(_type(hints[name]), value)
