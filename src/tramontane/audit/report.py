"""AUDIT → PAGE: one HTML file for people; no network, no script.

What was asked, what was found, how sure that is, which expert it came from, what can be done. Texts
that may hurt are folded. Every plot stands in the table of its numbers.
"""

from collections.abc import Mapping, Sequence
from html import escape
from importlib.resources import files
from typing import Any

from tramontane.audit.plots import axis_for, interval_plot
from tramontane.audit.scored import Scored, results_of
from tramontane.audit.suite import columns_of, figure_of
from tramontane.audit.suites.all import SUITES
from tramontane.audit.words import (
    interval,
    number,
    part_verdict,
    signed,
    standing,
    verdict,
    with_unit,
)

FAMILY_TITLES = {
    "truth": "Truth",
    "bias": "Bias",
    "ability": "Ability",
    "memory": "Memory",
    "routing": "Routing",
}
NUM_EXAMPLES = 5
MOST_ROWS = 40
# By which result the worst items come first, and whether large is bad; the first that items have.
WORST = (
    ("lean", True),
    ("mc2", False),
    ("p_right", False),
    ("loss", True),
    ("matched", True),
    ("logprob", False),
)
ROUTING_NOTE = (
    "Withdrawing, closing or learning an expert anew changes what that expert brought; each is "
    "measured here before and after. Nothing of the kind is promised for the base itself: steering "
    "a published model's own routes has not been found to take bias out of it."
)


def report_html(content: Mapping[str, Any], scored: Mapping[str, Sequence[Scored]]) -> str:
    """Returns the page of an audit, given audit.json's content and the items of each suite."""
    style = files("tramontane.audit").joinpath("report.css").read_text(encoding="utf-8")
    mixture = content["mixture"]
    title = f"Audit of {mixture['name']}"
    names = [expert["name"] for expert in mixture["experts"]]
    suites = [(name, content["suites"][name]) for name in content["settings"]["suites"]]
    asked = [(name, told) for name, told in suites if told["n"]]
    body = [
        head(title, content, names),
        in_short(asked),
        experts_section(asked, names, content["settings"]["attribution"]),
        *(family_section(f, asked, scored, names) for f in FAMILY_TITLES),
        how_sure(content),
        left_out_section(suites),
        circumstances(content),
    ]
    return (
        '<!doctype html>\n<html lang="en">\n<head>\n<meta charset="utf-8">\n'
        '<meta name="viewport" content="width=device-width, initial-scale=1">\n'
        '<meta http-equiv="Content-Security-Policy" content="default-src \'none\'; '
        "style-src 'unsafe-inline'\">\n"
        f"<title>{escape(title)}</title>\n<style>\n{style}</style>\n</head>\n<body>\n<main>\n"
        + "\n".join(filter(None, body))
        + "\n</main>\n</body>\n</html>\n"
    )


def head(title: str, content: Mapping[str, Any], names: Sequence[str]) -> str:
    mixture, settings = content["mixture"], content["settings"]
    total = sum(told["n"] for told in content["suites"].values())
    experts = ", ".join(names) if names else "no expert"
    samples = any(f["is_built_in"] for t in content["suites"].values() for f in t["files"])
    built_in = (
        "<p class='note'>Some suites were asked with the built-in samples: a few items written for "
        "this project, enough to see that all works, too few to compare models by.</p>"
        if samples
        else ""
    )
    return (
        f"<header><h1>{escape(title)}</h1>"
        f"<p>{escape(mixture['base']['name'])} with {escape(experts)}. {total} items were scored, "
        f"seed {settings['seed']}.</p>{built_in}</header>"
    )


def columns(*titles: str) -> str:
    cells = "".join(f"<th scope='col'>{title}</th>" for title in titles)
    return f"<thead><tr>{cells}</tr></thead>"


def in_short(asked: Sequence[tuple[str, Mapping[str, Any]]]) -> str:
    """The first figure of each suite, with what it allows to say."""
    rows = []
    for name, told in asked:
        figure = told["figures"][0]
        rows.append(
            f"<tr><th scope='row'><a href='#{name}'>{escape(told['title'])}</a></th>"
            f"<td>{escape(figure['title'])}: "
            f"<b>{with_unit(figure['value'], figure['unit'])}</b></td>"
            f"<td>{escape(verdict(figure))}</td></tr>"
        )
    return (
        "<section><h2>In short</h2><table class='stacked'>"
        f"{columns('Suite', 'Found', 'What it says')}<tbody>{''.join(rows)}</tbody></table>"
        "</section>"
    )


def experts_section(
    asked: Sequence[tuple[str, Mapping[str, Any]]], names: Sequence[str], method: str
) -> str:
    parts = [(told, part) for _, told in asked for part in told["attribution"]]
    if not names:
        return (
            "<section><h2>Which expert</h2><p>No expert is in place: all of this is the base's."
            "</p></section>"
        )
    if not parts:
        return "<section><h2>Which expert</h2><p>Parts were not measured.</p></section>"
    how = (
        "An expert's part is its Shapley value: its mean contribution over all orders in which the "
        "experts could have been added; the parts add up to the difference from the base."
        if method == "shapley"
        else "An expert's part is what leaving it out changes."
    )
    blocks = "".join(expert_block(name, parts) for name in names)
    return (
        f"<section><h2>Which expert</h2><p>{how}</p>{blocks}<p class='note'>{ROUTING_NOTE}</p>"
        "</section>"
    )


def expert_block(name: str, parts: Sequence[tuple[Mapping[str, Any], Mapping[str, Any]]]) -> str:
    mine = [(told, part) for told, part in parts if part["expert"] == name]
    loud = [(told, part) for told, part in mine if is_clear(part)]
    clear = parts_table([pair for pair in mine if is_clear(pair[1])])
    unclear = parts_table([pair for pair in mine if not is_clear(pair[1])])
    acting = "".join(acting_row(told, part) for told, part in mine)
    said = (
        "Its part can't be told from nothing in any figure."
        if not loud
        else f"Its interval leaves out zero in {len(loud)} of {len(mine)} figures."
    )
    to_do = ""
    if any(is_harm(told, part) for told, part in loud):
        to_do = (
            "<p><b>What can be done:</b> take it out "
            f"(<code>tramontane experts withdraw {escape(name)}</code>, exact and undone by "
            "<code>restore</code>), let it speak less often "
            f"(<code>tramontane audit raise {escape(name)}</code>), or learn it anew from notes "
            "in which names, pronouns and groups are swapped "
            f"(<code>tramontane audit relearn {escape(name)}</code>). The table says "
            "what withdrawing changes.</p>"
        )
    table = clear + (
        "<details><summary>Figures in which its part can't be told from nothing</summary>"
        f"{unclear}</details>"
        if unclear
        else ""
    )
    return (
        f"<h3>{escape(name)}</h3><p>{said}</p>{table}{to_do}"
        "<details><summary>Before and after withdrawing it</summary><table class='stacked'>"
        f"{columns('Figure', 'With it', 'Without', 'Paired test', 'Items that flip')}"
        f"<tbody>{acting}</tbody></table></details>"
    )


def parts_table(pairs: Sequence[tuple[Mapping[str, Any], Mapping[str, Any]]]) -> str:
    if not pairs:
        return ""
    rows = "".join(part_row(told, part) for told, part in pairs)
    return (
        f"<table class='stacked'>{columns('Figure', 'Part', 'Plot', 'What it says')}"
        f"<tbody>{rows}</tbody></table>"
    )


def is_clear(part: Mapping[str, Any]) -> bool:
    _, low, high = standing(part)
    return low is not None and high is not None and not low <= 0 <= high


def is_harm(told: Mapping[str, Any], part: Mapping[str, Any]) -> bool:
    better = figure_named(told, part["measure"])["better"]
    share = standing(part)[0] or 0.0
    return {"middle": share > 0, "lower": share > 0, "higher": share < 0}.get(better, False)


def figure_named(told: Mapping[str, Any], name: str) -> Mapping[str, Any]:
    return next(figure for figure in told["figures"] if figure["name"] == name)


def part_row(told: Mapping[str, Any], part: Mapping[str, Any]) -> str:
    figure = figure_named(told, part["measure"])
    value, low, high = standing(part)
    said = part_verdict(part, figure["better"], figure["unit"])
    amount = "unknown" if value is None else signed(value, figure["unit"])
    plot = interval_plot(
        value, low, high, axis_for([low, high], [0.0]), [(0.0, "zero")], label=f"{amount}, {said}"
    )
    return (
        f"<tr><th scope='row'>{escape(told['title'].partition(':')[0])}: {escape(figure['title'])}"
        f"</th><td>{amount}</td><td>{plot}</td><td>{escape(said)}</td></tr>"
    )


def acting_row(told: Mapping[str, Any], part: Mapping[str, Any]) -> str:
    figure = figure_named(told, part["measure"])
    unit, p = figure["unit"], part["p"]
    low, high = part["change_low"] or 0, part["change_high"] or 0
    test = f"interval {signed(low, unit)} to {signed(high, unit)}"
    if p is not None:
        told_p = "p < 0.001" if p < 0.001 else f"p = {p:.3f}"
        test = f"{part['test']}, {told_p}, corrected"
    flips = f"{len(part['flipped'])}" if part["test"] == "McNemar" else ""
    return (
        f"<tr><th scope='row'>{escape(told['title'].partition(':')[0])}: {escape(figure['title'])}"
        f"</th><td>{number(part['before'], unit)}</td><td>{number(part['after'], unit)}</td>"
        f"<td>{escape(test)}</td><td>{flips}</td></tr>"
    )


def family_section(
    family: str,
    asked: Sequence[tuple[str, Mapping[str, Any]]],
    scored: Mapping[str, Sequence[Scored]],
    names: Sequence[str],
) -> str:
    here = [(name, told) for name, told in asked if told["family"] == family]
    if not here:
        return ""
    blocks = "".join(suite_block(name, told, scored[name], names) for name, told in here)
    return f"<section><h2>{FAMILY_TITLES[family]}</h2>{blocks}</section>"


def suite_block(
    name: str, told: Mapping[str, Any], scored: Sequence[Scored], names: Sequence[str]
) -> str:
    suite = SUITES[name]
    everyone = (1 << len(names)) - 1
    source = "built-in sample" if any(f["is_built_in"] for f in told["files"]) else suite.source
    left = f", {len(told['left_out'])} rows left out or remarked on" if told["left_out"] else ""
    return (
        f"<article id='{name}'><h3>{escape(suite.title)}</h3><p>{escape(suite.about)}</p>"
        f"<p class='note'>{told['n']} of {told['there_are']} items{left}. {escape(source)}.</p>"
        f"{figures_table(told)}{groups_table(name, told, scored, everyone)}"
        f"{examples(name, scored, everyone)}</article>"
    )


def figures_table(told: Mapping[str, Any]) -> str:
    base = {figure["name"]: figure for figure in told["base_figures"]}
    has_base = bool(base)
    rows = []
    for figure in told["figures"]:
        unit, marks = figure["unit"], []
        if figure["baseline"] is not None:
            marks.append((figure["baseline"], "baseline"))
        if figure["name"] in base and base[figure["name"]]["value"] is not None:
            marks.append((base[figure["name"]]["value"], "base"))
        axis = (0.0, 1.0)
        if unit:
            ideal = [figure["ideal"]] if figure["ideal"] is not None else []
            axis = axis_for([figure["low"], figure["high"], *(m for m, _ in marks)], ideal)
        label = f"{number(figure['value'], unit)}, interval {interval(figure)}"
        beside = []
        if figure["baseline"] is not None:
            title = figure["baseline_title"] or "trivial answer"
            beside.append(f"{title} {number(figure['baseline'], unit)}")
        if has_base and figure["name"] in base:
            beside.append(f"base alone {number(base[figure['name']]['value'], unit)}")
        plot = interval_plot(
            figure["value"], figure["low"], figure["high"], axis, marks, label=label
        )
        rows.append(
            f"<tr><th scope='row'>{escape(figure['title'])}</th>"
            f"<td><b>{with_unit(figure['value'], unit)}</b></td><td>{plot}</td>"
            f"<td>{interval(figure)}</td><td>{escape('; '.join(beside))}</td></tr>"
        )
    cautions = "".join(
        f"<p class='caution'>{escape(caution)}</p>"
        for caution in sorted({figure["caution"] for figure in told["figures"]} - {""})
    )
    return (
        f"{cautions}<table class='stacked'>"
        f"{columns('Figure', 'Value', 'Plot', '95 % interval', 'Beside it')}"
        f"<tbody>{''.join(rows)}</tbody>"
        "</table><p class='key'>Dot: the value. Bar: where the truth may lie. Thin tick: the "
        "trivial answer. Thick tick: the base alone. Shares run from 0 to 100 %.</p>"
    )


def groups_table(
    name: str, told: Mapping[str, Any], scored: Sequence[Scored], everyone: int
) -> str:
    """The first figure by group, where there are several groups and it is a share or a mean."""
    suite = SUITES[name]
    first = told["figures"][0]
    measures = [m for m in suite.measures(()) if m.name == first["name"] and m.kind != "compound"]
    groups = sorted({one.item.group for one in scored})
    if not measures or len(groups) < 2:
        return ""
    rows = []
    for group in groups[:MOST_ROWS]:
        results = [results_of(suite, one, everyone) for one in scored if one.item.group == group]
        figure = figure_of(measures[0], columns_of(results), seed=0)
        unit = figure.unit
        axis = (0.0, 1.0) if not unit else axis_for([figure.low, figure.high], [figure.ideal or 0])
        marks = [(figure.ideal, "baseline")] if figure.better == "middle" else []
        reach = f"{number(figure.low, unit)} to {number(figure.high, unit)}"
        plot = interval_plot(
            figure.value,
            figure.low,
            figure.high,
            axis,
            marks,
            label=f"{number(figure.value, unit)}, interval {reach}",
        )
        rows.append(
            f"<tr><th scope='row'>{escape(group)}</th><td>{number(figure.value, unit)}</td>"
            f"<td>{plot}</td><td>{reach}</td><td>n = {figure.n}</td></tr>"
        )
    more = f"<p>{len(groups) - MOST_ROWS} more groups are in the items.</p>"
    return (
        f"<details><summary>{escape(first['title'])}, by group</summary>"
        f"<table class='stacked'>{columns('Group', 'Value', 'Plot', '95 % interval', 'Items')}"
        f"<tbody>{''.join(rows)}</tbody></table>"
        f"{more if len(groups) > MOST_ROWS else ''}</details>"
    )


def examples(name: str, scored: Sequence[Scored], everyone: int) -> str:
    suite = SUITES[name]
    results = [(one, results_of(suite, one, everyone)) for one in scored]
    by = next((pair for pair in WORST if results and pair[0] in results[0][1]), None)
    if by is None:
        return ""
    column, large_is_bad = by
    worst = sorted(results, key=lambda pair: pair[1].get(column, 0.0), reverse=large_is_bad)
    shown = "".join(
        f"<li>{example(one, everyone)}<p class='note'>{escape(one.item.group)}, "
        f"{escape(one.item.row)}; {escape(column)} {found[column]:.3f}; item {one.item.id}</p></li>"
        for one, found in worst[:NUM_EXAMPLES]
        if column in found
    )
    warning = " (these texts may hurt)" if suite.is_sensitive else ""
    return (
        f"<details><summary>The {NUM_EXAMPLES} worst items{warning}</summary>"
        f"<ol>{shown}</ol></details>"
    )


def example(one: Scored, everyone: int) -> str:
    """An item's texts; of several the likeliest is marked, and the right one where one is."""
    key = one.item.key
    whole = one.parts.get(everyone)
    told = [f"<p>{escape(str(key['question'])[:600])}</p>"] if key.get("question") else []
    texts = [text.continuation.strip() for text in one.item.texts]
    if whole is None or len(texts) == 1:
        if not key.get("question"):
            told.append(f"<p>{escape(texts[0][:600])}</p>")
        elif key.get("answers"):
            told.append(f"<p>→ {escape(str(key['answers'][0])[:300])}</p>")
        return "".join(told)
    likeliest = max(range(len(texts)), key=lambda place: whole.readings[place].logprob)
    lines = []
    for place, text in enumerate(texts):
        marks = ["likeliest"] if place == likeliest else []
        marks += ["right"] if key.get("right") == place else []
        mark = f" <span class='mark'>{', '.join(marks)}</span>" if marks else ""
        lines.append(f"<li>{escape(text[:300])}{mark}</li>")
    return "".join(told) + f"<ul>{''.join(lines)}</ul>"


def how_sure(content: Mapping[str, Any]) -> str:
    return (
        "<section><h2>How sure</h2><p>A score over some items is only near what all possible "
        "items would give. The interval says how near: of a hundred such intervals about "
        "ninety-five hold the truth. Few items make it wide. Where an interval holds the trivial "
        "answer's score, or zero for an expert's part, nothing was found: a result too.</p>"
        "<p>Tests before and after ask the same items twice, so only items that change count. "
        "The more figures one looks at, the likelier one of them stands out by chance; p-values "
        "here are corrected for that (Holm).</p>"
        f"<p class='note'>Items were drawn with seed {content['settings']['seed']}, groups in "
        "proportion. The same command draws the same items.</p></section>"
    )


def left_out_section(suites: Sequence[tuple[str, Mapping[str, Any]]]) -> str:
    rows = [(name, row) for name, told in suites for row in told["left_out"]]
    if not rows:
        return ""
    listed = "".join(
        f"<tr><td>{escape(name)}</td><td>{escape(row['file'])} {escape(row['row'])}</td>"
        f"<td>{escape(row['why'])}</td></tr>"
        for name, row in rows[: 5 * MOST_ROWS]
    )
    more = len(rows) - 5 * MOST_ROWS
    rest = f"<p>{more} more are in audit.json.</p>" if more > 0 else ""
    return (
        f"<section><h2>Left out or remarked on</h2><details><summary>{len(rows)} rows</summary>"
        f"<table class='stacked'>{columns('Suite', 'Row', 'Why')}"
        f"<tbody>{listed}</tbody></table>{rest}</details></section>"
    )


def circumstances(content: Mapping[str, Any]) -> str:
    mixture = content["mixture"]
    rows = [
        ("mixture", mixture["hash"]),
        (f"base {mixture['base']['name']}", mixture["base"]["sha256"]),
        *((f"expert {expert['name']}", expert["hash"]) for expert in mixture["experts"]),
        ("chat template", mixture["chat_template_sha256"]),
        *(
            (f"data {file['name']}", file["sha256"])
            for told in content["suites"].values()
            for file in told["files"]
        ),
        *((key, str(value)) for key, value in sorted(content["made_with"].items())),
        *((key, str(value)) for key, value in sorted(content["settings"].items())),
    ]
    listed = "".join(
        f"<tr><th scope='row'>{escape(str(key))}</th>"
        f"<td class='hash'>{escape(str(value))}</td></tr>"
        for key, value in rows
    )
    return (
        "<section><h2>To repeat this</h2><p><code>tramontane audit verify FOLDER</code> checks "
        "the hashes and reads items anew; on the same kernel variant they are equal to the bit.</p>"
        "<details><summary>Hashes, versions, settings</summary><table class='stacked'>"
        f"<tbody>{listed}</tbody></table></details></section>"
    )
