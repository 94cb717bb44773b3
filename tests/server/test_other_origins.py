"""Another site's page, open in the same browser: it can neither read this server nor act on it."""

import http.server
import threading
from collections.abc import Iterator

import httpx
import pytest
from browser_visit import CHROMIUM, expect
from fake_desk import FakeDesk
from running_server import Running, running

# Tried from the other page; each tells "refused" or what it got hold of.
TRY = """async (address) => {
  const tried = {};
  const attempt = async (name, path, options) => {
    try {
      const answer = await fetch(address + path, options);
      tried[name] = answer.type === "opaque" ? "opaque" : await answer.text();
    } catch {
      tried[name] = "refused";
    }
  };
  const body = JSON.stringify({});
  const json = { "content-type": "application/json" };
  await attempt("read", "api/status");
  await attempt("read with cookies", "api/experts", { credentials: "include" });
  await attempt("read notes", "api/note?collection=garden&path=garlic.md");
  await attempt("read blindly", "api/status", { mode: "no-cors" });
  await attempt("act", "api/experts/garden/withdraw", { method: "POST", headers: json, body });
  await attempt("act as a form", "api/experts/garden/withdraw",
    { method: "POST", mode: "no-cors", headers: { "content-type": "text/plain" }, body });
  await attempt("act as a program", "api/experts/garden/withdraw",
    { method: "POST", headers: { ...json, "x-tramontane-client": "me" }, body });
  await attempt("ask", "v1/completions", { method: "POST", headers: json, body });
  tried.script = await new Promise((tell) => {
    const script = document.createElement("script");
    script.src = `${address}words.js`;
    script.type = "module";
    script.onload = () => tell("loaded");
    script.onerror = () => tell("refused");
    document.body.append(script);
  });
  tried.frame = await new Promise((tell) => {
    const frame = document.createElement("iframe");
    frame.src = address;
    frame.onload = () => {
      try {
        tell(frame.contentDocument ? "read" : "refused");
      } catch {
        tell("refused");
      }
    };
    document.body.append(frame);
  });
  const form = document.createElement("form");
  form.action = `${address}api/experts/garden/withdraw`;
  form.method = "POST";
  form.enctype = "text/plain";
  form.target = "elsewhere";
  document.body.append(form);
  form.submit();
  await new Promise((go) => setTimeout(go, 300));
  return tried;
}"""


class Elsewhere(http.server.BaseHTTPRequestHandler):
    def do_GET(self) -> None:
        self.send_response(200)
        self.send_header("content-type", "text/html")
        self.end_headers()
        self.wfile.write(b"<!doctype html><title>Another site</title><p>Hello")

    def log_message(self, *_: object) -> None:
        """Says nothing: the test's output is its own."""


@pytest.fixture
def elsewhere() -> Iterator[str]:
    server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Elsewhere)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    yield f"http://127.0.0.1:{server.server_port}/"
    server.shutdown()


@pytest.fixture
def server(desk: FakeDesk) -> Iterator[Running]:
    with running(desk) as server:
        yield server


def test_another_origins_page_cannot_read_or_act(
    browser, server: Running, desk: FakeDesk, elsewhere: str
):
    context = browser.new_context()
    page = context.new_page()
    # The server's own page was visited before, as a person would have.
    page.goto(server.address)
    expect(page.get_by_role("heading", level=1)).to_be_visible()
    page.goto(elsewhere)
    tried = page.evaluate(TRY, server.address)
    context.close()
    assert len(tried) == 10
    assert set(tried.values()) == {"refused"}, tried
    assert not desk.cards["garden"].is_withdrawn
    assert desk.asked == []


def test_a_name_rebound_to_this_machine_is_no_name_of_ours(
    browser, desk: FakeDesk, server: Running
):
    """DNS rebinding: the browser believes that evil.test is the page's own origin."""
    rebinding = browser.browser_type.launch(
        executable_path=CHROMIUM,
        args=["--no-sandbox", "--host-resolver-rules=MAP evil.test 127.0.0.1"],
    )
    page = rebinding.new_page()
    answer = page.goto(f"http://evil.test:{server.port}/api/status")
    assert answer.status == 421
    assert "SmolLM2" not in answer.text()
    told = page.evaluate(
        """async () => {
          const answer = await fetch("/api/experts/garden/withdraw", {
            method: "POST",
            headers: { "content-type": "application/json", "x-tramontane-client": "me" },
            body: "{}",
          });
          return answer.status;
        }"""
    )
    rebinding.close()
    assert told == 421
    assert not desk.cards["garden"].is_withdrawn


@pytest.mark.parametrize("host", ["evil.test", "127.0.0.1.evil.test:{port}", "127.0.0.1:1"])
def test_a_wrong_host_is_refused(server: Running, host: str):
    told = httpx.get(f"{server.address}api/status", headers={"host": host.format(port=server.port)})
    assert told.status_code == 421
