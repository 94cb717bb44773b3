"""`tramontane doctor`: what it says of this machine, and what it says when told otherwise."""

import os

import pytest

from tramontane.native import _cpu


def test_what_computes_is_told_with_its_reason(tramontane):
    health = tramontane.json("doctor")
    assert health["variant"] == (
        os.environ.get("TRAMONTANE_VARIANT") or next(iter(_cpu.usable_variants()))
    )
    assert health["reason"]
    usable = [name for name, lacks in health["lacks"].items() if not lacks]
    assert usable == _cpu.usable_variants()
    # Slower than any machine that can be bought, faster than any that could be built.
    assert 1e8 < health["read_bytes_per_second"] < 1e13
    assert 1e8 < health["int8_operations_per_second"] < 1e16
    assert health["library_bytes"] is None
    assert health["bases"] == []


def test_people_read_lines(reader):
    said = reader.works("--threads", "1", "doctor")
    assert "GB/s read" in said
    assert "GOP/s" in said
    assert "Threads          1;" in said
    assert str(reader.home / "library.sqlite") in said
    assert "`tramontane start` recommends one" in said


@pytest.mark.parametrize("name", _cpu.usable_variants())
def test_a_variant_that_was_asked_for_is_named_so(tramontane, name):
    said = tramontane.works("doctor", environment={"TRAMONTANE_VARIANT": name})
    assert f"Instruction set  {name}: asked for by TRAMONTANE_VARIANT" in said


def test_a_variant_that_cannot_run_is_refused_with_those_that_can(tramontane):
    message = tramontane.fails("doctor", environment={"TRAMONTANE_VARIANT": "mmx"})
    assert "'mmx' was asked for; usable on this machine:" in message
    assert "portable" in message
