"""Who may talk to the server: this machine's browser, from the page itself, and programs.

The notes of a person stand behind this server, and any website they visit can make their browser
send requests to it. Three things keep such a website out: the Host header must be a name of ours (a
name that was rebound to 127.0.0.1 is not), whatever changes or streams must come from the page
itself (Origin), and no answer is ever open to another origin. Programs send no Origin; a browser
that sends JSON elsewhere always does.

Where others than this machine can reach the server, everybody shows a key. One whose scope is "ask"
may read and ask; whatever changes something wants "manage", and so does every path not named here.
"""

import ipaddress
from collections.abc import Iterable, Sequence

from starlette.datastructures import Headers, MutableHeaders
from starlette.requests import Request, cookie_parser
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from tramontane.library.keys import PREFIX, Key, Keys
from tramontane.server.refusal import Refusal, error_body
from tramontane.server.wire import to_json

LOOPBACK_NAMES = ("localhost", "127.0.0.1", "::1")
WILDCARDS = ("0.0.0.0", "::", "")
MAX_BODY_BYTES = 64 * 1024
# Of a file that comes in pieces.
MAX_PIECE_BYTES = 4 << 20
# What programs use that know OpenAI's interface and nothing of this server.
PROGRAM_PATHS = ("/v1/", "/tokenize", "/detokenize")
# Read or asked with either scope; their POSTs change nothing but what is the key's own.
ASK_PATHS = ("/api/ask", "/api/outline", "/api/search", "/api/chats/remove", *PROGRAM_PATHS)
COOKIE = "tramontane_key"
# Programs of the page's own interface send this header to say they meant it. A website can't set
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


class Guard:
    """Lets a request through to `app`, or answers it with the reason why not."""

    def __init__(
        self,
        app: ASGIApp,
        *,
        host: str,
        port: int,
        names: Sequence[str] = (),
        keys: Keys | None = None,
        needs_key: bool = False,
        open_paths: Iterable[str] = (),
        most_body_bytes: int = MAX_BODY_BYTES,
    ):
        """`names` are further names under which a reverse proxy hands requests on; `open_paths`
        need no key: the page's own files, and whether the server lives."""
        self.app, self.host, self.port = app, host, port
        self.names = frozenset(name.lower() for name in names)
        self.keys, self.needs_key, self.open_paths = keys, needs_key, frozenset(open_paths)
        self.most_body_bytes = most_body_bytes

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            await self.app(scope, receive, send)
            return

        async def send_guarded(message: Message) -> None:
            if message["type"] == "http.response.start":
                headers = MutableHeaders(scope=message)
                for name, value in HEADERS.items():
                    # An answer that is no page of ours brings a stricter policy of its own.
                    if name != "content-security-policy" or name not in headers:
                        headers[name] = value
                headers.setdefault("cache-control", "no-store")
            await send(message)

        try:
            headers = Headers(scope=scope)
            self.check(scope["method"], headers, scope["path"])
            key = self.check_key(scope["method"], headers, scope["path"])
            scope.setdefault("state", {})["key"] = key
        except Refusal as refusal:
            await refuse(refusal, send_guarded)
            return
        await self.app(scope, receive, send_guarded)

    def check(self, method: str, headers: Headers, path: str) -> None:
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
        if origin is not None and not self.is_own_origin(origin.lower(), hosts[0].lower()):
            raise Refusal(
                403, "WrongOrigin", f"requests from {origin} are refused; open the page itself"
            )
        if method in ("GET", "HEAD"):
            # Reading is safe from other origins (no answer is open to them); a navigation is too.
            return
        if method != "POST":
            raise Refusal(
                405,
                "WrongMethod",
                f"{method} is not used here; GET and POST are",
                headers={"allow": "GET, HEAD, POST"},
            )
        meant = CLIENT_HEADER in headers or "authorization" in headers
        if origin is None and not meant and not is_under(path, PROGRAM_PATHS):
            raise Refusal(
                403,
                "WrongOrigin",
                f"no Origin header came; a program sends {CLIENT_HEADER}: its-name instead",
            )
        kind = headers.get("content-type", "").split(";")[0].strip().lower()
        # Neither kind can be sent by a form, nor by another site's script without asking first.
        wanted = "application/octet-stream" if takes_bytes(path) else "application/json"
        if kind != wanted:
            raise Refusal(415, "WrongType", f"the body is {kind or 'of no type'}; send {wanted}")
        most_bytes = self.most_bytes_at(path)
        length = headers.get("content-length", "0")
        if not length.isdigit() or int(length) > most_bytes:
            raise too_large(most_bytes, int(length) if length.isdigit() else None)

    def most_bytes_at(self, path: str) -> int:
        if takes_bytes(path):
            return MAX_PIECE_BYTES
        return self.most_body_bytes if is_under(path, PROGRAM_PATHS) else MAX_BODY_BYTES

    def check_key(self, method: str, headers: Headers, path: str) -> Key | None:
        """Returns the key that came, if any.

        Raises Refusal where one is needed and none came, or one that isn't, or may not.
        """
        if path in self.open_paths:
            return None
        text = key_in(headers)
        key = self.keys.find(text) if self.keys is not None and text else None
        if key is None:
            # Clients of OpenAI's interface always send some key; a wrong one of ours is no chance.
            if self.needs_key or text.startswith(PREFIX):
                raise Refusal(
                    401,
                    "NoKey",
                    "the key is not known here, or was revoked"
                    if text
                    else "a key is needed: send Authorization: Bearer KEY "
                    "(`tramontane keys add` makes one)",
                    code="invalid_api_key",
                    headers={"www-authenticate": "Bearer"},
                )
            return None
        if not may(key, method, path):
            raise Refusal(
                403,
                "NotAllowed",
                f"the key {key.name!r} may ask and read; this wants a key of scope manage",
            )
        return key

    def is_own_origin(self, origin: str, host: str) -> bool:
        if origin == f"http://{host}":
            return True
        # Behind a reverse proxy that speaks TLS.
        return split_host(host)[0] in self.names and origin == f"https://{host}"

    def is_own_host(self, value: str) -> bool:
        """Whether a Host header names this server: a loopback name or the configured host, and
        the port."""
        name, port = split_host(value.lower())
        if name in self.names:
            return True
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


def is_under(path: str, roots: Iterable[str]) -> bool:
    """Whether a path is one of these, or below one that ends in a slash."""
    return any(path == root or (root.endswith("/") and path.startswith(root)) for root in roots)


def takes_bytes(path: str) -> bool:
    """Whether the body sent to a path is a file's own bytes."""
    return path.startswith("/api/dropped/") and path.endswith("/file")


def key_in(headers: Headers) -> str:
    """Returns the key that a request shows: as programs do, or in the page's cookie; or nothing."""
    kind, _, text = headers.get("authorization", "").partition(" ")
    if kind.lower() == "bearer":
        return text.strip()
    if "x-api-key" in headers:
        return headers["x-api-key"].strip()
    cookies = cookie_parser(headers.get("cookie", ""))
    return cookies.get(COOKIE, "")


def key_of(http: Request) -> str | None:
    """Returns the id of the key that a request let in came with; None for this machine itself."""
    key = getattr(http.state, "key", None)
    return key.id if key is not None else None


def may(key: Key, method: str, path: str) -> bool:
    if key.scope == "manage":
        return True
    return method in ("GET", "HEAD") or is_under(path, ASK_PATHS)


def too_large(most_bytes: int = MAX_BODY_BYTES, num_bytes: int | None = None) -> Refusal:
    """Returns the refusal of a body; one that did not say its length was not read to its end."""
    said = f"has {num_bytes:,} bytes," if num_bytes else "is too long:"
    return Refusal(
        413, "TooLarge", f"the body {said} {most_bytes:,} bytes are the most; send less at once"
    )


async def refuse(refusal: Refusal, send: Send) -> None:
    told = error_body(refusal.status, refusal.kind, str(refusal), refusal.code)
    body = to_json({"error": told}).encode()
    headers = [
        (b"content-type", b"application/json"),
        (b"content-length", str(len(body)).encode()),
        *((name.encode(), value.encode()) for name, value in refusal.headers.items()),
    ]
    await send({"type": "http.response.start", "status": refusal.status, "headers": headers})
    await send({"type": "http.response.body", "body": body})
