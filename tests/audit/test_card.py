"""Cards: the hub's metadata, the openness class, a bill of materials that its schema accepts."""

import importlib.util
import json
from dataclasses import replace
from pathlib import Path

import pytest
import yaml

from tramontane.audit.bom import bill_of_materials
from tramontane.audit.card import as_yaml, card
from tramontane.audit.facts import Facts
from tramontane.audit.openness import class_reached, components, mof, verdict
from tramontane.audit.run import Plan, audit
from tramontane.audit.suites.all import chosen


@pytest.fixture(scope="module")
def facts(subject, tiny_base, tmp_path_factory):
    """A mixture of two experts with all that manifests say, and an audit of it."""
    done = audit(
        subject,
        Plan(suites=tuple(chosen(["crows_pairs", "lambada"])), n=4),
        tmp_path_factory.mktemp("card") / "audit",
    )
    manifest = {
        "name": "garden",
        "owner": "A. | B.",
        "licence": "CC-BY-4.0",
        "tensor_hash": "a" * 64,
        "width": 128,
        "notes": {"number": 12, "tokens": 3456},
        "public_text_sha256": "b" * 64,
        "held_out": {"perplexity_before": 30.0, "perplexity_after": 20.0},
    }
    return Facts(
        name="work",
        hash="c" * 64,
        base={"name": "tiny", "sha256": "d" * 64, "licence": "apache-2.0", "source": "hf:a/tiny"},
        architecture={"family": "llama", "num_layers": 3},
        experts=[manifest, manifest | {"name": "ferry", "licence": "", "tensor_hash": "e" * 64}],
        audit=done.content,
        version="0.1.0",
    )


def front_matter(text):
    _, head, body = text.split("---\n", 2)
    return yaml.safe_load(head), body


def test_the_hub_can_read_the_metadata(facts):
    told, body = front_matter(card(facts))
    assert told["license"] == "other"
    assert told["base_model"] == "hf:a/tiny"
    (index,) = told["model-index"]
    assert index["name"] == "work"
    by_suite = {result["dataset"]["type"]: result for result in index["results"]}
    metrics = {m["type"]: m["value"] for m in by_suite["lambada"]["metrics"]}
    figures = {f["name"]: f["value"] for f in facts.audit["suites"]["lambada"]["figures"]}
    assert metrics["acc"] == pytest.approx(figures["acc"], abs=1e-6)
    assert "30.0 → 20.0" in body
    # A name can't break out of its cell.
    assert "A. \\| B." in body


def test_the_hubs_own_reader_takes_the_card(facts):
    hub = pytest.importorskip("huggingface_hub")
    read = hub.ModelCard(card(facts))
    assert read.data.model_name == "work"
    assert {result.dataset_type for result in read.data.eval_results} == {"crows_pairs", "lambada"}


def test_one_licence_for_all_is_the_cards(facts):
    apache = [expert | {"licence": "Apache-2.0"} for expert in facts.experts]
    told, _ = front_matter(card(replace(facts, experts=apache)))
    assert told["license"] == "apache-2.0"


def test_without_an_audit_there_are_no_results(facts):
    told, body = front_matter(card(replace(facts, audit=None)))
    assert "model-index" not in told
    assert "No audit was given" in body


def schema_folder() -> Path:
    found = importlib.util.find_spec("cyclonedx")
    if found is None:
        pytest.skip("cyclonedx-python-lib isn't installed: it carries the schemas of CycloneDX")
    return Path(found.submodule_search_locations[0]) / "schema" / "_res"


def faults_of(bom):
    jsonschema = pytest.importorskip("jsonschema")
    referencing = pytest.importorskip("referencing")
    folder = schema_folder()
    schemas = {
        f"{name}.SNAPSHOT.schema.json": json.loads(
            (folder / f"{name}.SNAPSHOT.schema.json").read_text(encoding="utf-8")
        )
        for name in ("bom-1.6", "spdx", "jsf-0.82")
    }
    whole = schemas["bom-1.6.SNAPSHOT.schema.json"]
    resources = [
        (uri, referencing.Resource.from_contents(schema))
        for name, schema in schemas.items()
        for uri in (name, schema["$id"], f"http://cyclonedx.org/schema/{name}")
    ]
    registry = referencing.Registry().with_resources(resources)
    validator = jsonschema.Draft7Validator(whole, registry=registry)
    return [error.message for error in validator.iter_errors(bom)]


def test_the_schema_of_cyclonedx_accepts_the_bill(facts):
    bom = bill_of_materials(facts)
    assert faults_of(bom) == []
    model = bom["metadata"]["component"]
    assert model["modelCard"]["quantitativeAnalysis"]["performanceMetrics"]
    assert [c["name"] for c in bom["components"]] == ["tiny", "garden", "ferry"]
    assert faults_of(bill_of_materials(replace(facts, audit=None, experts=[]))) == []


def test_the_schema_would_say_no(facts):
    bom = bill_of_materials(facts)
    bom["metadata"]["component"]["modelCard"]["modelParameters"]["approach"] = {"type": "magic"}
    assert faults_of(bom)


def test_the_bill_is_the_same_bytes_each_time(facts):
    assert json.dumps(bill_of_materials(facts)) == json.dumps(bill_of_materials(facts))


def test_openness_is_judged_from_what_is_here(facts):
    found = components(facts)
    assert len(found) == 16
    by_name = {component.name: component for component in found}
    assert not by_name["Model parameters (Final)"].is_open
    assert "ferry" in by_name["Model parameters (Final)"].why
    assert class_reached(found)[0] is None
    assert "Data card" in verdict(found)


def test_classes_build_on_each_other(facts):
    everything = [replace(component, is_open=True) for component in components(facts)]
    assert class_reached(everything) == (1, [])
    no_paper = [
        replace(c, is_open=c.name not in ("Research paper", "Datasets")) for c in everything
    ]
    assert class_reached(no_paper) == (2, ["Research paper", "Datasets"])
    # A paper stands in for a report.
    no_report = [replace(c, is_open=c.name != "Technical report") for c in everything]
    assert class_reached(no_report) == (1, [])


def test_the_openness_file_is_yaml(facts):
    told = mof(facts)
    assert yaml.safe_load("\n".join(as_yaml(told))) == told


@pytest.mark.parametrize("text", ["a: b", "- x", "#", "'\"", "ünï\n---\n", "yes", "1.0", ""])
def test_any_text_survives_yaml(text):
    value = {"a": [{"b": text, "c": [text]}, text], "d": {"e": text}}
    assert yaml.safe_load("\n".join(as_yaml(value))) == value
