"""What can be named, as a table and as JSON."""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Callable
from dataclasses import replace
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any

import pytest
from jsonschema import Draft202012Validator, ValidationError

import robustbench_fgsm as rf
from robustbench_fgsm.data.registry import DATA_SOURCES
from robustbench_fgsm.models.cards import bundled_cards
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
    assert {(row["name"], row["weights"]) for row in found} == {(card["name"], card["weights"]) for card in bundled_cards()}
    expected = {card["sha256"]: card["clean_accuracy"] for card in bundled_cards()}
    assert [row["clean_accuracy"] for row in found] == list(expected.values())
    assert {row["data"] for row in found} == {"fashion-mnist"}


def test_data_with_their_state(run: Run, tmp_path: Path) -> None:
    (tmp_path / "MNIST").mkdir()
    code, out, _ = run("list", "data", "--json", "--data-root", str(tmp_path))
    states = {row["name"]: row["state"] for row in json.loads(out)["data"]}
    assert code == 0
    assert states.keys() >= {"fashion-mnist", "folder:DIR", "npz:FILE", "wds:PATTERN", "hf-data:NAME"}
    assert [states[name] for name in ("fashion-mnist", "mnist", "cifar10")] == ["ready", "ready", f"not in {tmp_path}"]


def test_data_with_a_missing_package(run: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    missing = replace(DATA_SOURCES.built_in["hf-data"], package="no-such-package")
    monkeypatch.setitem(DATA_SOURCES.built_in, "hf-data", missing)
    assert "pip install 'robustbench-fgsm[hf-data]'" in [row["state"] for row in rows(run, "data")]


def test_sources_with_their_requirements(run: Run) -> None:
    _, out, _ = run("list", "models", "--json")
    sources = {row["name"]: row for row in json.loads(out)["sources"]}
    assert {"bundled", "torchvision", "timm", "robustbench", "hf", "sklearn", "factory", ".pt2", ".onnx"} <= sources.keys()
    assert sources["torchvision"]["version"] == version("torchvision")
    for row in sources.values():
        assert (row["version"] is None) == (row["install"] is not None)


def test_models_by_part_of_their_name(run: Run) -> None:
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


def test_references_with_their_version(run: Run) -> None:
    name = "adversarial-robustness-toolbox"
    expected = {"name": "art", "package": name, "version": version(name), "install": f"pip install {name}"}
    assert expected in rows(run, "references")


def test_missing_references_show_install_commands(run: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    def missing(name: str) -> str:
        raise PackageNotFoundError(name)

    monkeypatch.setattr("robustbench_fgsm.registry.version", missing)
    expected = {"name": "cleverhans", "package": "cleverhans", "version": None}
    assert expected | {"install": "pip install --no-deps cleverhans"} in rows(run, "references")
    text = run("list", "references")[1]
    assert "none: pip install foolbox" in text
    assert max(len(line) for line in text.splitlines()) <= 80


@pytest.mark.parametrize("what", ["models", "data", "references"])
def test_document_has_the_common_fields(run: Run, what: str) -> None:
    document: dict[str, Any] = json.loads(run("list", what, "--json")[1])
    Draft202012Validator(load_schema("list")).validate(document)
    assert (document["status"], document["exit_code"]) == ("complete", 0)
    assert document["invalid_reasons"] == document["warnings"] == []
    assert document["environment"]["package"] == rf.__version__
    assert document["environment"]["device"] == "cpu"
    assert 0 <= document["seconds"]["total"] < 60
    for key in (*load_schema("common")["$defs"]["envelope"]["required"], what):
        with pytest.raises(ValidationError):
            Draft202012Validator(load_schema("list")).validate({k: v for k, v in document.items() if k != key})


def test_references_are_listed_without_torch() -> None:
    script = "import sys; from robustbench_fgsm.cli.main import main\n"
    script += "try: main(['list', 'references', '--json'])\nfinally: sys.stderr.write(str('torch' in sys.modules))"
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=True)
    assert done.stderr == "False"


@pytest.mark.parametrize(
    ("what", "cells"),
    [
        ("models", ["name", "weights", "parameters", "clean accuracy", "resnet18", "11,181,642", "n=10,000"]),
        ("data", ["name", "state", "summary", "fashion-mnist", "ready", "folder:DIR", "clothes"]),
        ("references", ["name", "package", "version", "art", "adversarial-robustness-toolbox"]),
    ],
)
def test_tables(run: Run, what: str, cells: list[str]) -> None:
    code, out, err = run("list", what)
    assert (code, err) == (0, "")
    assert all(cell in out for cell in cells)
    assert max(len(line) for line in out.splitlines()) <= 80
    assert "…" not in out


def test_rejects_an_unknown_list(run: Run) -> None:
    code, out, err = run("list", "weights")
    assert (code, out, err.count("\n")) == (2, "", 1)
    assert all(what in err for what in ("'weights'", "models", "data", "references"))
