"""Measurements: numbers that a machine can have, and settings that they refuse."""

import os

import pytest

from tramontane.native import _cpu, cores_here, int8_rate, variants_here

SMALL = {"num_bytes": 8 << 20, "seconds": 0.01}


def test_rates_are_those_of_a_machine(variant):
    # Eight megabytes may come from a cache; slower than a disk they cannot be.
    assert 1e8 < _cpu.read_bandwidth(variant, 2, **SMALL) < 1e13
    assert 1e8 < int8_rate(1, seconds=0.01, variant=variant) < 1e16


def test_what_a_variant_lacks_is_named():
    here = variants_here()
    assert [name for name, lacks in here.items() if not lacks] == _cpu.usable_variants()
    assert here["portable"] == ""


@pytest.mark.parametrize("threads", [0, -1, 1025])
def test_impossible_threads_are_refused(threads):
    with pytest.raises(ValueError, match="threads must be 1 to 1024"):
        _cpu.read_bandwidth("portable", threads, **SMALL)
    with pytest.raises(ValueError, match="threads must be 1 to 1024"):
        _cpu.int8_rate("portable", threads, seconds=0.01)


def test_cores_are_those_that_this_process_may_use(monkeypatch):
    monkeypatch.setattr(os, "sched_getaffinity", lambda pid: {0, 3, 5}, raising=False)
    assert cores_here() == 3
    # macOS and Windows don't say.
    monkeypatch.delattr(os, "sched_getaffinity")
    monkeypatch.setattr(os, "cpu_count", lambda: 6)
    assert cores_here() == 6
    monkeypatch.setattr(os, "cpu_count", lambda: None)
    assert cores_here() == 1
