"""PDF and docx files for tests, by hand and by programs that people use."""

import io
import zipfile
import zlib
from collections.abc import Sequence

WORD = 'xmlns:w="http://schemas.openxmlformats.org/wordprocessingml/2006/main"'


def pdf_of(pages: Sequence[Sequence[tuple[float, float, float, str]]]) -> bytes:
    """Returns a PDF of Letter pages, each a row of (left, baseline, size, text), in Helvetica."""
    objects = ["<< /Type /Catalog /Pages 2 0 R >>", "", "<< /Type /Font /Subtype /Type1 "]
    objects[2] += "/BaseFont /Helvetica /Encoding /WinAnsiEncoding >>"
    numbers = []
    for page in pages:
        drawn = "".join(
            f"BT /F1 {size} Tf {left} {baseline} Td ({escaped(text)}) Tj ET\n"
            for left, baseline, size, text in page
        )
        objects.append(f"<< /Length {len(drawn.encode('cp1252'))} >>\nstream\n{drawn}endstream")
        numbers.append(len(objects) + 1)
        objects.append(
            "<< /Type /Page /Parent 2 0 R /MediaBox [0 0 612 792] "
            f"/Resources << /Font << /F1 3 0 R >> >> /Contents {len(objects)} 0 R >>"
        )
    kids = " ".join(f"{number} 0 R" for number in numbers)
    objects[1] = f"<< /Type /Pages /Kids [{kids}] /Count {len(pages)} >>"
    return assembled([text.encode("cp1252") for text in objects])


def pdf_bomb(megabytes: int) -> bytes:
    """Returns a small PDF whose one page unpacks to that many megabytes of drawing commands."""
    drawn = b"BT /F1 9 Tf 72 700 Td (a) Tj ET\n" * (megabytes * 2**20 // 32)
    for _ in range(2):  # packed twice: a few kilobytes
        drawn = zlib.compress(drawn, 9)
    head = f"<< /Length {len(drawn)} /Filter [/FlateDecode /FlateDecode] >>\nstream\n".encode()
    return assembled(
        [
            b"<< /Type /Catalog /Pages 2 0 R >>",
            b"<< /Type /Pages /Kids [5 0 R] /Count 1 >>",
            b"<< /Type /Font /Subtype /Type1 /BaseFont /Helvetica >>",
            head + drawn + b"\nendstream",
            b"<< /Type /Page /Parent 2 0 R /MediaBox [0 0 612 792] "
            b"/Resources << /Font << /F1 3 0 R >> >> /Contents 4 0 R >>",
        ]
    )


def assembled(objects: Sequence[bytes]) -> bytes:
    out, offsets = io.BytesIO(b"%PDF-1.4\n"), []
    out.seek(0, io.SEEK_END)
    for number, body in enumerate(objects, start=1):
        offsets.append(out.tell())
        out.write(b"%d 0 obj\n%s\nendobj\n" % (number, body))
    table = out.tell()
    out.write(b"xref\n0 %d\n0000000000 65535 f \n" % (len(objects) + 1))
    out.writelines(b"%010d 00000 n \n" % offset for offset in offsets)
    out.write(b"trailer\n<< /Size %d /Root 1 0 R >>\n" % (len(objects) + 1))
    out.write(b"startxref\n%d\n%%%%EOF\n" % table)
    return out.getvalue()


def escaped(text: str) -> str:
    return text.replace("\\", "\\\\").replace("(", "\\(").replace(")", "\\)")


def docx_of(body: str, **parts: str) -> bytes:
    """Returns a docx around the XML of its body; `parts` are other files, `__` for a slash."""
    files = {
        "[Content_Types].xml": '<?xml version="1.0"?><Types xmlns="http://schemas.openxmlformats'
        '.org/package/2006/content-types"><Default Extension="xml" ContentType="application/xml"/>'
        "</Types>",
        "word/document.xml": f'<?xml version="1.0"?><w:document {WORD}><w:body>{body}</w:body>'
        "</w:document>",
        **{name.replace("__", "/") + ".xml": text for name, text in parts.items()},
    }
    out = io.BytesIO()
    with zipfile.ZipFile(out, "w", zipfile.ZIP_DEFLATED) as archive:
        for name, text in files.items():
            archive.writestr(name, text)
    return out.getvalue()


def paragraph(text: str, style: str = "", extra: str = "") -> str:
    styled = f'<w:pStyle w:val="{style}"/>' if style else ""
    return f"<w:p><w:pPr>{styled}{extra}</w:pPr><w:r><w:t>{text}</w:t></w:r></w:p>"
