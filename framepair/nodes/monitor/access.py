"""Who may ask the monitor what: the name that it is called by, the page that asks, and the token."""

from __future__ import annotations

import hashlib
import hmac
import ipaddress
from collections.abc import Collection, Iterable, MutableMapping
from http.cookies import CookieError, SimpleCookie
from typing import Any, Final
from urllib.parse import parse_qs

from framepair.nodes.monitor.connections import App, Receive, Scope, Send

COOKIE: Final = "framepair"
# Asked for by what can't bring a token, such as a container's health check.
OPEN_PATHS: Final = ("/healthz",)
HEADERS: Final = (
    (
        b"content-security-policy",
        b"default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self'; connect-src 'self';"
        b" base-uri 'none'; form-action 'none'; frame-ancestors 'none'; require-trusted-types-for 'script'",
    ),
    (b"cross-origin-opener-policy", b"same-origin"),
    (b"cross-origin-resource-policy", b"same-origin"),
    (b"referrer-policy", b"no-referrer"),
    (b"x-content-type-options", b"nosniff"),
    (b"cache-control", b"no-store"),
)
FORBIDDEN_HOST: Final = (
    b"This monitor is not called that: ask for it by its IP address, or by the host of --monitor.\n"
)
UNAUTHORIZED: Final = (
    b"This monitor needs its token: open /?token=TOKEN once,"
    b" or send the header Authorization: Bearer TOKEN.\n"
)


class Access:
    """Lets requests through to ``app`` that may be answered, and refuses the others.

    A name in the Host header that is neither ``localhost`` nor in ``hosts`` may have been pointed here by a
    web page elsewhere (DNS rebinding), which an IP address can't be. A page of another origin gets no
    pictures. With a ``token``, all but ``OPEN_PATHS`` need it, in a header or in a cookie that ``/?token=``
    sets; then any name will do, as a page elsewhere has no such cookie.
    """

    def __init__(self, app: App, hosts: Collection[str], token: str | None) -> None:
        self._app = app
        self._hosts = frozenset(host.lower() for host in hosts) | {"localhost"}
        self._token = token.encode() if token is not None else None
        # A browser sends cookies to every port of a host: what others there see is not the token.
        self._cookie = hmac.digest(self._token or b"", b"cookie", hashlib.sha256).hex().encode()

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer a request, or let ``app`` do it."""
        if scope["type"] not in ("http", "websocket"):
            await self._app(scope, receive, send)
            return
        refusal = self._refusal(scope)
        if refusal is None:
            await self._app(scope, receive, _with_headers(send))
        elif scope["type"] == "websocket":
            await send({"type": "websocket.close", "code": 1008})
        else:
            await _answer(_with_headers(send), *refusal)

    def _refusal(self, scope: Scope) -> tuple[int, bytes, Iterable[tuple[bytes, bytes]]] | None:
        """Return status, text and headers of the answer that a request gets instead of its own."""
        headers = dict(scope["headers"])
        host = headers.get(b"host", b"")
        if self._token is None and not self._is_own(host):
            return 421, FORBIDDEN_HOST, ()
        origin = headers.get(b"origin")
        if scope["type"] == "websocket" and origin is not None and _host_of(origin) != host:
            return 403, b"", ()
        if self._token is None or scope["path"] in OPEN_PATHS or self._has_token(headers):
            return None
        given = parse_qs(scope["query_string"].decode("latin-1")).get("token", [""])[0]
        if scope["type"] == "http" and hmac.compare_digest(given.encode(), self._token):
            return 303, b"", self._entering()
        return 401, UNAUTHORIZED, ((b"www-authenticate", b"Bearer"),)

    def _is_own(self, host: bytes) -> bool:
        name = _without_port(host.decode("latin-1").lower())
        if name in self._hosts:
            return True
        try:
            ipaddress.ip_address(name.removeprefix("[").removesuffix("]"))
        except ValueError:
            return False
        return True

    def _has_token(self, headers: MutableMapping[bytes, bytes]) -> bool:
        scheme, _, given = headers.get(b"authorization", b"").partition(b" ")
        bearer = scheme.lower() == b"bearer" and hmac.compare_digest(
            given.strip(), self._token or b""
        )
        cookie = _cookie(headers.get(b"cookie", b""))
        return bearer or hmac.compare_digest(cookie, self._cookie)

    def _entering(self) -> Iterable[tuple[bytes, bytes]]:
        """Return headers that set the cookie and lead to the page without the token in its address."""
        # Lax, not strict: the link may have been sent in a message.
        attributes = b"; Path=/; HttpOnly; SameSite=Lax; Max-Age=31536000"
        yield b"set-cookie", COOKIE.encode() + b"=" + self._cookie + attributes
        yield b"location", b"/"


def _with_headers(send: Send) -> Send:
    async def sending(message: MutableMapping[str, Any]) -> None:
        if message["type"] == "http.response.start":
            own = {name.lower() for name, _ in message.get("headers", ())}
            more = [header for header in HEADERS if header[0] not in own]
            message["headers"] = [*message.get("headers", ()), *more]
        await send(message)

    return sending


async def _answer(
    send: Send, status: int, text: bytes, headers: Iterable[tuple[bytes, bytes]]
) -> None:
    fixed = [
        (b"content-type", b"text/plain; charset=utf-8"),
        (b"content-length", str(len(text)).encode()),
    ]
    await send({"type": "http.response.start", "status": status, "headers": [*fixed, *headers]})
    await send({"type": "http.response.body", "body": text})


def _host_of(origin: bytes) -> bytes:
    return origin.partition(b"://")[2]


def _without_port(host: str) -> str:
    if host.startswith("["):
        return host.partition("]")[0] + "]"
    return host.partition(":")[0]


def _cookie(header: bytes) -> bytes:
    try:
        morsel = SimpleCookie(header.decode("latin-1")).get(COOKIE)
    except CookieError:
        return b""
    return morsel.value.encode() if morsel else b""
