"""The options' declarations as cyclopts takes them. Imported only for command lines that are not plain."""

from __future__ import annotations

import functools
import os
import shlex
import typing
from collections.abc import Callable, Sequence
from dataclasses import MISSING, fields
from typing import Annotated, Any, TypeVar

from cyclopts import App, ArgumentCollection, Group, Parameter, Token

from framepair.nodes.common.options import GROUPS
from framepair.nodes.common.patient_console import PatientConsole
from framepair.nodes.common.plain_words import Detail, variable
from framepair.nodes.common.runtime import Refused

T = TypeVar("T")
U = TypeVar("U")


def node_parser(node: str, description: str | None) -> App:
    """Return the parser of a node, which knows no options yet."""
    return App(
        name=f"python -m framepair.nodes.{node}",
        help=description,
        version_flags=[],
        config=[from_environment],
        console=PatientConsole(),
    )


def options_parser(
    options: type[T], name: str | None = None, config: Sequence[Callable[..., Any]] = ()
) -> App:
    """Return a parser that returns the dataclass ``options``; ``config`` gives it what flags leave open."""
    parser = App(
        name=name,
        help_flags=[],
        version_flags=[],
        config=config,
        result_action="return_value",
    )
    parser.default(taking_parsed(lambda parsed: parsed, options))
    return parser


def taking_parsed(run: Callable[[T], U], options: type[T]) -> Callable[[Any], U]:
    """Return ``run``, a function of ``options``, as one whose argument is parsed."""

    def take(options: Any) -> U:
        return run(plain(options))

    def plain(parsed: Any) -> T:
        return options(**{field.name: getattr(parsed, field.name) for field in fields(parsed)})

    derived = _parsed(options)
    take.__annotations__["options"] = Annotated[derived, Parameter(name="*")]
    take.__doc__ = run.__doc__
    if all(field.default is not MISSING for field in fields(derived)):
        take.__defaults__ = (derived(),)
    return take


def _parsed(options: Any) -> Any:
    """Return the dataclass ``options`` as one whose details are parameters."""
    hints = typing.get_type_hints(options, include_extras=True)
    told = {name: _told(hint) for name, hint in hints.items()}
    # Of the same name and module, where cyclopts looks for the docstrings of its fields.
    names = {name: getattr(options, name) for name in ("__module__", "__qualname__", "__doc__")}
    return type(options.__name__, (options,), {**names, "__annotations__": told})


def _told(hint: Any) -> Any:
    """Return an annotation whose details are parameters."""
    kind, *said = (
        (hint.__origin__, *hint.__metadata__) if hasattr(hint, "__metadata__") else (hint,)
    )
    parameters = [_parameter(each) if isinstance(each, Detail) else each for each in said]
    return Annotated[(kind, *parameters)] if parameters else kind


def _parameter(detail: Detail) -> Parameter:
    arguments: dict[str, Any] = dict(detail.arguments)
    if detail.validator:
        arguments["validator"] = detail.validator
    if detail.group:
        arguments["group"] = _groups()[detail.group]
    return Parameter(**arguments)


@functools.cache
def _groups() -> dict[str, Group]:
    """Return the groups by name, made in the order in which help shows them."""
    return {str(group.group): Group.create_ordered(str(group.group)) for group in GROUPS}


def from_environment(_app: App, _commands: tuple[str, ...], arguments: ArgumentCollection) -> None:
    """Give each option without a flag what its variable says; an empty variable is as none.

    An option that may be given several times takes words, quoted as in a shell.
    """
    for argument in arguments:
        name = variable(argument.name)
        text = os.environ.get(name)
        if text and not argument.tokens:
            several = argument.token_count()[1]
            for index, value in enumerate(_words(name, text) if several else [text]):
                argument.append(Token(keyword=name, value=value, source="env", index=index))


def _words(name: str, text: str) -> list[str]:
    try:
        return shlex.split(text)
    except ValueError as error:
        raise Refused(f"{name}: {error}: quote its words as in a shell") from None
