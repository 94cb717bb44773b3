"""Listens: one process, one port, until Ctrl-C."""

import errno
import logging
import socket
from collections.abc import Callable

import uvicorn

from tramontane.errors import BackendUnavailable, ConfigError
from tramontane.server.app import make_app
from tramontane.server.desk import Desk
from tramontane.server.guard import WILDCARDS, is_loopback

log = logging.getLogger(__name__)

SECONDS_TO_FINISH = 5


def serve(desk: Desk, host: str, port: int, on_ready: Callable[[str], None]) -> None:
    """Serves the page until Ctrl-C; `on_ready` gets its address once it can be opened.

    Port 0 takes a free one. Raises BackendUnavailable when the port can't be had.
    """
    listener = listen(host, port)
    try:
        make_server(desk, host, listener, on_ready).run(sockets=[listener])
    except KeyboardInterrupt:
        # uvicorn has finished what ran and raises the signal again; a person who presses Ctrl-C
        # here has just ended the server as one does.
        log.debug("the page's server has stopped")
    finally:
        listener.close()


def make_server(
    desk: Desk, host: str, listener: socket.socket, on_ready: Callable[[str], None]
) -> uvicorn.Server:
    """Returns a server for a socket that listens already."""
    port = listener.getsockname()[1]
    config = uvicorn.Config(
        make_app(desk, host=host, port=port),
        # Addresses hold what people search for: no access log.
        access_log=False,
        log_level="warning",
        server_header=False,
        lifespan="on",
        timeout_graceful_shutdown=SECONDS_TO_FINISH,
    )
    server = Server(config)
    server.when_ready = lambda: on_ready(address(host, port))
    return server


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


def warning_for(host: str) -> str | None:
    """Returns what to tell a person who opens the page to others, None for loopback."""
    if is_loopback(host):
        return None
    return (
        f"the page listens on {host}: whoever reaches this machine over the network can read "
        "your notes through it, and there is no password"
    )
