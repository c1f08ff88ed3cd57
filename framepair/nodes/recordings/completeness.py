"""Whether a recording has every frame, or counts it as lost: worked out from what is on disk. Knows no files.

What is proved, from the first to the last pair's header: of each source, frames on disk + frames lost by
reason = frames captured. Between two headers of one combiner its totals say how many frames it published
meanwhile, and the recorder's ledger how many of them came to it and were written. So a frame is lost on its way
(``publisher_overflow``), by the recorder (its own reasons), while none ran (``recorder_away``), or before
it was published, for which the totals have the reasons. Besides, no seq may be missing that is not counted.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

from msgspec.structs import replace

from framepair.protocol.recording.ledger import Announcement, LedgerEntry, Received
from framepair.protocol.wire import reasons
from framepair.protocol.wire.pair import PairHeader, Totals

LATE = "late"


@dataclass(frozen=True, slots=True)
class Seen:
    """A frame that is on disk."""

    run: int
    seq: int
    captured_ns: int


@dataclass(frozen=True, slots=True)
class Fault:
    """Where frames are missing without a reason, the first place of all: ``count`` frames from ``seq`` on."""

    source: str
    run: int
    seq: int
    count: int
    after_ns: int
    why: str


@dataclass(frozen=True, slots=True)
class _Growth:
    """What combiners counted between two headers, and the ``missing`` ones, which are lost for ``reason``."""

    captured: int
    lost: Mapping[str, int]
    missing: int
    reason: str


@dataclass(slots=True)
class Account:
    """One source's frames between the first and the last header."""

    captured: int = 0
    on_disk: int = 0
    lost: Counter[str] = field(default_factory=Counter)

    @property
    def lost_frames(self) -> int:
        """How many frames are lost, for whatever reason."""
        return sum(self.lost.values())

    def add(self, grown: _Growth, on_disk: int, lost: Mapping[str, int]) -> None:
        """Add what was captured between two headers: what is on disk, and ``lost`` by the recorder."""
        self.captured += grown.captured
        self.on_disk += on_disk
        for counts in (lost, grown.lost, {grown.reason: grown.missing}):
            for reason, count in counts.items():
                self.lost[reason] += count


@dataclass(frozen=True, slots=True)
class Verdict:
    """What was found; ``fault`` is None if every frame is accounted for.

    ``before`` and ``after`` frames are on disk outside the first and last header, where nothing can be proved.
    ``unproved`` says where else that is so.
    """

    accounts: Mapping[str, Account]
    pairs: int
    complete: int
    sessions: int
    combiners: int
    before: int
    after: int
    unproved: Sequence[str]
    fault: Fault | None


class RunSeqs:
    """The seqs of one producer's run that are on disk: all below ``next`` but those in ``holes``."""

    def __init__(self, first: int) -> None:
        self.next = first
        self.holes: list[tuple[int, int]] = []

    @property
    def missing(self) -> int:
        """How many seqs are missing."""
        return sum(end - first for first, end in self.holes)

    def reach(self, seq: int) -> None:
        """Note that all seqs below ``seq`` were captured."""
        if seq > self.next:
            self.holes.append((self.next, seq))
            self.next = seq

    def add(self, seq: int) -> bool:
        """Note that ``seq`` is on disk; return False if it was before."""
        if seq >= self.next:
            self.reach(seq)
            self.next = seq + 1
            return True
        for place, (first, end) in enumerate(self.holes):
            if first <= seq < end:
                rest = [(first, seq), (seq + 1, end)]
                self.holes[place : place + 1] = [(a, b) for a, b in rest if a < b]
                return True
        return False


@dataclass(slots=True)
class _Source:
    """What is known of one source as of the last header."""

    account: Account = field(default_factory=Account)
    runs: dict[int, RunSeqs] = field(default_factory=dict)
    waiting: list[Seen] = field(default_factory=list)
    """Frames on disk since then."""
    totals: Totals = field(default_factory=Totals)
    received: Received = field(default_factory=Received)
    combiner: int | None = None


class Completeness:
    """Takes what is on disk, in its order, and says whether it is complete."""

    def __init__(self) -> None:
        self._sources: dict[str, _Source] = {}
        self._session: int | None = None
        self._combiner: int | None = None
        self._next_seq = 0
        """Of the combiner's next pair."""
        self._sessions: set[int] = set()
        self._combiners: set[int] = set()
        self._pairs = self._complete = self._before = 0
        self._unproved: list[str] = []
        self._fault: Fault | None = None

    def add_frame(self, source: str, frame: Seen) -> None:
        """Take a frame."""
        self._sources.setdefault(source, _Source()).waiting.append(frame)

    def add_announcement(self, header: Announcement, entry: LedgerEntry) -> None:
        """Take a pair's header, or the end of a stream, and the ledger's entry right after it."""
        totals = _totals(header)
        begins = self._session is None
        every_pair = header.run == self._combiner and header.seq == self._next_seq
        for name in sorted(totals.keys() | self._sources.keys()):
            source = self._sources.setdefault(name, _Source())
            received = entry.sources.get(name, Received())
            if every_pair and name in totals and source.combiner is None:
                source.totals = _before(header, name)
            if begins:
                self._before += len(source.waiting)
                self._begin(source, totals.get(name))
            elif name in totals:
                self._step(name, source, totals[name], received, header.run, entry.session)
            if name in totals or begins:
                source.waiting, source.received = [], received
                source.combiner = header.run
        self._note(header, entry)

    def verdict(self) -> Verdict:
        """Return what was found so far."""
        return Verdict(
            accounts={name: source.account for name, source in sorted(self._sources.items())},
            pairs=self._pairs,
            complete=self._complete,
            sessions=len(self._sessions),
            combiners=len(self._combiners),
            before=self._before,
            after=sum(len(source.waiting) for source in self._sources.values()),
            unproved=self._unproved,
            fault=self._fault,
        )

    def _note(self, header: Announcement, entry: LedgerEntry) -> None:
        if isinstance(header, PairHeader):
            self._pairs += 1
            self._complete += header.complete
        self._next_seq = header.seq + isinstance(header, PairHeader)
        self._session, self._combiner = entry.session, header.run
        self._sessions.add(entry.session)
        self._combiners.add(header.run)

    def _begin(self, source: _Source, totals: Totals | None) -> None:
        """Begin to count at the first header: what was captured before is not looked for."""
        if totals is None:
            return
        source.totals = totals
        for frame in source.waiting:
            source.runs.setdefault(frame.run, RunSeqs(frame.seq)).add(frame.seq)
        for run in source.runs.values():
            run.holes.clear()
        if totals.reached:
            source.runs[totals.reached.run] = RunSeqs(totals.reached.seq)

    def _step(
        self,
        name: str,
        source: _Source,
        totals: Totals,
        received: Received,
        combiner: int,
        session: int,
    ) -> None:
        """Account for the frames between the last header and this one."""
        same_session = session == self._session
        own_lost = _less(received.lost, source.received.lost if same_session else {})
        hole = self._add_seqs(source, totals)
        on_disk, lost = len(source.waiting), sum(own_lost.values())
        absent = received.came - (source.received.came if same_session else 0) - on_disk - lost
        # How many had come to an earlier recorder, this one does not know.
        if absent > 0 or (same_session and absent):
            why = "they came to the recorder, and are not on disk"
            self._blame(name, source, hole, absent, why)
        grown = self._growth(name, source, totals, lost, combiner, same_session=same_session)
        if grown.missing < 0:
            why = "more are on disk than the combiner counted"
            self._blame(name, source, hole, -grown.missing, why)
        source.account.add(grown, on_disk, own_lost)
        source.totals = totals
        uncounted = sum(run.missing for run in source.runs.values()) - source.account.lost_frames
        if uncounted > 0:
            self._blame(name, source, hole, uncounted, "no count says why")

    def _growth(
        self,
        name: str,
        source: _Source,
        totals: Totals,
        lost: int,
        combiner: int,
        *,
        same_session: bool,
    ) -> _Growth:
        """Return what the combiner, or two of them, counted since the last header; ``lost`` by the recorder."""
        if source.combiner is None or combiner == source.combiner:
            reason = reasons.PUBLISHER_OVERFLOW if same_session else reasons.RECORDER_AWAY
            return _within_combiner(source.totals, totals, len(source.waiting) + lost, reason)
        if same_session:
            return _over_combiners(source, totals, lost, reasons.COMBINER_LOST)
        self._unproved.append(
            f"{name}: a combiner began while no recorder ran, and how many frames its predecessor"
            " had captured by then is not known"
        )
        return _over_combiners(source, totals, lost, reasons.RECORDER_AWAY)

    def _add_seqs(self, source: _Source, totals: Totals) -> tuple[int, int, int, int] | None:
        """Note the seqs that are on disk; return run, seq, size and time of the first new hole."""
        first: tuple[int, int, int, int] | None = None
        # Where a combiner doesn't say how far the producer had come, its run begins with its first frame.
        known = source.totals.reached is not None or not source.totals.captured
        for frame in source.waiting:
            run = source.runs.setdefault(frame.run, RunSeqs(0 if known else frame.seq))
            before = run.next
            if not run.add(frame.seq):
                first = first or (frame.run, frame.seq, 0, frame.captured_ns)
            elif frame.seq > before:
                first = first or (frame.run, before, frame.seq - before, frame.captured_ns)
        reached = totals.reached
        if reached and reached.run in source.runs:
            run = source.runs[reached.run]
            if reached.seq > run.next:
                at_ns = source.waiting[-1].captured_ns if source.waiting else 0
                first = first or (reached.run, run.next, reached.seq - run.next, at_ns)
            run.reach(reached.seq)
        return first

    def _blame(
        self,
        name: str,
        source: _Source,
        hole: tuple[int, int, int, int] | None,
        count: int,
        why: str,
    ) -> None:
        if self._fault is None:
            run, seq, size, at_ns = hole or (next(reversed(source.runs), 0), 0, 0, 0)
            self._fault = Fault(name, run, seq, size or abs(count), at_ns, why)


def _totals(header: Announcement) -> dict[str, Totals]:
    if isinstance(header, PairHeader):
        return {name: clip.totals for name, clip in header.clips.items()}
    return dict(header.totals)


def _before(header: Announcement, name: str) -> Totals:
    """Return what a combiner had counted of a source before the first pair of it, which ``header`` announces.

    It has the source's frames that were published since: those of an earlier time, when no recorder ran, and
    those before its first pair are not looked for.
    """
    totals = _totals(header)[name]
    here = header.clips[name].frames if isinstance(header, PairHeader) else 0
    new = here + totals.open
    captured, paired = totals.captured - new, totals.paired - here
    return replace(totals, captured=captured, paired=paired, open=0, reached=None)


def _less(later: Mapping[str, int], former: Mapping[str, int]) -> Counter[str]:
    """Return by how much each count grew; one may have become another's."""
    names = later.keys() | former.keys()
    return Counter({name: later.get(name, 0) - former.get(name, 0) for name in names})


def _within_combiner(former: Totals, later: Totals, here: int, reason: str) -> _Growth:
    """Return what one combiner counted, of which ``here`` frames are accounted for; ``reason``: of the rest."""
    counted = _less(later.dropped, former.dropped)
    # These were published; only their pair's header had no room for them.
    fragmented = counted.pop(reasons.FRAGMENTED, 0)
    counted[LATE] = later.late - former.late
    published = later.paired - former.paired + later.open - former.open + fragmented
    return _Growth(later.captured - former.captured, counted, published - here, reason)


def _over_combiners(source: _Source, later: Totals, lost: int, reason: str) -> _Growth:
    """Return the same over two combiners: only how far producers had come is known."""
    reached, began = source.totals.reached, later.began
    again = outside = 0
    if reached and began and reached.run == began.run:
        again = min(reached.seq, began.seq)
    elif reached:
        # Of a run that the later combiner never heard of.
        outside = sum(frame.run == reached.run for frame in source.waiting)
    captured = later.captured - again + outside
    return _Growth(captured, {}, captured - len(source.waiting) - lost, reason)
