"""An option of a command changes the settings of its run exactly if it can change the result or its validity."""

from __future__ import annotations

import inspect
import json
from collections.abc import Callable, Mapping
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace
from typing import Any, cast

import numpy as np
import pytest
import torch

import robustbench_fgsm as rf
from robustbench_fgsm.cli.main import app
from robustbench_fgsm.cli.options import TableFormat
from robustbench_fgsm.engine.plan import PLAIN_PLAN
from robustbench_fgsm.runs.directory import RunDirectory
from robustbench_fgsm.runs.evaluate import evaluate_in_directory
from robustbench_fgsm.runs.evaluation_run import EvaluationRun
from robustbench_fgsm.runs.settings import describe_model, plan_settings, run_settings
from robustbench_fgsm.spec import AttackSpec

Options = dict[str, Any]
Settings = dict[str, Any]

COMMANDS = {
    str(command.name): cast("Callable[..., int]", command.callback)
    for command in app.registered_commands
    if "out" in inspect.signature(cast("Callable[..., int]", command.callback)).parameters
}

BASE: Options = {
    "model": "mlp300",
    "weights": "standard",
    "data": "npz:data.npz",
    "batch_size": "4",
    "device": "cpu",
    "quiet": True,
}
"""Options of every command that has them."""

COMMAND_BASE: Mapping[str, Options] = {
    "attack": {"out": Path("run")},
    "benchmark": {"limit": 12, "references": "none", "levels": "none", "rounds": 2, "memory": False, "threads": 1},
    "compare": {"candidate": "candidate.py:attack"},
    "evaluate": {"distance": True},
    "explain": {"value": ["0.37"]},
    "sweep": {"distance": True},
    "train": {"out": Path("run"), "batch_size": 4, "held_out": 2, "epochs": 1, "weights": "none"},
    "transfer": {"source": ["mlp300:standard"], "target": ["mlp300:standard"]},
}

SETTINGS: Options = {
    "batch_size": "6",
    "candidate": "candidate.py:other",
    "check_masking": True,
    "class_map": Path("classes.json"),
    "common": True,
    "data": "npz:other.npz",
    "data_root": Path("elsewhere"),
    "dtype": "float64",
    "eps": "4/255",
    "eps_scale": "0.5",
    "ignore": "floor",
    "layout": "NCHW",
    "levels": "none,safe",
    "limit": 8,
    "loss": "margin",
    "max_bad": 1,
    "memory": True,
    "model": "mlp600",
    "n": 5000,
    "norm": "2",
    "optimize": "none",
    "per_class": True,
    "pgd_check": 5,
    "references": "art",
    "restarts": 1,
    "rounds": 3,
    "sample": 8,
    "seed": 1,
    "shard_size": 5,
    "source": ["mlp600:standard"],
    "split": "train",
    "stable": True,
    "style": "nhwc",
    "target": ["mlp600:standard"],
    "targeted": "next",
    "threads": 2,
    "value": ["0.38"],
    "weights": "none",
    # training
    "augment": "flip",
    "clamp": False,
    "craft_mode": "eval",
    "early_stop": 1,
    "epochs": 2,
    "held_out": 3,
    "keep": "last",
    "learning_rate": 0.001,
    "method": "fgsm",
    "mix": 0.25,
    "noise": 1.0,
    "optimizer": "sgd",
    "precision": "float32",
    "schedule": "constant",
    "weight_decay": 0.1,
}
"""Another value of each option that can change the result or its validity."""

COMMAND_SETTINGS: Mapping[str, Options] = {
    "attack": {"save_as": "npz"},
    "compare": {"optimize": "safe", "references": "none"},
    "evaluate": {"distance": False, "max_epsilon": 0.25},
    "sweep": {"distance": False, "max_epsilon": 0.25, "targeted": ["next"]},
    "train": {"batch_size": 6, "weights": "standard"},
}

NO_SETTINGS: Options = {
    "csv": Path("tables"),
    "debug": True,
    "device": "auto",
    "find_asr": 0.5,
    "format": TableFormat.markdown,
    "html": Path("page.html"),
    "json": True,
    "junit": Path("junit.xml"),
    "keep_images": 3,
    "log_dir": Path("logs"),
    "max_asr": 0.5,
    "min_robust_accuracy": 0.5,
    "name": "other",
    "plot": Path("plot.png"),
    "quiet": False,
    "strict": True,
    "trust_model_code": True,
    "workers": 1,
}
"""Another value of each option that shows or judges a result, or that cannot change it."""

WITH: Mapping[str, Options] = {
    "sample": {"limit": None},
    "stratified": {"limit": None, "sample": 8},
    "name": {"html": Path("page.html")},
}
"""Options that another option needs."""

ELSEWHERE = {"bounds", "dataset", "download", "image_size", "mean", "num_classes", "out", "std", "threat_model"}
ELSEWHERE |= {"follow_links", "images_key", "labels_from", "labels_key", "shape", "task"}
"""The directory, and options that describe models and data of other sources."""

NOT_TAKEN = {"attack": {"check", "trust_data_code"}, "explain": {"norm"}, "train": {"strict"}}
"""Options that start another action, or that take one value alone."""


class EnteredError(Exception):
    """Carries the settings with which a run directory is entered."""


@pytest.fixture
def settings_of(
    images: rf.ArrayDataset, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, one_thread: None
) -> Callable[..., Settings]:
    """The settings of a command's run with these options, before anything is measured."""
    monkeypatch.chdir(tmp_path)
    batch = next(images.batches(0, 24, 24))
    pixels, labels = (batch.images * 255).round().byte().numpy(), batch.labels.numpy()
    for name, (test, train) in {"data": (slice(12), slice(12, 24)), "other": (slice(12, 24), slice(12))}.items():
        arrays: dict[str, Any] = {
            "x_test": pixels[test],
            "y_test": labels[test],
            "x_train": pixels[train],
            "y_train": labels[train],
        }
        np.savez(tmp_path / name, classes=np.array(images.classes), **arrays)
    Path("classes.json").write_text(json.dumps(images.classes))
    Path("candidate.py").write_text(
        "def attack(model, x, y, epsilon):\n    return x\n\n\ndef other(model, x, y, epsilon):\n    return x\n"
    )

    def enter(directory: RunDirectory) -> None:
        raise EnteredError(directory.settings)

    monkeypatch.setattr(RunDirectory, "__enter__", enter)

    def settings(command: str, **options: Any) -> Settings:
        taken = inspect.signature(COMMANDS[command]).parameters
        given = {name: value for name, value in BASE.items() if name in taken}
        given |= {"out": tmp_path / "run", **COMMAND_BASE.get(command, {}), **options}
        with pytest.raises(EnteredError) as entered:
            COMMANDS[command](**given)
        found: Settings = entered.value.args[0]
        return found

    return settings


@pytest.mark.parametrize("command", COMMANDS)
def test_every_option_is_classified(command: str) -> None:
    known = {*SETTINGS, *COMMAND_SETTINGS.get(command, {}), *NO_SETTINGS, *WITH} | ELSEWHERE | NOT_TAKEN.get(command, set())
    assert {*inspect.signature(COMMANDS[command]).parameters} - known == set()


@pytest.mark.parametrize("command", COMMANDS)
def test_result_options_change_the_settings(command: str, settings_of: Callable[..., Settings]) -> None:
    taken = inspect.signature(COMMANDS[command]).parameters.keys() - NOT_TAKEN.get(command, set())
    base = settings_of(command)
    assert settings_of(command) == base
    changes = SETTINGS | COMMAND_SETTINGS.get(command, {})
    if command == "benchmark":
        del changes["seed"]  # it draws a sample, and nothing else
    same = [
        name
        for name, value in changes.items()
        if name in taken and settings_of(command, **WITH.get(name, {}), **{name: value}) == base
    ]
    assert same == []
    if "stratified" in taken:
        drawn = settings_of(command, limit=None, sample=8)
        assert (
            settings_of(command, limit=None, sample=8, stratified=True)
            != drawn
            != settings_of(command, limit=None, sample=8, seed=1)
        )


@pytest.mark.parametrize("command", COMMANDS)
def test_other_options_change_no_setting(command: str, settings_of: Callable[..., Settings]) -> None:
    taken = inspect.signature(COMMANDS[command]).parameters.keys() - NOT_TAKEN.get(command, set())
    base = settings_of(command)
    other = {
        name: value
        for name, value in NO_SETTINGS.items()
        if name in taken
        and name not in COMMAND_SETTINGS.get(command, {})
        and settings_of(command, **WITH.get(name, {}), **{name: value}) != base
    }
    assert other == {}


@pytest.mark.parametrize("command", COMMANDS)
def test_versions_and_device_are_settings(command: str, settings_of: Callable[..., Settings]) -> None:
    found = settings_of(command)
    assert (found["command"], found["device"]) == (command, "cpu")
    assert (found["package"], found["torch"]) == (rf.__version__, torch.__version__.partition("+")[0])


def test_a_gpu_is_recorded_by_kind(images: rf.ArrayDataset, classifier: rf.TorchClassifier) -> None:
    on_gpu = cast("rf.Classifier", SimpleNamespace(info=replace(classifier.info, weights="none"), device=torch.device("cuda:1")))
    assert run_settings("evaluate", on_gpu, images, None, max_bad=0)["device"] == "cuda"


def test_several_models_and_attacks_are_lists(images: rf.ArrayDataset, classifier: rf.TorchClassifier) -> None:
    found = run_settings("transfer", [classifier, classifier], images, [AttackSpec()], max_bad=0)
    assert (len(found["models"]), len(found["attacks"])) == (2, 1)
    assert not found.keys() & {"model", "attack"}


def test_plan_without_level_has_batch_size() -> None:
    assert plan_settings(replace(PLAIN_PLAN, batch_size=32)) == {"batch_size": 32}


def test_number_of_threads_is_no_setting() -> None:
    plan = replace(PLAIN_PLAN, level="safe")
    assert plan_settings(plan) == plan_settings(replace(plan, threads=7))


@pytest.mark.parametrize("option", [{"mean": 0.5, "std": 0.5}, {"bounds": (0.0, 2.0)}])
def test_model_options_change_the_settings(images: rf.ArrayDataset, option: Options) -> None:
    def described(**options: Any) -> Settings:
        given: Options = {"mean": 0.25, "std": 0.25, "bounds": (0.0, 1.0)} | options
        found = rf.load_classifier("mlp300", weights="none", data="fashion-mnist", device="cpu", **given)
        settings: Settings = run_settings("evaluate", found, images, None, max_bad=0)["model"]["settings"]
        return settings

    assert described(**option) != described()


class Clipped(torch.nn.Module):
    """Network that depends on a number that is neither a weight nor code."""

    def __init__(self, highest: float) -> None:
        super().__init__()
        torch.manual_seed(0)
        self.highest, self.last, self.noise = highest, torch.nn.Linear(784, 10), 0.0

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        logits: torch.Tensor = self.last(x.flatten(1).clamp(max=self.highest))
        return logits + self.noise * torch.randn_like(logits)


def clipped(highest: float, noise: float = 0.0) -> rf.Classifier:
    network = Clipped(highest)
    network.noise = noise
    return rf.wrap(network, 10, device="cpu")


def test_outputs_name_a_network(images: rf.ArrayDataset) -> None:
    one, same, other = (describe_model(clipped(highest), images) for highest in (1.0, 1.0, 0.9))
    assert len(one["outputs_on_noise"]) == 16
    assert one == same != other
    assert one["sha256"] == other["sha256"]


def test_outputs_that_vary_name_no_network(images: rf.ArrayDataset) -> None:
    before = torch.get_rng_state()
    assert "outputs_on_noise" not in describe_model(clipped(1.0, noise=0.1), images)
    assert torch.equal(torch.get_rng_state(), before)


def test_a_run_without_a_directory_looks_at_no_noise(tmp_path: Path, images: rf.ArrayDataset) -> None:
    classifier, calls = clipped(1.0), list[int]()
    assert isinstance(classifier, rf.TorchClassifier)
    classifier.network.register_forward_hook(lambda module, inputs, outputs: calls.append(len(outputs)))
    run = EvaluationRun("evaluate", classifier, images.head(40), (AttackSpec((0.1,)),), PLAIN_PLAN, preflight_warnings=())
    evaluate_in_directory(run, None)
    assert sum(calls) == 2 * 40
    evaluate_in_directory(run, tmp_path / "run")
    assert sum(calls) > 4 * 40 + 2 * 16


def test_another_network_of_equal_weights_and_code(tmp_path: Path, images: rf.ArrayDataset) -> None:
    def evaluate(highest: float) -> Settings:
        run = EvaluationRun("evaluate", clipped(highest), images, (AttackSpec((0.1,)),), PLAIN_PLAN)
        return evaluate_in_directory(run, tmp_path / "run")

    first = evaluate(1.0)
    for unfinished in (False, True):
        if unfinished:
            (tmp_path / "run" / "result.json").unlink()
        with pytest.raises(rf.RunError, match=r"model\.outputs_on_noise \["):
            evaluate(0.9)
    assert evaluate(1.0)["clean"] == first["clean"]
