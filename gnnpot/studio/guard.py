"""Access control: a token in the address, then a cookie, and only the Host and Origin of this server.

The page is opened with the token in its address, and receives the token as a cookie (HttpOnly, SameSite=Strict). The
name of the cookie contains the port, because all ports of a host share cookies. Programs send
`Authorization: Bearer TOKEN` instead. Websockets and requests that change something need the Origin of the server
itself; programs may omit it. If the server is bound to loopback, the Host must be a loopback name, so that no other
name that resolves to loopback can be used.
"""

import secrets
from collections.abc import Mapping
from dataclasses import dataclass
from http.cookies import CookieError, SimpleCookie
from urllib.parse import parse_qs, urlsplit

from starlette.datastructures import Headers
from starlette.responses import PlainTextResponse
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from gnnpot.studio.config import LOOPBACK

#: no content from other servers, no inline scripts, no embedding in frames
POLICY = (
    "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self' data: blob:; connect-src 'self'; "
    "worker-src 'self' blob:; base-uri 'none'; form-action 'none'; frame-ancestors 'none'"
)
HEADERS = {
    "Content-Security-Policy": POLICY,
    "X-Content-Type-Options": "nosniff",
    "Referrer-Policy": "no-referrer",
    "Cross-Origin-Opener-Policy": "same-origin",
    "Cross-Origin-Resource-Policy": "same-origin",
    "Cache-Control": "no-store",
}


@dataclass(frozen=True)
class Access:
    """The token of a server, and the host names that it accepts."""

    token: str
    local: bool  #: whether the server is bound to loopback

    def cookie_name(self, host: str) -> str:
        return f"gnnpot-studio-{urlsplit('//' + host).port or 80}"

    def is_allowed_host(self, host: str) -> bool:
        try:
            address = urlsplit("//" + host)
            # an invalid port raises the same error
            name, _ = address.hostname, address.port
        except ValueError:
            return False
        return not self.local or name in LOOPBACK

    def is_token(self, given: str | None) -> bool:
        return given is not None and secrets.compare_digest(given.encode(), self.token.encode())

    def has_token(self, headers: Mapping[str, str], host: str) -> bool:
        """Whether the cookie or the authorization header contains the token."""
        kind, _, given = headers.get("authorization", "").partition(" ")
        if kind == "Bearer" and self.is_token(given):
            return True
        try:
            cookie = SimpleCookie(headers.get("cookie", "")).get(self.cookie_name(host))
        except CookieError:
            return False
        return cookie is not None and self.is_token(cookie.value)


class Guard:
    """ASGI middleware that refuses unauthorised requests before anything else handles them."""

    def __init__(self, app: ASGIApp, access: Access) -> None:
        self.app, self.access = app, access

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] == "lifespan":
            await self.app(scope, receive, send)
            return
        headers = Headers(scope=scope)
        host = headers.get("host", "")
        token = parse_qs(scope["query_string"].decode("latin-1")).get("token", [None])[0]
        enters = scope["type"] == "http" and scope["path"] == "/" and self.access.is_token(token)
        reason = self._refusal(scope, headers, host, enters)
        if reason is not None:
            await _refuse(scope, receive, send, reason)
            return

        async def guarded(message: Message) -> None:
            if message["type"] == "http.response.start":
                extra = {**HEADERS}
                if enters:
                    name = self.access.cookie_name(host)
                    extra["Set-Cookie"] = f"{name}={self.access.token}; Path=/; HttpOnly; SameSite=Strict"
                pairs = [(k.lower().encode(), v.encode()) for k, v in extra.items()]
                message["headers"] = [*message.get("headers", []), *pairs]
            await send(message)

        await self.app(scope, receive, guarded)

    def _refusal(self, scope: Scope, headers: Headers, host: str, enters: bool) -> str | None:
        if not self.access.is_allowed_host(host):
            return "this server answers to 127.0.0.1 and localhost only"
        if not enters and not self.access.has_token(headers, host):
            return "open the address with the token that gnnpot studio has shown"
        origin = headers.get("origin")
        # a client with the token in a header is not a browser and need not send an Origin
        changes = scope["type"] == "websocket" or scope["method"] not in ("GET", "HEAD")
        absent = origin is None and "authorization" not in headers
        if changes and (absent or (origin is not None and urlsplit(origin).netloc != host)):
            return "the request comes from another page"
        return None


async def _refuse(scope: Scope, receive: Receive, send: Send, reason: str) -> None:
    if scope["type"] == "websocket":
        await receive()
        await send({"type": "websocket.close", "code": 4403, "reason": reason})
        return
    await PlainTextResponse(f"403: {reason}", status_code=403, headers=HEADERS)(scope, receive, send)
