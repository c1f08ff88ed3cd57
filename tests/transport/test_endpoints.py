"""Addresses, the run directory and the locks on bound addresses."""

from __future__ import annotations

import contextlib
import os
import socket
import tempfile
from pathlib import Path

import pytest

from framepair.protocol.transport import endpoints
from framepair.protocol.transport.endpoints import EndpointError


def make_socket(path: Path) -> None:
    with socket.socket(socket.AF_UNIX) as bound:
        bound.bind(str(path))


def test_the_run_directory_is_below_xdg_runtime_dir(
    directory: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("XDG_RUNTIME_DIR", str(directory))
    assert endpoints.default_run_dir() == directory / "framepair"


@pytest.mark.parametrize("runtime", ["", "/nowhere/at/all"])
def test_without_a_usable_xdg_runtime_dir_it_is_the_users_own_below_tmp(
    runtime: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("XDG_RUNTIME_DIR", runtime)
    expected = Path(tempfile.gettempdir()) / f"framepair-{os.getuid()}"
    assert endpoints.default_run_dir() == expected


def test_a_run_directory_is_made_for_its_owner_alone(directory: Path) -> None:
    path = endpoints.make_run_dir(directory / "a" / "b")
    assert path.stat().st_mode & 0o777 == 0o700
    assert endpoints.make_run_dir(path) == path


def test_a_run_directory_open_to_others_is_refused(directory: Path) -> None:
    directory.chmod(0o750)
    with pytest.raises(EndpointError, match="chmod 700"):
        endpoints.make_run_dir(directory)
    directory.chmod(0o700)


def test_a_file_in_the_place_of_the_run_directory_is_refused(directory: Path) -> None:
    file = directory / "file"
    file.touch()
    with pytest.raises(EndpointError, match="cannot make the run directory"):
        endpoints.make_run_dir(file)
    with pytest.raises(EndpointError, match="cannot make the run directory"):
        endpoints.make_run_dir(file / "below")


def test_every_source_has_an_ipc_address_of_its_own() -> None:
    made = endpoints.ipc_endpoints(Path("/run/x"), ["left", "pairs"])
    assert made.pub == "ipc:///run/x/pairs"
    assert made.pull == {
        "left": "ipc:///run/x/left.frames",
        "pairs": "ipc:///run/x/pairs.frames",
    }


@pytest.mark.parametrize("host", ["127.0.0.1", "*", "[::1]", "cam.example.org"])
def test_tcp_ports_count_up_from_the_given_one(host: str) -> None:
    made = endpoints.tcp_endpoints(f"tcp://{host}:5555", ["left", "right"])
    assert made.pub == f"tcp://{host}:5555"
    assert made.pull == {"left": f"tcp://{host}:5557", "right": f"tcp://{host}:5558"}
    assert made.sync == f"tcp://{host}:5556"


@pytest.mark.parametrize(
    "base",
    [
        "127.0.0.1:5555",
        "tcp://127.0.0.1",
        "tcp://:5555",
        "tcp://127.0.0.1:http",
        "tcp://127.0.0.1:-1",
        "tcp://127.0.0.1:0",
        "tcp://127.0.0.1:65534",
        "tcp://127.0.0.1:65536",
        "udp://127.0.0.1:5555",
        "",
    ],
)
def test_a_bad_tcp_address_is_one_sentence_that_shows_it(base: str) -> None:
    with pytest.raises(EndpointError) as caught:
        endpoints.tcp_endpoints(base, ["left", "right"])
    assert repr(base) in str(caught.value)
    assert "\n" not in str(caught.value)


def test_a_source_may_have_the_last_port() -> None:
    made = endpoints.tcp_endpoints("tcp://127.0.0.1:65532", ["left", "right"])
    assert made.pull["right"] == "tcp://127.0.0.1:65535"
    assert made.sync == "tcp://127.0.0.1:65533"
    assert made.listening() == [f"tcp://127.0.0.1:{port}" for port in (65534, 65535, 65532, 65533)]
    with pytest.raises(EndpointError, match="no room for 3 more ports"):
        endpoints.tcp_endpoints("tcp://127.0.0.1:65533", ["left", "right"])


def test_a_source_may_have_a_port_of_its_own_and_the_others_count_past_it() -> None:
    made = endpoints.tcp_endpoints("tcp://nuc:7400", ["left", "right", "door"], {"left": 7403})
    assert made.pull == {
        "left": "tcp://nuc:7403",
        "right": "tcp://nuc:7402",
        "door": "tcp://nuc:7404",
    }
    last = endpoints.tcp_endpoints("tcp://nuc:65534", ["left"], {"left": 1})
    assert last.listening() == ["tcp://nuc:1", "tcp://nuc:65534", "tcp://nuc:65535"]
    with pytest.raises(EndpointError, match="no room for 3 more ports"):
        endpoints.tcp_endpoints(
            "tcp://nuc:65532", ["left", "right"], {"left": 65535} | {"x": 65534}
        )


@pytest.mark.parametrize(
    ("ports", "said"),
    [
        ({"left": 7400}, "port 7400 is that of pairs and of left"),
        ({"right": 7401}, "port 7401 is that of the clock and of right"),
        ({"left": 7500, "right": 7500}, "port 7500 is that of left and of right"),
    ],
)
def test_no_two_nodes_have_the_same_port(ports: dict[str, int], said: str) -> None:
    with pytest.raises(EndpointError, match=said):
        endpoints.tcp_endpoints("tcp://nuc:7400", ["left", "right"], ports)


def test_an_ipc_address_is_a_path_and_a_tcp_address_is_none() -> None:
    assert endpoints.ipc_path("ipc:///run/x") == Path("/run/x")
    assert endpoints.ipc_path("tcp://127.0.0.1:5555") is None


@pytest.mark.parametrize("address", ["ipc://relative", "ipc://@abstract", "ipc://*", "/run/x", ""])
def test_other_addresses_are_refused(address: str) -> None:
    with pytest.raises(EndpointError, match="neither"):
        endpoints.ipc_path(address)


def test_a_path_may_have_as_many_bytes_as_a_socket_address_holds() -> None:
    longest = "/" + "x" * (endpoints.MAX_IPC_PATH_BYTES - 1)
    assert endpoints.ipc_path(f"ipc://{longest}") == Path(longest)
    with pytest.raises(EndpointError, match="104 bytes"):
        endpoints.ipc_path(f"ipc://{longest}x")


def test_the_limit_counts_bytes_not_characters() -> None:
    with pytest.raises(EndpointError, match="121 bytes"):
        endpoints.ipc_path("ipc:///" + "é" * 60)


def test_a_reservation_leaves_nothing_behind(directory: Path) -> None:
    path = directory / "pairs"
    with endpoints.reserved(f"ipc://{path}"):
        make_socket(path)
        assert (directory / "pairs.lock").read_text() == f"{os.getpid()}\n"
    assert list(directory.iterdir()) == []


def test_a_reservation_that_fails_inside_leaves_nothing_behind(directory: Path) -> None:
    path = directory / "pairs"
    with contextlib.suppress(ZeroDivisionError), endpoints.reserved(f"ipc://{path}"):
        make_socket(path)
        raise ZeroDivisionError
    assert list(directory.iterdir()) == []


def test_the_directory_of_an_address_is_made_if_need_be(directory: Path) -> None:
    with endpoints.reserved(f"ipc://{directory}/new/pairs"):
        assert (directory / "new").stat().st_mode & 0o777 == 0o700


def test_tcp_addresses_need_no_lock() -> None:
    with endpoints.reserved("tcp://127.0.0.1:1"), endpoints.reserved("tcp://127.0.0.1:1"):
        pass


def test_a_video_in_the_place_of_a_socket_is_kept(directory: Path) -> None:
    video = directory / "cam.mp4"
    video.write_bytes(b"precious")
    with pytest.raises(EndpointError, match="not a socket"), endpoints.reserved(f"ipc://{video}"):
        pass
    assert video.read_bytes() == b"precious"
    assert list(directory.iterdir()) == [video]


def test_a_file_in_the_place_of_a_lock_is_kept(directory: Path) -> None:
    lock = directory / "pairs.lock"
    lock.write_text("not a lock")
    address = f"ipc://{directory}/pairs"
    with pytest.raises(EndpointError, match="not a lock"), endpoints.reserved(address):
        pass
    assert lock.read_text() == "not a lock"


def test_what_a_killed_process_left_is_taken_over(directory: Path) -> None:
    make_socket(directory / "pairs")
    (directory / "pairs.lock").write_text("12345\n")
    with endpoints.reserved(f"ipc://{directory}/pairs"):
        assert (directory / "pairs.lock").read_text() == f"{os.getpid()}\n"
    assert list(directory.iterdir()) == []


def test_a_link_in_the_place_of_the_lock_is_not_followed(directory: Path) -> None:
    target = directory / "target"
    target.write_text("precious")
    (directory / "pairs.lock").symlink_to(target)
    with (
        pytest.raises(EndpointError, match="cannot make"),
        endpoints.reserved(f"ipc://{directory}/pairs"),
    ):
        pass
    assert target.read_text() == "precious"


@pytest.mark.parametrize(
    ("address", "here"),
    [
        ("ipc:///run/x/pairs", True),
        ("tcp://127.0.0.1:7400", True),
        ("tcp://127.9.8.7:7400", True),
        ("tcp://localhost:7400", True),
        ("tcp://[::1]:7400", True),
        ("tcp://127.example.org:7400", False),
        ("tcp://127.0.0.1.example.org:7400", False),
        ("tcp://localhost.example.org:7400", False),
        ("tcp://127.0.0.1:0;192.0.2.1:7400", False),
        ("tcp://192.0.2.1:7400", False),
        ("tcp://[2001:db8::1]:7400", False),
        ("tcp://*:7400", False),
    ],
)
def test_only_an_address_that_cannot_lead_elsewhere_is_on_this_machine(
    address: str, here: bool
) -> None:
    assert endpoints.is_on_this_machine(address) is here


def test_a_path_becomes_the_address_of_its_socket(
    directory: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(directory)
    expected: dict[str | Path, str] = {
        "ipc:///run/pairs": "ipc:///run/pairs",
        Path("ipc:///run/pairs"): "ipc:///run/pairs",
        Path("/run/pairs"): "ipc:///run/pairs",
        Path("pairs"): f"ipc://{directory}/pairs",
        Path("tcp://127.0.0.1:7400"): "tcp://127.0.0.1:7400",
    }
    for given, address in expected.items():
        assert endpoints.as_address(given) == address
