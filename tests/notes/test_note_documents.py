"""PDF and docx: text in its order, at its page, in its box; by hand and by several programs."""

import io
import random
import re
from pathlib import Path

import pytest
from document_makers import docx_of, paragraph, pdf_of
from hypothesis import given, settings
from hypothesis import strategies as st
from passage_checks import assert_note_knows_its_lines

from tramontane.notes.apart import Apart
from tramontane.notes.docx import DocxError, read_docx
from tramontane.notes.pdf import PdfError, read_pdf
from tramontane.notes.reader import read_note

SUBJECTS = "beans peas leeks onions kale".split()


@pytest.fixture(scope="module")
def apart():
    with Apart() as apart:
        yield apart


def facts(number: int) -> list[tuple[str, str]]:
    """Returns five headings and their paragraphs; each holds a number nothing else holds."""
    chance = random.Random(number)
    return [
        (
            f"About {subject}",
            f"We sowed {chance.randint(1000, 9999)}{at} {subject} on 2024-0{at + 1}-1{number % 10}."
            + f" They like the sun and want water every evening, {subject} more than others." * 6,
        )
        for at, subject in enumerate(SUBJECTS)
    ]


def test_a_page_has_lines_headings_and_boxes():
    page = [
        (72, 700, 20, "Growing beans"),
        (72, 660, 11, "Sow them on 2024-03-05, when the"),
        (72, 646, 11, "soil is warm (10 °C)."),
        (72, 600, 11, "Water them."),
    ]
    reading = read_pdf(pdf_of([page, [(300, 500, 11, "On another page.")]]))
    assert reading.text == (
        "# Growing beans\n\nSow them on 2024-03-05, when the\nsoil is warm (10 °C).\n\n"
        "Water them.\n\nOn another page.\n"
    )
    first, second = reading.passages
    assert (first.page, first.first_line, first.last_line) == (1, 3, 6)
    assert first.heading == ("Growing beans",)
    assert first.dates == ("2024-03-05",)
    left, bottom, right, top = first.box
    assert 70 < left < 74
    assert 595 < bottom < 601
    assert 660 < top < 672
    assert 220 < right < 260
    assert (second.page, second.first_line) == (2, 8)
    assert 298 < second.box[0] < 303
    assert 495 < second.box[1] < second.box[3] < 512


def test_running_heads_are_left_out_and_said():
    pages = [
        [
            (72, 770, 9, f"The garden report, page {number}"),
            (72, 700, 16, f"Part {number}"),
            (72, 660, 11, f"Text of part {number}, of some length."),
            (300, 30, 9, str(number)),
        ]
        for number in range(1, 7)
    ]
    reading = read_pdf(pdf_of(pages))
    assert "report" not in reading.text
    assert reading.text.count("# Part") == 6
    assert reading.remarks == ("left out running heads and page numbers (12 lines)",)


def test_a_pdf_without_text_says_so():
    with pytest.raises(PdfError, match="no text on its 2 pages.*OCR"):
        read_pdf(pdf_of([[], []]))
    reading = read_pdf(pdf_of([[(72, 700, 11, "Text")], []]))
    assert reading.remarks == ("no text on page 2",)


def test_what_is_no_pdf_says_so():
    with pytest.raises(PdfError, match="not a PDF file, or a damaged one"):
        read_pdf(b"%PDF-1.4\nnonsense")


def test_a_document_has_headings_items_tables_notes():
    styles = (
        '<w:styles xmlns:w="w"><w:style w:styleId="berschrift1"><w:name w:val="heading 1"/>'
        '</w:style><w:style w:styleId="T"><w:name w:val="Title"/></w:style>'
        '<w:style w:styleId="L"><w:name w:val="x"/><w:pPr><w:numPr/></w:pPr></w:style></w:styles>'
    )
    body = (
        paragraph("The garden", "T")
        + paragraph("Beans", "berschrift1")
        + paragraph("Sow them on 5 March 2024.")
        + paragraph("one", "L")
        + paragraph("two", extra="<w:numPr/>")
        + "<w:tbl><w:tr><w:tc>"
        + paragraph("a")
        + "</w:tc><w:tc>"
        + paragraph("b")
        + paragraph("c")
        + "</w:tc></w:tr></w:tbl>"
        + "<w:p><w:r><w:t>Kept </w:t></w:r><w:del><w:r><w:delText>gone</w:delText></w:r></w:del>"
        + "<w:ins><w:r><w:t>added</w:t><w:br/><w:t>below</w:t></w:r></w:ins></w:p>"
    )
    footnotes = f'<w:footnotes xmlns:w="w">{paragraph("See the almanac.")}</w:footnotes>'
    data = docx_of(body, word__styles=styles, word__footnotes=footnotes)
    note = read_note("a.docx", data)
    assert_note_knows_its_lines(note)
    assert note.title == "The garden"
    assert note.text == (
        "# Beans\n\nSow them on 5 March 2024.\n\n- one\n\n- two\n\n| a | b c |\n\n"
        "Kept added\nbelow\n\n# Footnotes\n\nSee the almanac.\n"
    )
    assert note.passages[0].dates == ("2024-03-05",)
    assert note.remarks == ("deletions it tracks were left out",)


def test_entities_in_a_document_are_refused():
    bomb = (
        '<?xml version="1.0"?><!DOCTYPE d [<!ENTITY a "aaaa"><!ENTITY b "&a;&a;">]>'
        '<w:document xmlns:w="w"><w:p><w:r><w:t>&b;</w:t></w:r></w:p></w:document>'
    )
    with pytest.raises(DocxError, match="declares a document type or entities"):
        read_docx(docx_of("", word__document=bomb))


@settings(max_examples=60, deadline=None)
@given(st.integers(0, 10_000), st.integers(0, 5), st.booleans())
def test_a_damaged_document_is_read_or_refused(seed, num_changes, is_pdf):
    chance = random.Random(seed)
    whole = (
        pdf_of([[(72, 700, 11, "Some text")]]) if is_pdf else docx_of(paragraph("Some text") * 3)
    )
    data = bytearray(whole)
    for _ in range(num_changes):
        data[chance.randrange(len(data))] = chance.randrange(256)
    del data[len(data) - chance.choice([0, 0, 1, 40]) :]
    try:
        reading = (read_pdf if is_pdf else read_docx)(bytes(data))
    except (PdfError, DocxError):
        return
    for passage in reading.passages:
        assert passage.text in reading.text


def by_fpdf(number: int) -> bytes:
    fpdf = pytest.importorskip("fpdf", reason="fpdf2 isn't installed")
    page = fpdf.FPDF()
    page.add_page()
    for heading, text in facts(number):
        page.set_font("Helvetica", "B", 16)
        page.cell(text=heading, new_x="LMARGIN", new_y="NEXT")
        page.set_font("Times", size=10 + number % 3)
        page.multi_cell(0, text=text, align="J")
        page.ln(8)
    return bytes(page.output())


def by_matplotlib(number: int) -> bytes:
    figures = pytest.importorskip("matplotlib.figure", reason="matplotlib isn't installed")
    backend = pytest.importorskip("matplotlib.backends.backend_pdf")
    out = io.BytesIO()
    with backend.PdfPages(out) as pages:
        for heading, text in facts(number):
            figure = figures.Figure(figsize=(8, 11))
            figure.text(0.1, 0.8, heading, size=20)
            lines = re.findall(r".{1,80}(?:\s|$)", text)
            figure.text(0.1, 0.6, "\n".join(lines), size=10 + number % 3)
            pages.savefig(figure)
    return out.getvalue()


@pytest.fixture(scope="module")
def browser():
    playwright = pytest.importorskip("playwright.sync_api", reason="playwright isn't installed")
    chromium = Path("/usr/bin/chromium")
    if not chromium.exists():
        pytest.skip("the system's Chromium isn't there")
    with playwright.sync_playwright() as running:
        browser = running.chromium.launch(executable_path=chromium)
        yield browser
        browser.close()


def by_chromium(number: int, browser) -> bytes:
    page = browser.new_page()
    size = 14 + number % 3
    body = "".join(f"<h2>{heading}</h2><p>{text}</p>" for heading, text in facts(number))
    page.set_content(f'<body style="font-size:{size}px">{body}')
    data = page.pdf()
    page.close()
    return data


def by_python_docx(number: int) -> bytes:
    docx = pytest.importorskip("docx", reason="python-docx isn't installed")
    document = docx.Document()
    document.core_properties.title = f"Report {number}"
    for heading, text in facts(number):
        document.add_heading(heading, 1)
        document.add_paragraph(text, style=(None, "List Bullet", "Quote")[number % 3])
    document.add_table(2, 2).cell(0, 1).text = "cell"
    out = io.BytesIO()
    document.save(out)
    return out.getvalue()


def by_hand(number: int) -> bytes:
    return docx_of(
        "".join(
            paragraph(heading, extra='<w:outlineLvl w:val="0"/>') + paragraph(text)
            for heading, text in facts(number)
        )
    )


def check_nothing_is_lost(note, number: int, has_pages: bool) -> None:
    assert_note_knows_its_lines(note)
    whole = " ".join(note.text.split())
    for heading, text in facts(number):
        assert heading in whole
        assert text in whole
        fact = re.search(r"\d{5}", text)[0]
        (passage,) = (p for p in note.passages if fact in p.text)
        assert heading in passage.heading or heading in passage.text
        assert re.search(r"2024-\d\d-\d\d", text)[0] in passage.dates
        assert (passage.page is None) != has_pages


@pytest.mark.parametrize("number", range(6))
@pytest.mark.parametrize("make", [by_fpdf, by_matplotlib, by_python_docx, by_hand])
def test_documents_of_several_programs(make, number, apart):
    kind = "docx" if make in (by_python_docx, by_hand) else "pdf"
    note = read_note(f"a.{kind}", make(number), apart)
    check_nothing_is_lost(note, number, has_pages=kind == "pdf")


@pytest.mark.parametrize("number", range(6))
def test_pages_printed_by_a_browser(number, apart, browser):
    data = by_chromium(number, browser)
    note = read_note("a.pdf", data, apart)
    check_nothing_is_lost(note, number, has_pages=True)


def test_a_box_holds_the_text_of_its_passage(browser):
    """PDFium itself, asked for the text inside the box, gives that text back."""
    pypdfium2 = pytest.importorskip("pypdfium2")
    for data in (by_fpdf(1), by_matplotlib(1), by_chromium(1, browser)):
        document = pypdfium2.PdfDocument(data)
        for passage in read_note("a.pdf", data).passages:
            left, bottom, right, top = passage.box
            text_page = document[passage.page - 1].get_textpage()
            inside = text_page.get_text_bounded(left - 1, bottom - 1, right + 1, top + 1)
            bare = re.sub(r"[\W_]+", "", passage.text)
            assert bare in re.sub(r"[\W_]+", "", inside)
