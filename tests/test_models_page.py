"""docs/models.md says what the tests say, and no more."""

import importlib.util
from pathlib import Path
from types import ModuleType

import pytest

from model_variants import VARIANTS

ROOT = Path(__file__).parents[1]
REPORT = """<testsuites><testsuite>
<testcase name="test_logits_equal_transformers[gguf: llama, as published]"/>
<testcase name="test_logits_equal_transformers[safetensors: llama, as published]">
<failure message="no"/></testcase>
<testcase name="test_every_family_equals_the_definition[avx2-llama, as published]"/>
<testcase name="test_every_family_equals_the_definition[portable-llama, as published]">
<failure message="no"/></testcase>
<testcase name="test_any_block_equals_ggufs[Q4_K]"><skipped message="why"/></testcase>
</testsuite></testsuites>"""


@pytest.fixture(scope="module")
def models_page() -> ModuleType:
    pytest.importorskip("transformers")
    spec = importlib.util.spec_from_file_location("models_page", ROOT / "scripts/models_page.py")
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def test_only_what_passed_is_called_equal(models_page, tmp_path):
    (tmp_path / "report.xml").write_text(REPORT)
    page = models_page.page(dict(models_page.outcomes(tmp_path / "report.xml")))
    assert "| llama | as published | failed | equal | – | avx2, portable failed |" in page
    assert "| llama | tied embeddings | not run | not run | – | not run |" in page
    assert "| Q4_K | 256 | 144 | skipped |" in page


def test_the_page_knows_every_variant():
    page = (ROOT / "docs" / "models.md").read_text(encoding="utf-8")
    rows = {tuple(line.split(" | ")[:2]) for line in page.splitlines()}
    for variant in VARIANTS:
        assert (f"| {variant.kind}", variant.option) in rows, "run scripts/models_page.py"
    for word in ("not run", "failed", "skipped"):
        assert f" {word} |" not in page
