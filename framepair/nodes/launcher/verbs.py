"""What can be asked of ``framepair``: its verbs, and their help."""

from __future__ import annotations

import difflib
import itertools
import re
import textwrap
import typing
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from framepair import __version__
from framepair.nodes.common import monitor_options, streams
from framepair.nodes.common.options import Declared, declared
from framepair.nodes.common.runtime import Refused
from framepair.nodes.launcher import options
from framepair.nodes.launcher.options import Options


@dataclass(frozen=True, slots=True)
class Verb:
    """One verb: what follows it, what it does, the options that most need, and the flag that says the same."""

    usage: str
    summary: str
    often: tuple[str, ...]
    flag: str | None = None
    module: str | None = None
    """The module that does it, a process of its own which takes what follows the verb."""
    short: tuple[str, ...] = ()
    """What may be said without the verb and the dash that the same flags of ``run`` begin with."""
    own: tuple[tuple[str, str], ...] = ()
    """What ``run`` has no option for."""

    @property
    def has_siblings(self) -> bool:
        """Whether its module does what several verbs ask for, and is told which."""
        return self.module == "framepair.nodes.recordings"


SOURCES = "[SOURCES] [OPTIONS]"
OF_CONSUMERS = ("shm_dir", "keys", "insecure")
SUB = ("--sub ADDRESS", "Where the combiner publishes: ipc:///ABSOLUTE/PATH or tcp://HOST:PORT.")
VERBS = {
    "run": Verb(
        SOURCES,
        "pair the frames of several videos, and show how they come",
        (
            "config", "window", "duration", "pace", "loop", "size", "payload", "listen", "sink",
            "no_sink", "record", "monitor", "json",
        ),
    ),
    "plan": Verb(
        SOURCES,
        "say what a run will take (links, memory, shared memory), and start nothing",
        ("config", "window", "pixels", "size", "payload", "history", "max_bytes", "keep", "listen", "json"),
        "--plan",
    ),
    "doctor": Verb(
        SOURCES,
        "say what this machine lacks for a run, and what to do; start nothing",
        ("config", "payload", "wait", "listen", "keys", "run_dir", "host"),
        "--doctor",
    ),
    "commands": Verb(
        SOURCES,
        "print the commands of the nodes, one a line, and start nothing",
        ("config", "window", "pace", "duration", "payload", "listen", "keys", "run_dir", "host"),
        "--print",
    ),
    "reload": Verb(
        "[SOURCES] [--config FILE] [--run-dir DIR] [--host HOST]",
        "change the sources of a pipeline that runs, while the others go on",
        (),
        module="framepair.nodes.launcher.reload_command",
    ),
    "keygen": Verb(
        "DIR", "make a directory with keys for a pipeline on several machines", (), "--keygen"
    ),
    "record": Verb(
        "DIR --sub ADDRESS [OPTIONS]",
        "record what a combiner publishes, beside other consumers",
        ("record_codec", "record_segment", "record_keep", "record_max_bytes", *OF_CONSUMERS),
        module="framepair.nodes.recorder",
        short=("codec", "segment", "keep", "max-bytes"),
        own=(SUB,),
    ),
    "monitor": Verb(
        "[HOST:PORT] --sub ADDRESS [OPTIONS]",
        "show what a combiner publishes: a page, and metrics for Prometheus",
        ("monitor_token", "unhealthy_after", *OF_CONSUMERS),
        module="framepair.nodes.monitor",
        short=("token",),
        own=(
            ("HOST:PORT", f"Of the page and the metrics. [default: {monitor_options.DEFAULT_ADDRESS}]"),
            SUB,
            ("--sync ADDRESS", "Where a combiner on another machine tells the time, for right latencies."),
        ),
    ),
    "relay": Verb(
        "[OPTIONS]",
        "receive pairs once for all consumers of this host",
        ("history", *OF_CONSUMERS),
        module="framepair.nodes.relay",
        own=((SUB[0], f"{SUB[1]} [default: this user's pipeline on this machine]"),),
    ),
    "verify": Verb(
        "FILE|DIR… [--repair]",
        "prove that every frame of a recording is on disk or counted as lost",
        (),
        module="framepair.nodes.recordings",
    ),
    "info": Verb(
        "FILE|DIR…",
        "say what a recording holds, and what is missing",
        (),
        module="framepair.nodes.recordings",
    ),
    "export": Verb(
        "FILE|DIR… --to DIR",
        "write an mp4 for each recorded source, and tables of frames and pairs",
        (),
        module="framepair.nodes.recordings",
    ),
}  # fmt: skip
# What may be a verb, and from what likeness on, of difflib, it is taken for one that is misspelt.
WORD, SIMILAR = re.compile(r"[A-Za-z]+"), 0.75
DEFAULT = re.compile(r"\[default: [^\]]*\]")
HELP, HELP_ALL, VERSION = ("--help", "-h"), "--help-all", "--version"
EXAMPLES = """\
  framepair                                       two synthetic videos; Ctrl-C prints a report
  framepair left.mp4 right.avi                    files, at their own rate
  framepair door=0 yard=rtsp://10.0.0.7/live      cameras and streams, with names
  framepair a.mp4 b.mp4 --pace max --json r.json  offline, every frame"""
WIDTH, LEFT = 100, 24
# Of numbers that are not in seconds.
OTHER_UNITS = {"speed": " FACTOR"}


def read(arguments: Sequence[str], text: str | None = None) -> Options | None:
    """Return what the command line asks for, None if that was help or the version, which is printed then.

    The first word is a verb if it can be one. ``text`` stands for what is in the file that --config names.
    Raises CycloptsError or Refused for what can't be used.
    """
    name, words = _split(arguments)
    said = words[: words.index("--")] if "--" in words else words
    if VERSION in said:
        put(f"framepair {__version__}")
    elif HELP_ALL in said:
        put("\n".join(_full_help()))
    elif any(word in said for word in HELP):
        put("\n".join(_verb_help(name) if name else _help()))
    else:
        return options.parse(_flags(name or "run", words), text)
    return None


def program(arguments: Sequence[str]) -> list[str] | None:
    """Return module and arguments of the process that does what is asked; None if the launcher does it."""
    name, words = _split(arguments)
    verb = VERBS.get(name or "")
    if verb is None or verb.module is None or any(word in (*HELP, VERSION) for word in words):
        return None
    long = {f"--{flag}": f"--{name}-{flag}" for flag in verb.short}
    split = [word.partition("=") for word in words]
    command = [name or ""] if verb.has_siblings else []
    return [
        verb.module,
        *command,
        *("".join((long.get(flag, flag), *rest)) for flag, *rest in split),
    ]


def put(text: str) -> None:
    """Print ``text``; a reader that has seen enough is no failure."""
    try:
        print(text, flush=True)
    except BrokenPipeError:
        streams.forget_stdout()


def _split(arguments: Sequence[str]) -> tuple[str | None, list[str]]:
    """Return the verb, None if there is none, and what follows."""
    first = arguments[0] if arguments else ""
    _refuse_misspelt(first)
    return (first, list(arguments[1:])) if first in VERBS else (None, list(arguments))


def _refuse_misspelt(first: str) -> None:
    """Raise Refused for a word that is nearly a verb, and no file."""
    if first in VERBS or not WORD.fullmatch(first) or Path(first).exists():
        return
    for verb in difflib.get_close_matches(first, VERBS, 1, SIMILAR):
        raise Refused(
            f"{first} is no command and no file: did you mean {verb}? Otherwise say ./{first}"
        )


def _flags(name: str, words: list[str]) -> list[str]:
    verb = VERBS[name]
    if name == "keygen":
        if len(words) != 1 or words[0].startswith("-"):
            raise Refused("keygen takes one directory and nothing else: framepair keygen DIR")
        return [f"--keygen={words[0]}"]
    return [verb.flag, *_with_address(words)] if verb.flag else _with_address(words)


def _with_address(words: list[str]) -> list[str]:
    """Return ``words`` with the default address after a ``--monitor`` that none follows."""
    default = f"--monitor={monitor_options.DEFAULT_ADDRESS}"
    alone = [
        word == "--monitor" and not monitor_options.ADDRESS.fullmatch(following)
        for word, following in itertools.zip_longest(words, words[1:], fillvalue="")
    ]
    return [default if alone[i] else word for i, word in enumerate(words)]


def _help() -> Iterator[str]:
    """Yield the lines of what ``framepair --help`` says: 45 at most."""
    yield f"Usage: framepair {SOURCES}"
    yield ""
    yield EXAMPLES
    yield ""
    yield "Commands (framepair COMMAND --help says more):"
    for name, verb in VERBS.items():
        yield from _row(f"{name} {verb.usage.partition(' ')[0]}", verb.summary)
    yield ""
    yield from _often("run", VERBS["run"])
    yield "All options, and how variables and a file say the same: framepair --help-all"


def _verb_help(name: str) -> Iterator[str]:
    verb = VERBS[name]
    yield f"Usage: framepair {name} {verb.usage}"
    yield ""
    yield f"{verb.summary[0].upper()}{verb.summary[1:]}."
    if verb.often:
        yield ""
        yield from _often(name, verb)
    elif verb.module:
        yield ""
    if verb.module:
        yield f"All options: python -m {verb.module}{f' {name}' if verb.has_siblings else ''} --help"
    elif verb.often:
        yield "All options, and how variables and a file say the same: framepair --help-all"


def _often(name: str, verb: Verb) -> Iterator[str]:
    """Yield what sources are, if the verb has some, and the options that most need, as they may be said."""
    known = {option.name: option for option in declared(options.app())}
    if SOURCES in verb.usage:
        yield from textwrap.wrap(f"Sources: {_first_sentence(known['sources'].help)}", WIDTH)
        yield ""
    yield "Options:"
    for usage, text in verb.own:
        yield from _row(usage, text)
    for often in verb.often:
        option = known[often]
        short = option.flag.removeprefix(f"--{name}-")
        usage = _usage(option).replace(
            option.flag, f"--{short}" if short in verb.short else option.flag
        )
        yield from _row(usage, _brief(option))


def _full_help() -> Iterator[str]:
    known = declared(options.app())
    usage = f"Usage: framepair [{' | '.join(VERBS)}] {SOURCES}"
    yield from textwrap.wrap(usage, WIDTH, subsequent_indent=" " * len("Usage: framepair "))
    yield ""
    yield from textwrap.wrap(
        "Each option may also be an environment variable (--max-wait: FRAMEPAIR_MAX_WAIT) or a key of the TOML"
        " file that --config names (max_wait); a flag wins over a variable, a variable over the file.",
        WIDTH,
    )
    for group in dict.fromkeys(option.group for option in known):
        yield ""
        yield f"{group}:"
        for option in known:
            if option.group == group:
                yield from _row(_usage(option), option.help + _default(option))


def _row(left: str, right: str) -> Iterator[str]:
    """Yield two columns; the right one begins on a line of its own if the left one is too long."""
    indent = " " * (LEFT + 2)
    lines = textwrap.wrap(right, WIDTH, initial_indent=indent, subsequent_indent=indent)
    if len(left) + 2 > LEFT:
        yield f"  {left}"
    else:
        lines[0] = f"  {left}".ljust(LEFT + 2) + lines[0].lstrip()
    yield from lines


def _usage(option: Declared) -> str:
    if option.name == "sources":
        return "SOURCES"
    kind = options.plain_type(option.type)
    if kind is typing.Literal:
        return f"{option.flag} {'|'.join(options.choices(option.type))}"
    words = {bool: "", float: " SECONDS", int: " N", Path: " PATH"}
    return option.flag + OTHER_UNITS.get(option.name, words.get(kind, " TEXT"))


def _default(option: Declared) -> str:
    if "[default:" in option.help or option.default in (None, False, ()):
        return ""
    return f" [default: {str(option.default).removesuffix('.0')}]"


def _brief(option: Declared) -> str:
    first = _first_sentence(option.help)
    default = DEFAULT.search(option.help.removeprefix(first))
    return f"{first} {default[0]}" if default else first + _default(option)


def _first_sentence(text: str) -> str:
    return re.split(r"(?<=\.)\s", text, maxsplit=1)[0]
