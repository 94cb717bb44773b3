"""Raw sockets that mean no good: bounded memory, clear refusals, and the others are served on."""

import contextlib
import json
import socket
import time
from collections.abc import Iterator

import httpx
import psutil
import pytest
from fake_desk import FakeDesk
from fake_model import FakeEmbedder, FakeModel
from running_server import Running, running

import tramontane.server.serve
from tramontane.server.limits import Limits

PATIENCE_SECONDS = 20
MEGABYTE = 1 << 20


@pytest.fixture(scope="module")
def server() -> Iterator[Running]:
    patch = pytest.MonkeyPatch()
    patch.setattr(tramontane.server.serve, "SECONDS_FOR_HEAD", 1.0)
    with running(
        FakeDesk(),
        open_model=FakeModel,
        embedder=FakeEmbedder(),
        limits=Limits(body_seconds=1.0, most_body_bytes=MEGABYTE, most_bodies_bytes=2 * MEGABYTE),
    ) as server:
        while httpx.get(f"{server.address}health").status_code != 200:
            time.sleep(0.02)
        yield server
    patch.undo()


@pytest.fixture(autouse=True)
def _others_are_served(server: Running):
    """Whatever a test does, somebody else asks during and after it."""
    assert ask(server) == "4 "
    yield
    assert ask(server) == "4 "


def ask(server: Running) -> str:
    body = {"prompt": [3], "max_tokens": 1, "temperature": 0}
    answer = httpx.post(f"{server.address}v1/completions", json=body, timeout=PATIENCE_SECONDS)
    return answer.json()["choices"][0]["text"]


def connect(server: Running) -> socket.socket:
    return socket.create_connection(("127.0.0.1", server.port), timeout=PATIENCE_SECONDS)


def head(server: Running, length: object, path: str = "/v1/completions") -> bytes:
    return (
        f"POST {path} HTTP/1.1\r\nHost: 127.0.0.1:{server.port}\r\n"
        f"Content-Type: application/json\r\nContent-Length: {length}\r\n\r\n"
    ).encode()


def answer_to(server: Running, *parts: bytes, pause: float = 0.0) -> bytes:
    """Returns all that comes back before the server closes or falls silent."""
    with connect(server) as connection:
        for part in parts:
            try:
                connection.sendall(part)
            except (BrokenPipeError, ConnectionResetError):
                break
            time.sleep(pause)
        return read_all(connection)


def read_all(connection: socket.socket) -> bytes:
    connection.settimeout(6)
    data = b""
    try:
        while piece := connection.recv(65536):
            data += piece
    except (TimeoutError, ConnectionResetError):
        pass
    return data


def status_of(answer: bytes) -> int:
    assert answer.startswith(b"HTTP/1.1 "), answer[:100]
    return int(answer.split(b" ", 2)[1])


def test_a_head_that_never_ends_is_given_up(server: Running):
    with connect(server) as connection:
        connection.sendall(b"GET / HTTP/1.1\r\nHost: x\r\n")
        began = time.monotonic()
        answer = read_all(connection)
        assert status_of(answer) == 408
        assert time.monotonic() - began < 5


def test_a_head_that_trickles_is_given_up(server: Running):
    with connect(server) as connection:
        began = time.monotonic()
        for byte in b"GET / HTTP/1.1\r\nX-Long: " + b"a" * 100:
            try:
                connection.sendall(bytes([byte]))
            except (BrokenPipeError, ConnectionResetError):
                break
            time.sleep(0.05)
        assert time.monotonic() - began < 5


def test_a_silent_connection_is_closed(server: Running):
    with connect(server) as connection:
        began = time.monotonic()
        read_all(connection)
        assert time.monotonic() - began < 5


def test_two_hundred_slow_heads_hold_nobody(server: Running):
    connections = [connect(server) for _ in range(200)]
    try:
        for connection in connections:
            connection.sendall(b"GET / HTTP/1.1\r\nHost: x\r\n")
        assert ask(server) == "4 "
    finally:
        for connection in connections:
            connection.close()


def test_a_body_that_never_comes_is_408(server: Running):
    assert status_of(answer_to(server, head(server, 100) + b'{"prompt"')) == 408


def test_half_a_request_and_away(server: Running):
    for part in (b"POST", head(server, 100), head(server, 100) + b"{"):
        with connect(server) as connection:
            connection.sendall(part)
    assert server.until_no_streams(PATIENCE_SECONDS)


@pytest.mark.parametrize("is_chunked", [False, True])
def test_a_hundred_megabytes_are_413_and_take_no_memory(server: Running, is_chunked: bool):
    process, piece = psutil.Process(), b"a" * MEGABYTE
    before = process.memory_info().rss
    with connect(server) as connection:
        if is_chunked:
            start = head(server, 0).replace(b"Content-Length: 0", b"Transfer-Encoding: chunked")
            parts = [start] + [b"%x\r\n%b\r\n" % (len(piece), piece)] * 100
        else:
            parts = [head(server, 100 * MEGABYTE)] + [piece] * 100
        connection.settimeout(5)
        answer = b""
        for part in parts:
            try:
                connection.sendall(part)
            except (BrokenPipeError, ConnectionResetError, TimeoutError):
                break
        answer = read_all(connection)
    # The rest of a refused body may be answered by a reset.
    if answer:
        assert status_of(answer) == 413
    assert process.memory_info().rss - before < 50 * MEGABYTE


def test_many_large_bodies_at_once_are_bounded_together(server: Running):
    connections = [connect(server) for _ in range(8)]
    try:
        for connection in connections:
            connection.sendall(head(server, MEGABYTE) + b'"' + b"a" * (MEGABYTE - 1000))
        statuses = sorted(status_of(read_all(connection)) for connection in connections)
    finally:
        for connection in connections:
            connection.close()
    assert set(statuses) <= {408, 503}
    assert 503 in statuses


@pytest.mark.parametrize(
    "body",
    [
        b"[" * 100_000,
        b'{"a":' * 100_000,
        b'{"prompt": ' + b"[" * 50_000 + b"]" * 50_000 + b"}",
        b'{"prompt": "\xff\xfe", "max_tokens": 1}',
        b'{"prompt": "\\ud800", "max_tokens": 1}',
        b"\x00\x01\x02",
        b"",
        b"null",
        b"3",
        b'{"prompt": 1e400}',
        b'{"prompt": "3", "max_tokens": 99999999999999999999999999}',
        b'{"prompt": "3", "temperature": NaN}',
        b'{"prompt": "3", "prompt": "4"',
        '{"prompt": "３"}'.encode("utf-16"),
    ],
)
@pytest.mark.parametrize("path", ["/v1/completions", "/v1/chat/completions"])
def test_what_is_no_request_is_a_clear_400(server: Running, path: str, body: bytes):
    answer = answer_to(
        server,
        head(server, len(body), path).replace(b"\r\n\r\n", b"\r\nConnection: close\r\n\r\n") + body,
    )
    assert status_of(answer) == 400
    told = json.loads(answer.partition(b"\r\n\r\n")[2])
    assert told["error"]["message"]


@pytest.mark.parametrize(
    "request_line",
    [
        b"GET / HTTP/9.9\r\n\r\n",
        b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03\r\n\r\n",
        b"GET /" + b"a" * 100_000 + b" HTTP/1.1\r\nHost: x\r\n\r\n",
        b"GET / HTTP/1.1\r\nHost: x\r\n" + b"X: y\r\n" * 20_000 + b"\r\n",
        b"GET / HTTP/1.1\r\nHost: x\r\nContent-Length: -5\r\n\r\n",
        b"GET / HTTP/1.1\r\nHost: x\r\nContent-Length: 5\r\nContent-Length: 6\r\n\r\n",
        b"GET / HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: gzip, chunked\r\n\r\n",
        b"GET / HTTP/1.1\r\nHost : x\r\n\r\n",
        b"GET /\xff\xfe HTTP/1.1\r\nHost: x\r\n\r\n",
    ],
)
def test_what_is_no_http_is_a_4xx(server: Running, request_line: bytes):
    answer = answer_to(server, request_line)
    if answer:
        assert 400 <= status_of(answer) < 500


def test_pipelined_requests_are_answered_in_order(server: Running):
    asked = b"".join(
        head(
            server,
            len(
                body := json.dumps({"prompt": [number], "max_tokens": 1, "temperature": 0}).encode()
            ),
        )
        + body
        for number in range(5)
    )
    last = f"GET /health HTTP/1.1\r\nHost: 127.0.0.1:{server.port}\r\nConnection: close\r\n\r\n"
    answer = answer_to(server, asked + last.encode())
    bodies = [part.partition(b"\r\n\r\n")[2] for part in answer.split(b"HTTP/1.1 200 OK")[1:]]
    texts = [json.loads(body)["choices"][0]["text"] for body in bodies[:5]]
    assert texts == [f"{(number + 1) % 50} " for number in range(5)]
    assert len(bodies) == 6


def test_a_thousand_pipelined_heads_take_little_memory(server: Running):
    process = psutil.Process()
    before = process.memory_info().rss
    one = f"GET /health HTTP/1.1\r\nHost: 127.0.0.1:{server.port}\r\n\r\n".encode()
    with connect(server) as connection:
        connection.settimeout(3)
        with contextlib.suppress(TimeoutError, ConnectionResetError, BrokenPipeError):
            connection.sendall(one * 5_000)
        assert connection.recv(100).startswith(b"HTTP/1.1 200")
    assert process.memory_info().rss - before < 50 * MEGABYTE
