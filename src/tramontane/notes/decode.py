"""BYTES → TEXT: UTF-8 and UTF-16, else the West European single-byte encodings, and it says so."""

import codecs
import re

MARKS = (  # longest first: a UTF-32 mark begins with a UTF-16 mark
    (codecs.BOM_UTF32_LE, "utf-32-le"),
    (codecs.BOM_UTF32_BE, "utf-32-be"),
    (codecs.BOM_UTF8, "utf-8"),
    (codecs.BOM_UTF16_LE, "utf-16-le"),
    (codecs.BOM_UTF16_BE, "utf-16-be"),
)
CONTROL_BYTES = bytes([*range(0x00, 0x08), *range(0x0E, 0x1B), *range(0x1C, 0x20), 0x7F])
HEAD_BYTES = 64 * 1024


class NotTextError(ValueError):
    """Bytes that are no text; the message is the reason, ready to be shown."""


def decode(data: bytes) -> tuple[str, str | None]:
    """Returns the text with "\\n" between lines, and a remark when the encoding had to be guessed.

    Raises NotTextError for what no person wrote as text.
    """
    text, remark = _decode_raw(data)
    return re.sub(r"\r\n?", "\n", text), remark


def _decode_raw(data: bytes) -> tuple[str, str | None]:
    for mark, encoding in MARKS:
        if data.startswith(mark):
            try:
                return data[len(mark) :].decode(encoding), None
            except UnicodeDecodeError as error:
                raise NotTextError(
                    f"begins like {encoding.upper()} text but breaks at byte {error.start}"
                ) from None
    head = data[:HEAD_BYTES]
    if b"\0" in head:
        return _decode_unmarked_utf16(data), "read as UTF-16 without its mark"
    try:
        text = data.decode("utf-8")
    except UnicodeDecodeError:
        text = None
    if num_control_bytes(head) > len(head) // 50:
        raise NotTextError("holds binary data, not text")
    if text is not None:
        return text, None
    # cp1252 is Latin-1 with the typographic quotes people really type; five bytes it lacks.
    try:
        return data.decode("cp1252"), "not UTF-8: read as Windows-1252"
    except UnicodeDecodeError:
        return data.decode("latin-1"), "not UTF-8: read as Latin-1"


def _decode_unmarked_utf16(data: bytes) -> str:
    """Text in which every second byte is zero is UTF-16 of a mostly Western script."""
    head = data[:4096]
    for encoding, zeros in (("utf-16-le", head[1::2]), ("utf-16-be", head[0::2])):
        if len(data) % 2 == 0 and zeros.count(0) > 0.6 * len(zeros):
            try:
                text = data.decode(encoding)
            except UnicodeDecodeError:
                continue
            if "\0" not in text:
                return text
    raise NotTextError("holds binary data, not text")


def num_control_bytes(data: bytes) -> int:
    return len(data) - len(data.translate(None, CONTROL_BYTES))
