"""Every schema is one, stands alone, and takes what the commands print and nothing that is broken."""

from __future__ import annotations

import copy
import json
from collections.abc import Callable
from typing import Any

import pytest
import torch
from jsonschema import Draft202012Validator, ValidationError

import robustbench_fgsm as rf
from robustbench_fgsm.evaluation.thresholds import apply_thresholds, find_epsilon_for_success
from robustbench_fgsm.options import Thresholds
from robustbench_fgsm.report.schemas import load_schema, schema_names
from robustbench_fgsm.stats.confusion import matrix_to_json
from tests.changed_document import changed
from tests.report.verifications import NAMELESS, THRESHOLD, UNMEASURED, verification

Document = dict[str, Any]
Measured = Callable[..., Document]


def check(name: str, document: Document) -> None:
    Draft202012Validator(load_schema(name)).validate(json.loads(json.dumps(document, allow_nan=False)))


def test_each_document_has_a_schema() -> None:
    assert {"benchmark", "common", "comparison", "evaluation", "explanation", "list", "sweep"} <= set(schema_names())


@pytest.mark.parametrize("name", schema_names())
def test_each_schema_loads_alone(name: str) -> None:
    schema = load_schema(name)
    Draft202012Validator.check_schema(schema)
    assert schema["$id"] == f"urn:rfgsm:schema:{name}"
    assert schema["$schema"] == "https://json-schema.org/draft/2020-12/schema"


def test_rejects_an_unknown_schema() -> None:
    with pytest.raises(rf.SettingError, match="did you mean sweep"):
        load_schema("sweeps")


@pytest.mark.parametrize("options", [{}, {"targeted": "next"}, {"restarts": 1}, {"loss": "margin"}, {"stable": True}], ids=str)
def test_evaluations(measured: Measured, options: dict[str, Any]) -> None:
    check("evaluation", apply_thresholds(measured(**options), Thresholds(0.5, 0.5)))


def test_saturated_evaluations_and_sweeps(measured: Measured) -> None:
    check("evaluation", apply_thresholds(measured("0.3", scale=300), Thresholds(0.5, 0.5)))
    check("sweep", find_epsilon_for_success(measured("0.1,0.3", scale=300), 0.5))


@pytest.mark.parametrize("asked", [None, 0.0, 1.0])
def test_sweeps(measured: Measured, asked: float | None) -> None:
    check("sweep", find_epsilon_for_success(measured("0,4,64/255", targeted=("none", "next")), asked))


def test_sparse_matrices_and_null_rates(measured: Measured) -> None:
    document = measured(num_classes=101)
    assert document["clean"]["confusion"]["shape"] == [101, 101]
    assert any(result["robust_accuracy"]["value"] is None for result in document["epsilons"][0]["per_class"])
    check("evaluation", document)
    check("sweep", measured("4,8/255", num_classes=101))


@pytest.fixture(scope="module")
def explained(classifier: rf.TorchClassifier) -> Document:
    return rf.explain(classifier, rf.load_data("fashion-mnist", limit=3), "0.37").to_dict()


@pytest.mark.parametrize("rule", ["none", "next"])
def test_explanations(classifier: rf.TorchClassifier, rule: str) -> None:
    check("explanation", rf.explain(classifier, rf.load_data("fashion-mnist", limit=3), "0.37", targeted=rule).to_dict())


@pytest.mark.parametrize("epsilon", ["8/255", "4,8/255"])
def test_explanations_of_several_numbers(classifier: rf.TorchClassifier, epsilon: str) -> None:
    check("explanation", rf.explain(classifier, rf.load_data("fashion-mnist", limit=3), ["0.37", 0.2], epsilon).to_dict())


def test_rate_without_images_is_valid(classifier: rf.TorchClassifier) -> None:
    wrong = rf.ArrayDataset("wrong", torch.zeros(2, 28, 28), torch.zeros(2, dtype=torch.int64), classifier.classes or ())
    document = rf.explain(classifier, wrong, "0.37").to_dict()
    (success,) = (found for found in document["honest"] if found["definition"] == "attack_success_rate")
    assert (success["rate"]["n"], success["distance"], success["fits"]) == (0, None, False)
    check("explanation", document)


def test_explanation_needs_every_key(explained: Document) -> None:
    for key in ("claim", "claims", "test", "honest", "explanations", "attack", "n"):
        with pytest.raises(ValidationError):
            check("explanation", {name: value for name, value in explained.items() if name != key})
    for key in explained["explanations"][0]:
        broken = copy.deepcopy(explained)
        del broken["explanations"][0][key]
        with pytest.raises(ValidationError):
            check("explanation", broken)


@pytest.mark.parametrize(
    ("path", "value"),
    [
        ("claim.low", -0.1),
        ("claim.n", 0),
        ("claims", []),
        ("claims.0.epsilon", -0.1),
        ("attack.norm", "2"),
        ("honest", []),
        ("honest.0.mistakes", ["no-clip"]),
        ("explanations.0.definition", "success"),
        ("explanations.0.distance", -1),
        ("explanations.0.fits", "yes"),
        ("explanations.0.exact", None),
        ("explanations.0.excluded_from_n", 0),
        ("explanations.0.numbers", []),
        ("explanations.0.numbers.0.rate", None),
    ],
)
def test_rejects_a_broken_explanation(explained: Document, path: str, value: object) -> None:
    with pytest.raises(ValidationError):
        check("explanation", changed(explained, path, value))


@pytest.mark.reference
@pytest.mark.parametrize("limit", [3, 100])
def test_comparisons(classifier: rf.TorchClassifier, limit: int) -> None:
    document = rf.compare(classifier, rf.load_data("fashion-mnist", limit=limit)).to_dict()
    check("comparison", document)
    document["references"][0] |= {"verdict": "disagree", "reasons": ["a pixel differs"]}
    check("comparison", document | {"exit_code": 1, "verdict": "disagree"})
    document["references"][0]["reasons"] = []
    with pytest.raises(ValidationError):
        check("comparison", document)


@pytest.mark.reference
@pytest.mark.parametrize(
    ("key", "value"),
    [
        ("discordant", {"ours_only": 1}),
        ("own_success", {"definition": "prediction changed"}),
        ("own_success", False),
        ("max_ulps", 0.5),
        ("pixels_equal", -1),
        ("max_unexplained_difference", "0"),
        *((key, ...) for key in ("discordant", "own_success", "max_ulps", "pixels_equal", "images_subnormal")),
    ],
)
def test_rejects_a_broken_reference(classifier: rf.TorchClassifier, key: str, value: object) -> None:
    document = rf.compare(classifier, rf.load_data("fashion-mnist", limit=3)).to_dict()
    document["references"][0] |= {"own_success": None, "max_abs_difference": None}
    check("comparison", document)
    del document["references"][0][key]
    with pytest.raises(ValidationError):
        check("comparison", changed(document, f"references.0.{key}", value) if value is not ... else document)


@pytest.fixture(scope="module")
def timed(classifier: rf.TorchClassifier) -> Document:
    data = rf.load_data("fashion-mnist", limit=8)
    return rf.benchmark(classifier, data, "4,8/255", references=[], rounds=1, memory=False).to_dict()


def test_benchmarks(timed: Document) -> None:
    check("benchmark", timed)
    memory = {"before": 2, "peak": 3, "above": 1}
    check("benchmark", changed(timed, "contenders.0.memory", memory))
    failed = timed["contenders"][2] | {"error": "no luck", "clean_accuracy": None, "epsilons": [], "version": ""}
    failed["timings"] = [timing | {"seconds": None, "ratio": None} for timing in failed["timings"]]
    check("benchmark", changed(timed, "contenders.2", failed))
    absent = {"name": "foolbox", "package": "foolbox", "install": "pip install foolbox"}
    check("benchmark", changed(timed, "absent", [absent]))


def check_without(schema: str, document: Document, path: list[str | int], key: str) -> None:
    """Check that a document without the key at that place is refused."""
    broken = copy.deepcopy(document)
    parent: Any = broken
    for step in path:
        parent = parent[step]
    del parent[key]
    with pytest.raises(ValidationError):
        check(schema, broken)


def test_benchmark_needs_every_key(timed: Document) -> None:
    for *path, key in places(timed):
        if isinstance(key, str) and key not in OPTIONAL - {"threads"}:
            check_without("benchmark", timed, path, key)


@pytest.mark.parametrize(
    ("path", "value"),
    [
        ("schema", "rfgsm.benchmark/2"),
        ("rounds", 0),
        ("contenders", []),
        ("contenders.0.kind", "library"),
        ("contenders.0.timings.0.seconds.median", 0),
        ("contenders.0.timings.0.task", "whole"),
        ("contenders.0.memory", {"peak": 1}),
        ("contenders.0.max_count_difference", 0.5),
        ("noise.0.relative", -1),
        ("absent", [{"name": "foolbox"}]),
        ("attack.epsilons", []),
        ("environment.cores", 0),
    ],
)
def test_rejects_a_broken_benchmark(timed: Document, path: str, value: object) -> None:
    with pytest.raises(ValidationError):
        check("benchmark", changed(timed, path, value))


def places(document: Any, path: tuple[str | int, ...] = ()) -> list[tuple[str | int, ...]]:
    """Paths of all keys, of lists only their first item's."""
    items = document.items() if isinstance(document, dict) else enumerate(document[:1]) if isinstance(document, list) else ()
    return [found for key, value in items for found in ((*path, key), *places(value, (*path, key)))]


OPTIONAL = {
    "torchvision",
    "numpy",
    "threads",
    "platform",
    "gates",
    "find_asr",
    "gradient",
    "outputs",
    "stable",
    "plan",
    "decided_again",
    "sample",
    "checkpoint",
    "architecture_sha256",
    "repeats",
    "dtype",
    "bf16",
}
"""Keys beyond the contract, or absent where there is nothing to say."""


def test_evaluation_needs_every_key(measured: Measured) -> None:
    document = apply_thresholds(measured(), Thresholds(0.5, 0.5))
    for *path, key in places(document):
        if isinstance(key, str) and (key not in OPTIONAL or path == ["attack"]):
            check_without("evaluation", document, path, key)


@pytest.mark.parametrize(
    ("path", "value"),
    [
        ("schema", "rfgsm.evaluation/2"),
        ("status", "invalid"),
        ("exit_code", 2),
        ("attack.norm", 2),
        ("n", 0),
        ("clean.accuracy", {"value": 0.5, "count": 0, "n": 0, "low": None, "high": None}),
        ("clean.accuracy", {"value": None, "count": 1, "n": 2, "low": None, "high": None}),
        ("epsilons", []),
        ("epsilons.0.epsilon", "8/255"),
        ("epsilons.0.confusion", [[0.5]]),
        ("epsilons.0.confusion", {"shape": [3, 3], "rows": [], "columns": [], "counts": []}),
        ("epsilons.0.target_hit_rate", 0.5),
        ("model.sha256", "abc"),
    ],
)
def test_rejects_a_broken_evaluation(measured: Measured, path: str, value: object) -> None:
    with pytest.raises(ValidationError):
        check("evaluation", changed(measured(), path, value))


@pytest.mark.reference
def test_checks_beside_the_attack(measured: Measured) -> None:
    document = measured(pgd_check=30, check_masking=True)
    check("evaluation", document)
    for key in ("pgd_check", "masking_check"):
        for name in document[key]:
            broken = copy.deepcopy(document)
            del broken[key][name]
            with pytest.raises(ValidationError):
                check("evaluation", broken)
    for path, value in (("pgd_check.fgsm", 0.5), ("masking_check.checks.0.verdict", "perhaps")):
        with pytest.raises(ValidationError):
            check("evaluation", changed(document, path, value))


def test_more_keys_are_welcome(measured: Measured) -> None:
    check("evaluation", changed(measured() | {"extra": 1}, "epsilons.0.extra", 1))


def test_matrices_around_the_size_limit() -> None:
    import numpy as np

    matrix = load_schema("common")["$defs"]["matrix"] | {"$defs": load_schema("common")["$defs"]}
    for count in (1, 100, 101):
        Draft202012Validator(matrix).validate(matrix_to_json(np.eye(count, dtype=np.int64)))
    with pytest.raises(ValidationError):
        Draft202012Validator(matrix).validate(np.eye(101, dtype=np.int64).tolist())


@pytest.mark.parametrize("stages", [{}, {"direction": THRESHOLD}, {"size": NAMELESS}, {"steps": UNMEASURED}], ids=str)
def test_verifications(stages: Document) -> None:
    check("verification", verification(**stages))


@pytest.mark.parametrize(
    ("path", "value"),
    [
        ("schema", "rfgsm.verification/1"),
        ("verdict", "perhaps"),
        ("exit_code", 0),
        ("verdict", "right"),
        ("candidate.note", None),
        ("stages", []),
        ("stages.0.stage", "start"),
        ("stages.0.cause", "no-clip"),
        ("stages.2.remedy", ""),
        ("stages.2.verdict", "maybe"),
        ("harmless", [{"cause": None, "evidence": "", "remedy": ""}]),
        ("limitations", [{"text": "no grey images"}]),
        ("calls.0.epsilon", None),
        ("calls.0.pixels", -1),
    ],
)
def test_rejects_a_broken_verification(path: str, value: object) -> None:
    document = verification(direction=THRESHOLD)
    check("verification", document)
    with pytest.raises(ValidationError):
        check("verification", changed(document, path, value))
