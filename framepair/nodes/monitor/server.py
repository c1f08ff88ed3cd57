"""The monitor's web server: the page, its state, metrics, health, and pictures over a WebSocket."""

from __future__ import annotations

import asyncio
import contextlib
import threading
import time
from collections.abc import Awaitable, Callable, Collection, Iterator, Mapping
from importlib.resources import files
from typing import Annotated, Any, Final

import msgspec
import uvicorn
from msgspec import Meta
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import PlainTextResponse, Response
from starlette.routing import Route, WebSocketRoute
from starlette.websockets import WebSocket, WebSocketDisconnect

from framepair.nodes.monitor.access import Access
from framepair.nodes.monitor.connections import (
    BACKLOG,
    App,
    Connections,
    Listener,
    noting,
)
from framepair.nodes.monitor.pictures import Pictures, Viewer

PAGE: Final = {
    "/": ("index.html", "text/html"),
    "/page.js": ("page.js", "text/javascript"),
    "/page.css": ("page.css", "text/css"),
    "/icon.svg": ("icon.svg", "image/svg+xml"),
}
METRICS_TYPE: Final = "text/plain; version=0.0.4; charset=utf-8"
# State is worked out so often at most, however many ask for it.
STATE_S: Final = 0.25
MAX_VIEWERS: Final = 16
# A browser that has not drawn what it got for so long is gone, or as good as that.
ACKNOWLEDGE_S: Final = 30.0
MAX_MESSAGE_BYTES: Final = 1024
MAX_HEADER_BYTES: Final = 16 * 1024
PING_S: Final = 20.0
STOP_S: Final = 3.0
# WebSocket close codes: a message that makes no sense, and come again later.
POLICY, LATER = 1008, 1013


class Told(msgspec.Struct, forbid_unknown_fields=True):
    """What a browser says: how wide it shows each picture, in pixels, and that it has drawn a message.

    Width 0 is that it wants none for now.
    """

    width: Annotated[int, Meta(ge=0, le=100_000)] | None = None
    drawn: bool = False


def application(
    *,
    snapshot: Callable[[], Mapping[str, Any]],
    metrics: Callable[[], bytes],
    health: Callable[[bool], str | None],
    pictures: Pictures | None = None,
    allowed_hosts: Collection[str] = (),
    token: str | None = None,
) -> App:
    """Return the ASGI application; its functions are called in the event loop, and must not wait.

    ``snapshot`` is what /api/state answers as JSON, and ``metrics`` the text of /metrics. ``health`` returns
    why it is not well, or None; it is asked with True for /healthz?complete. Without ``pictures`` the page has
    none.
    """
    state = _State(snapshot)

    async def answer_state(_: Request) -> Response:
        return Response(state.text(), media_type="application/json")

    async def answer_metrics(_: Request) -> Response:
        return Response(metrics(), headers={"content-type": METRICS_TYPE})

    async def answer_health(request: Request) -> Response:
        reason = health("complete" in request.query_params)
        return PlainTextResponse(f"{reason or 'well'}\n", 503 if reason else 200)

    async def answer_pictures(websocket: WebSocket) -> None:
        if pictures is None or pictures.viewers >= MAX_VIEWERS:
            await websocket.accept()
            await websocket.close(LATER, "no pictures: as many browsers look as may")
            return
        await websocket.accept()
        await _send_pictures(websocket, pictures)

    routes = [
        *(Route(path, _file(*file)) for path, file in PAGE.items()),
        Route("/api/state", answer_state),
        Route("/metrics", answer_metrics),
        Route("/healthz", answer_health),
        WebSocketRoute("/pictures", answer_pictures),
    ]
    return Access(Starlette(routes=routes), allowed_hosts, token)


class _State:
    """The text of /api/state, worked out anew when it is older than STATE_S."""

    def __init__(self, snapshot: Callable[[], Mapping[str, Any]]) -> None:
        self._snapshot = snapshot
        self._text = b""
        self._until_s = 0.0

    def text(self) -> bytes:
        """Return it as JSON."""
        if time.monotonic() >= self._until_s:
            self._text = msgspec.json.encode(self._snapshot())
            self._until_s = time.monotonic() + STATE_S
        return self._text


def _file(name: str, media_type: str) -> Callable[[Request], Awaitable[Response]]:
    text = (files("framepair.nodes.monitor") / "page" / name).read_bytes()

    async def answer(_: Request) -> Response:
        return Response(text, media_type=media_type)

    return answer


async def _send_pictures(websocket: WebSocket, pictures: Pictures) -> None:
    """Send pictures until the browser leaves, or says what makes no sense, or draws nothing for long."""
    viewer = Viewer()
    async with pictures.viewing(viewer):
        sending = asyncio.create_task(_send(websocket, viewer))
        try:
            while True:
                _note(viewer, await _next_text(websocket, viewer))
        except (msgspec.DecodeError, TimeoutError, KeyError):
            with contextlib.suppress(RuntimeError):
                await websocket.close(POLICY)
        except WebSocketDisconnect:
            pass
        finally:
            sending.cancel()


async def _send(websocket: WebSocket, viewer: Viewer) -> None:
    with contextlib.suppress(WebSocketDisconnect, RuntimeError):
        while True:
            await websocket.send_bytes(await viewer.next_message())


async def _next_text(websocket: WebSocket, viewer: Viewer) -> str:
    """Return what the browser says next; raises TimeoutError if it owes an answer for too long."""
    while True:
        owed = viewer.owes
        try:
            async with asyncio.timeout(ACKNOWLEDGE_S):
                return await websocket.receive_text()
        except TimeoutError:
            if owed:
                raise


def _note(viewer: Viewer, text: str) -> None:
    told = msgspec.json.decode(text, type=Told)
    if told.width is not None:
        viewer.show(told.width)
    if told.drawn:
        viewer.acknowledge()


@contextlib.contextmanager
def serving(app: App, host: str, port: int) -> Iterator[int]:
    """Serve ``app`` in a thread of its own as long as the ``with`` lasts; yields the port.

    Connections are bounded in number and in time. Raises OSError if the address can't be bound.
    """
    connections = Connections()
    with Listener(host, port, connections) as listener:
        server = uvicorn.Server(_config(noting(app, connections)))
        started = threading.Event()
        thread = threading.Thread(
            target=lambda: asyncio.run(_serve(server, listener, connections, started)),
            name="framepair-monitor",
            daemon=True,
        )
        thread.start()
        started.wait()
        try:
            yield listener.getsockname()[1]
        finally:
            server.should_exit = True
            thread.join(STOP_S)


def _config(app: App) -> uvicorn.Config:
    return uvicorn.Config(
        app,
        loop="asyncio",
        http="h11",
        ws="websockets-sansio",
        ws_max_size=MAX_MESSAGE_BYTES,
        ws_ping_interval=PING_S,
        ws_ping_timeout=PING_S,
        ws_per_message_deflate=False,
        lifespan="off",
        log_config=None,
        # Else a peer chooses how much is logged.
        log_level="error",
        access_log=False,
        proxy_headers=False,
        server_header=False,
        date_header=False,
        backlog=BACKLOG,
        timeout_graceful_shutdown=1,
        h11_max_incomplete_event_size=MAX_HEADER_BYTES,
    )


async def _serve(
    server: uvicorn.Server,
    listener: Listener,
    connections: Connections,
    started: threading.Event,
) -> None:
    watching = asyncio.create_task(_watch(server, connections, started))
    try:
        await server.serve([listener])
    finally:
        watching.cancel()
        started.set()


async def _watch(
    server: uvicorn.Server, connections: Connections, started: threading.Event
) -> None:
    while not server.started:
        await asyncio.sleep(0.01)
    started.set()
    while True:
        await asyncio.sleep(1)
        connections.drop_late()
