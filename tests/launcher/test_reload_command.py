"""Which launcher a reload asks, and what it says of one that ends meanwhile."""

from __future__ import annotations

import platform
import socket
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from framepair.nodes.common.runtime import Refused
from framepair.nodes.launcher import reload_command
from framepair.nodes.launcher.reload_command import Where
from framepair.protocol.transport.endpoints import control_path
from tests.lib.processes import PATIENCE_S


@pytest.mark.parametrize(
    ("there", "host", "asked"),
    [
        ((None, "cam", "yard"), None, None),
        (("cam", "yard"), None, "cam"),
        (("cam.example.org", "yard"), None, "cam.example.org"),
        (("yard",), None, "yard"),
        (("desk", "yard"), None, None),
        ((None, "cam"), "cam", "cam"),
        ((None, "yard"), "cam", None),
        ((), None, None),
    ],
)
def test_the_launcher_of_this_machine_is_found_without_its_name(
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    there: tuple[str | None, ...],
    host: str | None,
    asked: str | None,
) -> None:
    monkeypatch.setattr(platform, "node", lambda: "cam.example.org")
    for name in there:
        control_path(tmp_path, name).touch()
    assert reload_command._control(tmp_path, host) == control_path(tmp_path, asked)


def test_a_launcher_that_ends_while_it_is_asked_is_a_failure(
    directory: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    with socket.socket(socket.AF_UNIX) as listener, ThreadPoolExecutor(1) as pool:
        listener.bind(str(control_path(directory)))
        listener.listen()
        listener.settimeout(PATIENCE_S)
        asking = pool.submit(reload_command.reload, where=Where(run_dir=directory))
        peer, _ = listener.accept()
        peer.recv(1000)
        peer.close()
        with pytest.raises(SystemExit) as ended:
            asking.result(PATIENCE_S)
    assert ended.value.code == 1
    assert capsys.readouterr().err == "framepair: the pipeline has ended before it answered\n"


def test_a_file_that_is_no_toml_is_called_as_it_was_named(tmp_path: Path) -> None:
    # A service has a copy of its file elsewhere.
    file = tmp_path / "pipeline.toml"
    file.write_text("left = [")
    with pytest.raises(Refused, match=f"^{file} is not TOML: "):
        reload_command.reload(where=Where(config=file, run_dir=tmp_path))
