"""Documents whose form matters more than their words: notes, outlines, to-do lists, tables, logs.

A program arranges sentences sampled elsewhere and plain words under fixed seeds, since a small base
asked for a table or an org file seldom keeps to the form.
"""

import random
import re
from collections.abc import Iterator, Sequence

MONTHS = "Jan Feb Mar Apr May Jun Jul Aug Sep Oct Nov Dec".split()
DAYS = "Mon Tue Wed Thu Fri Sat Sun".split()
PEOPLE = """
    Ana Boris Chen Dalia Emeka Fatima Goran Hana Ivo Jun Katya Leo Maya Nils Olu Priya Quentin
    Rosa Sami Tove Uma Viktor Wei Xenia Yara Zoran
""".split()
THINGS = """
    paper envelopes printer chair lamp cable laptop monitor ticket passport bicycle helmet
    piano violin canvas brush drill screws varnish paint brick cement tile window curtain
    blanket pillow towel soap shampoo bandage aspirin thermometer camera lens tripod battery
    charger tent stove compass map rope boots jacket scarf gloves umbrella suitcase book
    dictionary atlas notebook pencil ruler scissors glue stapler folder calendar clock radio
    speaker guitar drum keyboard
""".split()
VERBS = """
    call email book renew cancel order return fix clean paint measure compare review draft send
    print scan file pay check test update move sell donate visit ask thank invite read learn
    practise translate rehearse
""".split()
CONTEXTS = "home office phone errands computer weekend waiting garage library bank".split()
UNITS = "pieces boxes metres hours pages litres kg pairs days rolls".split()
LEVELS = "INFO INFO INFO DEBUG WARN ERROR".split()
KEYS = """
    timeout retries host port path level format enabled interval limit colour theme language
    region cache threads width height margin font quality codec bitrate owner group mode
""".split()


def assembled(sentences: Sequence[str], subjects: Sequence[str]) -> Iterator[tuple[str, str]]:
    """Yields (genre, text): some forty documents of each form, the same at every run."""
    forms = (
        ("markdown_notes", markdown_note),
        ("markdown_notes", card),
        ("personal_notes_prose", diary),
        ("org_and_todo", org_file),
        ("org_and_todo", todo_list),
        ("tables", markdown_table),
        ("tables", separated_table),
        ("logs_and_settings", log),
        ("logs_and_settings", settings),
    )
    for number, (genre, form) in enumerate(forms):
        for copy in range(40):
            yield genre, form(random.Random(1000 * number + copy), sentences, subjects)


def with_front_matter(texts: Sequence[str], subjects: Sequence[str]) -> Iterator[str]:
    """Yields notes that begin with a header of keys, as many programs for notes write them.

    What stands after a header's key is the same word in one person's notes and another in each
    other's: an expert must not put its own collection's there.
    """
    for copy in range(320):
        chance = random.Random(f"front matter {copy}")
        subject, *others = chance.sample(subjects, 5)
        quote = chance.choice(["", "", '"', "'"])
        values = {
            "title": f"{quote}{title_of(subject)}{quote}",
            "description": f"{title_of(others[0])}, and {others[1]}",
            "summary": f"{quote}About {others[0]}{quote}",
            "date": date(chance),
            "updated": f"{date(chance)} {chance.randint(6, 22):02}:{chance.randint(10, 59)}",
            "author": chance.choice(PEOPLE),
            "tags": chance.choice(
                [
                    f"[{slug(others[2])}, {slug(others[3])}]",
                    f"\n  - {slug(others[2])}\n  - {slug(others[3])}",
                    f"{slug(others[2])} {slug(others[3])}",
                ]
            ),
            "category": chance.choice(CONTEXTS),
            "layout": chance.choice(["post", "page", "note", "default", "article"]),
            "permalink": f"/{slug(subject)}/",
            "slug": slug(subject),
            "aliases": f"[{title_of(others[1])}]",
            "draft": chance.choice(["true", "false"]),
            "type": chance.choice(["note", "howto", "policy", "reference", "meeting", "idea"]),
            "status": chance.choice(["seedling", "final", "in progress", "archived"]),
            "weight": str(chance.randint(1, 90)),
            "lang": chance.choice(["en", "en-GB", "de", "fr"]),
            "cover": f"images/{slug(others[1])}.jpg",
            "source": f"https://example.org/{slug(others[2])}",
            "id": f"{chance.randint(10**11, 10**12 - 1)}",
        }
        keys = chance.sample(sorted(set(values) - {"title"}), chance.randint(1, 6))
        keys.insert(0 if chance.random() < 0.7 else chance.randint(0, len(keys)), "title")
        lines = ["---", *(f"{key}: {values[key]}" for key in keys), "---", ""]
        if chance.random() < 0.5:
            lines += [f"# {title_of(subject)}", ""]
        paragraphs = [p for p in chance.choice(texts).split("\n\n") if not p.startswith("---")]
        begin = chance.randrange(len(paragraphs))
        lines.append("\n\n".join(paragraphs[begin : begin + chance.randint(1, 3)])[:600])
        yield "\n".join(lines)


def title_of(subject: str) -> str:
    return subject[:1].upper() + subject[1:]


def slug(subject: str) -> str:
    return re.sub(r"[^a-z0-9]+", "-", subject.lower()).strip("-")


def date(chance: random.Random) -> str:
    return f"{chance.randint(2012, 2025)}-{chance.randint(1, 12):02}-{chance.randint(1, 28):02}"


def markdown_note(chance: random.Random, sentences: Sequence[str], subjects: Sequence[str]) -> str:
    subject, *others = chance.sample(subjects, 4)
    lines = [f"# {title_of(subject)}", ""]
    if chance.random() < 0.5:
        lines = ["---", f"tags: [{slug(others[0])}, {slug(subject)}]", f"date: {date(chance)}"]
        lines += ["---", "", f"# {title_of(subject)}", ""]
    lines += [chance.choice(sentences), ""]
    for heading in chance.sample(["Why", "Steps", "Open questions", "Sources", "Next", "Notes"], 2):
        lines += [f"## {heading}", ""]
        mark = chance.choice(["- ", "* ", "- [ ] ", "1. "])
        lines += [mark + s for s in chance.sample(sentences, chance.randint(2, 5))]
        lines.append("")
    lines.append(f"See [[{slug(others[1])}]] and [{others[2]}]({slug(others[2])}.md).")
    return "\n".join(lines)


def card(chance: random.Random, sentences: Sequence[str], subjects: Sequence[str]) -> str:
    subject, link = chance.sample(subjects, 2)
    quote, thought, *more = chance.sample(sentences, 5)
    stamp = date(chance).replace("-", "") + f"{chance.randint(700, 2359):04}"
    return (
        f"# {stamp} {title_of(subject)}\n\n{thought}\n\n> {quote}\n\n{' '.join(more)}\n\n"
        f"#{slug(subject)} #{slug(link)}\n\nLinks: [[{slug(link)}]]"
    )


def diary(chance: random.Random, sentences: Sequence[str], subjects: Sequence[str]) -> str:
    entries = []
    for _ in range(chance.randint(3, 5)):
        day = f"{chance.choice(DAYS)} {chance.randint(1, 28)} {chance.choice(MONTHS)}"
        entries.append(
            f"{day}. {title_of(chance.choice(subjects))}, with {chance.choice(PEOPLE)}. "
            + " ".join(chance.sample(sentences, 3))
        )
    return "\n\n".join(entries)


def org_file(chance: random.Random, sentences: Sequence[str], subjects: Sequence[str]) -> str:
    lines = [f"#+TITLE: {title_of(chance.choice(subjects))}", f"#+AUTHOR: {chance.choice(PEOPLE)}"]
    for subject in chance.sample(subjects, chance.randint(3, 6)):
        state = chance.choice(["TODO", "DONE", "WAITING", ""])
        tag = chance.choice(CONTEXTS)
        lines.append(f"* {state} {title_of(subject)} :{tag}:".replace("*  ", "* "))
        if state == "TODO":
            lines.append(f"  SCHEDULED: <{date(chance)} {chance.choice(DAYS)}>")
        lines += ["  :PROPERTIES:", f"  :EFFORT: {chance.randint(0, 3)}:30", "  :END:"]
        lines.append(f"  {chance.choice(sentences)}")
        lines += [
            f"  - [{chance.choice(' X')}] {chance.choice(VERBS)} {chance.choice(THINGS)}"
            for _ in range(chance.randint(1, 3))
        ]
    return "\n".join(lines)


def todo_list(chance: random.Random, sentences: Sequence[str], subjects: Sequence[str]) -> str:
    lines = []
    for _ in range(chance.randint(10, 18)):
        done = f"x {date(chance)} " if chance.random() < 0.3 else ""
        priority = f"({chance.choice('ABC')}) " if chance.random() < 0.5 else ""
        what = f"{chance.choice(VERBS)} {chance.choice(THINGS)} with {chance.choice(PEOPLE)}"
        lines.append(
            f"{done}{priority}{date(chance)} {what} "
            f"+{slug(chance.choice(subjects))} @{chance.choice(CONTEXTS)}"
        )
    return "\n".join(lines)


def cells(chance: random.Random) -> list[str]:
    return [
        title_of(chance.choice(THINGS)),
        chance.choice(PEOPLE),
        f"{chance.randint(1, 400)} {chance.choice(UNITS)}",
        f"{chance.choice('£$€')}{chance.randint(1, 900)}.{chance.randint(0, 99):02}",
        date(chance),
        f"{chance.randint(6, 21):02}:{chance.choice(['00', '15', '30', '45'])}",
    ]


COLUMNS = ["Item", "Who", "Quantity", "Price", "Date", "Time"]


def markdown_table(chance: random.Random, sentences: Sequence[str], subjects: Sequence[str]) -> str:
    kept = sorted(chance.sample(range(len(COLUMNS)), chance.randint(3, 6)))
    rows = [[cells(chance)[place] for place in kept] for _ in range(chance.randint(7, 14))]
    lines = [f"## {title_of(chance.choice(subjects))}", "", chance.choice(sentences), ""]
    lines += ["| " + " | ".join(COLUMNS[place] for place in kept) + " |", "|---" * len(kept) + "|"]
    return "\n".join([*lines, *("| " + " | ".join(row) + " |" for row in rows)])


def separated_table(
    chance: random.Random, sentences: Sequence[str], subjects: Sequence[str]
) -> str:
    kept = sorted(chance.sample(range(len(COLUMNS)), chance.randint(3, 6)))
    mark = chance.choice([",", ";", "\t"])
    rows = [[cells(chance)[place] for place in kept] for _ in range(chance.randint(9, 18))]
    header = mark.join(COLUMNS[place].lower() for place in kept)
    return "\n".join([header, *(mark.join(row) for row in rows)])


def log(chance: random.Random, sentences: Sequence[str], subjects: Sequence[str]) -> str:
    lines, second = [], chance.randint(0, 80_000)
    day, name = date(chance), slug(chance.choice(subjects))
    for _ in range(chance.randint(9, 16)):
        second += chance.randint(1, 200)
        at = f"{second // 3600 % 24:02}:{second // 60 % 60:02}:{second % 60:02}"
        key, value = chance.choice(KEYS), chance.randint(0, 9999)
        what = f"{chance.choice(VERBS)} {chance.choice(THINGS)} {key}={value}"
        lines.append(f"{day} {at} {chance.choice(LEVELS):5} {name}[{value % 97}]: {what}")
    return "\n".join(lines)


def settings(chance: random.Random, sentences: Sequence[str], subjects: Sequence[str]) -> str:
    lines = [f"# {chance.choice(sentences)}"]
    form = chance.choice(["[{}]", "{}:", "# {}"])
    sign = {"[{}]": " = ", "{}:": ": ", "# {}": "="}[form]
    indent = "  " if form == "{}:" else ""
    for thing in chance.sample(THINGS, chance.randint(3, 5)):
        lines.append(form.format(thing))
        for key in chance.sample(KEYS, chance.randint(3, 6)):
            value = chance.choice(
                ["true", "false", str(chance.randint(0, 5000)), f'"{chance.choice(THINGS)}"']
            )
            lines.append(f"{indent}{key}{sign}{value}")
    return "\n".join(lines)
