"""A saved evaluation is the run directory of the command line."""

from __future__ import annotations

import json
import pickle
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from typer.testing import CliRunner

import robustbench_fgsm as rf
from robustbench_fgsm.cli.main import app
from robustbench_fgsm.evaluation import evaluate as evaluate_module
from robustbench_fgsm.runs.directory import settings_in_manifest
from robustbench_fgsm.runs.evaluate import evaluate_in_directory
from robustbench_fgsm.runs.evaluation_run import EvaluationRun
from robustbench_fgsm.runs.ledger import Ledger
from tests.runs.test_settings import clipped

IMAGES = 300


@pytest.fixture(scope="module")
def network() -> Any:
    return rf.load_classifier("mlp300", device="cpu")


@pytest.fixture(scope="module")
def data() -> Any:
    return rf.load_data("fashion-mnist", limit=IMAGES)


def command_line(directory: Path, *words: str) -> Path:
    done = CliRunner().invoke(
        app, [*words, "-m", "mlp300", "--limit", str(IMAGES), "--out", str(directory), "-q", "--keep-images", "0"]
    )
    assert done.exit_code == 0, done.output
    return directory


def document(directory: Path) -> Any:
    found = json.loads((directory / "result.json").read_text(encoding="utf-8"))
    for one in (found, *found.get("evaluations", [])):
        del one["seconds"]
    return found


def outcomes(directory: Path) -> list[Any]:
    return [repr(replace(record, seconds=0.0)) for record in Ledger.of_directory(directory).records()]


def assert_equal_runs(saved: Path, written: Path) -> None:
    assert document(saved) == document(written)
    manifests = [json.loads((place / "manifest.json").read_text(encoding="utf-8")) for place in (saved, written)]
    assert settings_in_manifest(manifests[0]) == settings_in_manifest(manifests[1])
    assert outcomes(saved) == outcomes(written)


@pytest.mark.parametrize("options", [{}, {"targeted": "next", "distance": True}, {"restarts": 1, "seed": 3}], ids=str)
def test_an_evaluation_is_saved_as_by_the_command_line(options: dict[str, Any], network: Any, data: Any, tmp_path: Path) -> None:
    place = rf.evaluate(network, data, "4/255", **options).save(tmp_path / "saved")
    words = [word for name, value in options.items() for word in (f"--{name}", str(value)) if word != "True"]
    assert_equal_runs(place, command_line(tmp_path / "written", "evaluate", "--eps", "4/255", *words))


def test_a_sweep_is_saved_as_by_the_command_line(network: Any, data: Any, tmp_path: Path) -> None:
    sweep = rf.sweep(network, data, "2,4/255", targeted=["none", "next"])
    words = ["sweep", "--eps", "2,4/255", "--targeted", "none", "--targeted", "next"]
    assert_equal_runs(sweep.save(tmp_path / "saved"), command_line(tmp_path / "written", *words))
    assert_equal_runs(
        sweep[1].save(tmp_path / "second"), command_line(tmp_path / "next", "sweep", "--eps", "2,4/255", "--targeted", "next")
    )


def test_checks_are_settings(network: Any, data: Any, tmp_path: Path) -> None:
    place = rf.evaluate(network, data, "4/255", pgd_check=20).save(tmp_path / "saved")
    assert_equal_runs(place, command_line(tmp_path / "written", "evaluate", "--eps", "4/255", "--pgd-check", "20"))


def test_the_command_line_and_the_library_read_it(network: Any, data: Any, tmp_path: Path) -> None:
    evaluation = rf.evaluate(network, data, "4/255")
    run, other = (evaluation.save(tmp_path / name) for name in ("run", "baseline"))
    assert rf.gate(run, other).passed
    assert rf.load_run(run).to_dict()["epsilons"][0]["robust_accuracy"]["n"] == IMAGES
    assert rf.lock(run, tmp_path / "robustness.lock").lock.n == IMAGES
    for words in (["gate", run, "--baseline", other], ["report", run, "-o", tmp_path / "page.html"], ["runs", "show", run]):
        done = CliRunner().invoke(app, [str(word) for word in words])
        assert done.exit_code == 0, done.output
    assert "complete" in CliRunner().invoke(app, ["runs", "list", str(tmp_path)]).output


def test_saving_twice_and_into_another_run(network: Any, data: Any, tmp_path: Path) -> None:
    evaluation = rf.evaluate(network, data, "4/255")
    before = outcomes(evaluation.save(tmp_path / "run"))
    assert outcomes(evaluation.save(tmp_path / "run")) == before
    with pytest.raises(rf.RunError, match="choose another directory"):
        rf.evaluate(network, data, "8/255").save(tmp_path / "run")
    assert outcomes(tmp_path / "run") == before


def test_outputs_on_noise_name_a_wrapped_network(images: rf.ArrayDataset, tmp_path: Path) -> None:
    """Two networks of equal weights and code: only a value that is neither differs."""
    evaluations = [rf.evaluate(clipped(highest), images, 0.1) for highest in (1.0, 0.9)]
    run = EvaluationRun("evaluate", clipped(1.0), images, (evaluations[0].attack,), evaluations[0].plan)
    evaluate_in_directory(run, tmp_path / "written", max_example_images=0)
    evaluations[0].save(tmp_path / "saved")
    saved, written = (json.loads((tmp_path / name / "manifest.json").read_text())["model"] for name in ("saved", "written"))
    assert saved == written
    assert len(saved["outputs_on_noise"]) == 16
    for place in ("saved", "written"):
        with pytest.raises(rf.RunError, match=r"model\.outputs_on_noise \["):
            evaluations[1].save(tmp_path / place)
    copied = pickle.loads(pickle.dumps(evaluations[0]))
    assert copied.save(tmp_path / "saved") == tmp_path / "saved"


def test_an_interrupted_save_is_completed(network: Any, data: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    from robustbench_fgsm.runs.ledger import LedgerStore

    evaluation, keep = rf.evaluate(network, data, "4/255", batch_size=64), LedgerStore.keep

    def interrupted(store: LedgerStore, record: Any) -> None:
        if record.number == 2:
            raise KeyboardInterrupt
        keep(store, record)

    with monkeypatch.context() as patch:
        patch.setattr(LedgerStore, "keep", interrupted)
        with pytest.raises(KeyboardInterrupt):
            evaluation.save(tmp_path / "run")
    assert not (tmp_path / "run" / "result.json").exists()
    evaluation.save(tmp_path / "run")
    assert outcomes(tmp_path / "run") == outcomes(evaluation.save(tmp_path / "whole"))


def test_too_many_images_are_measured_and_not_saved(
    network: Any, data: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(evaluate_module, "MAX_KEPT_OUTCOMES", 2 * IMAGES - 1)
    evaluation = rf.evaluate(network, data, "4/255")
    assert evaluation.n == IMAGES
    with pytest.raises(rf.SettingError, match="measure fewer images or budgets, or run rfgsm evaluate --out"):
        evaluation.save(tmp_path / "run")
    assert not (tmp_path / "run").exists()
    monkeypatch.setattr(evaluate_module, "MAX_KEPT_OUTCOMES", 2 * IMAGES)
    assert rf.evaluate(network, data, "4/255").save(tmp_path / "run").is_dir()


def test_evaluations_of_two_calls_are_refused(network: Any, data: Any, tmp_path: Path) -> None:
    mixed = rf.Sweep([rf.evaluate(network, data, "4/255"), rf.evaluate(network, data, "8/255")])
    with pytest.raises(rf.SettingError, match="in one call"):
        mixed.save(tmp_path / "run")
