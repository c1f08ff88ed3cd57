"""Keys: what is made, what is accepted, and where they are needed."""

from __future__ import annotations

import stat
from pathlib import Path

import pytest

from framepair.protocol.transport import keys
from framepair.protocol.transport.authenticator import domain, may
from framepair.protocol.transport.endpoints import EndpointError

OPEN = "tcp://192.0.2.1:7400"


@pytest.fixture
def made(directory: Path) -> Path:
    keys.make(directory / "keys")
    return directory / "keys"


def test_keys_are_for_their_owner_alone(made: Path) -> None:
    assert stat.S_IMODE(made.stat().st_mode) == 0o700
    files = sorted(path for path in made.rglob("*") if path.is_file())
    assert [str(path.relative_to(made)) for path in files] == [
        "client.key", "client.key_secret", "clients/client.key", "server.key", "server.key_secret",
    ]  # fmt: skip
    assert {stat.S_IMODE(path.stat().st_mode) for path in files} == {0o600}


def test_keys_are_never_overwritten(made: Path) -> None:
    before = (made / "server.key_secret").read_bytes()
    with pytest.raises(EndpointError, match="is not empty: keys are never overwritten"):
        keys.make(made)
    assert (made / "server.key_secret").read_bytes() == before


def test_clients_keys_may_be_files_beside_the_others(made: Path) -> None:
    before = keys.server(made, [OPEN], insecure=False)
    (made / "clients/client.key").rename(made / "clients_client.key")
    (made / "clients").rmdir()
    assert keys.server(made, [OPEN], insecure=False) == before
    (made / "clients_client.key").unlink()
    with pytest.raises(EndpointError, match="clients is not there"):
        keys.server(made, [OPEN], insecure=False)


def test_a_client_needs_two_files_only(made: Path) -> None:
    for path in (made / "server.key_secret", made / "client.key", made / "clients/client.key"):
        path.unlink()
    client = keys.client(made, OPEN, insecure=False)
    assert client is not None
    assert client.secret.decode() not in repr(client)
    with pytest.raises(EndpointError, match="cannot read a key from"):
        keys.server(made, [OPEN], insecure=False)


def test_a_secret_that_others_can_read_is_refused(made: Path) -> None:
    (made / "client.key_secret").chmod(0o640)
    with pytest.raises(EndpointError, match="can be read by other users: chmod 600"):
        keys.client(made, OPEN, insecure=False)


@pytest.mark.parametrize("content", ["", "garbage", "curve\n  public-key = 'x'\n"])
def test_what_is_no_key_is_refused_and_not_shown(made: Path, content: str) -> None:
    (made / "client.key_secret").write_text(content)
    with pytest.raises(EndpointError, match="key") as caught:
        keys.client(made, OPEN, insecure=False)
    assert "garbage" not in str(caught.value)


@pytest.mark.parametrize("address", ["ipc:///x", "tcp://127.0.0.1:1", "tcp://[::1]:1"])
def test_on_this_machine_nobody_needs_keys(address: str) -> None:
    assert keys.client(None, address, insecure=False) is None
    assert keys.server(None, [address], insecure=False) is None


@pytest.mark.parametrize("address", [OPEN, "tcp://*:7400", "tcp://0.0.0.0:7400"])
def test_an_open_address_without_keys_is_refused(
    address: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    with pytest.raises(EndpointError, match="is open to the network") as caught:
        keys.server(None, [address], insecure=False)
    assert "framepair keygen DIR" in str(caught.value)
    assert keys.server(None, [address], insecure=True) is None
    monkeypatch.setenv(keys.INSECURE_VARIABLE, "1")
    assert keys.client(None, address, insecure=False) is None


def test_a_key_may_be_for_some_sources_only(made: Path) -> None:
    file = made / "clients" / "client.key"
    text = file.read_text()
    file.write_text(text.replace("metadata\n", 'metadata\n    sources = "left, top"\n'))
    server = keys.server(made, [OPEN], insecure=False)
    assert server is not None
    (key,) = server.clients
    allowed = {
        name for name in ("left", "right", "top", "") if may(server.clients, key, domain(name))
    }
    assert allowed == {"left", "top", ""}
    assert not may(server.clients, b"another", domain("left"))


def test_a_key_that_names_no_sources_is_for_all(made: Path) -> None:
    server = keys.server(made, [OPEN], insecure=False)
    assert server is not None
    (key,) = server.clients
    assert may(server.clients, key, domain("left"))


def test_a_damaged_file_keeps_out_its_own_client_only(
    made: Path, caplog: pytest.LogCaptureFixture
) -> None:
    (made / "clients" / "broken.key").write_text("garbage")
    server = keys.server(made, [OPEN], insecure=False)
    assert server is not None
    assert len(server.clients) == 1
    (said,) = caplog.messages
    assert f"cannot read a key from {made}/clients/broken.key" in said


@pytest.mark.parametrize("name", [".", "clients"])
def test_a_directory_that_others_can_change_is_refused(made: Path, name: str) -> None:
    (made / name).chmod(0o777)
    with pytest.raises(EndpointError, match="can be changed by other users: chmod go-w"):
        keys.server(made, [OPEN], insecure=False)


def test_tcp_on_this_machine_without_keys_is_warned_of(caplog: pytest.LogCaptureFixture) -> None:
    assert keys.server(None, ["tcp://127.0.0.1:1", "ipc:///x"], insecure=False) is None
    (said,) = caplog.messages
    assert said.startswith("tcp://127.0.0.1:1 without keys: every user of this machine can read")
