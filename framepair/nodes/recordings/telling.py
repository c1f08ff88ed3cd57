"""What is found in recordings, in words."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import UTC, datetime
from typing import Final

from framepair.nodes.recordings.completeness import Account, Fault
from framepair.nodes.recordings.judge import Findings, Held

SECOND_NS: Final = 1_000_000_000
MEGABYTE: Final = 1_000_000


def verification(found: Findings) -> Iterator[str]:
    """Yield what ``framepair verify`` says: each source's account, what is outside, and the verdict."""
    verdict = found.verdict
    for path in found.cut:
        yield f"{path} was cut off, and has no index: --repair writes it"
    if found.damaged_chunks or found.malformed:
        yield f"{found.damaged_chunks} chunks are damaged, {found.malformed} messages are malformed"
    for name, account in verdict.accounts.items():
        yield f"{name}: {_account(account)}"
    yield from verdict.unproved
    if verdict.pairs:
        yield (
            f"Outside of what can be proved: {verdict.before} frames before the first pair's header,"
            f" {verdict.after} after the last, and the last frames of a killed producer, of which nobody heard."
        )
    yield complaint(found) or (
        f"Complete: from the first to the last of {verdict.pairs} pairs every frame is on disk or counted"
        f" ({_times(verdict.sessions, 'recorder')}, {_times(verdict.combiners, 'combiner')})."
    )


def complaint(found: Findings) -> str | None:
    """Return what is wrong with a recording, in a sentence; None if every frame is accounted for."""
    if found.verdict.fault:
        return f"Not complete: {_hole(found.verdict.fault)}."
    if not found.verdict.pairs:
        return "Nothing can be proved: there is no header of a pair."
    if found.damaged_chunks or found.malformed:
        return "Not complete: what is damaged can't be read."
    return None


def contents(found: Findings) -> Iterator[str]:
    """Yield what ``framepair info`` says."""
    for name, held in sorted(found.sources.items()):
        yield f"{name}: {_held(held)}"
    verdict = found.verdict
    if verdict.pairs:
        lost = sum(account.lost_frames for account in verdict.accounts.values())
        yield f"pairs: {verdict.pairs}, {verdict.complete} of them complete; {lost} frames lost"
    for name, account in verdict.accounts.items():
        if account.lost_frames:
            yield f"{name}: {_account(account)}"
    for path in found.cut:
        yield f"{path} was cut off, and has no index: framepair verify --repair writes it"


def _held(held: Held) -> str:
    length_s = (held.last_ns - held.first_ns) / SECOND_NS
    fps = (held.frames - 1) / length_s if length_s else 0.0
    formats = ", ".join(sorted(held.formats))
    sizes = ", ".join(sorted(held.sizes)) or "size not said"
    return (
        f"{held.frames} frames, {sizes}, {formats}, {fps:.2f} fps (nominal {held.fps or 'not said'}),"
        f" {length_s:.3f} s from {moment(held.first_ns)}, {held.nbytes / MEGABYTE:.1f} MB"
    )


def _account(account: Account) -> str:
    told = f"{account.captured} captured = {account.on_disk} on disk + {account.lost_frames} lost"
    lost = ", ".join(f"{count} {reason}" for reason, count in sorted(account.lost.items()) if count)
    return f"{told} ({lost})" if lost else told


def _hole(fault: Fault) -> str:
    where = f"{fault.source}, run {fault.run}, from frame {fault.seq} on"
    when = f", before {moment(fault.after_ns)}" if fault.after_ns else ""
    return f"the first hole is {fault.count} frames of {where}{when}: {fault.why}"


def _times(count: int, what: str) -> str:
    return f"{count} {what}{'' if count == 1 else 's'}"


def moment(at_ns: int) -> str:
    """Return a time as text: UTC, or seconds within a video if it is as early as that."""
    at = datetime.fromtimestamp(at_ns / SECOND_NS, UTC)
    return f"{at:%Y-%m-%d %H:%M:%S}.{at.microsecond // 1000:03} UTC"
