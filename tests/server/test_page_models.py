"""Models, in a real browser: what is here, what would fit, pulling, the writer's check."""

import pytest
from browser_visit import Visit, expect, forgive

from tramontane.errors import RequestError

pytestmark = pytest.mark.usefixtures("browser")


def test_what_is_here_and_what_would_fit(visit: Visit):
    page = visit.open("#/models")
    expect(page.get_by_text("2 cores, 8.0 GB of memory and 50 GB of disk free")).to_be_visible()
    here = visit.named("article", "SmolLM2-135M")
    expect(here).to_contain_text("llama, 135 million parameters, 93 MB, Apache-2.0")
    expect(here).to_contain_text("Below the writer’s check, 3 of 20: answers are quotations")
    expect(here).to_contain_text("In use.")
    large = visit.named("article", "hf:big/Mixture")
    expect(large).to_contain_text("47 billion parameters")
    expect(large).to_contain_text("Too large: it needs 94.6 GB of memory.")
    expect(large.get_by_role("button")).to_have_count(0)
    small = visit.named("article", "hf:small/Model")
    expect(small).to_contain_text("Recommended here: between the two.")
    expect(small.get_by_role("button", name="Pull hf:small/Model")).to_be_visible()


def test_pulling_shows_how_far_it_is(visit: Visit):
    page = visit.open("#/models")
    visit.named("button", "Pull hf:small/Model").click()
    pulling = visit.named("region", "Pulling hf:small/Model")
    visit.jobs.report(1, "fetching, bytes", 4)
    expect(pulling.get_by_text("Fetching, bytes, 40 %.")).to_be_visible()
    assert visit.jobs.asked == [("pull", {"what": "hf:small/Model"})]
    # Another page, or this one anew, finds the work that goes on.
    page.reload()
    expect(pulling.get_by_text("Fetching, bytes, 40 %.")).to_be_visible()
    visit.jobs.end(1, {"name": "Model"})
    expect(pulling.get_by_text("Done.")).to_be_visible()


def test_a_pull_that_fails_says_why(visit: Visit):
    page = visit.open("#/models")
    page.get_by_label("Another base").fill("hf:nobody/nothing")
    visit.named("button", "Pull").click()
    pulling = visit.named("region", "Pulling hf:nobody/nothing")
    visit.jobs.end(1, error="hf:nobody/nothing: there is no such model; check its name")
    expect(pulling.get_by_text("there is no such model; check its name")).to_be_visible()


def test_the_writers_check_is_run_on_request(visit: Visit):
    visit.open("#/models")
    visit.named("button", "Run the writer’s check on SmolLM2-135M").click()
    expect(visit.named("region", "The writer’s check of SmolLM2-135M")).to_be_visible()
    assert visit.jobs.asked == [("check", {"base": "SmolLM2-135M"})]


def test_a_job_that_is_refused_says_why(visit: Visit, monkeypatch):
    def refuse(*_):
        raise RequestError("what: too long")

    monkeypatch.setattr(visit.jobs, "start", refuse)
    page = visit.open("#/models")
    visit.named("button", "Pull hf:small/Model").click()
    expect(page.get_by_role("alert").get_by_text("what: too long")).to_be_visible()
    forgive(visit, 400)
