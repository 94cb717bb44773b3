"""A fake desk, and a client whose requests come from the page itself."""

from collections.abc import Iterator

import pytest
from fake_desk import FakeDesk
from running_server import HOME, PORT
from starlette.testclient import TestClient

from tramontane.server.app import Access, make_app


@pytest.fixture
def desk() -> FakeDesk:
    return FakeDesk()


@pytest.fixture
def client(desk: FakeDesk) -> Iterator[TestClient]:
    """Sends the Host and Origin that a browser sends from the page."""
    app = make_app(desk, Access(host="127.0.0.1", port=PORT))
    headers = {"Origin": HOME}
    with TestClient(app, base_url=HOME, headers=headers, raise_server_exceptions=False) as client:
        yield client
