"""The configuration file: TOML with the names of the options as keys."""

from __future__ import annotations

import tomllib
from pathlib import Path
from typing import Any

from nodes.launching.naming import is_name
from nodes.runtime import Refused

# What a key may hold, by the type of its option.
NUMBER, TEXT = ((int, float), "a number"), ((str,), "text")
WHOLE, CHOICE, LIST = ((int,), "a whole number"), ((bool,), "true or false"), ((list,), "a list")
# What may be given as a table as well as a list.
TABLES = ("sources", "hosts", "restart")
# What may be given as one word as well as a list.
WORDS = ("payload", "restart", "fault")
TOML_TYPES = {float: NUMBER, int: WHOLE, bool: CHOICE, tuple: LIST}


def read(path: Path) -> dict[str, Any]:
    """Return what ``path`` says, tables as lists of NAME=TEXT; raises Refused if it can't be read."""
    try:
        with path.open("rb") as file:
            fields = tomllib.load(file)
    except OSError as error:
        raise Refused(f"cannot read {path}: {error.strerror}") from None
    except ValueError as error:
        raise Refused(f"{path} is not TOML: {error}") from None
    if "config" in fields:
        raise Refused(f"{path} cannot name another file with config")
    for key in TABLES:
        if isinstance(fields.get(key), dict):
            fields[key] = _from_table(key, fields[key], path)
    for key in WORDS:
        if isinstance(fields.get(key), str):
            fields[key] = [fields[key]]
    return fields


def _from_table(key: str, table: dict[str, Any], path: Path) -> list[str]:
    for name, value in table.items():
        if not is_name(name):
            raise Refused(f"{key}.{name} in {path}: a name has letters, digits, _ and - only")
        if type(value) not in (str, int):
            raise Refused(f"{key}.{name} in {path} must be text, not {value!r}")
    return [f"{name}={value}" for name, value in table.items()]


def check_types(fields: dict[str, Any], parsed: object, path: Path) -> None:
    """Refuse what a command line has to take, where all is text, but a typed file should not say.

    ``parsed`` has an attribute of the right type for each key in ``fields``.
    """
    for key, value in fields.items():
        allowed, words = TOML_TYPES.get(type(getattr(parsed, key.replace("-", "_"))), TEXT)
        if type(value) not in allowed:
            raise Refused(f"{key} in {path} must be {words}, not {value!r}")
