"""The report: one file that loads nothing, says what intervals allow, folds what may hurt."""

import re
from html.parser import HTMLParser

import pytest

from tramontane.audit.plots import axis_for, interval_plot
from tramontane.audit.report import report_html
from tramontane.audit.run import Plan, audit
from tramontane.audit.suites.all import chosen
from tramontane.audit.words import part_verdict, standing, verdict

VOID = {"meta", "line", "circle", "br", "hr", "img", "input", "link"}


class Balanced(HTMLParser):
    """Notices a tag that isn't closed in its place, and collects what is folded."""

    def __init__(self):
        super().__init__()
        self.open, self.folded, self.loads = [], [], []

    def handle_starttag(self, tag, attributes):
        self.loads += [value for name, value in attributes if name in ("src", "href")]
        if tag not in VOID:
            self.open.append(tag)

    def handle_startendtag(self, tag, attributes):
        assert tag in VOID

    def handle_endtag(self, tag):
        assert self.open.pop() == tag

    def handle_data(self, data):
        if "details" in self.open:
            self.folded.append(data)


@pytest.fixture(scope="module")
def page(subject, tmp_path_factory):
    plan = Plan(suites=tuple(chosen(["bias", "lambada", "routing"])), n=8)
    done = audit(subject, plan, tmp_path_factory.mktemp("report") / "a")
    return report_html(done.content, {name: done.items(name) for name in done.suites})


def test_tags_close_where_they_should_and_nothing_is_loaded(page):
    reader = Balanced()
    reader.feed(page)
    assert reader.open == []
    assert all(link.startswith("#") for link in reader.loads)
    assert "default-src 'none'" in page
    assert "url(" not in page
    assert "@import" not in page


def test_links_lead_to_suites(page):
    for target in re.findall(r"href='#(\w+)'", page):
        assert f"id='{target}'" in page


def test_texts_that_may_hurt_are_folded(page):
    reader = Balanced()
    reader.feed(page)
    folded = "".join(reader.folded)
    whole = re.sub(r"<style>.*?</style>", "", page, flags=re.DOTALL)
    for text in ("immigrant", "lazy"):
        assert folded.lower().count(text) == whole.lower().count(text)
    assert "may hurt" in page


def test_every_plot_says_its_numbers(page):
    labels = re.findall(r'aria-label="([^"]*)"', page)
    assert labels
    assert all(re.search(r"\d|unknown", label) for label in labels)


def test_names_are_escaped(page, subject, tmp_path):
    done = audit(subject, Plan(suites=tuple(chosen(["lambada"])), n=2), tmp_path / "a")
    content = dict(done.content) | {"mixture": dict(done.content["mixture"])}
    content["mixture"]["name"] = "<script>alert(1)</script>"
    told = report_html(content, {"lambada": done.items("lambada")})
    assert "<script" not in told


def figure(**changes):
    return {
        "title": "t",
        "value": 0.6,
        "low": 0.55,
        "high": 0.65,
        "better": "higher",
        "unit": "",
        "ideal": 0.5,
        "baseline": 0.5,
        "baseline_title": "guessing",
        "caution": "",
    } | changes


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ({}, "Better than guessing"),
        ({"low": 0.4}, "Can't be told from guessing"),
        ({"value": 0.3, "low": 0.2, "high": 0.4}, "Worse than guessing"),
        ({"better": "middle"}, "Leans towards"),
        ({"better": "middle", "low": 0.45}, "No lean that could be told"),
        ({"better": "middle", "value": 0.3, "low": 0.2, "high": 0.4}, "Leans away from"),
        ({"caution": "Uninformative."}, "Uninformative."),
        ({"value": None}, "Nothing was scored"),
    ],
)
def test_verdicts_say_what_the_interval_allows(changes, said):
    assert said in verdict(figure(**changes))


def part(share=0.1, low=0.05, high=0.2, change=-0.1, change_low=-0.2, change_high=0.05):
    return {
        "share": share,
        "low": low,
        "high": high,
        "change": change,
        "change_low": change_low,
        "change_high": change_high,
    }


def test_an_experts_part_is_told_with_its_null_results():
    assert "towards the stereotype" in part_verdict(part(), "middle", "")
    assert "better with it" in part_verdict(part(), "higher", "")
    assert "worse with it" in part_verdict(part(), "lower", "")
    assert "not told from nothing" in part_verdict(part(low=-0.1), "higher", "")
    assert "none" in part_verdict(part(share=0.0, low=0.0, high=0.0), "higher", "")
    # Without Shapley's value, what leaving out takes away.
    assert standing(part(share=None)) == (0.1, -0.05, 0.2)


def test_plots_keep_within_their_axis():
    plot = interval_plot(2.0, -1.0, 3.0, (0.0, 1.0), [(0.5, "baseline")], label="<x>")
    places = [float(x) for x in re.findall(r'[c]?x[12]?="([\d.-]+)"', plot)]
    assert all(0 <= x <= 240 for x in places)
    assert "&lt;x&gt;" in plot
    assert axis_for([None]) == (0.0, 1.0)
    low, high = axis_for([0.2, 0.4], [0.0])
    assert low < 0 < 0.4 < high
