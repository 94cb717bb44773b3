"""A real server on a real port: readiness, taken ports, readers who leave, stopping."""

import json
import os
import signal
import socket
import subprocess
import sys
import threading
from pathlib import Path

import httpx
import pytest
from fake_desk import FakeDesk
from running_server import Running, running

from tramontane.errors import BackendUnavailable, ConfigError
from tramontane.server.serve import address, check_access, listen

PATIENCE_SECONDS = 20


def ask(server: Running, question: str) -> dict:
    return {
        "method": "POST",
        "url": f"{server.address}api/ask",
        "json": {"question": question},
        "headers": {"Origin": server.address.rstrip("/")},
    }


def test_port_0_takes_a_free_one(desk: FakeDesk):
    with running(desk) as server:
        assert server.port > 0
        assert httpx.get(f"{server.address}api/status").json()["base"] == "SmolLM2-135M"


def test_a_taken_port_is_named_with_what_to_try():
    with listen("127.0.0.1", 0) as first:
        port = first.getsockname()[1]
        with pytest.raises(BackendUnavailable, match=f"port {port}.*--port 0"):
            listen("127.0.0.1", port)


def test_what_is_sent_does_not_wait_for_more():
    with (
        listen("127.0.0.1", 0) as listener,
        socket.create_connection(listener.getsockname()),
        listener.accept()[0] as connection,
    ):
        assert connection.getsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY)


def test_a_host_that_is_not_ours_is_named():
    with pytest.raises(ConfigError, match=r"no-such-host\.invalid"):
        listen("no-such-host.invalid", 0)


def test_addresses_open_in_a_browser():
    assert address("127.0.0.1", 80) == "http://127.0.0.1:80/"
    assert address("::1", 8787) == "http://[::1]:8787/"
    assert address("0.0.0.0", 8787) == "http://localhost:8787/"


@pytest.mark.parametrize("host", ["127.0.0.1", "localhost", "127.0.0.2", "::1"])
def test_on_this_machine_alone_nobody_needs_a_key(host: str):
    assert check_access(host, [], num_keys=0) is False


@pytest.mark.parametrize(("host", "names"), [("0.0.0.0", []), ("127.0.0.1", ["notes.example"])])
def test_where_others_can_come_a_key_must_be_there(host: str, names: list[str]):
    with pytest.raises(ConfigError, match="tramontane keys add"):
        check_access(host, names, num_keys=0)
    assert check_access(host, names, num_keys=1) is True


def test_a_reader_who_leaves_ends_the_work(desk: FakeDesk):
    """The desk stands between two events until the reader is gone, and yields no third."""
    may_go_on = threading.Event()
    desk.gate = lambda: may_go_on.wait(PATIENCE_SECONDS)
    with running(desk) as server:
        with httpx.stream(**ask(server, "How many bulbs?")) as answer:
            name = next(line for line in answer.iter_lines() if line.startswith("event:"))
            assert name == "event: sources"
        # A later answer comes only after the server has seen the connection end.
        assert server.until_no_streams(PATIENCE_SECONDS)
        may_go_on.set()
        assert desk.was_closed.wait(PATIENCE_SECONDS)
        assert desk.num_yielded <= 2
        assert httpx.get(f"{server.address}api/status").status_code == 200


def test_a_reader_who_leaves_before_the_first_event_ends_the_work(desk: FakeDesk):
    has_begun, may_go_on = threading.Event(), threading.Event()
    events = desk.events

    def slow_events(*args):
        has_begun.set()
        assert may_go_on.wait(PATIENCE_SECONDS)
        yield from events(*args)

    desk.events = slow_events
    with running(desk) as server:
        body = json.dumps({"question": "How many bulbs?"}).encode()
        with socket.create_connection(("127.0.0.1", server.port)) as connection:
            connection.sendall(
                f"POST /api/ask HTTP/1.1\r\nHost: 127.0.0.1:{server.port}\r\n"
                f"Origin: {server.address.rstrip('/')}\r\nContent-Type: application/json\r\n"
                f"Content-Length: {len(body)}\r\n\r\n".encode()
                + body
            )
            assert has_begun.wait(PATIENCE_SECONDS)
        assert server.until_no_streams(PATIENCE_SECONDS)
        may_go_on.set()
        assert desk.was_closed.wait(PATIENCE_SECONDS)
        assert desk.num_yielded <= 1


def test_many_questions_at_once_all_get_their_own_answer(desk: FakeDesk):
    questions = {"How many bulbs?": "41 cloves", "compost peaked": "63 °C", "potash": "potash"}
    answers: dict[int, str] = {}

    def put(number: int, question: str) -> None:
        answers[number] = httpx.request(**ask(server, question), timeout=PATIENCE_SECONDS).text

    with running(desk) as server:
        threads = [
            threading.Thread(target=put, args=(number, question))
            for number, question in enumerate(list(questions) * 8)
        ]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join(PATIENCE_SECONDS)
    assert len(answers) == 24
    for number, wanted in enumerate(list(questions.values()) * 8):
        assert wanted in answers[number]
        assert answers[number].count("event: done") == 1


@pytest.mark.skipif(os.name == "nt", reason="Ctrl-C reaches a child differently on Windows")
def test_ctrl_c_stops_it_without_a_traceback():
    code = (
        "from fake_desk import FakeDesk\n"
        "from tramontane.server.app import Access, make_app\n"
        "from tramontane.server.serve import address, listen, serve\n"
        "listener = listen('127.0.0.1', 0)\n"
        "port = listener.getsockname()[1]\n"
        "app = make_app(FakeDesk(), Access(host='127.0.0.1', port=port))\n"
        "serve(app, listener, lambda: print(address('127.0.0.1', port), flush=True))\n"
        "print('ended well', flush=True)\n"
    )
    here = Path(__file__).parent
    with subprocess.Popen(
        [sys.executable, "-c", code],
        cwd=here,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    ) as process:
        place = process.stdout.readline().strip()
        assert httpx.get(f"{place}api/status").status_code == 200
        process.send_signal(signal.SIGINT)
        said, complained = process.communicate(timeout=PATIENCE_SECONDS)
    assert process.returncode == 0
    assert said == "ended well\n"
    assert complained == ""
