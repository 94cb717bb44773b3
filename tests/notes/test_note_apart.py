"""What hostile files cost is bounded, and each becomes a reason; the next file is read as ever."""

import os
import time
from contextlib import suppress

import psutil
import pytest
from document_makers import docx_of, paragraph, pdf_bomb, pdf_of

from tramontane.notes import apart as reading_apart
from tramontane.notes.apart import Apart, RefusedError
from tramontane.notes.folder import read_folder
from tramontane.notes.reader import MAX_LINES, UnreadableError, read_note

GOOD = pdf_of([[(72, 700, 11, "Some text")]])


@pytest.fixture
def strict():
    with Apart(cpu_seconds=2, memory_bytes=600 * 2**20) as apart:
        yield apart


def check_it_goes_on(apart: Apart) -> None:
    assert apart.read("pdf", GOOD).text == "Some text\n"


def test_a_pdf_bomb_is_refused(strict):
    bomb = pdf_bomb(400)
    assert len(bomb) < 100_000
    with pytest.raises(RefusedError):
        strict.read("pdf", bomb)
    check_it_goes_on(strict)


def test_a_zip_bomb_is_refused(strict):
    bomb = docx_of(paragraph("A" * (100 * 2**20)))
    assert len(bomb) < 300_000
    with pytest.raises(RefusedError, match="unpacks to more than 64 MB"):
        strict.read("docx", bomb)
    check_it_goes_on(strict)


def test_a_document_nested_without_end_is_refused(strict):
    with pytest.raises(RefusedError, match="nested deeper than"):
        strict.read("docx", docx_of("<w:x>" * 5_000 + "</w:x>" * 5_000))


def test_a_page_built_to_take_for_ever_is_ended(strict):
    page = b"<a " + b"x='" * 3_000_000
    began = time.monotonic()
    with suppress(RefusedError):
        strict.read("html", page)
    assert time.monotonic() - began < 60
    check_it_goes_on(strict)


@pytest.mark.parametrize("is_gone", [False, True])
def test_a_reader_that_crashes_is_a_reason(strict, is_gone: bool):
    check_it_goes_on(strict)
    strict._process.kill()
    if is_gone:
        strict._process.wait()
    with pytest.raises(RefusedError, match="the system ended its reader") as caught:
        strict.read("pdf", GOOD)
    assert caught.value.is_passing
    check_it_goes_on(strict)


def test_a_reader_that_hangs_is_ended(strict, monkeypatch):
    check_it_goes_on(strict)
    process = psutil.Process(strict._process.pid)
    process.suspend()
    monkeypatch.setattr(reading_apart, "WALL_SECONDS", 0.2)
    with pytest.raises(RefusedError, match="took longer") as caught:
        strict.read("pdf", GOOD)
    assert caught.value.is_passing
    assert not process.is_running()
    monkeypatch.undo()
    check_it_goes_on(strict)


def test_the_folder_at_hand_is_not_where_its_modules_come_from(tmp_path, monkeypatch):
    for name in ("json", "zipfile", "tramontane"):
        (tmp_path / f"{name}.py").write_text("raise SystemExit(1)")
    monkeypatch.chdir(tmp_path)
    with Apart() as apart:
        check_it_goes_on(apart)


def test_closing_ends_the_process():
    with Apart() as apart:
        check_it_goes_on(apart)
        process = psutil.Process(apart._process.pid)
    assert not process.is_running()


def test_a_fresh_process_follows_after_many_files(monkeypatch):
    monkeypatch.setattr(reading_apart, "FILES_PER_PROCESS", 2)
    with Apart() as apart:
        ids = []
        for _ in range(4):
            check_it_goes_on(apart)
            ids.append(apart._process.pid)
    assert len(set(ids)) == 2


def test_a_file_of_ten_million_lines_is_refused_at_once():
    data = b"a\n" * 10_000_000
    with pytest.raises(UnreadableError, match=f"10,000,000 lines.*{MAX_LINES:,}; split it"):
        read_note("log.txt", data)


def test_a_loop_of_links_is_passed_over(tmp_path):
    (tmp_path / "a.md").write_text("text")
    (tmp_path / "loop").symlink_to(tmp_path, target_is_directory=True)
    (tmp_path / "one").symlink_to("two")
    (tmp_path / "two").symlink_to("one")
    found = read_folder(tmp_path)
    assert [note.path for note in found.notes] == ["a.md"]
    assert sorted(one.path for one in found.skipped) == ["loop", "one", "two"]


def test_what_is_not_what_its_name_says_is_said(tmp_path):
    (tmp_path / "a.md").write_text("text")
    (tmp_path / "a.pdf").write_bytes(b"MZ" + os.urandom(2_000))
    (tmp_path / "b.docx").write_bytes(b"text")
    (tmp_path / "c.docx").write_bytes(b"PK\x03\x04 and no more")
    (tmp_path / "d.pdf").write_bytes(b"")
    (tmp_path / "e.doc").write_bytes(b"text")
    reasons = {one.path: one.reason for one in read_folder(tmp_path).skipped}
    assert reasons["a.pdf"] == "named .pdf, but no pdf file inside"
    assert reasons["b.docx"] == "named .docx, but no docx file inside"
    assert reasons["c.docx"].startswith("not a docx file, or a damaged one")
    assert reasons["d.pdf"] == "empty"
    assert reasons["e.doc"].endswith("save it as docx")
