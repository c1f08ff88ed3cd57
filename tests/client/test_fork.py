"""A subscription in a process that was forked from the one that made it."""

from __future__ import annotations

import os
import signal
from collections.abc import Callable

import pytest

from framepair import Subscription, subscribe
from tests.lib.processes import PATIENCE_S
from tests.lib.publisher import Combiner
from tests.lib.stream import Stream

# Python 3.12 and later warn of what this is about.
pytestmark = pytest.mark.filterwarnings("ignore:.*fork.*:DeprecationWarning")


def in_a_fork(action: Callable[[], object]) -> str:
    """Return what ``action`` returns in a process forked from this one, or what it raises, as text."""
    reader, writer = os.pipe()
    pid = os.fork()
    if pid == 0:
        signal.alarm(int(PATIENCE_S))
        try:
            said = repr(action())
        except Exception as error:  # noqa: BLE001 - the parent is told
            said = f"{type(error).__name__}: {error}"
        os.write(writer, said.encode())
        os._exit(0)
    os.close(writer)
    with os.fdopen(reader) as file:
        said = file.read()
    os.waitpid(pid, 0)
    return said


@pytest.mark.parametrize(
    "use",
    [
        next,
        lambda pairs: pairs.get(None),
        lambda pairs: pairs.get(0),
        lambda pairs: pairs.ended,
        Subscription.stats,
    ],
)
def test_a_fork_is_told_to_subscribe_by_itself(
    combiner: Combiner, address: str, use: Callable[[Subscription], object]
) -> None:
    with subscribe(address) as pairs:
        said = in_a_fork(lambda: use(pairs))
        assert said == (
            f"RuntimeError: this subscription was made in process {os.getpid()}, and receives only there: call"
            " subscribe() in this process, too"
        )


def leave(pairs: Subscription) -> str:
    pairs.stop()
    with pairs:
        pass
    pairs.close()
    return "left"


def test_a_fork_may_close_it_and_the_parent_goes_on(combiner: Combiner, address: str) -> None:
    stream = Stream()
    with subscribe(address) as pairs:
        combiner.wait_for_subscriber()
        # As if the thread that receives was just adding a pair.
        with pairs._pairs._changed:
            assert in_a_fork(lambda: leave(pairs)) == "'left'"
        for window in range(3):
            combiner.send(*stream.whole(window))
            pair = pairs.get(PATIENCE_S)
            assert pair is not None
            assert pair.index == window
