"""Listens: one process, one port, until Ctrl-C."""

import asyncio
import errno
import logging
import socket
from collections.abc import Callable, Sequence

import uvicorn
from starlette.applications import Starlette
from uvicorn.protocols.http.h11_impl import H11Protocol

from tramontane.errors import BackendUnavailable, ConfigError
from tramontane.server.guard import WILDCARDS, is_loopback

log = logging.getLogger(__name__)

SECONDS_TO_FINISH = 5
# From a connection, or a request's first byte, to the end of its head.
SECONDS_FOR_HEAD = 15.0
TOO_SLOW = b"HTTP/1.1 408 Request Timeout\r\nconnection: close\r\ncontent-length: 0\r\n\r\n"
MOST_HEAD_BYTES = 64 * 1024
MOST_CONNECTIONS = 1_024


def serve(app: Starlette, listener: socket.socket, on_ready: Callable[[], None]) -> None:
    """Serves until Ctrl-C or a SIGTERM; what runs may finish for a few seconds.

    `on_ready` is called once the address can be opened.
    """
    try:
        make_server(app, on_ready).run(sockets=[listener])
    except KeyboardInterrupt:
        # uvicorn has finished what ran and raises the signal again; a person who presses Ctrl-C
        # here has just ended the server as one does.
        log.debug("the server has stopped")
    finally:
        listener.close()


def make_server(app: Starlette, on_ready: Callable[[], None]) -> uvicorn.Server:
    """Returns a server for a socket that listens already."""
    config = uvicorn.Config(
        app,
        http=PatientProtocol,
        # Addresses hold what people search for: no access log but our own.
        access_log=False,
        log_config=None,
        server_header=False,
        lifespan="on",
        ws="none",
        limit_concurrency=MOST_CONNECTIONS,
        h11_max_incomplete_event_size=MOST_HEAD_BYTES,
        timeout_graceful_shutdown=SECONDS_TO_FINISH,
    )
    server = Server(config)
    server.when_ready = on_ready
    return server


class PatientProtocol(H11Protocol):
    """HTTP whose patience ends: a head that doesn't come whole in time is a connection closed."""

    def connection_made(self, transport: asyncio.Transport) -> None:
        super().connection_made(transport)
        self.await_head()

    def await_head(self) -> None:
        self.head_ends = self.loop.call_later(SECONDS_FOR_HEAD, self.give_up)

    def give_up(self) -> None:
        if not self.transport.is_closing():
            if self.is_idle:
                self.transport.write(TOO_SLOW)
            self.transport.close()

    def data_received(self, data: bytes) -> None:
        before = self.cycle
        super().data_received(data)
        if self.cycle is not before:
            self.head_ends.cancel()
        elif self.is_idle and self.head_ends.cancelled() and not self.transport.is_closing():
            # The next request's head has begun to come.
            self.await_head()

    @property
    def is_idle(self) -> bool:
        return self.cycle is None or self.cycle.response_complete

    def connection_lost(self, error: Exception | None) -> None:
        self.head_ends.cancel()
        super().connection_lost(error)


class Server(uvicorn.Server):
    when_ready: Callable[[], None]

    async def startup(self, sockets: list[socket.socket] | None = None) -> None:
        await super().startup(sockets)
        if self.started:
            self.when_ready()


def listen(host: str, port: int) -> socket.socket:
    """Returns a socket listening there; the error says which port is taken and what to try."""
    try:
        family, _, _, _, place = socket.getaddrinfo(
            host or None, port, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE
        )[0]
    except OSError as error:
        raise ConfigError(
            f"host {host!r} is no address of this machine ({error.strerror or error}); "
            "127.0.0.1 is for this machine alone"
        ) from None
    listener = socket.socket(family, socket.SOCK_STREAM)
    try:
        listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        # Connections inherit it. Without it an answer's end waits 40 ms for the other side's word.
        listener.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        listener.bind(place)
        listener.listen(128)
    except OSError as error:
        listener.close()
        raise BackendUnavailable(why_not(host, port, error)) from None
    return listener


def why_not(host: str, port: int, error: OSError) -> str:
    if error.errno == errno.EADDRINUSE:
        return (
            f"port {port} of {host} is taken, perhaps by a Tramontane that runs already "
            f"(open {address(host, port)} to see); try --port {port + 1}, or --port 0 for any "
            "free one"
        )
    if error.errno == errno.EACCES:
        return f"port {port} needs the administrator's rights; try a port from 1024 up"
    return f"cannot listen on {host}:{port}: {error.strerror or error}; try --host 127.0.0.1"


def address(host: str, port: int) -> str:
    """Returns the address to open in a browser on this machine."""
    name = "localhost" if host in WILDCARDS else host
    return f"http://[{name}]:{port}/" if ":" in name else f"http://{name}:{port}/"


def check_access(host: str, names: Sequence[str], num_keys: int) -> bool:
    """Returns whether whoever comes needs a key: where others than this machine may come.

    Raises ConfigError where that is so and there is no key yet.
    """
    needs_key = not is_loopback(host) or bool(names)
    if needs_key and not num_keys:
        where = f"on {host}" if not is_loopback(host) else f"as {', '.join(names)}"
        raise ConfigError(
            f"others could reach this server {where}, and read your notes: make a key first "
            "(`tramontane keys add NAME`), or stay on 127.0.0.1"
        )
    return needs_key
