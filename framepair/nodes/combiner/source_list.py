"""Sources that come and go while the combiner runs, as a file says."""

from __future__ import annotations

import logging
import time
from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import Protocol

from framepair.nodes.combiner.inbox import Inbox, Inboxes
from framepair.nodes.common.sources_file import SourceList, SourcesFile, Unusable
from framepair.protocol.transport.endpoints import EndpointError
from framepair.protocol.transport.heartbeat import Heartbeat

log = logging.getLogger(__name__)

LOOK_S = 0.2
# How long the producer of a source that has left may take to say its last word: the launcher gives it three
# seconds to stop.
LAST_WORD_S = 5.0


class Windows(Protocol):
    """What is to be told of sources: ``windows.Windows``."""

    def add_sources(self, sources: Iterable[str]) -> None:
        """Add sources, all of them or none; raises ValueError if that can't be."""

    def remove_source(self, source: str, now_ns: int) -> int | None:
        """Remove a source; return the last window whose pair it is in."""

    def has_left(self, source: str) -> bool:
        """Return whether that window has closed."""

    def has_ended(self, source: str) -> bool:
        """Return whether the source's producer has said its last word."""

    def forget_source(self, source: str) -> None:
        """Forget the source, of which nothing more comes."""


class Intake(Protocol):
    """What takes messages out of inboxes: ``intake.Intake``."""

    def add(self, inbox: Inbox) -> None:
        """Take messages of one more source."""

    def remove(self, source: str) -> bool:
        """Take none of ``source`` any more; return False if some wait."""


@dataclass(slots=True)
class _Change:
    """The sources that a change removes, and how far that is."""

    version: int
    sources: list[str]
    stopped: set[str] = field(default_factory=set)
    told_s: float | None = None
    """When the launcher was told that their last windows have closed."""


class SourceListFollower:
    """Follows ``file``, one change after the other; to be asked at each ``turn`` of the work loop.

    A change that can't be made as a whole changes nothing. The launcher hears that the version was taken, that
    the last windows of the sources removed have closed, so that their producers can be stopped, or that it was
    refused, which is logged.
    """

    def __init__(
        self,
        file: SourcesFile,
        windows: Windows,
        intake: Intake,
        inboxes: Inboxes,
        heartbeat: Heartbeat,
    ) -> None:
        self._file = file
        self._windows = windows
        self._intake = intake
        self._inboxes = inboxes
        self._heartbeat = heartbeat
        self._going: _Change | None = None
        self._look_s = 0.0

    def turn(self, now_ns: int) -> list[str]:
        """Make the change that the file asks for, or go on with one; return the sources that are gone now."""
        if self._going is not None:
            return self._go_on(self._going)
        if time.monotonic() >= self._look_s:
            self._look_s = time.monotonic() + LOOK_S
            if self._file.has_changed():
                self._follow(now_ns)
        return []

    def _follow(self, now_ns: int) -> None:
        try:
            asked = self._file.read()
        except Unusable as error:
            log.error("%s", error)
            if error.version is not None:
                self._heartbeat.tell_version("refused", error.version)
            return
        if asked is not None:
            self._change(asked, now_ns)

    def _change(self, asked: SourceList, now_ns: int) -> None:
        """Add and remove sources, so that they are those of ``asked``."""
        there = self._inboxes.addresses
        try:
            moved = [
                name for name in there if asked.addresses.get(name, there[name]) != there[name]
            ]
            if moved:
                raise ValueError(f"{', '.join(moved)} cannot get another address")
            added = {
                name: address for name, address in asked.addresses.items() if name not in there
            }
            self._add(added)
        except (ValueError, EndpointError) as error:
            log.error("the sources stay as they are: %s", error)
            self._heartbeat.tell_version("refused", asked.version)
            return
        removed = [name for name in there if name not in asked.addresses]
        for name in removed:
            last = self._windows.remove_source(name, now_ns)
            told = "" if last is None else f" after window {last}"
            log.info("%s is removed%s", name, told)
        self._heartbeat.tell_version("took", asked.version)
        self._going = _Change(asked.version, removed)

    def _add(self, addresses: dict[str, str]) -> None:
        """Listen for more sources, all of them or none; raises EndpointError or ValueError."""
        opened = self._inboxes.open(addresses)
        try:
            self._windows.add_sources(opened)
        except ValueError:
            self._inboxes.abandon(opened)
            raise
        for source, inbox in opened.items():
            self._intake.add(inbox)
            log.info("%s is added, received at %s", source, addresses[source])

    def _go_on(self, going: _Change) -> list[str]:
        """Wait for the last windows, then for the last words, and stop to listen after those."""
        if not all(self._windows.has_left(source) for source in going.sources):
            return []
        if going.told_s is None:
            going.told_s = time.monotonic()
            self._heartbeat.tell_version("closed", going.version)
        patient = time.monotonic() < going.told_s + LAST_WORD_S
        for source in going.sources:
            over = self._windows.has_ended(source) or not patient
            if over and source not in going.stopped:
                self._inboxes[source].stop()
                going.stopped.add(source)
        gone = [source for source in going.stopped if self._is_gone(source)]
        for source in gone:
            self._inboxes.remove(source)
            self._windows.forget_source(source)
            going.stopped.remove(source)
            going.sources.remove(source)
        if not going.sources:
            self._going = None
        return gone

    def _is_gone(self, source: str) -> bool:
        """Return whether all that came of a source is taken, and nothing more comes."""
        return self._inboxes[source].is_over and self._intake.remove(source)
