"""Work whose results come in the order of its tasks, whatever takes longest."""

from __future__ import annotations

import threading
from collections.abc import Iterator

import pytest

from framepair.nodes.relay.work import OrderedWork
from tests.lib.processes import PATIENCE_S


@pytest.fixture
def work() -> Iterator[OrderedWork[str]]:
    work: OrderedWork[str] = OrderedWork()
    yield work
    work.close()


def held(result: str, until: threading.Event) -> str:
    assert until.wait(PATIENCE_S)
    return result


def test_results_come_in_the_order_of_the_tasks(work: OrderedWork[str]) -> None:
    over = threading.Event()
    work.add("left", lambda: held("first", over), slow=True)
    work.add("right", lambda: "second", slow=False)
    work.add_result("third")
    assert work.take(wait=False) is None
    over.set()
    assert [work.take(wait=True) for _ in range(4)] == ["first", "second", "third", None]


def test_the_tasks_of_a_source_run_one_after_the_other(work: OrderedWork[str]) -> None:
    over, begun = threading.Event(), []

    def task(name: str) -> str:
        begun.append(name)
        return held(name, over)

    work.add("left", lambda: task("a"), slow=True)
    # Not slow itself, but what its source has in hand is not to be touched by two threads.
    work.add("left", lambda: task("b"), slow=False)
    assert work.take(wait=False) is None
    assert begun in ([], ["a"])
    over.set()
    assert [work.take(wait=True) for _ in range(2)] == ["a", "b"]
    assert begun == ["a", "b"]


def test_what_a_task_raises_comes_in_its_turn(work: OrderedWork[str]) -> None:
    work.add_result("first")
    work.add("left", lambda: str(1 // 0), slow=True)
    work.add_result("last")
    assert work.take(wait=True) == "first"
    with pytest.raises(ZeroDivisionError):
        work.take(wait=True)
    assert work.take(wait=True) == "last"


def test_no_more_is_under_way_than_threads_can_hold(work: OrderedWork[str]) -> None:
    over, count = threading.Event(), 100
    for number in range(count):
        work.add("left", lambda name=f"{number}": held(name, over), slow=True)  # type: ignore[misc]
    threading.Timer(0.05, over.set).start()
    # Without being asked to wait.
    assert work.take(wait=False) == "0"
