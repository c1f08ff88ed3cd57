"""How much memory there is, on machines and in containers of all kinds."""

from __future__ import annotations

from pathlib import Path

import pytest

from framepair.protocol.memory import free_space

MEMINFO = "MemTotal: 9000 kB\nMemFree: 10 kB\nMemAvailable:    8000 kB\n"
MACHINE, GROUP = 8_192_000, 3_000_000
V1 = {"memory.limit_in_bytes": "4000000", "memory.usage_in_bytes": "1000000", "memory.stat": ""}
V2 = {"memory.max": "5000000\n", "memory.current": "2000000\n", "memory.stat": "anon 7\n"}


@pytest.mark.parametrize(
    ("groups", "files", "expected"),
    [
        (None, {}, MACHINE),
        ("0::/\n", {}, MACHINE),
        ("0::/\n", {"": V2}, GROUP),
        ("0::/\n", {"": {**V2, "memory.max": "max\n"}}, MACHINE),
        ("0::/\n", {"": {**V2, "memory.current": "6000000"}}, 0),
        # The cache of files gives way, and shared memory, though it is counted as files, does not.
        (
            "0::/\n",
            {"": {**V2, "memory.stat": "file 99\ninactive_file 5\nactive_file 6"}},
            GROUP + 11,
        ),
        ("0::/a/b/c\n", {"a/b": V2}, GROUP),
        ("0::/a/b\n", {"a/b": {**V2, "memory.max": "9000000"}, "a": V2}, GROUP),
        # In a container the path may be the host's, of which nothing is visible but our own group, as the root.
        ("0::/docker/1\n", {"": V2}, GROUP),
        ("3:cpu:/x\n4:memory:/x\n0::/\n", {"memory/x": V1}, GROUP),
        ("4:memory,cpu:/docker/1\n", {"memory": V1}, GROUP),
        ("4:memory:/\n", {"memory": {**V1, "memory.stat": "total_inactive_file 9"}}, GROUP + 9),
    ],
)
def test_memory_is_what_the_machine_and_all_groups_have_left(
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    groups: str | None,
    files: dict[str, dict[str, str]],
    expected: int,
) -> None:
    monkeypatch.setattr(free_space, "PROC", tmp_path / "proc")
    monkeypatch.setattr(free_space, "CGROUPS", tmp_path / "groups")
    (tmp_path / "proc/self").mkdir(parents=True)
    (tmp_path / "proc/meminfo").write_text(MEMINFO)
    if groups is not None:
        (tmp_path / "proc/self/cgroup").write_text(groups)
    for group, contents in files.items():
        path = tmp_path / "groups" / group
        path.mkdir(parents=True, exist_ok=True)
        for name, content in contents.items():
            (path / name).write_text(content)
    assert free_space.free_memory() == expected


def test_this_machine_has_memory() -> None:
    assert free_space.free_memory() > 0


def test_a_file_system_without_a_limit_is_not_full(tmp_path: Path) -> None:
    free_space.check(Path("/proc"), 1)
    with pytest.raises(free_space.NoRoom, match="needed and memory has"):
        free_space.check(Path("/proc"), 10**18)
