"""The command line of a node: flags first, then environment variables, then defaults."""

from __future__ import annotations

import sys
import typing
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Any

from framepair.nodes.common import plain_words

if TYPE_CHECKING:
    from cyclopts import App, ArgumentCollection

Run = Callable[[Any], None]


class CommandLine:
    """Runs what ``default`` decorates with the options that the words ask for, a dataclass of ``Detail``.

    The parser, which refuses and explains what can't be used, is only imported where it is needed.
    """

    def __init__(self, node: str, description: str | None) -> None:
        self._node = node
        self._description = description
        self._run: Run | None = None
        self.options: Any = None
        """The dataclass of its options."""
        self._commands: dict[str, Run] = {}

    def default(self, run: Run) -> Run:
        """Take ``run``, a function of ``options``, as what the node does."""
        self._run, self.options = run, _options_of(run)
        return run

    def command(self, run: Run, *, name: str) -> None:
        """Add what the node does instead if its first word is ``name``."""
        self._commands[name] = run

    def __call__(
        self,
        arguments: Sequence[str] | None = None,
        *,
        exit_on_error: bool = True,
        print_error: bool = True,
    ) -> None:
        """Run the node; for bad usage exit, or raise CycloptsError."""
        words = sys.argv[1:] if arguments is None else arguments
        options = plain_words.read(self.options, words)
        if options is None or self._run is None:
            self.parser()(arguments, exit_on_error=exit_on_error, print_error=print_error)
        else:
            self._run(options)

    def parse_args(self, words: Sequence[str], *, exit_on_error: bool, print_error: bool) -> Any:
        """Return what the parser makes of ``words``."""
        parser = self.parser()
        return parser.parse_args(words, exit_on_error=exit_on_error, print_error=print_error)

    def assemble_argument_collection(self, *, parse_docstring: bool = False) -> ArgumentCollection:
        """Return the parser's arguments."""
        return self.parser().assemble_argument_collection(parse_docstring=parse_docstring)

    def parser(self) -> App:
        """Return the parser."""
        from framepair.nodes.common.parser import node_parser, taking_parsed

        app = node_parser(self._node, self._description)
        if self._run:
            app.default(taking_parsed(self._run, self.options))
        for name, run in self._commands.items():
            app.command(taking_parsed(run, _options_of(run)), name=name)
        return app


def _options_of(run: Run) -> Any:
    return typing.get_type_hints(run)["options"]
