"""NAMES FROM ELSEWHERE → NAMES HERE: what a copy and the files in it may be called.

They come from a browser, which may run on another system than this one, or from somebody who means
harm. What would be read as another place anywhere is refused.
"""

import re
import unicodedata

from tramontane.notes.folder import MAX_FOLDERS
from tramontane.notes.ignore import IGNORE_FILE
from tramontane.notes.reader import why_no_kind

MAX_NAME_BYTES = 255
MAX_PATH_BYTES = 2_000
# Of a copy: a hidden neighbour's name is longer, and a collection is called as it is.
MAX_COPY_CHARS, MAX_COPY_BYTES = 60, 200
UNPRINTED = {"Cc", "Cs", "Zl", "Zp"}
DRIVE = re.compile(r"[A-Za-z]:")
# What Windows takes for a device, whatever ending follows.
DEVICE = re.compile(r"(?:con|prn|aux|nul|conin\$|conout\$|(?:com|lpt)[0-9¹²³])\s*(?:\..*)?", re.I)


def why_not_kept(path: str) -> str | None:
    """Returns why a file with this path inside its folder isn't kept, None when it may be."""
    if any(unicodedata.category(char) in UNPRINTED for char in path):
        return "its name holds a control character or a line break; rename it"
    if len(path.encode()) > MAX_PATH_BYTES:
        return f"its path is longer than {MAX_PATH_BYTES:,} bytes"
    if path.count("/") > MAX_FOLDERS:
        return f"nested deeper than {MAX_FOLDERS} folders"
    if DRIVE.match(path):
        return "its path begins as a drive's does; rename it"
    *folders, name = path.split("/")
    faults = (_why_no_name(one) for one in (*folders, name))
    if fault := next(filter(None, faults), None):
        return fault
    if any(folder.startswith(".") for folder in folders):
        return "hidden"
    if name == IGNORE_FILE:
        return None
    return "hidden" if name.startswith(".") else why_no_kind(name)


def _why_no_name(name: str) -> str | None:
    if name in ("", ".", ".."):
        return "its path leads elsewhere; a path stays inside its folder"
    if "\\" in name:
        return "its name holds a backslash; rename it"
    if len(name.encode()) > MAX_NAME_BYTES:
        return f"its name is longer than {MAX_NAME_BYTES} bytes"
    if name.endswith((" ", ".")):
        return "its name ends in a space or a full stop; rename it"
    if DEVICE.fullmatch(name):
        return "some systems take its name for a device; rename it"
    return None


def copy_name(told: str) -> str:
    """Returns the name of a copy of a folder called so: its own, wherever that can be one."""
    plain = "".join(
        "-" if char in "/\\:" or unicodedata.category(char) in UNPRINTED else char
        for char in unicodedata.normalize("NFC", told)
    )
    short = plain.strip(" .")[:MAX_COPY_CHARS].encode()[:MAX_COPY_BYTES].decode(errors="ignore")
    name = short.rstrip(" .") or "notes"
    return f"folder-{name}" if DEVICE.fullmatch(name) else name
