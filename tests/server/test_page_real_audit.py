"""An audit from the page with nothing faked, on a tiny mixture; its report opened from disk.

The base is random: what is asked here is that the screen reaches the job, the job the audit, and
that the report can be read by everybody, on any screen and on paper.
"""

import json
import os
import re
import sys
from collections.abc import Iterator
from pathlib import Path

import pypdfium2
import pytest
from browser_visit import NARROW, WIDE, expect
from own_process import served

sys.path.append(str(Path(__file__).parents[1] / "experts"))

from expert_makers import expert, random_tensors, write_tiny_base

from tramontane.cli.parts import Parts
from tramontane.settings import Settings

PATIENCE_MILLISECONDS = 180_000
# WCAG AA for text.
LEAST_CONTRAST = 4.5
# Returns [text, contrast] for each text that is shown, by the colours that the browser computed.
CONTRASTS = """() => {
  const numbers = (colour) => colour.match(/[\\d.]+/g).map(Number);
  const light = (colour) => {
    const [r, g, b] = numbers(colour).map((c) => c / 255)
      .map((c) => (c <= 0.04045 ? c / 12.92 : ((c + 0.055) / 1.055) ** 2.4));
    return 0.2126 * r + 0.7152 * g + 0.0722 * b;
  };
  const paperOf = (element) => {
    for (let at = element; at; at = at.parentElement) {
      const paper = getComputedStyle(at).backgroundColor;
      if (numbers(paper)[3] !== 0) return paper;
    }
    return "rgb(255, 255, 255)";
  };
  const found = [];
  for (const element of document.querySelectorAll("main *")) {
    const text = [...element.childNodes].filter((node) => node.nodeType === 3)
      .map((node) => node.data.trim()).join("");
    if (!text || !element.checkVisibility()) continue;
    const [one, other] = [getComputedStyle(element).color, paperOf(element)].map(light);
    found.push([text, (Math.max(one, other) + 0.05) / (Math.min(one, other) + 0.05)]);
  }
  return found;
}"""


@pytest.fixture(scope="module")
def home(tmp_path_factory) -> Path:
    folder = tmp_path_factory.mktemp("audited-from-the-page")
    base = write_tiny_base(folder / "tiny.gguf")
    parts = Parts(Settings(home=folder / "home", base=str(folder / "tiny.gguf"), threads=1))
    for seed, name in enumerate(("canal", "garden"), start=1):
        record = parts.shelf.add(expert(name, random_tensors(seed), base.sha256))
        parts.shelf.put_in_place(record, parts.mixture())
    parts.close()
    return folder / "home"


@pytest.fixture(scope="module")
def address(home: Path) -> Iterator[str]:
    with served(home, home.parent / "tiny.gguf") as (_, address):
        yield address


@pytest.fixture(scope="module")
def audited(browser, address: str, home: Path) -> Path:
    """Runs one from the page and returns its folder."""
    context = browser.new_context(viewport=WIDE, reduced_motion="reduce")
    page = context.new_page()
    page.set_default_timeout(PATIENCE_MILLISECONDS)
    expect.set_options(timeout=PATIENCE_MILLISECONDS)
    faults: list[str] = []
    page.on("pageerror", lambda error: faults.append(str(error)))
    page.goto(f"{address}#/audit")
    form = page.get_by_role("form", name="Run an audit")
    form.get_by_label("Name", exact=True).fill("mine")
    page.get_by_role("button", name="See the plan").click()
    plan = page.get_by_role("region", name="Plan")
    expect(plan.get_by_text(re.compile(r"It would ask \d+ items"))).to_be_visible()
    page.get_by_role("button", name="Run mine").click()
    page.get_by_role("link", name="See what it found").click()
    expect(page.get_by_role("heading", name="mine", level=1)).to_be_visible()
    expect(page.get_by_role("article", name="canal")).to_be_visible()
    for fold in page.get_by_text(re.compile("that flip without canal")).all():
        if fold.is_visible():
            fold.click()
            break
    keep_picture(page, "audit-mine")
    # The second leaves one expert closed, as the screen offers, and is compared with the first.
    close = page.get_by_role("button", name="Close it and audit again: canal")
    if not close.is_visible():
        page.get_by_text("What can be done about canal").click()
    close.click()
    page.get_by_role("button", name="See the plan").click()
    page.get_by_role("button", name="Run mine-without-canal").click()
    expect(page.get_by_role("link", name="See what it found")).to_be_visible()
    page.get_by_role("checkbox", name="Compare mine", exact=True).check()
    page.get_by_role("checkbox", name="Compare mine-without-canal").check()
    keep_picture(page, "audit-list")
    page.get_by_role("button", name="Compare", exact=True).click()
    expect(
        page.get_by_text(re.compile(r"expert canal \(\w+\) is in the first only"))
    ).to_be_visible()
    keep_picture(page, "audit-comparison")
    for size in (NARROW, {"width": 768, "height": 1024}):
        page.set_viewport_size(size)
        for place in ("#/audit", "#/audit/mine", "#/audit/mine/mine-without-canal"):
            page.goto(f"{address}{place}")
            expect(page.get_by_text("CrowS-Pairs").first).to_be_attached()
            keep_picture(page, f"audit-{size['width']}{place.replace('/', '-')}")
            assert page.evaluate("document.documentElement.scrollWidth") <= size["width"]
    context.close()
    expect.set_options(timeout=5_000)
    assert faults == []
    return home / "audits" / "mine"


def keep_picture(page, name: str) -> None:
    """Keeps a picture for whoever wants to look: TRAMONTANE_PICTURES names a folder."""
    if folder := os.environ.get("TRAMONTANE_PICTURES"):
        page.screenshot(path=Path(folder) / f"{name}.png", full_page=True)


@pytest.mark.slow
def test_the_audit_is_whole_and_of_both_experts(audited: Path):
    content = json.loads((audited / "audit.json").read_text())
    assert [one["name"] for one in content["mixture"]["experts"]] != []
    assert sum(told["n"] for told in content["suites"].values()) > 50
    without = json.loads((audited.with_name("mine-without-canal") / "audit.json").read_text())
    assert [one["name"] for one in without["mixture"]["experts"]] == ["garden"]


@pytest.fixture
def report(browser, audited: Path, request) -> Iterator:
    """The report from disk, with no network to be had."""
    scheme = getattr(request, "param", "light")
    context = browser.new_context(viewport=NARROW, offline=True, color_scheme=scheme)
    page = context.new_page()
    asked: list[str] = []
    said: list[str] = []
    page.on("request", lambda request: asked.append(request.url))
    page.on("console", lambda message: said.append(message.text))
    page.goto((audited / "report.html").as_uri())
    yield page
    context.close()
    assert [url for url in asked if not url.startswith("file:")] == []
    assert said == []


def unfold(page) -> None:
    page.evaluate("document.querySelectorAll('details').forEach((fold) => (fold.open = true))")


@pytest.mark.slow
@pytest.mark.parametrize("report", ["light", "dark"], indirect=True)
def test_the_report_is_read_on_a_narrow_screen(report):
    for _ in range(2):
        assert report.evaluate("document.documentElement.scrollWidth") <= NARROW["width"]
        low = [pair for pair in report.evaluate(CONTRASTS) if pair[1] < LEAST_CONTRAST]
        assert low == []
        keep_picture(
            report, f"report-360-{report.evaluate('document.querySelector(`details`).open')}"
        )
        unfold(report)


@pytest.mark.slow
def test_the_report_has_an_outline_and_names(report):
    unfold(report)
    levels = report.evaluate(
        "[...document.querySelectorAll('h1, h2, h3, h4')].map((h) => Number(h.tagName[1]))"
    )
    assert levels.count(1) == 1
    assert levels[0] == 1
    assert all(after - before <= 1 for before, after in zip(levels, levels[1:], strict=False))
    assert report.evaluate("document.documentElement.lang") == "en"
    assert report.get_by_role("main").count() == 1
    for plot in report.locator("svg").all():
        assert plot.get_attribute("role") == "img"
        assert plot.get_attribute("aria-label")
    assert report.locator("th:not([scope])").count() == 0
    # The text of every link says where it leads, and each leads to something.
    for link in report.get_by_role("link").all():
        target = link.get_attribute("href")
        assert link.inner_text().strip()
        assert report.locator(f"[id='{target.removeprefix('#')}']").count() == 1


@pytest.mark.slow
def test_the_report_is_printed_without_a_plot_cut(report, tmp_path: Path):
    """A plot's place on its page is found by its row's own words, which stand beside it."""
    report.set_viewport_size(WIDE)
    unfold(report)
    printed = tmp_path / "report.pdf"
    report.pdf(path=printed, format="A4", prefer_css_page_size=True)
    if folder := os.environ.get("TRAMONTANE_PICTURES"):
        for number, sheet in enumerate(pypdfium2.PdfDocument(printed)):
            sheet.render(scale=1.2).to_pil().save(Path(folder) / f"report-page-{number:02}.png")
    # On paper, at its width, no row may be higher than a page, and none may be parted.
    report.emulate_media(media="print")
    assert report.evaluate(
        "[...document.querySelectorAll('tr, svg')]"
        ".every((row) => getComputedStyle(row).breakInside === 'avoid')"
    )
    report.set_viewport_size({"width": 680, "height": 1000})
    highest = report.evaluate(
        "Math.max(...[...document.querySelectorAll('tr')].map((r) => r.offsetHeight))"
    )
    assert highest < 900
    assert report.evaluate("document.documentElement.scrollWidth") <= 680
    pages = pypdfium2.PdfDocument(printed)
    assert len(pages) > 1
