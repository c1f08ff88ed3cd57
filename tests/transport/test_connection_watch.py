"""Why a consumer gets no answer, as far as it can know."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from framepair.protocol.transport.connection_watch import may_connect


@pytest.mark.skipif(os.getuid() != 0, reason="needs root to become another user")
def test_a_socket_of_another_user_is_told_from_one_that_is_not_there(directory: Path) -> None:
    private, public = directory / "private", directory / "public"
    for path, mode in ((private, 0o700), (public, 0o755)):
        path.mkdir(mode=mode)
        (path / "pairs").touch(mode=0o600)
    directory.chmod(0o755)
    asked = [private / "pairs", public / "pairs", directory / "missing" / "pairs"]
    child = os.fork()
    if child == 0:
        os.setuid(65534)
        os._exit(sum(may_connect(path) << i for i, path in enumerate(asked)))
    assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 0b100
    assert all(may_connect(path) for path in asked)
