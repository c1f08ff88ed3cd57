"""What encryption costs: 1080p frames over loopback tcp, with keys and without. python -m bench.curve."""

from __future__ import annotations

import multiprocessing
import statistics
import tempfile
import time
from pathlib import Path

from framepair.protocol.transport import keys, sockets
from framepair.protocol.transport.keys import ClientKeys, ServerKeys

FRAME_BYTES = 1920 * 1080 * 3
FRAMES, WARM_UP, ROUNDS = 200, 20, 5
ADDRESS = "tcp://127.0.0.1:47100"


def main() -> None:
    """Measure both in turn, each in fresh processes, and print the medians."""
    with tempfile.TemporaryDirectory() as name:
        directory = Path(name) / "keys"
        keys.make(directory)
        server = keys.server(directory, [ADDRESS], insecure=False)
        client = keys.client(directory, ADDRESS, insecure=False)
        rates: dict[bool, list[float]] = {False: [], True: []}
        for _ in range(ROUNDS):
            for secured, found in rates.items():
                found.append(measure(server if secured else None, client if secured else None))
    plain, curve = (statistics.median(found) for found in rates.values())
    print(
        f"plain {plain / 1e9:.2f} GB/s, CURVE {curve / 1e9:.2f} GB/s: 1/{plain / curve:.1f} of it"
    )


def measure(server: ServerKeys | None, client: ClientKeys | None) -> float:
    """Return how many bytes a second come from another process."""
    sender = multiprocessing.get_context("spawn").Process(target=send, args=(client,), daemon=True)
    with (
        sockets.new_context() as context,
        sockets.accepting(context, server),
        sockets.pull(context, ADDRESS, keys=server) as pull,
    ):
        sender.start()
        pull.rcvtimeo = 30_000
        for _ in range(WARM_UP):
            pull.recv(copy=False)
        began_s = time.perf_counter()
        for _ in range(FRAMES):
            pull.recv(copy=False)
        took_s = time.perf_counter() - began_s
    sender.join()
    return FRAMES * FRAME_BYTES / took_s


def send(client: ClientKeys | None) -> None:
    """Push frames, as a producer does."""
    frame = bytes(FRAME_BYTES)
    with (
        sockets.new_context() as context,
        sockets.push(context, ADDRESS, hwm=4, lossless=True, keys=client) as push,
    ):
        push.sndtimeo = 30_000
        for _ in range(WARM_UP + FRAMES):
            push.send(frame, copy=False)
        push.linger = 30_000


if __name__ == "__main__":
    main()
