"""Time, memory, interrupts: what ends a request early, and what is refused before it begins."""

import _thread
import math
import threading
import time
from dataclasses import dataclass

import pytest
from test_engine import Beside, ids, run_all

from fakes import CountingRuntime, HeldRuntime, continued
from tramontane.engine.engine import Engine
from tramontane.engine.memory import available_memory, plan_pages
from tramontane.engine.request import Request
from tramontane.errors import NotEnoughMemory, PromptTooLong, RequestError

PROMPT = (3, 1, 4, 1, 5)


@dataclass
class Clock:
    seconds: float = 100.0

    def __call__(self) -> float:
        return self.seconds


# Time


def test_a_request_out_of_time_ends_and_says_so():
    clock = Clock()
    engine = Engine(CountingRuntime(), clock=clock, speculates=False)
    hurried = engine.submit(Request(PROMPT, 20, max_seconds=2.0))
    patient = engine.submit(Request((7, 7), 20))
    came = []
    for _ in range(3):
        came += engine.step()
        clock.seconds += 0.5
    clock.seconds += 0.5
    last, *others = engine.step()
    assert (last.request_id, last.token_id, last.finish) == (hurried, -1, "time")
    assert [t.token_id for t in came if t.request_id == hurried] == continued(PROMPT, 3)
    rest = [token for token in others if token.request_id == patient]
    rest += run_all(engine)[patient]
    assert len([t for t in came if t.request_id == patient]) + len(rest) == 20
    assert engine.pages.num_free == engine.num_pages


@pytest.mark.parametrize("is_started", [False, True])
def test_time_runs_out_while_waiting_and_while_reading(is_started):
    clock = Clock()
    engine = Engine(CountingRuntime(), clock=clock, max_batch_tokens=2, max_tokens=16)
    if not is_started:
        engine.submit(Request((1,), 12))
    engine.submit(Request(PROMPT, 9, max_seconds=1.0))
    engine.step()
    assert bool(engine.scheduler.waiting) != is_started
    clock.seconds += 1.0
    tokens = engine.step()
    assert [token.finish for token in tokens][:1] == ["time"]
    run_all(engine)
    assert engine.pages.num_free == engine.num_pages


def test_a_stream_ends_when_its_time_is_over():
    clock = Clock()
    engine = Engine(CountingRuntime(), clock=clock)
    stream = engine.generate(Request(PROMPT, 20, max_seconds=1.0))
    next(stream)
    clock.seconds += 2
    assert [token.finish for token in stream][-1] == "time"


@pytest.mark.parametrize("wrong", [0, -1.0, math.nan, math.inf])
def test_times_that_are_none_are_refused(wrong):
    with pytest.raises(RequestError, match="max_seconds"):
        Request(PROMPT, 3, max_seconds=wrong)


# Memory

GIGABYTE = 10**9


class LargePages(CountingRuntime):
    def __init__(self, page_bytes: int, max_context_tokens: int):
        super().__init__(page_tokens=64, max_context_tokens=max_context_tokens)
        self.page_bytes = page_bytes


def test_what_was_asked_for_and_cannot_fit_is_refused_with_figures():
    runtime = LargePages(8_000_000, 32768)
    assert plan_pages(runtime, 1000, GIGABYTE) == 16
    with pytest.raises(NotEnoughMemory) as error:
        plan_pages(runtime, 32768, GIGABYTE)
    for told in ("32768 tokens", "4096 MB", "1000 MB", "at most 8000 tokens", "kv_tokens"):
        assert told in str(error.value)


def test_what_never_fits_says_what_else_to_do():
    for max_tokens in (None, 64):
        with pytest.raises(NotEnoughMemory, match="smaller model"):
            plan_pages(LargePages(GIGABYTE, 4096), max_tokens, 10**6)


def test_by_default_a_whole_context_is_planned_or_what_fits_half_of_memory(caplog):
    runtime = LargePages(8_000_000, 32768)
    assert plan_pages(runtime, None, 100 * GIGABYTE) == 512
    assert plan_pages(LargePages(1, 2048), None, GIGABYTE) == 128
    assert plan_pages(runtime, None, None) == 512
    assert not caplog.records
    assert plan_pages(runtime, None, 2 * GIGABYTE) == 125
    assert "8000 tokens" in caplog.text


def test_a_request_beyond_the_plan_names_the_setting():
    engine = Engine(LargePages(1, 4096), max_tokens=128)
    with pytest.raises(PromptTooLong, match=r"100 tokens and 50 may follow.* 128 .*kv_tokens"):
        engine.submit(Request((1,) * 100, 50))


def test_available_memory_is_the_systems_or_the_containers(tmp_path):
    meminfo, group = tmp_path / "meminfo", tmp_path / "group"
    assert available_memory(meminfo, group) is None
    meminfo.write_text("MemTotal:  2000 kB\nMemAvailable:   1000 kB\n")
    assert available_memory(meminfo, group) == 1_024_000
    group.mkdir()
    (group / "memory.max").write_text("max\n")
    assert available_memory(meminfo, group) == 1_024_000
    (group / "memory.max").write_text("500000\n")
    (group / "memory.current").write_text("450000\n")
    (group / "memory.stat").write_text("anon 5\nactive_file 10000\ninactive_file 20000\n")
    assert available_memory(meminfo, group) == 80_000
    (group / "memory.current").write_text("900000\n")
    assert available_memory(meminfo, group) == 0
    meminfo.write_text("MemTotal:  2000 kB\n")
    assert available_memory(meminfo, group) is None


# Interrupts


def test_an_interrupt_in_the_middle_of_a_prompt_leaves_the_engine_whole():
    engine = Engine(CountingRuntime(), max_batch_tokens=4)
    other = engine.submit(Request((7, 7), 9))
    stream = engine.generate(Request(tuple(range(40)), 6))

    def interrupt_third(spans, **options):
        if len(engine.runtime.batches) == 2:
            engine.runtime.failures.append(KeyboardInterrupt())
        return CountingRuntime.forward(engine.runtime, spans, **options)

    engine.runtime.forward = interrupt_third
    with pytest.raises(KeyboardInterrupt):
        next(stream)
    assert engine.scheduler.running.keys() == {other}
    assert not engine._is_stepping
    del engine.runtime.forward
    assert ids(list(engine.generate(Request(tuple(range(40)), 6)))) == continued(range(40), 6)
    assert not engine._listeners
    run_all(engine)
    assert engine.pages.num_free == engine.num_pages


def test_control_c_while_another_thread_computes_ends_the_waiting_stream_alone():
    """The main thread waits for its token; the other drives, and goes on."""
    runtime = HeldRuntime()
    engine = Engine(runtime)
    other = Beside(lambda: list(engine.generate(Request((7, 7), 9))))
    assert runtime.is_inside.wait(timeout=60)

    def interrupt():
        time.sleep(0.2)
        _thread.interrupt_main()
        runtime.may_go_on.set()

    threading.Thread(target=interrupt, daemon=True).start()
    with pytest.raises(KeyboardInterrupt):
        list(engine.generate(Request(PROMPT, 9)))
    assert ids(other.result()) == continued((7, 7), 9)
    assert engine.pages.num_free == engine.num_pages
    assert not engine._listeners
