"""The page's files: the right types, no stale copies, nothing that reaches outside."""

import re

import pytest
from starlette.testclient import TestClient

from tramontane.server.pages import PAGE_FOLDER, read_page

FILES = read_page()


@pytest.mark.parametrize("path", sorted(FILES))
def test_every_file_is_served_as_what_it_is(client: TestClient, path: str):
    answer = client.get(path)
    assert answer.status_code == 200
    assert answer.content == (PAGE_FOLDER / path[1:]).read_bytes()
    assert answer.headers["content-type"] == FILES[path].type
    assert answer.headers["cache-control"] == "no-cache"


def test_every_file_in_the_folder_is_served():
    on_disk = {f"/{file.relative_to(PAGE_FOLDER).as_posix()}" for file in PAGE_FOLDER.rglob("*.*")}
    assert on_disk == FILES.keys()


def test_the_address_alone_opens_the_page(client: TestClient):
    assert client.get("/").content == FILES["/index.html"].content


def test_a_known_file_is_not_sent_again(client: TestClient):
    etag = client.get("/style.css").headers["etag"]
    again = client.get("/style.css", headers={"If-None-Match": f'"other", W/{etag}'})
    assert (again.status_code, again.content) == (304, b"")
    assert again.headers["etag"] == etag
    assert client.get("/style.css", headers={"If-None-Match": '"other"'}).status_code == 200


@pytest.mark.parametrize(
    "path",
    [
        "/../app.py",
        "/..%2fapp.py",
        "/%2e%2e/app.py",
        "/elements/../../app.py",
        "//etc/passwd",
        "/elements/",
        "/elements",
        "/MAIN.JS",
        "/main.js%00",
    ],
)
def test_no_path_leaves_the_folder(client: TestClient, path: str):
    answer = client.get(path)
    assert answer.status_code == 404
    assert answer.json()["error"]["kind"] == "NotFound"


def test_the_page_names_no_other_host():
    for path, file in FILES.items():
        text = file.content.decode()
        addresses = set(re.findall(r"(?:https?:)?//[\w.-]+\.\w+", text))
        assert addresses <= {"http://www.w3.org"}, path


def test_the_page_has_no_script_or_style_in_its_markup():
    markup = FILES["/index.html"].content.decode()
    assert re.findall(r"<script(?![^>]*\bsrc=)", markup) == []
    assert "<style" not in markup
    assert re.findall(r"\s(?:on\w+|style)\s*=", markup) == []


@pytest.mark.parametrize("path", [path for path in sorted(FILES) if path.endswith(".js")])
def test_no_module_reads_text_as_markup(path: str):
    text = FILES[path].content.decode()
    code = re.sub(r"^\s*//.*$", "", text, flags=re.MULTILINE)
    for way in ("innerHTML", "outerHTML", "insertAdjacentHTML", "document.write", "eval("):
        assert way not in code


@pytest.mark.parametrize("path", [path for path in sorted(FILES) if path.endswith(".js")])
def test_every_import_is_served(path: str):
    text = FILES[path].content.decode()
    for name in re.findall(r"""(?:from|import)\s+["']([^"']+)["']""", text):
        assert name in FILES, f"{path} imports {name}"
    elements = re.findall(r"customElements\.define\(", text)
    assert len(elements) <= 1
