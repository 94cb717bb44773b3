"""Jobs: under any order of wishes, takings, crashes and ends, none is lost, doubled or revived."""

from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tramontane.errors import LibraryError, NotFound
from tramontane.library.jobs import ENDED, MOST_ATTEMPTS, MOST_ENDED, MOST_LINES, Jobs
from tramontane.library.library import Library


@pytest.fixture
def jobs(tmp_path: Path):
    with Library(tmp_path / "library.sqlite") as library:
        yield library.jobs


def test_a_job_waits_runs_and_is_done(jobs: Jobs):
    job = jobs.add("sync", {"name": "garden"}, "cores")
    assert (job.state, job.arguments) == ("waiting", {"name": "garden"})
    assert jobs.take_next("network") is None
    taken = jobs.take_next("cores")
    assert (taken.id, taken.state, taken.attempts) == (job.id, "running", 1)
    jobs.report(job.id, "reading", 3, 10)
    assert (jobs.job(job.id).what, jobs.job(job.id).done) == ("reading", 3)
    jobs.end(job.id, "done", result={"added": 3})
    done = jobs.job(job.id)
    assert (done.state, done.result) == ("done", {"added": 3})
    assert done.ended is not None
    assert jobs.take_next("cores") is None


def test_one_that_lost_its_process_goes_on_before_those_that_wait(jobs: Jobs):
    first, second = (jobs.add("learn", {}, "cores") for _ in range(2))
    assert jobs.take_next("cores").id == first.id
    for attempt in range(2, MOST_ATTEMPTS + 1):
        again = jobs.take_next("cores")
        assert (again.id, again.attempts) == (first.id, attempt)
    # What crashes so often is given up, and the next has its turn.
    assert jobs.take_next("cores").id == second.id
    assert jobs.job(first.id).state == "failed"
    assert "unexpectedly" in jobs.job(first.id).error


@pytest.mark.parametrize(("wish", "state"), [("pause", "paused"), ("cancel", "cancelled")])
def test_a_wish_is_kept_by_a_crash(jobs: Jobs, wish: str, state: str):
    job = jobs.add("learn", {}, "cores")
    jobs.take_next("cores")
    assert getattr(jobs, wish)(job.id).wish == wish
    assert jobs.take_next("cores") is None
    assert jobs.job(job.id).state == state


def test_a_paused_job_goes_on_and_an_ended_one_is_not_paused(jobs: Jobs):
    job = jobs.add("pull", {}, "network")
    assert jobs.pause(job.id).state == "paused"
    assert jobs.take_next("network") is None
    assert jobs.resume(job.id).state == "waiting"
    jobs.take_next("network")
    jobs.end(job.id, "done")
    for wish in (jobs.pause, jobs.cancel, jobs.resume):
        with pytest.raises(LibraryError, match="done"):
            wish(job.id)
    with pytest.raises(NotFound):
        jobs.job(99)


def test_lines_are_told_from_where_a_reader_is(jobs: Jobs):
    job, other = (jobs.add("pull", {}, "network") for _ in range(2))
    for text in ("one", "two", "three"):
        jobs.say(job.id, text)
        jobs.say(other.id, "other")
    lines = jobs.lines(job.id)
    assert [line.text for line in lines] == ["one", "two", "three"]
    assert [line.text for line in jobs.lines(job.id, lines[0].id)] == ["two", "three"]


def test_lines_and_ended_jobs_are_kept_within_bounds(jobs: Jobs, monkeypatch):
    monkeypatch.setattr("tramontane.library.jobs.MOST_LINES", 5)
    monkeypatch.setattr("tramontane.library.jobs.MOST_ENDED", 3)
    assert MOST_LINES > 5 < MOST_ENDED
    job = jobs.add("pull", {}, "network")
    for number in range(12):
        jobs.say(job.id, str(number))
    assert [line.text for line in jobs.lines(job.id)] == ["7", "8", "9", "10", "11"]
    for _ in range(6):
        jobs.cancel(jobs.add("pull", {}, "network").id)
    kept = jobs.ls()
    assert job.id in [j.id for j in kept], "one that waits was forgotten"
    assert len([j for j in kept if j.state in ENDED]) <= 4


@settings(max_examples=60, deadline=None)
@given(
    st.lists(
        st.tuples(st.sampled_from("add take pause cancel resume end".split()), st.integers(0, 4)),
        max_size=30,
    )
)
def test_no_job_is_lost_doubled_or_revived(tmp_path_factory, steps):
    """A model of one lane beside the real one: at most one job runs, and only by being taken."""
    with Library(tmp_path_factory.mktemp("jobs") / "library.sqlite") as library:
        jobs, states = library.jobs, {}
        for action, place in steps:
            ids = sorted(states)
            job_id = ids[place % len(ids)] if ids else None
            if action == "add":
                states[jobs.add("learn", {}, "cores").id] = "waiting"
            elif action == "take" and "running" not in states.values():
                taken = jobs.take_next("cores")
                waiting = [i for i in ids if states[i] == "waiting"]
                assert (taken and taken.id) == (waiting[0] if waiting else None)
                if taken:
                    states[taken.id] = "running"
            elif action == "end" and job_id and states[job_id] == "running":
                jobs.end(job_id, "done")
                states[job_id] = "done"
            elif action in ("pause", "cancel", "resume") and job_id:
                try:
                    job = getattr(jobs, action)(job_id)
                except LibraryError:
                    allowed = {"resume": ("waiting", "running", "done")}.get(action, ENDED)
                    assert states[job_id] in allowed
                else:
                    if states[job_id] == "running":
                        assert job.state == "running"
                        assert job.wish == {"resume": None}.get(action, action)
                    else:
                        states[job_id] = {
                            "pause": "paused",
                            "cancel": "cancelled",
                            "resume": "waiting",
                        }[action]
            assert {job.id: job.state for job in jobs.ls()} == states
