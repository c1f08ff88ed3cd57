"""What is wrong with a plan, in sentences."""

from __future__ import annotations

import os
from collections.abc import Iterator, Sequence
from pathlib import Path

from nodes.planning.bounds import MB, Limits, Source, ring_bytes
from protocol import endpoint, room

# What is left of 1 GbE for what it carries.
GIGABIT_BYTES_PER_S = 0.94e9 / 8


def of_links(sources: Sequence[Source], pub: str) -> Iterator[str]:
    """Say which links carry more than a usual network does."""
    for source in sources:
        if not endpoint.is_on_this_machine(source.address):
            yield from _too_much(f"{described(source)}", source.link_bytes_per_s)
    if not endpoint.is_on_this_machine(pub):
        whole = sum(source.link_bytes_per_s for source in sources)
        yield from _too_much("all sources, to each consumer elsewhere", whole)


def of_shared_memory(sources: Sequence[Source], limits: Limits, directory: Path) -> Iterator[str]:
    """Say whether the rings don't fit."""
    needed = sum(ring_bytes(source, limits) for source in sources)
    existing = next(path for path in (directory, *directory.parents) if path.exists())
    status = os.statvfs(existing)
    free = status.f_bavail * status.f_frsize
    if status.f_blocks and needed > free:
        yield (
            f"{existing} has {size(free)}, the rings need {size(needed)}: choose a smaller --history, or give"
            " it more (docker: --shm-size, compose: shm_size)"
        )


def of_memory(total: int) -> Iterator[str]:
    """Say whether the processes may take more memory than there is."""
    free = room.free_memory()
    if total > free:
        taken = f"the nodes may take {size(total)} and {size(free)} are free"
        yield f"{taken}: choose a smaller --max-bytes or --keep"


def of_unknown(sources: Sequence[Source]) -> Iterator[str]:
    """Say what could not be found out."""
    for source in sources:
        if source.format is None:
            yield f"{source.name} can't be opened now: what it takes is not known"


def described(source: Source) -> str:
    """Return what a source is, such as left raw 1080p25."""
    if source.format is None:
        return f"{source.name} {source.payload}"
    height, width, _ = source.format.shape
    picture = f"{height}p" if width * 9 == height * 16 else f"{width}x{height}@"
    return f"{source.name} {source.payload} {picture}{source.format.fps:g}"


def size(nbytes: float) -> str:
    """Return a number of bytes for people."""
    return f"{nbytes / MB / 1000:.1f} GB" if nbytes >= 1000 * MB else f"{nbytes / MB:.0f} MB"


def _too_much(what: str, bytes_per_s: float) -> Iterator[str]:
    if bytes_per_s > GIGABIT_BYTES_PER_S:
        rate = f"{8 * bytes_per_s / 1e9:.2f} Gbit/s"
        yield (
            f"{what} = {rate}: more than 1 GbE carries; use --payload jpeg or smaller pictures, or"
            " --payload shm on one machine"
        )
