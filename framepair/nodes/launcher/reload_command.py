"""Adds, removes and changes the sources of a pipeline that runs; the others go on, and lose nothing."""

from __future__ import annotations

import platform
import sys
import tomllib
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, NoReturn

from cyclopts import App, Parameter

from framepair.nodes.common import exit_codes, runtime
from framepair.nodes.common.parser import from_environment
from framepair.nodes.launcher import recordings
from framepair.nodes.launcher.commands import absolute
from framepair.nodes.launcher.control import Request, ask
from framepair.nodes.launcher.names import name_sources
from framepair.protocol.transport import endpoints

app = App(
    name="framepair reload",
    help=__doc__,
    help_flags=["--help"],
    version_flags=[],
    config=[from_environment],
)


@dataclass(frozen=True, kw_only=True)
class Where:
    """Which pipeline it is."""

    config: Path | None = None
    """The file to read instead of the one that the pipeline was started with."""

    run_dir: Path | None = None
    """The run directory of the pipeline. [default: framepair in XDG_RUNTIME_DIR, or in /tmp]"""

    host: str | None = None
    """Which of the hosts in [hosts] this is. [default: that of the combiner, else the name of this machine]"""


@app.default
def reload(
    sources: Annotated[tuple[str, ...], Parameter(negative=(), show_default=False)] = (),
    /,
    *,
    where: Annotated[Where, Parameter(name="*")] = Where(),
) -> None:
    """Give a pipeline that runs other sources: these, or those that its --config file has now.

    Returns once the new ones are open and the producers of the old ones have stopped, after their last pair.
    If something does not fit nothing changes, and the exit code is 2. If a new one cannot be opened the others
    go on, and the exit code is 1: the next reload tries it again. With --wait new ones need not be open yet.
    """
    run_dir = (where.run_dir or endpoints.default_run_dir()).absolute()
    path = _control(run_dir, where.host)
    try:
        reply = ask(path, Request(_absolute(sources), _text(where.config)))
    except (ConnectionResetError, BrokenPipeError):
        print("framepair: the pipeline has ended before it answered", file=sys.stderr)
        sys.exit(exit_codes.FAILED)
    except OSError as error:
        raise runtime.Refused(
            f"no pipeline listens at {path} ({error.strerror or error}): name its --run-dir; over --listen it"
            " has to be started with one"
        ) from None
    print(f"framepair: {reply.sentence}", file=sys.stderr)
    if reply.code:
        sys.exit(reply.code)


def _control(run_dir: Path, host: str | None) -> Path:
    """Return where the launcher listens: that of ``host`` if there is one, else the one that is likely meant.

    Without a host that is the combiner's launcher, that of this machine as the launcher itself finds its host,
    or the only one.
    """
    this_machine = platform.node()
    likely = [None, this_machine, this_machine.partition(".")[0]]
    paths = [endpoints.control_path(run_dir, name) for name in ([host, None] if host else likely)]
    only = list(run_dir.glob(f"{endpoints.CONTROL}-*"))
    if host is None and len(only) == 1:
        paths += only
    return next((path for path in paths if path.exists()), endpoints.control_path(run_dir))


def _absolute(sources: tuple[str, ...]) -> tuple[str, ...]:
    """Return the sources by name, with addresses that mean the same in any directory."""
    uris = name_sources(recordings.expanded(sources)) if sources else {}
    return tuple(f"{name}={absolute(uri)}" for name, uri in uris.items())


def _text(config: Path | None) -> str | None:
    """Return what ``config`` says; raises Refused, with its name, if it is not there or no TOML."""
    if config is None:
        return None
    try:
        text = config.read_text(encoding="utf-8")
        # The launcher would name the file that it was started with.
        tomllib.loads(text)
        return text
    except OSError as error:
        raise runtime.Refused(f"cannot read {config}: {error.strerror}") from None
    except ValueError as error:
        raise runtime.Refused(f"{config} is not TOML: {error}") from None


def main() -> NoReturn:
    """Run the command as a process."""
    runtime.run(app, "reload", usage="framepair reload [SOURCES]")


if __name__ == "__main__":
    main()
