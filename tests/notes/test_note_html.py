"""HTML pages: what they say, without furniture; nothing of them runs or is fetched."""

from hypothesis import given, settings
from hypothesis import strategies as st
from passage_checks import assert_note_knows_its_lines

from tramontane.notes.html import MAX_DEPTH, read_html, read_html_bytes
from tramontane.notes.reader import read_note

PAGE = """<!doctype html><html><head><title>Leeks &amp; beans</title>
<meta name="date" content="2024-05-06"><meta name="keywords" content="garden, leeks">
<meta property="article:published_time" content="2024-05-07T10:00"><style>x{}</style>
<script>document.write("<p>scripted</p>")</script></head>
<body><header><nav><ul><li>Home<li>About</ul></nav></header>
<main><h1>Leeks</h1><p>Sow <b>leeks</b> in<br>March.<p>See <a href="other%20page.html">this</a>.
<ul><li>one<li>two<ul><li>deep</ul></ul>
<h2>Rows</h2><table><tr><th>a<th>b<tr><td>1<td>2</table><pre>code
  more</pre><p hidden>unseen</p><p onclick="run()">Click</p></main>
<aside>Adverts here</aside><footer>Imprint words</footer>"""


def test_a_page_is_read_without_its_furniture():
    note = read_note("page.html", PAGE.encode())
    assert_note_knows_its_lines(note)
    assert note.title == "Leeks & beans"
    assert note.text == (
        "# Leeks\n\nSow leeks in March.\n\nSee this.\n\n- one\n- two\n- deep\n\n## Rows\n\n"
        "| a | b |\n| 1 | 2 |\n\n```\ncode\n  more\n```\n\nClick\n"
    )
    (passage,) = note.passages
    assert passage.links == ("other page.html",)
    assert passage.dates == ("2024-05-06", "2024-05-07")
    assert passage.tags == ("garden", "leeks")
    assert note.remarks == (
        "left out as page furniture: nav (2 words), aside (2 words), footer (2 words)",
    )


def test_without_a_main_part_all_is_read_but_furniture():
    reading = read_html("<h1>A</h1>Text<div>More<nav>Menu</nav></div><p>End")
    assert reading.text == "# A\n\nText\n\nMore\n\nEnd\n"


def test_a_small_main_part_is_not_all():
    words = "word " * 200
    reading = read_html(f"<article>Teaser</article><div>{words}</div>")
    assert "word word" in reading.text
    assert "Teaser" in reading.text


def test_encodings_are_those_the_page_names():
    for name in ("utf-8", "latin-1", "shift_jis"):
        text = "crème" if name != "shift_jis" else "豆"
        page = f'<meta charset="{name}"><p>{text}</p>'.encode(name)
        assert read_html_bytes(page).text == f"{text}\n"
    assert read_html_bytes('<meta charset="no-such"><p>é'.encode()).text == "é\n"
    reading = read_html_bytes(b"<p>caf\xe9 au lait")
    assert (reading.text, reading.remarks) == (
        "café au lait\n",
        ("not UTF-8: read as Windows-1252",),
    )
    assert read_html_bytes("\ufeff<p>é".encode("utf-16-le")).text == "é\n"


def test_rights_stand_in_meta_elements():
    note = read_note("a.html", b'<meta name="train" content="no"><p>Text')
    assert (note.may_train, note.may_share) == (False, True)


def test_a_page_nested_too_deeply_is_read_and_says_so():
    reading = read_html("<div>" * (MAX_DEPTH + 50) + "deep" + "</div>" * (MAX_DEPTH + 50) + "end")
    assert reading.text == "deep\n\nend\n"
    assert "nested deeper" in reading.remarks[0]


PIECES = st.sampled_from(
    "<p> </p> <li> <ul> </ul> <td> <tr> <table> </table> <h2> </h2> <script> </script> <pre> </pre>"
    " <main> </main> <nav> </nav> <!-- --> <![CDATA[ ]]> &amp; &#x0; < > a b <br> <title> </title>"
    " <a\u00a0href='x'> </a>".split(" ")
)


@settings(max_examples=300, deadline=None)
@given(st.lists(PIECES, max_size=50).map(" ".join))
def test_any_markup_is_read(text):
    reading = read_html(text)
    for passage in reading.passages:
        assert passage.text in reading.text
