"""The cache of repacked weights as a person sees it."""

import pytest


@pytest.mark.slow
def test_what_a_base_left_is_listed_and_cleared(tramontane, smollm2_path):
    assert tramontane.json("cache", "ls") == {
        "folder": str(tramontane.home / "cache" / "weights"),
        "most_bytes": 40_000_000_000,
        "kept": [],
    }
    tramontane.works("pull", smollm2_path)
    tramontane.works("--base", smollm2_path.stem, "chat")
    (kept,) = tramontane.json("cache", "ls")["kept"]
    assert 0.9 < kept["num_bytes"] / smollm2_path.stat().st_size < 1.1
    assert smollm2_path.stem in tramontane.works("cache", "ls")
    tramontane.works("cache", "clear", smollm2_path.stem)
    assert tramontane.json("cache", "ls")["kept"] == []

    tramontane.works("--base", smollm2_path.stem, "chat")
    tramontane.works("rm", smollm2_path.stem)
    assert tramontane.json("cache", "ls")["kept"] == []
    assert smollm2_path.exists()


def test_a_cache_that_may_keep_nothing_keeps_nothing(tramontane, smollm2_path):
    environment = {"TRAMONTANE_WEIGHTS_CACHE_GB": "0"}
    tramontane.works("--base", smollm2_path, "chat", environment=environment)
    assert tramontane.json("cache", "ls")["kept"] == []
