"""A server on a free port, in a thread, for as long as a test needs it."""

import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass

import uvicorn
from fake_desk import FakeDesk

from tramontane.library.keys import Keys
from tramontane.server.app import Access, make_app
from tramontane.server.serve import address, listen, make_server

# What an app is told that listens nowhere: tests hand it requests themselves.
PORT = 8787
HOME = f"http://127.0.0.1:{PORT}"


@dataclass
class Running:
    address: str
    port: int
    server: uvicorn.Server

    def until_no_streams(self, seconds: float) -> bool:
        """Waits until no request is being answered; False when that takes longer."""
        ends = time.monotonic() + seconds
        while self.server.server_state.tasks:
            if time.monotonic() > ends:
                return False
            time.sleep(0.01)
        return True


@contextmanager
def running(desk: FakeDesk, keys: Keys | None = None, **options) -> Iterator[Running]:
    """`options` are those of make_app; with `keys`, whoever comes needs one of them."""
    listener = listen("127.0.0.1", 0)
    is_ready = threading.Event()
    found: list[str] = []

    def when_ready(address: str) -> None:
        found.append(address)
        is_ready.set()

    port = listener.getsockname()[1]
    access = Access(host="127.0.0.1", port=port, keys=keys, needs_key=keys is not None)
    app = make_app(desk, access, **options)
    server = make_server(app, lambda: when_ready(address("127.0.0.1", port)))
    thread = threading.Thread(target=server.run, kwargs={"sockets": [listener]}, daemon=True)
    thread.start()
    try:
        assert is_ready.wait(20), "the server did not start"
        yield Running(found[0], listener.getsockname()[1], server)
    finally:
        server.should_exit = True
        thread.join(20)
        listener.close()
    assert not thread.is_alive()
