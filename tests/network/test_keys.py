"""Processes with keys and without: only those with keys take part in a pipeline over tcp."""

from __future__ import annotations

import contextlib
import itertools
import shutil
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import zmq
from zmq import auth

from framepair import subscribe
from framepair.protocol.transport import keys
from framepair.protocol.wire.sync import Ping
from tests.lib.launcher import launcher
from tests.lib.pipeline import PATIENT, PATIENT_COMBINER, Pipeline, Unsent, checked
from tests.lib.processes import Running, python

SOURCE = "synthetic://160x120@25"


OPEN = "tcp://192.0.2.1:7400"


Stranger = Callable[[zmq.Socket[bytes], Path], None]


@pytest.fixture
def made(directory: Path) -> Path:
    keys.make(directory / "keys")
    return directory / "keys"


NODES = {
    "producer": ("--name", "left", "--source", SOURCE, "--push", OPEN),
    "combiner": ("--pull", "left=ipc:///tmp/x", "--pub", OPEN),
    "relay": ("--sub", OPEN),
    "sink": ("--sub", OPEN),
}


@pytest.mark.parametrize("node", NODES)
def test_no_node_uses_an_open_address_without_keys(node: str) -> None:
    with Running(python("-m", f"framepair.nodes.{node}", *NODES[node])) as running:
        assert running.wait() == 2
        (sentence,) = running.stderr
        assert sentence.startswith(f"{node}: {OPEN} is open to the network: ")


def test_the_launcher_makes_keys_and_asks_for_them(directory: Path) -> None:
    launch = launcher()
    with Running([*launch, "--listen", OPEN, "--print"]) as running:
        assert running.wait() == 2
        assert "is open to the network" in running.stderr[0]
    with Running([*launch, "--keygen", directory / "keys"]) as running:
        assert running.wait() == 0
    with Running([*launch, "--listen", OPEN, "--print", "--keys", directory / "keys"]) as running:
        assert running.wait() == 0
        assert all(f"--keys {directory}/keys" in line for line in running.stdout)


def plain(socket: zmq.Socket[bytes], _made: Path) -> None:
    socket.plain_username, socket.plain_password = b"admin", b"admin"


def without(_socket: zmq.Socket[bytes], _made: Path) -> None:
    """Show nothing at all."""


def unlisted(socket: zmq.Socket[bytes], made: Path) -> None:
    socket.curve_publickey, socket.curve_secretkey = zmq.curve_keypair()
    socket.curve_serverkey = auth.load_certificate(made / "server.key")[0]


def mistaken(socket: zmq.Socket[bytes], made: Path) -> None:
    public, secret = auth.load_certificate(made / "client.key_secret")
    assert secret is not None
    socket.curve_publickey, socket.curve_secretkey = public, secret
    socket.curve_serverkey = zmq.curve_keypair()[0]


STRANGERS = {"NULL": without, "PLAIN": plain, "unlisted": unlisted, "wrong server": mistaken}


def test_who_is_not_listed_neither_gets_nor_delivers_anything(made: Path) -> None:
    with (
        Pipeline(["left", "right"], "tcp") as nodes,
        zmq.Context() as context,
        contextlib.ExitStack() as stack,
    ):
        secured = ("--keys", str(made))
        sync = nodes.endpoints.sync
        assert sync is not None
        timed = (*secured, "--sync", sync)
        combiner = nodes.combiner(*timed, *PATIENT_COMBINER)
        for name in nodes.sources:
            nodes.producer(name, SOURCE, *timed, *PATIENT)
        pairs = stack.enter_context(subscribe(nodes.pub, keep=1000, keys=made))
        stream = checked(pairs)
        seen = [next(stream)]
        listeners = []
        for stranger in STRANGERS.values():
            push = stack.enter_context(context.socket(zmq.PUSH))
            sub = stack.enter_context(context.socket(zmq.SUB))
            dealer = stack.enter_context(context.socket(zmq.DEALER))
            places = ((push, nodes.endpoints.pull["left"]), (sub, nodes.pub), (dealer, sync))
            for socket, address in places:
                socket.linger = 0
                stranger(socket, made)
                socket.connect(address)
            sub.subscribe(b"")
            push.send_multipart([b"no header", b"no pixels"])
            dealer.send(Ping(1).encode())
            listeners += [sub, dealer]
        seen += itertools.islice(stream, 15)
        unsent = Unsent()
        for pair in seen:
            unsent.add_pair(pair)
        assert set(np.diff([pair.index for pair in seen])) == {1}
        assert [sub.poll(0) for sub in listeners] == [0] * len(listeners)
        assert pairs.stats().totals["left"].rejected == 0
        # Somebody who is listed later still gets in.
        with subscribe(nodes.pub, keys=made, sync=sync) as another:
            assert next(another).clock_uncertainty_ns
        assert combiner.process.poll() is None


def test_secrets_are_neither_logged_nor_seen_in_flags(made: Path) -> None:
    secret = auth.load_certificate(made / "server.key_secret")[1]
    assert secret is not None
    with Pipeline(["left"], "tcp") as nodes:
        node = nodes.combiner("--keys", str(made))
        command = Path(f"/proc/{node.process.pid}/cmdline").read_bytes()
        environment = Path(f"/proc/{node.process.pid}/environ").read_bytes()
        assert secret not in command + environment
        assert node.stop() == 0
        assert not any(secret.decode() in line for line in node.lines)


def test_by_default_nothing_listens_on_the_network(directory: Path) -> None:
    command = launcher("--run-dir", directory / "run", f"left={SOURCE}")
    with Running(command) as running:
        running.wait_for(r"left +\d+/\d+")
        sockets = {
            str(path.readlink())
            for pid in running.session()
            for path in Path(f"/proc/{pid}/fd").iterdir()
            if path.is_symlink()
        }
        listening = [
            line.split()
            for table in ("tcp", "tcp6", "udp", "udp6")
            for line in Path(f"/proc/net/{table}").read_text().splitlines()[1:]
        ]
        inodes = {f"socket:[{fields[9]}]" for fields in listening}
        assert not sockets & inodes
        assert running.stop() == 0


def test_a_consumer_that_nobody_answers_says_so(directory: Path) -> None:
    with Running(
        python("-m", "framepair.nodes.sink", "--sub", f"ipc://{directory}/nobody")
    ) as running:
        running.wait_for(f"nobody answers at ipc://{directory}/nobody: is the combiner running")
        assert running.stop() == 0


def test_a_consumer_that_is_not_let_in_says_so(directory: Path, made: Path) -> None:
    keys.make(directory / "others")
    with Pipeline(["left"], "tcp") as nodes:
        nodes.combiner("--keys", str(made))
        sink = nodes.sink("--keys", str(directory / "others"))
        sink.wait_for("is there and does not let us in: are the keys")
        assert sink.stop() == 0


def test_a_key_of_one_source_cannot_send_as_another(made: Path, directory: Path) -> None:
    bound = directory / "bound"
    bound.mkdir(mode=0o700)
    auth.create_certificates(bound, "client")
    (bound / "client.key_secret").chmod(0o600)
    # pyzmq writes no metadata into the public certificate.
    listed = (
        (bound / "client.key").read_text().replace("metadata", 'metadata\n    sources = "left"')
    )
    (made / "clients" / "x.key").write_text(listed)
    shutil.copy(made / "server.key", bound / "server.key")
    with Pipeline(["left", "right"], "tcp") as nodes:
        nodes.combiner("--keys", str(made), "--start-timeout", "1")
        with subscribe(nodes.pub, keep=1000, keys=made) as pairs:
            for name in nodes.sources:
                nodes.producer(name, SOURCE, "--keys", str(bound))
            begun = itertools.dropwhile(lambda pair: not pair["left"].frames, pairs)
            seen = list(itertools.islice(begun, 10))
            assert not any(pair["right"].frames for pair in seen)
            assert pairs.stats().totals["right"].captured == 0
            # With a key of all sources the same port is open.
            nodes.producer("right", SOURCE, "--keys", str(made))
            assert next(pair for pair in pairs if pair.complete)["right"].frames
