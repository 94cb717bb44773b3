"""Words as they count when texts are compared: lower case, without endings, stop words apart."""

import re

WORD = re.compile(r"[^\W_]+(?:[.,'’][^\W_]+)*")
NUMBER = re.compile(r"\d+(?:[.,:]\d+)*")
THOUSANDS = re.compile(r",(?=\d{3}(?!\d))")

# Words that carry a question rather than its subject.
STOP_WORDS = frozenset(
    """
    a about after all also am an and any are as at be because been before being between both but
    by can could did do does doing done down during each ever every far few for from get give
    given gives go goes got had has have having he her here hers him his how i if in into is it
    its just kind last let like long made make many may me might mine more most much must my no
    nor not of off often on once one only or other our ours out over own per please put say says
    shall she should so some something soon such take than that the their theirs them then there
    these they thing this those through to too under until up us use used very want was we were
    what when where whether which while who whom whose why will with would year yes yet you your
    yours
    """.split()
)


def words(text: str) -> list[str]:
    """Returns the words of a text, lower case, numbers kept whole."""
    return [match[0].lower().replace("’", "'") for match in WORD.finditer(text)]


def stem(word: str) -> str:
    """Returns the word without a common English ending; crude, the same for both sides."""
    if word[0].isdigit() or len(word) < 4:
        return word
    word = word.removesuffix("'s")
    for ending, put in (
        ("ies", "y"),
        ("sses", "ss"),
        ("ing", ""),
        ("edly", ""),
        ("ed", ""),
        ("ly", ""),
    ):
        if word.endswith(ending) and len(word) - len(ending) >= 3:
            word = word.removesuffix(ending) + put
            break
    else:
        if word.endswith("s") and not word.endswith("ss"):
            word = word[:-1]
    if len(word) > 3 and word[-1] == word[-2]:
        word = word[:-1]
    return word.removesuffix("e") if len(word) > 3 else word


def content_stems(text: str) -> list[str]:
    """Returns the stems of words that carry meaning, in order, each once."""
    return list(dict.fromkeys(stem(w) for w in words(text) if w not in STOP_WORDS))


def numbers(text: str) -> set[str]:
    """Returns the numbers in a text, thousands separators taken out, decimal commas kept."""
    return {THOUSANDS.sub("", match[0]) for match in NUMBER.finditer(text)}
