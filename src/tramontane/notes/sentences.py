"""TEXT → SENTENCES: own rules for notes, which know lists, tables, abbreviations and times."""

import re
from collections.abc import Iterator
from dataclasses import dataclass

# Grows when the rules below cut otherwise, so that what was kept of sentences is made anew.
RULES_VERSION = 1


@dataclass(frozen=True, slots=True)
class Sentence:
    """One sentence, or one list item, heading, table row or code block.

    `text` is `source[start:end]` with line breaks, indents and quote marks made single spaces
    (code keeps its own); lines are counted from the `first_line` that was handed in.
    """

    text: str
    first_line: int
    last_line: int
    start: int
    end: int


# Never the end of a sentence: something always follows.
LEADING_ON = """
e.g i.e cf vs viz approx ca c circa dr mr mrs ms mx prof rev hon st mt capt cpt lt col gen sgt fig
figs no nos nr vol ed eds pp p art sec ch al incl excl esp resp ext tel
"""
# The end of a sentence only before a capital letter.
SOMETIMES_ENDING = """
a.m p.m am pm etc min mins hr hrs oz lb lbs tsp tbsp ft in yd mi kg km cm mm ml max avg est
jan feb mar apr jun jul aug sep sept oct nov dec mon tue tues wed thu thur thurs fri sat sun
inc ltd co corp jr sr dept ave rd blvd
"""
LEADS_ON = frozenset(LEADING_ON.split())
MAY_END = frozenset(SOMETIMES_ENDING.split())
LIST_ITEM = re.compile(r"[ \t]*(?:[-*+]|\d{1,9}[.)])[ \t]+(?:\[[ xX]\][ \t]+)?")
HEADING = re.compile(r"[ \t]{0,3}(?:#{1,6}|\*{2,9})[ \t]+")
CALLOUT = re.compile(r"[ \t]*\[![\w-]{1,40}\][+-]?[ \t]*")
QUOTE = re.compile(r"[ \t]{0,3}(?:>[ \t]?)+")
NEXT_QUOTED = re.compile(r"(?:\n[ \t]{0,3}(?:>[ \t]?)+)?")
FENCE = re.compile(r"[ \t]*(`{3,}|~{3,}|#\+(?:begin|BEGIN)_(?:src|SRC|example|EXAMPLE)\b)")
# What org and Obsidian put on lines of their own, or behind a sentence, that nobody would quote.
KEYWORD_LINE = re.compile(r"#\+\w+:?.*|:(?:END|PROPERTIES|LOGBOOK):")
BLOCK_ID = re.compile(r"(?<!\S)\^[\w-]{1,80}\Z")
# These two are asked of lines without their outer blanks.
RULE_OR_UNDERLINE = re.compile(r"(?:[-*_][ \t]*){3,}|=+|-+")
TABLE_RULE = re.compile(r"\|?[ \t]*:?-+:?[ \t]*(?:\|[ \t]*:?-+:?[ \t]*)*\|?")
WORD_AT_END = re.compile(r"(?:[^\W_]|\.)*\Z")
MOST_ABBREVIATION_CHARS = 16
# Nothing is given back (`++`): a line of a million dots takes a million steps, not their square.
END_MARK = re.compile(
    r"(?<![.!?…])[.!?…]++[\"'”’»)\]*_`]*+(?=\s)|(?<![。！？])[。！？]++[」』”’）]*+"
)
BETWEEN_SENTENCES = re.compile(r"[ \t\n>*_\"'“‘«(\[`]*+")


def split_sentences(text: str, first_line: int = 1) -> list[Sentence]:
    """Returns the sentences of `text` in order; none overlap, blank stretches belong to none."""
    sentences = []
    line, counted = first_line, 0
    for start, end, is_code in _spans(text):
        line += text.count("\n", counted, start)
        last_line = line + text.count("\n", start, end)
        shown = text[start:end] if is_code else _in_one_line(text[start:end])
        sentences.append(Sentence(shown, line, last_line, start, end))
        line, counted = last_line, end
    return sentences


def _spans(text: str) -> Iterator[tuple[int, int, bool]]:
    for start, end, is_code in _segments(text):
        if is_code:
            yield from _trimmed(text, start, end, True)
            continue
        cut = start
        for mark in END_MARK.finditer(text, start, end):
            if _ends_sentence(text, cut, mark.start(), mark.end(), end):
                yield from _trimmed(text, cut, mark.end(), False)
                cut = NEXT_QUOTED.match(text, mark.end(), end).end()
        yield from _trimmed(text, cut, end, False)


def _segments(text: str) -> Iterator[tuple[int, int, bool]]:
    """Yields the stretches a sentence never crosses: paragraphs, items, rows, headings, code."""
    start = None  # of the open stretch
    fence = None  # the marks that close the open code block
    line_end = -1
    while line_end < len(text):
        line_start = line_end + 1
        line_end = text.find("\n", line_start)
        line_end = len(text) if line_end < 0 else line_end
        line = text[line_start:line_end]
        mark = FENCE.match(line)
        if fence is not None:
            if _closes(fence, line, mark):
                yield start, max(start, line_start - 1), True
                start = fence = None
            continue
        if mark:
            if start is not None:
                yield start, line_start, False
            start, fence = min(line_end + 1, len(text)), mark[1]
            continue
        quote = QUOTE.match(line)
        inner = line[quote.end() :] if quote else line
        is_blank = not inner.strip()
        bare = line.strip(" \t")
        is_ruled = (
            RULE_OR_UNDERLINE.fullmatch(bare)
            or TABLE_RULE.fullmatch(bare)
            or KEYWORD_LINE.fullmatch(bare)
        )
        callout = CALLOUT.match(inner) if quote else None
        opening = callout or LIST_ITEM.match(inner) or HEADING.match(inner)
        is_row = inner.lstrip().startswith("|")
        if start is not None and (is_blank or is_ruled or opening or is_row):
            yield start, line_start, False
            start = None
        if is_blank or is_ruled:
            continue
        if start is None:
            start = line_start + (quote.end() if quote else 0) + (opening.end() if opening else 0)
        if is_row or (opening and opening.re is not LIST_ITEM):
            yield start, line_end, False
            start = None
    if start is not None:
        yield start, len(text), fence is not None


def _closes(fence: str, line: str, mark: re.Match | None) -> bool:
    if fence.startswith("#+"):
        return line.strip().lower() == fence.lower().replace("begin", "end")
    return bool(mark and mark[1].startswith(fence) and not line[mark.end() :].strip())


def _ends_sentence(text: str, sentence_start: int, mark: int, after: int, end: int) -> bool:
    if text[mark] in "。！？":
        return True
    next_start = BETWEEN_SENTENCES.match(text, after, end).end()
    if next_start == end:
        return True
    following = text[next_start]
    if following.islower():
        return False
    if text[mark] != "." or text[mark : mark + 2] in ("..", ".…"):
        return True
    before = text[max(sentence_start, mark - MOST_ABBREVIATION_CHARS) : mark]
    word = WORD_AT_END.search(before)[0]
    if len(word) == 1 and word.isupper() and word != "I":
        return before[-2:-1] not in ("", " ", "\n", "(")  # "J. Smith", but not "8 °C."
    if word.lower() in LEADS_ON:
        # "No." opens a number, and is also a whole answer.
        return word.lower() == "no" and not following.isdigit()
    if word.lower() in MAY_END:
        return following.isupper()
    return True


def _trimmed(text: str, start: int, end: int, is_code: bool) -> Iterator[tuple[int, int, bool]]:
    blank = "\n" if is_code else " \t\n\r\f\v"
    while start < end and text[start] in blank:
        start += 1
    while end > start and text[end - 1].isspace():
        end -= 1
    if not is_code and (block_id := BLOCK_ID.search(text, start, end)):
        end = block_id.start()
        while end > start and text[end - 1].isspace():
            end -= 1
    if start < end:
        yield start, end, is_code


def _in_one_line(text: str) -> str:
    return " ".join(re.sub(r"\n[ \t]{0,3}(?:>[ \t]?)+", "\n", text).split())
