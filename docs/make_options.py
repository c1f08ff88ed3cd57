"""docs/options.md, made from the declarations of the options: python -m docs.make_options > docs/options.md."""

from __future__ import annotations

import importlib
import typing
from collections.abc import Iterable, Iterator
from dataclasses import fields

from framepair.nodes.common.monitor_options import Monitoring
from framepair.nodes.common.options import (
    Combining,
    Consuming,
    Declared,
    Producing,
    Relaying,
    declared,
)
from framepair.nodes.common.record_options import Recording
from framepair.nodes.launcher import options

SHARED = {
    "producer": Producing,
    "combiner": Combining,
    "relay": Relaying,
    "sink": Consuming,
    "recorder": Recording,
    "monitor": Monitoring,
}
KINDS = {bool: "switch", float: "number", int: "whole number", tuple: "several texts"}
HEAD = """\
# Options

<!-- Made by python -m docs.make_options: change the declarations in framepair/nodes, not this. -->

Each option is declared once. Where it is known, `--max-wait 1` is also the environment variable
`FRAMEPAIR_MAX_WAIT=1` and, for `framepair`, the key `max_wait = 1` of the TOML file that `--config` names. A
flag wins over a variable, a variable over the file. An empty variable is as none; one for an option that may be
given several times holds words, quoted as in a shell: `FRAMEPAIR_SOURCES="left='my cam.mp4' right=0"`. In the
file `sources`, `hosts`, `ports`, `restart` and `health_timeout` may be tables, and so may each source:
`[sources.left]` with its `uri` and what is said of that source alone, such as `stream = 1`, which is the flag
`--stream left=1`. A number is in seconds; a time that is text has its unit: 90s, 10min, 24h.

## framepair

*Also of* names the nodes that have the option themselves, for those that start nodes by hand; `framepair`
passes it on.
"""
NODE = """
## python -m framepair.nodes.{node}

What only this node has; see above for {shared}.
"""


def page() -> str:
    """Return the text of docs/options.md."""
    return "\n".join((HEAD, *_launcher(), *_nodes())).replace("\n\n\n", "\n\n") + "\n"


def _launcher() -> Iterator[str]:
    known = declared(options.app())
    for group in dict.fromkeys(option.group for option in known):
        yield f"### {group}\n"
        yield from _table((each for each in known if each.group == group), also=True)
        yield ""


def _nodes() -> Iterator[str]:
    for node, group in SHARED.items():
        shared = [field.name for field in fields(group)]
        app = importlib.import_module(f"framepair.nodes.{node}.main").app
        flags = ", ".join(f"`--{name.replace('_', '-')}`" for name in sorted(shared))
        yield NODE.format(node=node, shared=flags)
        own = (each for each in declared(app) if each.name not in shared)
        yield from _table(own, also=False)


def _table(known: Iterable[Declared], *, also: bool) -> Iterator[str]:
    yield f"| option | takes | default |{' also of |' if also else ''} |"
    yield "| --- " * (5 if also else 4) + "|"
    for option in known:
        cells = [f"`{option.flag}`", _takes(option), _default(option)]
        if also:
            cells.append(", ".join(_nodes_with(option.name)))
        cells.append(option.help.partition(" [default:")[0])
        yield f"| {' | '.join(cell.replace('|', '&#124;') for cell in cells)} |"


def _nodes_with(name: str) -> Iterator[str]:
    for node, group in SHARED.items():
        if name in [field.name for field in fields(group)]:
            yield node


def _takes(option: Declared) -> str:
    kind = options.plain_type(option.type)
    if kind is typing.Literal:
        return " or ".join(f"`{value}`" for value in options.choices(option.type))
    return KINDS.get(kind, "path" if kind.__name__ == "Path" else "text")


def _default(option: Declared) -> str:
    if "[default:" in option.help:
        return option.help.partition("[default: ")[2].rstrip("]")
    unset = not isinstance(option.default, (str, int, float)) or option.default in ("", False)
    return "" if unset else f"`{str(option.default).removesuffix('.0')}`"


if __name__ == "__main__":
    print(page(), end="")
