"""What shared memory cannot do, to be said before anything starts."""

from __future__ import annotations

from framepair.nodes.common.runtime import Refused
from framepair.protocol.transport import endpoints


def refuse_beyond(pace: str | None, push: str) -> None:
    """Raise Refused if frames in shared memory can't be sent at this pace, or to this address."""
    if pace == "max":
        raise Refused(
            "--payload shm cannot wait for consumers, as --pace max has to: use --payload raw"
        )
    if not endpoints.is_on_this_machine(push):
        raise Refused(
            f"--payload shm: {push} may be another machine, which cannot see this one's memory:"
            " use --payload raw"
        )


def refuse_elsewhere(node: str, here: bool) -> None:
    """Raise Refused unless ``node`` is ``here``, on the machine that the memory is of."""
    if not here:
        raise Refused(
            f"--payload shm: the {node} runs on another host, which cannot see the memory of the"
            " combiner's: use --payload raw"
        )
