"""What the payload that is asked for cannot do, to be said before anything starts."""

from __future__ import annotations

from collections.abc import Iterable

from framepair.nodes.common.runtime import Refused
from framepair.protocol.memory import payloads
from framepair.protocol.memory.auto import Auto
from framepair.protocol.memory.payload import Payload
from framepair.protocol.transport import endpoints


def settled(payload: Payload, pace: str, addresses: Iterable[str]) -> Payload:
    """Return what ``auto`` comes to at this pace and with these addresses: itself, or raw; others stay."""
    if isinstance(payload, Auto) and why_not_shared(pace, addresses):
        return payloads.DEFAULT
    return payload


def why_not_shared(pace: str, addresses: Iterable[str]) -> str | None:
    """Return why frames can't be in shared memory at this pace and with these addresses; None: they can."""
    if pace == "max":
        return "--pace max waits for consumers, which shared memory cannot"
    open_to = (each for each in addresses if not endpoints.is_on_this_machine(each))
    return next((f"{each} can be reached from other machines" for each in open_to), None)


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
