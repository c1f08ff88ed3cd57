"""What the payload that is asked for cannot do, to be said before anything starts."""

from __future__ import annotations

from framepair.nodes.common.runtime import Refused
from framepair.protocol.memory import payloads
from framepair.protocol.memory.payload import Payload
from framepair.protocol.transport import endpoints


def refuse_beyond(payload: Payload, pace: str, push: str) -> None:
    """Raise Refused if frames with this payload can't be sent at this pace, or to this address."""
    if pace == "max" and not payload.waits:
        raise Refused(
            f"--payload {payload} cannot wait for consumers, as --pace max has to: use --payload"
            f" {payloads.LOSSLESS}"
        )
    if payload.one_machine and not endpoints.is_on_this_machine(push):
        raise Refused(
            f"--payload {payload}: {push} may be another machine, which cannot see this one's memory:"
            f" use --payload {payloads.ACROSS_HOSTS}"
        )


def refuse_elsewhere(payload: Payload, node: str, here: bool) -> None:
    """Raise Refused unless ``node`` is ``here``, on the machine that the payload's memory is of."""
    if payload.one_machine and not here:
        raise Refused(
            f"--payload {payload}: the {node} runs on another host, which cannot see the memory of the"
            f" combiner's: use --payload {payloads.ACROSS_HOSTS}"
        )
