"""What can be named, as a table and as JSON."""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Callable
from importlib.metadata import version

import pytest
from jsonschema import Draft202012Validator

from robustbench_fgsm.models.cards import cards
from robustbench_fgsm.report.schemas import load_schema

Run = Callable[..., tuple[int, str, str]]


def rows(run: Run, what: str) -> list[dict[str, object]]:
    code, out, err = run("list", what, "--json")
    assert (code, err) == (0, "")
    document = json.loads(out)
    assert document["schema"] == "rfgsm.list/1"
    found: list[dict[str, object]] = document[what]
    return found


def test_models_with_their_accuracy_and_data(run: Run) -> None:
    found = rows(run, "models")
    assert {(row["name"], row["weights"]) for row in found} == {(card["name"], card["weights"]) for card in cards()}
    expected = {card["sha256"]: card["clean_accuracy"] for card in cards()}
    assert [row["clean_accuracy"] for row in found] == list(expected.values())
    assert {row["data"] for row in found} == {"fashion-mnist"}


def test_sources_with_what_they_need(run: Run) -> None:
    _, out, _ = run("list", "models", "--json")
    sources = {row["name"]: row for row in json.loads(out)["sources"]}
    assert {
        "bundled",
        "torchvision",
        "timm",
        "robustbench",
        "hf",
        "sklearn",
        "factory",
        ".pt2",
        ".onnx",
    } <= sources.keys()
    assert sources["torchvision"]["version"] == version("torchvision")
    for row in sources.values():
        assert (row["version"] is None) == (row["install"] is not None)


def test_models_of_every_source_by_a_part_of_their_name(run: Run) -> None:
    code, out, _ = run("list", "models", "--filter", "ResNet50", "--json")
    document = json.loads(out)
    Draft202012Validator(load_schema("list")).validate(document)
    found = {(row["name"], row["weights"]): row for row in document["models"]}
    assert code == 0
    assert found["resnet50", "IMAGENET1K_V2"]["parameters"] == 25_557_032
    assert found["resnet50", "IMAGENET1K_V2"]["source"] == "torchvision"
    assert all("resnet50" in name.lower() for name, _ in found)
    _, table, _ = run("list", "models", "--filter", "mlp300")
    assert "477,332  yes" in table
    assert run("list", "models", "--filter", "nosuchmodel")[1] == "no model of that name\n"


def test_a_filter_is_for_models(run: Run) -> None:
    code, out, err = run("list", "data", "--filter", "x")
    assert (code, out, err.count("\n")) == (2, "", 1)


def test_the_list_needs_no_pytorch() -> None:
    program = """
import sys
from robustbench_fgsm.cli.main import main
try:
    main(["list", "models"])
finally:
    assert "torch" not in sys.modules
"""
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=False)
    assert (done.returncode, done.stderr) == (0, "")


def test_data_with_their_size(run: Run) -> None:
    assert {"name": "fashion-mnist", "images": 10_000, "classes": 10} in rows(run, "data")


def test_references_with_their_version(run: Run) -> None:
    name = "adversarial-robustness-toolbox"
    assert {"name": "art", "package": name, "version": version(name)} in rows(run, "references")


@pytest.mark.parametrize(
    ("what", "cells"),
    [
        ("models", ["name", "weights", "parameters", "clean accuracy", "resnet18", "11,181,642", "n=10,000"]),
        ("data", ["name", "images", "classes", "fashion-mnist", "10,000"]),
        ("references", ["name", "package", "version", "art", "adversarial-robustness-toolbox"]),
    ],
)
def test_tables(run: Run, what: str, cells: list[str]) -> None:
    code, out, err = run("list", what)
    assert (code, err) == (0, "")
    assert all(cell in out for cell in cells)
    assert max(len(line) for line in out.splitlines()) <= 80
    assert "…" not in out


def test_something_else_cannot_be_listed(run: Run) -> None:
    code, out, err = run("list", "weights")
    assert (code, out, err.count("\n")) == (2, "", 1)
    assert all(what in err for what in ("'weights'", "models", "data", "references"))
