"""Commands on real tables whose features have different units: bounds and epsilon of each feature, against a plain loop."""

from __future__ import annotations

import csv
import json
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from sklearn.datasets import load_breast_cancer, load_wine
from torch import Tensor, nn

import robustbench_fgsm as rf

Run = Callable[..., tuple[int, str, str]]

FACTORY = """
import torch
from torch import nn


class Standardised(nn.Module):
    def __init__(self, state):
        super().__init__()
        self.register_buffer("mean", state.pop("mean"))
        self.register_buffer("std", state.pop("std"))
        hidden, features = state["0.weight"].shape
        self.layers = nn.Sequential(nn.Linear(features, hidden), nn.ReLU(), nn.Linear(hidden, len(state["2.bias"])))
        self.layers.load_state_dict(state)

    def forward(self, x):
        return self.layers((x - self.mean) / self.std)


def make():
    return Standardised(torch.load("{file}", weights_only=True))
"""


@dataclass(frozen=True)
class Table:
    """Features (N, F) and labels of a table, logits of a trained network in float64, low, high and a scale of each feature."""

    x: Tensor
    y: Tensor
    low: Tensor
    high: Tensor
    scale: Tensor
    layers: nn.Module
    words: list[str]

    def logits(self, x: Tensor) -> Tensor:
        """Logits in float64 of features in their own units."""
        mean, std = self.x.double().mean(0), self.x.double().std(0)
        found: Tensor = self.layers((x - mean.float().double()) / std.float().double())
        return found

    def attacked(self, budgets: Tensor, norm: float = torch.inf) -> Tensor:
        """Features after one plain step in float64: sign of the gradient, or its direction in units of the budgets."""
        x = self.x.double().requires_grad_()
        (gradient,) = torch.autograd.grad(nn.functional.cross_entropy(self.logits(x), self.y, reduction="sum"), x)
        direction = gradient.sign()
        if norm == 2:
            direction = gradient * budgets / torch.linalg.vector_norm(gradient * budgets, dim=1, keepdim=True)
        return torch.minimum(torch.maximum(x.detach() + budgets * direction, self.low.double()), self.high.double())

    def decidable(self) -> Tensor:
        """Return the features whose gradient is large enough to have one sign in float32 and float64."""
        x = self.x.double().requires_grad_()
        (gradient,) = torch.autograd.grad(nn.functional.cross_entropy(self.logits(x), self.y, reduction="sum"), x)
        scaled = (gradient * self.x.double().std(0)).abs()
        return scaled > 1e-5 * scaled.amax(1, keepdim=True)

    def count(self, x: Tensor) -> int:
        """Number of images that the network has right."""
        return int((self.logits(x.double()).argmax(1) == self.y).sum())


@pytest.fixture(scope="module", params=[load_breast_cancer, load_wine], ids=["breast-cancer", "wine"])
def table(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Table:
    folder, loaded = tmp_path_factory.mktemp("table"), request.param()
    x, y = torch.tensor(loaded.data, dtype=torch.float32), torch.tensor(loaded.target)
    low, high = x.amin(0), x.amax(0)
    torch.manual_seed(0)
    last = nn.Linear(16, len(loaded.target_names))
    layers = nn.Sequential(nn.Linear(x.shape[1], 16), nn.ReLU(), last)
    mean, std = x.double().mean(0).float(), x.double().std(0).float()
    optimizer = torch.optim.Adam(layers.parameters(), 0.01)
    for _ in range(60):
        loss = nn.functional.cross_entropy(layers((x - mean) / std), y)
        optimizer.zero_grad()
        loss.backward()  # type: ignore[no-untyped-call]
        optimizer.step()
    with torch.no_grad():
        last.weight.mul_(0.1)  # no image is saturated, where float32 gives other signs
        last.bias.mul_(0.1)
    scale = std / 10
    scale[::3] = 0
    torch.save({**layers.state_dict(), "mean": mean, "std": std}, folder / "network.pt")
    (folder / "network.py").write_text(FACTORY.replace("{file}", str(folder / "network.pt")))
    np.savez(folder / "data.npz", images=x.numpy(), labels=y.numpy())
    with (folder / "features.csv").open("w", newline="") as file:
        writer = csv.writer(file)
        writer.writerow(["feature", "low", "high", "scale"])
        writer.writerows(zip(loaded.feature_names, low.tolist(), high.tolist(), scale.tolist(), strict=True))
    words = ["--model", f"factory:{folder / 'network.py'}:make", "--num-classes", str(len(loaded.target_names))]
    words += ["--data", f"npz:{folder / 'data.npz'}", "--bounds", str(folder / "features.csv")]
    return Table(x, y, low, high, scale, layers.double(), words)


def features_file(table: Table) -> str:
    return table.words[-1]


@pytest.mark.parametrize("norm", ["inf", "2"])
@pytest.mark.parametrize("scale", ["range", "file"])
def test_evaluate_counts_as_a_plain_loop(run: Run, table: Table, norm: str, scale: str) -> None:
    epsilon, factors = (0.05, table.high - table.low) if scale == "range" else (10.0, table.scale)
    given = "range" if scale == "range" else features_file(table)
    code, out, err = run("evaluate", *table.words, "--eps", str(epsilon), "--eps-scale", given, "--norm", norm, "--json")
    assert code == 0, err
    found = json.loads(out)
    after = table.count(table.attacked(epsilon * factors.double(), float(norm)))
    assert found["clean"]["accuracy"]["count"] == table.count(table.x)
    assert found["epsilons"][0]["robust_accuracy"]["count"] == after < table.count(table.x)
    assert found["attack"]["bounds"] == [table.low.tolist(), table.high.tolist()]
    assert np.array_equal(np.float32(found["attack"]["epsilon_scale"]), factors.numpy())


def test_a_sweep_takes_shares_of_the_range(run: Run, table: Table) -> None:
    code, out, err = run("sweep", *table.words, "--eps", "0.02,0.1", "--eps-scale", "range", "--json")
    assert code == 0, err
    budgets = (table.high - table.low).double()
    after = [at["robust_accuracy"]["count"] for at in json.loads(out)["evaluations"][0]["epsilons"]]
    assert after == [table.count(table.attacked(epsilon * budgets)) for epsilon in (0.02, 0.1)]


def test_the_library_takes_arrays_and_tensors(run: Run, table: Table) -> None:
    network = rf.load_classifier(table.words[1], num_classes=int(table.words[3]), bounds=(table.low.numpy(), table.high))
    evaluation = rf.evaluate(network, (table.x, table.y), epsilon=2, epsilon_scale=table.scale)
    after = table.count(table.attacked(2 * table.scale.double()))
    assert evaluation.to_dict()["epsilons"][0]["robust_accuracy"]["count"] == after
    x_adv = rf.fgsm(network, table.x, table.y, (2 * table.scale)[None], bounds=network.bounds)
    assert torch.equal(x_adv, rf.fgsm(network, table.x, table.y, 2, epsilon_scale=table.scale, bounds=network.bounds))
    clear = table.decidable()
    torch.testing.assert_close(x_adv[clear], table.attacked(2 * table.scale.double()).float()[clear])


@pytest.mark.reference
@pytest.mark.parametrize("scale", ["range", "file"])
def test_compare_agrees_with_art_and_with_a_candidate(run: Run, table: Table, tmp_path: Path, scale: str) -> None:
    (tmp_path / "own.py").write_text(
        "import robustbench_fgsm as rf\n\ndef attack(model, x, y, epsilon):\n"
        f"    return rf.fgsm(model, x, y, epsilon, bounds=({table.low.tolist()}, {table.high.tolist()}))\n"
    )
    given = "range" if scale == "range" else features_file(table)
    words = ["--eps", "0.05", "--eps-scale", given, "--candidate", f"{tmp_path / 'own.py'}:attack", "--json"]
    code, out, err = run("compare", *table.words, *words)
    assert code == 0, err
    found = json.loads(out)
    factors = table.high - table.low if scale == "range" else table.scale
    assert found["ours"]["robust_accuracy"]["count"] == table.count(table.attacked(0.05 * factors.double()))
    assert (found["references"][0]["verdict"], found["candidate"]["verdict"]) == ("agree", "agree")


@pytest.mark.reference
@pytest.mark.parametrize("mistake", ["one epsilon for all features", "a feature of scale 0 moves", "another bound of one feature"])
def test_compare_names_a_candidate_with_another_epsilon_or_bound(run: Run, table: Table, tmp_path: Path, mistake: str) -> None:
    epsilon, high = "epsilon", table.high.clone()
    if mistake == "one epsilon for all features":
        epsilon = "epsilon.max() * (epsilon > 0)"
    elif mistake == "a feature of scale 0 moves":
        epsilon = "torch.where(epsilon > 0, epsilon, 1e-3)"
    else:
        smallest = int((table.high - table.low).argmin())
        high[smallest] = table.low[smallest] + 0.9 * (table.high - table.low)[smallest]
    (tmp_path / "own.py").write_text(
        "import torch\nimport robustbench_fgsm as rf\n\ndef attack(model, x, y, epsilon):\n"
        f"    low, high = torch.tensor({table.low.tolist()}), torch.tensor({high.tolist()})\n"
        f"    x_adv = rf.fgsm(model, x, y, {epsilon}, bounds=None)\n"
        "    return torch.minimum(torch.maximum(x_adv, low), high)\n"
    )
    words = ["--eps", "0.05", "--eps-scale", features_file(table), "--references", "none"]
    code, out, err = run("compare", *table.words, *words, "--candidate", f"{tmp_path / 'own.py'}:attack", "--json")
    assert code == 1, err
    assert json.loads(out)["candidate"]["verdict"] == "disagree"


def test_saved_rows_are_verified_and_are_those_of_the_plain_loop(run: Run, table: Table, tmp_path: Path) -> None:
    out = str(tmp_path / "saved")
    words = ["attack", *table.words, "--eps", "0.05", "--eps-scale", "range", "--save-as", "npz", "--out", out]
    code, _, err = run(*words)
    assert code == 0, err
    (file,) = Path(out).glob("*.npz")
    with np.load(file) as arrays:
        expected = table.attacked(0.05 * (table.high - table.low).double())
        clear = table.decidable().numpy()
        np.testing.assert_allclose(arrays["images"][clear], expected.float().numpy()[clear], rtol=1e-6)
        assert bool((arrays["images"] >= table.low.numpy()).all())
        assert bool((arrays["images"] <= table.high.numpy()).all())
    code, _, err = run("attack", "--check", out, "--trust-model-code")
    assert code == 0, err
    manifest = json.loads((Path(out) / "manifest.json").read_text())
    manifest["attack"]["epsilon_scale"][-1] *= 1.5
    (Path(out) / "manifest.json").write_text(json.dumps(manifest))
    code, stdout, _ = run("attack", "--check", out, "--trust-model-code", "--json")
    assert (code, json.loads(stdout)["replay"]["pixels_differing"] > 0) == (1, True)


def test_a_run_is_continued_with_the_same_numbers_alone(run: Run, table: Table, tmp_path: Path) -> None:
    out = tmp_path / "run"
    words = ["evaluate", *table.words, "--eps", "0.05", "--eps-scale", "range", "--json", "--out", str(out)]
    code, first, err = run(*words)
    assert code == 0, err
    (out / "result.json").unlink()
    code, resumed, err = run("runs", "resume", str(out), "--trust-model-code", "--json")
    assert code == 0, err
    assert json.loads(resumed)["epsilons"] == json.loads(first)["epsilons"]
    nearly = [float(np.nextafter(np.float32(value), np.float32(np.inf))) for value in table.high.tolist()]
    pairs = ";".join(f"{low!r},{high!r}" for low, high in zip(table.low.tolist(), nearly, strict=True))
    code, _, err = run(*[pairs if word == features_file(table) else word for word in words])
    assert (code, "must hold a run with the same settings" in err) == (2, True)


def test_a_gate_and_a_page_take_runs_by_feature(run: Run, table: Table, tmp_path: Path) -> None:
    for name, scale in {"one": "range", "two": "range", "other": features_file(table)}.items():
        run("evaluate", *table.words, "--eps", "0.05", "--eps-scale", scale, "--out", str(tmp_path / name))
    code, out, err = run("gate", str(tmp_path / "one"), "--baseline", str(tmp_path / "two"))
    assert code == 0, err
    assert "epsilon of each feature's range" in " ".join(out.split())
    code, _, err = run("gate", str(tmp_path / "one"), "--baseline", str(tmp_path / "other"))
    assert (code, "must have the same epsilon_scale" in err) == (2, True)
    code, _, err = run("report", str(tmp_path / "one"), "--output", str(tmp_path / "page.html"))
    assert code == 0, err
    assert "--eps-scale range" in (tmp_path / "page.html").read_text()


@pytest.mark.reference
@pytest.mark.parametrize("norm", ["inf", "2"])
def test_pgd_stays_in_the_scaled_ball(table: Table, norm: str) -> None:
    from robustbench_fgsm.evaluation.stronger_attacks import ProjectedGradientDescent
    from robustbench_fgsm.spec import AttackSpec

    network = rf.load_classifier(table.words[1], num_classes=int(table.words[3]), bounds=(table.low, table.high))
    scale = tuple(table.scale.tolist())
    x, y = table.x[:40], table.y[:40]
    spec = AttackSpec((2.0,), float(norm), bounds=network.bounds, epsilon_scale=scale)
    moved = ProjectedGradientDescent(network, None, spec, 20).perturb(x, y, torch.arange(40), 2.0) - x
    moving = table.scale > 0
    assert bool((moved[:, ~moving] == 0).all())
    length = torch.linalg.vector_norm(moved[:, moving] / table.scale[moving], float(norm), dim=1)
    assert bool((length <= 2.0 * (1 + 1e-3)).all())
    assert bool((length > 0).any())
    losses = [nn.functional.cross_entropy(network.predict(images), y) for images in (x + moved, x)]
    assert losses[0] > losses[1]


def mean_and_budgets(table: Table) -> list[str]:
    return [*table.words[:-2], "--eps", "0.05"]


REMEDIES: dict[str, tuple[Callable[[Table], list[str]], str, Callable[[Table], list[str]]]] = {
    "no bounds": (mean_and_budgets, "must lie in [0, 1]", lambda table: [*table.words, "--eps-scale", "range", "--eps", "0.05"]),
    "above the range": (
        lambda table: [*table.words, "--eps", "1.5", "--eps-scale", "range"],
        "must lie in [0, 1], where every feature reaches its bounds",
        lambda table: [*table.words, "--eps", "0.5", "--eps-scale", "range"],
    ),
    "another file": (
        lambda table: [*table.words[:-1], "0,1;0,2", "--eps", "0.05"],
        "one number for each of the",
        lambda table: [*table.words, "--eps", "0.05"],
    ),
    "another scale": (
        lambda table: [*table.words, "--eps-scale", "1,2", "--eps", "0.05"],
        "pass one number for each pair",
        lambda table: [*table.words, "--eps", "0.05", "--eps-scale", features_file(table)],
    ),
}


@pytest.mark.parametrize("name", REMEDIES)
def test_remedies_work(run: Run, table: Table, name: str) -> None:
    wrong, message, remedied = REMEDIES[name]
    code, _, err = run("evaluate", *wrong(table))
    assert (code, message in err) == (2, True), err
    code, _, err = run("evaluate", *remedied(table))
    assert code == 0, err


def test_one_epsilon_for_features_of_different_units_is_named_and_the_remedy_is_silent(run: Run, table: Table) -> None:
    _, out, _ = run("evaluate", *table.words, "--eps", "0.05", "--json")
    (warning,) = [text for text in json.loads(out)["warnings"] if "one epsilon for features" in text]
    assert "pass --eps-scale range" in warning
    _, out, _ = run("evaluate", *table.words, "--eps", "0.05", "--eps-scale", "range", "--json")
    assert not [text for text in json.loads(out)["warnings"] if "feature" in text]


@pytest.mark.parametrize(
    ("command", "options", "message"),
    [
        ("attack", ["--save-as", "png", "--out", "saved"], "use --save-as safetensors or npz"),
        ("explain", ["0.4"], "use evaluate"),
        ("compare", ["--references", "foolbox"], "use --references art"),
        ("compare", ["--eps-scale", "range", "--norm", "2"], "use evaluate, or leave the scale out"),
    ],
)
def test_what_takes_no_numbers_by_feature_says_so(
    run: Run, table: Table, monkeypatch: pytest.MonkeyPatch, tmp_path: Path, command: str, options: list[str], message: str
) -> None:
    monkeypatch.chdir(tmp_path)
    code, _, err = run(command, *options, *table.words, "--eps", "0.05")
    assert (code, message in err, len(err.strip().splitlines()) <= 2) == (2, True, True), err


def test_a_benchmark_runs_on_a_table(run: Run, table: Table) -> None:
    words = ["--eps", "0.05", "--references", "none", "--levels", "none", "--rounds", "1", "--no-memory", "--limit", "32", "--json"]
    code, out, err = run("benchmark", *table.words, *words)
    assert code == 0, err
    found: dict[str, Any] = json.loads(out)
    ours, bare = ({at["robust_accuracy"]["count"] for at in one["epsilons"]} for one in found["contenders"][:2])
    assert ours == bare


@pytest.mark.parametrize("option", ["--bounds", "--eps-scale"])
@pytest.mark.parametrize("command", ["evaluate", "sweep", "compare", "attack", "transfer"])
def test_a_file_with_the_features_in_another_order_is_named(
    run: Run, table: Table, tmp_path: Path, command: str, option: str
) -> None:
    rows = list(csv.reader(Path(features_file(table)).read_text(encoding="utf-8").splitlines()))
    reordered = tmp_path / "reordered.csv"
    reordered.write_text("\n".join(",".join(row) for row in [rows[0], *rows[:0:-1]]), encoding="utf-8")
    names = [row[0] for row in rows[1:]]
    data = tmp_path / "data.csv"
    np.savetxt(data, np.c_[table.y, table.x], delimiter=",", header=",".join(["target", *names]), comments="")
    words = [*table.words[:4], "--data", str(data), "--bounds", features_file(table), "--eps-scale", features_file(table)]
    words[words.index(option) + 1] = str(reordered)
    words[:2] = ["--source", words[1]] if command == "transfer" else words[:2]
    words += ["--out", str(tmp_path / "saved")] if command == "attack" else []
    code, _, err = run(command, *words)
    assert (code, len(err.splitlines())) == (2, 1)
    expected = f"must have its rows in the order of the data's columns, got {names[-1]} in row 1: put {names[0]} there"
    assert err == f"rfgsm: {option} {reordered} {expected}\n"


@pytest.mark.parametrize("change", [str, str.upper, lambda name: f"column {name}"], ids=["equal", "capitals", "other-names"])
def test_a_file_in_the_order_of_the_data_gives_the_numbers_of_its_rows(
    run: Run, table: Table, tmp_path: Path, change: Callable[[str], str]
) -> None:
    rows = list(csv.reader(Path(features_file(table)).read_text(encoding="utf-8").splitlines()))
    data, features = tmp_path / "data.csv", tmp_path / "features.csv"
    header = ",".join(["target", *(row[0] for row in rows[1:])])
    np.savetxt(data, np.c_[table.y, table.x], delimiter=",", header=header, comments="")
    renamed = [rows[0], *([change(name), *numbers] for name, *numbers in rows[1:])]
    features.write_text("\n".join(",".join(row) for row in renamed), encoding="utf-8")
    words = [*table.words[:4], "--data", str(data), "--bounds", str(features), "--eps", "10", "--eps-scale", str(features)]
    code, out, err = run("evaluate", *words, "--json")
    assert code == 0, err
    after = table.count(table.attacked(10 * table.scale.double()))
    assert json.loads(out)["epsilons"][0]["robust_accuracy"]["count"] == after


@pytest.mark.parametrize(("content", "expected"), [(b"target,\xff\n1,2\n", "must be text in UTF-8"), (b"", "got an empty file")])
def test_a_table_that_cannot_be_read_is_one_line(run: Run, table: Table, tmp_path: Path, content: bytes, expected: str) -> None:
    data = tmp_path / "data.csv"
    data.write_bytes(content)
    code, _, err = run("evaluate", *table.words[:4], "--data", str(data), "--bounds", features_file(table))
    assert (code, len(err.splitlines())) == (2, 1)
    assert expected in err
