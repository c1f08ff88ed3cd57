"""The monitor's web server: the page, its state, metrics, health, and pictures over a WebSocket."""

from __future__ import annotations

import asyncio
import contextlib
import threading
import time
from collections.abc import Awaitable, Callable, Collection, Iterator, Mapping
from concurrent.futures import Future
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
# How often connections that are late are looked for.
DROP_S: Final = 1.0
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


class WebServer:
    """Serves ``app`` on ``listener`` in a thread, while entered; raises what keeps it from starting.

    ``check`` raises what ended the thread, if it ended: without it the page is gone.
    """

    def __init__(self, app: App, listener: Listener, connections: Connections) -> None:
        self._server = uvicorn.Server(_config(noting(app, connections)))
        self._listener = listener
        self._connections = connections
        self._started = threading.Event()
        self._over: Future[None] = Future()
        self._thread = threading.Thread(target=self._run, name="framepair-monitor", daemon=True)

    @property
    def port(self) -> int:
        """The port that it listens at."""
        port: int = self._listener.getsockname()[1]
        return port

    def __enter__(self) -> WebServer:
        self._thread.start()
        self._started.wait()
        self.check()
        return self

    def __exit__(self, *_: object) -> None:
        self._server.should_exit = True
        self._thread.join(STOP_S)

    def check(self) -> None:
        """Raise RuntimeError if the thread has ended."""
        if self._over.done():
            raise RuntimeError("the web server has ended") from self._over.exception()

    def _run(self) -> None:
        try:
            asyncio.run(self._serve())
            self._over.set_result(None)
        except BaseException as error:  # noqa: BLE001 - check() raises it again
            self._over.set_exception(error)
        finally:
            self._started.set()

    async def _serve(self) -> None:
        async with asyncio.TaskGroup() as group:
            watching = group.create_task(self._watch())
            await self._server.serve([self._listener])
            watching.cancel()

    async def _watch(self) -> None:
        while not self._server.started:
            await asyncio.sleep(0.01)
        self._started.set()
        while True:
            await asyncio.sleep(DROP_S)
            self._connections.drop_late()


@contextlib.contextmanager
def serving(app: App, host: str, port: int) -> Iterator[WebServer]:
    """Serve ``app`` in a thread of its own as long as the ``with`` lasts.

    Connections are bounded in number and in time. Raises OSError if the address can't be bound.
    """
    connections = Connections()
    with (
        Listener(host, port, connections) as listener,
        WebServer(app, listener, connections) as web_server,
    ):
        yield web_server


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
