"""Who may talk to the page: this machine's browser, from the page itself, and nobody else.

The notes of a person stand behind this server, and any website they visit can make their browser
send requests to it. Three things keep such a website out: the Host header must be a name of ours (a
name that was rebound to 127.0.0.1 is not), whatever changes or streams must come from the page
itself (Origin), and no answer is ever open to another origin.
"""

import ipaddress

from starlette.datastructures import Headers, MutableHeaders
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from tramontane.server.wire import to_json

LOOPBACK_NAMES = ("localhost", "127.0.0.1", "::1")
WILDCARDS = ("0.0.0.0", "::", "")
MAX_BODY_BYTES = 64 * 1024
# Programs that are no browser send no Origin; this header says they meant it. A website can't set
# it without asking first (CORS preflight), and we never agree.
CLIENT_HEADER = "x-tramontane-client"
CONTENT_SECURITY_POLICY = "; ".join(
    [
        "default-src 'none'",
        "script-src 'self'",
        "style-src 'self'",
        "connect-src 'self'",
        "img-src 'self' data:",
        "frame-ancestors 'none'",
        "base-uri 'none'",
        "form-action 'none'",
        "require-trusted-types-for 'script'",
        "trusted-types 'none'",
    ]
)
HEADERS = {
    "content-security-policy": CONTENT_SECURITY_POLICY,
    "x-content-type-options": "nosniff",
    "referrer-policy": "no-referrer",
    "cross-origin-opener-policy": "same-origin",
    "cross-origin-resource-policy": "same-origin",
    "permissions-policy": "camera=(), microphone=(), geolocation=()",
}


class Refusal(Exception):
    """A request that is not served: status and what to say."""

    def __init__(self, status: int, kind: str, message: str):
        super().__init__(message)
        self.status, self.kind = status, kind


class Guard:
    """Lets a request through to `app`, or answers it with the reason why not."""

    def __init__(self, app: ASGIApp, *, host: str, port: int):
        self.app, self.host, self.port = app, host, port

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            await self.app(scope, receive, send)
            return

        async def send_guarded(message: Message) -> None:
            if message["type"] == "http.response.start":
                headers = MutableHeaders(scope=message)
                for name, value in HEADERS.items():
                    headers[name] = value
                headers.setdefault("cache-control", "no-store")
            await send(message)

        try:
            self.check(scope["method"], Headers(scope=scope))
        except Refusal as refusal:
            await refuse(refusal, send_guarded)
            return
        await self.app(scope, receive, send_guarded)

    def check(self, method: str, headers: Headers) -> None:
        """Raises Refusal for a request that didn't come from the page or a program that meant
        it."""
        hosts = headers.getlist("host")
        if len(hosts) != 1 or not self.is_own_host(hosts[0]):
            raise Refusal(
                421,
                "WrongHost",
                f"Host is {', '.join(hosts) or 'missing'}; this server answers to "
                f"127.0.0.1:{self.port} and localhost:{self.port} only",
            )
        origin = headers.get("origin")
        if origin is not None and origin.lower() != f"http://{hosts[0].lower()}":
            raise Refusal(
                403, "WrongOrigin", f"requests from {origin} are refused; open the page itself"
            )
        if method in ("GET", "HEAD"):
            # Reading is safe from other origins (no answer is open to them); a navigation is too.
            return
        if method != "POST":
            raise Refusal(405, "WrongMethod", f"{method} is not used here; GET and POST are")
        if origin is None and CLIENT_HEADER not in headers:
            raise Refusal(
                403,
                "WrongOrigin",
                f"no Origin header came; a program sends {CLIENT_HEADER}: its-name instead",
            )
        kind = headers.get("content-type", "").split(";")[0].strip().lower()
        if kind != "application/json":
            raise Refusal(
                415, "WrongType", f"the body is {kind or 'of no type'}; send application/json"
            )
        length = headers.get("content-length", "0")
        if not length.isdigit() or int(length) > MAX_BODY_BYTES:
            raise too_large()

    def is_own_host(self, value: str) -> bool:
        """Whether a Host header names this server: a loopback name or the configured host, and
        the port."""
        name, port = split_host(value.lower())
        if port != str(self.port) and not (port == "" and self.port == 80):
            return False
        if name in LOOPBACK_NAMES or name == self.host.lower():
            return True
        # Listening everywhere, the machine has addresses we can't list; a rebound name is no
        # address.
        return self.host in WILDCARDS and is_address(name)


def split_host(value: str) -> tuple[str, str]:
    """Returns name and port of a Host header; an IPv6 address loses its brackets."""
    if value.startswith("["):
        name, _, rest = value[1:].partition("]")
        return name, rest.removeprefix(":")
    name, _, port = value.partition(":")
    return name, port


def is_address(name: str) -> bool:
    try:
        ipaddress.ip_address(name)
    except ValueError:
        return False
    return True


def is_loopback(host: str) -> bool:
    return host in LOOPBACK_NAMES or (is_address(host) and ipaddress.ip_address(host).is_loopback)


def too_large() -> Refusal:
    return Refusal(
        413, "TooLarge", f"the body is longer than {MAX_BODY_BYTES:,} bytes; send less at once"
    )


async def refuse(refusal: Refusal, send: Send) -> None:
    body = to_json({"error": {"kind": refusal.kind, "message": str(refusal)}}).encode()
    headers = [
        (b"content-type", b"application/json"),
        (b"content-length", str(len(body)).encode()),
    ]
    await send({"type": "http.response.start", "status": refusal.status, "headers": headers})
    await send({"type": "http.response.body", "body": body})
