"""framepair doctor: what this machine has and lacks for the pipeline that the command line asks for."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from itertools import chain

from cyclopts import CycloptsError

from framepair.nodes.common import exit_codes
from framepair.nodes.common.runtime import Refused
from framepair.nodes.common.streams import visible
from framepair.nodes.doctor import machine, pipeline
from framepair.nodes.doctor.finding import Finding
from framepair.nodes.launcher import topology, verbs
from framepair.nodes.launcher.names import without_secrets
from framepair.nodes.launcher.options import Options
from framepair.protocol.transport.endpoints import EndpointError


def main() -> int:
    """Print a line for each thing that was looked at; return 1 if something is in the way, else 0."""
    try:
        options = verbs.read(sys.argv[1:])
    except (CycloptsError, Refused) as error:
        print(f"framepair: {without_secrets(' '.join(str(error).split()))}", file=sys.stderr)
        return exit_codes.USAGE
    if options is None:
        return 0
    wrong = False
    for finding in examine(options):
        verbs.put(visible(without_secrets(str(finding))))
        wrong = wrong or finding.level == "bad"
    return exit_codes.FAILED if wrong else 0


def examine(options: Options) -> Iterator[Finding]:
    """Yield what is found, as it is found: of the machine first, then of the pipeline of ``options``."""
    yield from chain(machine.libraries(), machine.decoders(), machine.wall_clock())
    try:
        plan = topology.plan(options)
    except (EndpointError, Refused) as error:
        yield Finding("bad", "configuration", " ".join(str(error).split()))
        return
    for check in pipeline.CHECKS:
        yield from check(options, plan)
