"""Test multi-label networks against a loop in float64, ART and scikit-learn: counts, refusals, and forms of data."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from sklearn.metrics import accuracy_score, hamming_loss, multilabel_confusion_matrix
from torch import Tensor, nn
from torch.nn import functional
from torch.utils.data import DataLoader, TensorDataset

import robustbench_fgsm as rf
from robustbench_fgsm.engine.run_pieces import RunContext
from robustbench_fgsm.errors import DataError, ModelError, RfgsmError, SettingError
from robustbench_fgsm.evaluation.evaluate import run_attacks
from robustbench_fgsm.options import AttackOptions
from robustbench_fgsm.spec import PIXEL_BOUNDS

N, K = 60, 5
EPSILON = 0.06
GENERATOR = torch.Generator().manual_seed(0)
IMAGES = torch.rand(N, 3, 4, 4, generator=GENERATOR)
NAMES = ("cat", "dog", "sky", "sea", "car")


def heads(last: nn.Module | None = None) -> nn.Sequential:
    """Return a linear network with one output for each label."""
    layer = nn.Linear(48, K)
    nn.init.normal_(layer.weight, generator=torch.Generator().manual_seed(1))
    nn.init.zeros_(layer.bias)
    return nn.Sequential(nn.Flatten(), layer, last or nn.Identity())


with torch.no_grad():
    LOGITS = heads()(IMAGES)
    LABELS = (LOGITS + 0.7 * torch.randn(N, K, generator=GENERATOR) > 0).long()
    LABELS[0] = 0


def by_hand(epsilon: float = EPSILON) -> tuple[np.ndarray[Any, Any], np.ndarray[Any, Any]]:
    """Return the labels predicted before and after the attack, computed in float64."""
    network, leaf = heads().double(), IMAGES.double().requires_grad_()
    loss = functional.binary_cross_entropy_with_logits(network(leaf), LABELS.double(), reduction="sum")
    (gradient,) = torch.autograd.grad(loss, leaf)
    adversarial = (leaf + epsilon * gradient.sign()).clamp(0, 1)
    before, after = ((network(x) > 0).long().numpy() for x in (leaf.detach(), adversarial.detach()))
    return before, after


def model(last: nn.Module | None = None) -> rf.TorchClassifier:
    return rf.wrap(heads(last), K, task="multilabel", classes=NAMES)


@pytest.mark.parametrize("last", [nn.Identity(), nn.Sigmoid()], ids=["logits", "sigmoids"])
@pytest.mark.parametrize("batch_size", [1, 7, 64])
@pytest.mark.parametrize("optimize", ["none", "safe", "max"])
def test_counts_of_a_loop_by_hand(last: nn.Module, batch_size: int, optimize: str) -> None:
    before, after = by_hand()
    found = rf.evaluate(model(last), (IMAGES, LABELS), EPSILON, batch_size=batch_size, optimize=optimize).to_dict()
    y, at = LABELS.numpy(), found["epsilons"][0]
    assert found["clean"]["accuracy"]["value"] == accuracy_score(y, before)
    assert at["robust_accuracy"]["value"] == accuracy_score(y, after)
    assert found["clean"]["labels"]["hamming_loss"]["value"] == pytest.approx(hamming_loss(y, before))
    assert at["labels"]["hamming_loss"]["value"] == pytest.approx(hamming_loss(y, after))
    fooled = (before == y) & (after != y)
    success = at["labels"]["attack_success_rate"]
    assert (success["count"], success["n"]) == (fooled.sum(), (before == y).sum())
    matrices = zip(multilabel_confusion_matrix(y, before), multilabel_confusion_matrix(y, after), at["per_class"], strict=True)
    for k, (clean, adversarial, result) in enumerate(matrices):
        assert (result["clean_confusion"], result["confusion"]) == (clean.tolist(), adversarial.tolist())
        assert (result["name"], result["n"], result["clean_correct"]) == (NAMES[k], N, (before == y)[:, k].sum())
        assert result["robust_accuracy"]["count"] == (after == y)[:, k].sum()
        rate = result["attack_success_rate"]
        assert (rate["count"], rate["n"]) == (fooled[:, k].sum(), (before == y)[:, k].sum())
    whole = (before == y).all(1)
    success = at["attack_success_rate"]
    assert (success["count"], success["n"]) == ((whole & (after != y).any(1)).sum(), whole.sum())
    assert at["flip_rate"]["count"] == (before != after).any(1).sum()
    assert (found["clean"]["confusion"], at["confusion"], at["transition"]) == (None, None, None)


def test_intervals_over_labels_are_clustered_by_image() -> None:
    before, after = by_hand()
    found = rf.evaluate(model(), (IMAGES, LABELS), EPSILON)
    rates, y = found.tallies[0].label_rates, LABELS.numpy()
    assert rates is not None
    assert rates.clean_accuracy.interval == pytest.approx(rf.clustered_interval((before == y).sum(1), [K] * N))
    right = (before == y).sum(1)
    fooled = ((before == y) & (after != y)).sum(1)
    assert rates.attack_success_rate.interval == pytest.approx(rf.clustered_interval(fooled[right > 0], right[right > 0]))


@pytest.mark.reference
@pytest.mark.parametrize("last", [nn.Identity(), nn.Sigmoid()], ids=["logits", "sigmoids"])
@pytest.mark.parametrize("norm", ["inf", "2"])
def test_art_agrees(last: nn.Module, norm: str) -> None:
    found = rf.compare(model(last), (IMAGES, LABELS), EPSILON, norm=norm)
    assert found.verdict == "agree"
    (art,) = found.references
    assert art.timed_tally.tally.label_rates == found.ours.tally.label_rates
    assert art.agreement.predictions_agree == N


class SummedBinaryCrossEntropy(nn.Module):
    def forward(self, outputs: Tensor, rows: Tensor) -> Tensor:
        return functional.binary_cross_entropy_with_logits(outputs, rows, reduction="sum")


@pytest.mark.reference
def test_arts_own_labels_of_several_ones_are_fractions() -> None:
    """ART's attack divides label rows by their sum, so that it attacks other labels, and NaN for an image without labels."""
    from art.attacks.evasion import FastGradientMethod
    from art.estimators.classification import PyTorchClassifier

    loss = SummedBinaryCrossEntropy()  # ART gives class indices to PyTorch's own, which then raises an error
    estimator = PyTorchClassifier(nn.Sequential(*heads()), loss, (3, 4, 4), K, clip_values=(0, 1), device_type="cpu")
    with np.errstate(invalid="ignore"):
        theirs = FastGradientMethod(estimator, eps=EPSILON).generate(IMAGES.numpy(), LABELS.float().numpy())
    ours = rf.fgsm(model(), IMAGES, LABELS, EPSILON).numpy()
    one = LABELS.sum(1).numpy() == 1
    assert np.array_equal(theirs[one], ours[one])
    assert not np.array_equal(theirs, ours)


def test_sweep_and_loss_by_name() -> None:
    evaluations = rf.sweep(model(nn.Sigmoid()), (IMAGES, LABELS), [0.02, EPSILON], loss="bce")
    assert evaluations[0].to_dict()["epsilons"] == rf.sweep(model(), (IMAGES, LABELS), [0.02, EPSILON])[0].to_dict()["epsilons"]
    for tally, epsilon in zip(evaluations[0].tallies, (0.02, EPSILON), strict=True):
        assert tally.robust_accuracy.count == (by_hand(epsilon)[1] == LABELS.numpy()).all(1).sum()


def test_pieces_and_one_pass_count_alike() -> None:
    whole = rf.evaluate(model(), (IMAGES, LABELS), EPSILON)
    data = rf.load_data((IMAGES, LABELS), task="multilabel")
    spec = AttackOptions(EPSILON).to_spec(PIXEL_BOUNDS)

    class Store:
        def __init__(self) -> None:
            self.kept: list[Any] = []

        def records(self) -> Any:
            return iter(())

        def keep(self, record: Any) -> None:
            self.kept.append(record)

    store = Store()
    (pieces,) = run_attacks(model(), data, [spec], context=RunContext(store=store))
    assert pieces.to_dict()["epsilons"] == whole.to_dict()["epsilons"]
    assert store.kept


class Samples(torch.utils.data.Dataset[Any]):
    def __len__(self) -> int:
        return N

    def __getitem__(self, index: int) -> tuple[Tensor, Tensor]:
        return IMAGES[index], LABELS[index].float()


def generator() -> Any:
    return ((image, labels) for image, labels in zip(IMAGES, LABELS, strict=True))


FORMS: dict[str, Callable[[], Any]] = {
    "tensors": lambda: (IMAGES, LABELS),
    "arrays": lambda: (IMAGES.numpy(), LABELS.numpy().astype(np.uint8)),
    "floats": lambda: (IMAGES, LABELS.float()),
    "flags": lambda: (IMAGES, LABELS.bool()),
    "lists": lambda: (IMAGES, LABELS.tolist()),
    "mapping": lambda: {"images": IMAGES, "labels": LABELS},
    "TensorDataset": lambda: TensorDataset(IMAGES, LABELS),
    "DataLoader": lambda: DataLoader(TensorDataset(IMAGES, LABELS), batch_size=7),
    "data set": Samples,
    "DataLoader of a data set": lambda: DataLoader(Samples(), batch_size=7, shuffle=True),
    "iterator of samples": generator,
    "iterator of batches": lambda: iter(DataLoader(Samples(), batch_size=7)),
    "ArrayDataset": lambda: rf.ArrayDataset("x", IMAGES, LABELS, NAMES, task="multilabel"),
    "load_data": lambda: rf.load_data((IMAGES, LABELS), task="multilabel"),
}


@pytest.mark.parametrize("form", FORMS)
def test_each_form_of_data_gives_equal_counts(form: str) -> None:
    expected = rf.evaluate(model(), (IMAGES, LABELS), EPSILON)
    found = rf.evaluate(model(), FORMS[form](), EPSILON)
    assert found.to_dict()["epsilons"] == expected.to_dict()["epsilons"]
    assert found.data["task"] == "multilabel"


def test_one_hot_rows_are_labels_too() -> None:
    rows = functional.one_hot(torch.arange(N) % K)
    found = rf.evaluate(model(), (IMAGES, rows), EPSILON)
    assert found.clean_accuracy.count == ((LOGITS > 0).long() == rows).all(1).sum()


MULTI_HOT = "pass --task multilabel .* task='multilabel' to rf.wrap and rf.load_data"


@pytest.mark.parametrize("command", [rf.evaluate, rf.sweep, rf.compare])
def test_tasks_of_network_and_labels_must_be_equal(command: Any) -> None:
    multi_class, classes = rf.wrap(heads(), K), torch.arange(N) % K
    with pytest.raises(DataError, match=MULTI_HOT):
        command(multi_class, (IMAGES, LABELS))
    with pytest.raises(DataError, match=MULTI_HOT):
        command(heads(), rf.load_data((IMAGES, LABELS), task="multilabel"))
    with pytest.raises(DataError, match=r"must have multi-hot labels \(N, K\) for task multilabel, got int64 of shape \(60,\)"):
        command(model(), (IMAGES, classes))
    with pytest.raises(DataError, match="use --loss bce"):
        command(model(), rf.ArrayDataset("x", IMAGES, classes, NAMES))
    assert command(multi_class, (IMAGES, classes), loss="bce-with-logits")  # the remedy


@pytest.mark.parametrize(
    ("command", "problem"),
    [
        (lambda data: rf.transfer([model()], [model()], data), "one class an image"),
        (lambda data: rf.train(rf.wrap(heads(), K), data, epochs=1), "one class an image"),
        (lambda data: rf.explain(rf.wrap(heads(), K), data, 0.5), "one class an image"),
        (lambda data: rf.benchmark(rf.wrap(heads(), K), data, rounds=1, memory=False, references=[]), "one class an image"),
    ],
    ids=["transfer", "train", "explain", "benchmark"],
)
def test_other_commands_refuse_several_labels(command: Any, problem: str) -> None:
    for data in ((IMAGES, LABELS), rf.load_data((IMAGES, LABELS), task="multilabel")):
        with pytest.raises(DataError, match=problem):
            command(data)


@pytest.mark.parametrize(
    ("settings", "problem"),
    [
        ({"targeted": "next"}, "targeted next needs one class an image"),
        ({"targeted": "least-likely"}, "leave targeted out"),
        ({"restarts": 2}, "leave restarts out"),
        ({"stable": True}, "leave stable out"),
        ({"loss": "margin"}, "takes loss ce, bce or bce-with-logits"),
        ({"pgd_check": 5}, "leave them out"),
        ({"check_masking": True}, "leave them out"),
    ],
    ids=str,
)
def test_settings_of_one_class_an_image_are_refused(settings: dict[str, Any], problem: str) -> None:
    with pytest.raises(SettingError, match=problem):
        rf.evaluate(model(), (IMAGES, LABELS), EPSILON, **settings)
    assert rf.evaluate(model(), (IMAGES, LABELS), EPSILON).n == N  # without them


def test_a_sweep_refuses_any_target() -> None:
    with pytest.raises(SettingError, match="targeted random needs one class an image"):
        rf.sweep(model(), (IMAGES, LABELS), [EPSILON], targeted=["none", "random"])


def test_the_wrong_loss_is_named() -> None:
    with pytest.raises(ModelError, match="use --loss bce"):
        rf.evaluate(model(nn.Sigmoid()), (IMAGES, LABELS), loss="bce-with-logits")
    with pytest.raises(ModelError, match="use --loss bce-with-logits"):
        rf.evaluate(model(), (IMAGES, LABELS), loss="bce")


@pytest.mark.parametrize("last", [nn.Identity(), nn.Sigmoid()], ids=["logits", "sigmoids"])
def test_a_warning_says_what_the_outputs_are_and_strict_takes_it(last: nn.Module) -> None:
    kind = "a logit, predicted above 0" if isinstance(last, nn.Identity) else "a sigmoid, predicted above 0.5"
    assert kind in rf.evaluate(model(last), (IMAGES, LABELS), EPSILON, strict=True).warnings[0]


class MissingFor(nn.Module):
    """Logits that are not a number for one label of every third image."""

    def forward(self, z: Tensor) -> Tensor:
        rows = (torch.arange(len(z)) % 3 == 0)[:, None] & (torch.arange(K) == 2)
        return z.masked_fill(rows, torch.nan)


def test_outputs_that_are_not_finite_are_no_prediction() -> None:
    found = rf.evaluate(model(MissingFor()), (IMAGES, LABELS), EPSILON, batch_size=60)
    tally, (before, _) = found.tallies[0], by_hand()
    known = np.arange(N) % 3 != 0
    assert (found.exit_code, tally.nonfinite_before) == (1, (~known).sum())
    right = (before == LABELS.numpy()) & (known[:, None] | (np.arange(K) != 2))
    assert tally.label_rates is not None
    assert tally.label_rates.clean_accuracy.count == right.sum()
    assert tally.clean_accuracy.count == right.all(1).sum()
    assert sum(map(sum, tally.per_class(NAMES)[2].to_dict()["clean_confusion"])) == known.sum()


def test_a_limit_draws_at_random() -> None:
    data = rf.load_data((IMAGES, LABELS), task="multilabel", limit=20, seed=3)
    chosen = np.sort(np.random.default_rng(3).choice(N, 20, replace=False))
    assert torch.cat([batch.ids for batch in data]).tolist() == chosen.tolist()
    assert len(rf.load_data((IMAGES, LABELS), task="multilabel", limit=20, sample="first")) == 20
    with pytest.raises(SettingError, match="pass --sample random"):
        rf.load_data((IMAGES, LABELS), task="multilabel", limit=20, sample="stratified")
    assert len(rf.load_data((IMAGES, LABELS), task="multilabel", limit=20, sample="random")) == 20


@pytest.mark.parametrize("format_", ["safetensors", "npz", "png"])
def test_saved_images_are_verified_and_read_again(format_: str, tmp_path: Path) -> None:
    data = rf.load_data((IMAGES, LABELS), task="multilabel")
    saved = rf.save_adversarial(model(), data, tmp_path / "out", EPSILON, format=format_, shard_size=25)
    tally = rf.evaluate(model(), data, EPSILON).tallies[0]
    assert saved.tally.label_rates == tally.label_rates
    assert saved.tally.robust_accuracy.count == tally.robust_accuracy.count
    again = rf.check_adversarial(tmp_path / "out", classifier=model(), data=data)
    assert again.verified
    assert rf.save_adversarial(model(), data, tmp_path / "out", EPSILON, format=format_, shard_size=25).to_dict() == saved.to_dict()


def test_predictions_that_differ_by_one_label_disagree(tmp_path: Path) -> None:
    place = tmp_path / "adversarial.npz"
    np.savez(place, images=rf.fgsm(model(), IMAGES, 1 - LABELS, EPSILON).numpy())
    found = rf.compare(model(), (IMAGES, LABELS), EPSILON, references=[], candidate=str(place))
    assert found.candidate is not None
    after, theirs = by_hand()[1], (heads()(rf.fgsm(model(), IMAGES, 1 - LABELS, EPSILON)) > 0).long().numpy()
    assert found.candidate.agreement.predictions_agree == (after == theirs).all(1).sum() < N


def test_more_labels_than_outputs() -> None:
    with pytest.raises(RfgsmError, match="5 classes, got 6"):
        rf.evaluate(model(), (IMAGES, torch.cat([LABELS, LABELS[:, :1]], 1)))


@pytest.mark.parametrize("last", [nn.Softmax(1), nn.LogSoftmax(1)])
def test_a_softmax_has_no_labels(last: nn.Module) -> None:
    torch.manual_seed(0)
    x = torch.rand(20, 6)
    body = nn.Linear(6, 4)
    y = (torch.rand(20, 4) > 0.5).long()
    with pytest.raises(ModelError, match=r"a sigmoid or a logit for each label, got .* which sum to 1: leave task multilabel out"):
        rf.evaluate(rf.wrap(nn.Sequential(body, last), 4, task="multilabel"), (x, y), 0.1)


def test_two_sigmoids_that_exclude_each_other_are_named_by_their_loss() -> None:
    torch.manual_seed(0)
    x = torch.rand(20, 6)
    network = nn.Sequential(nn.Linear(6, 2), nn.Softmax(1))
    y = torch.eye(2).long()[network(x).argmax(1)]
    classifier = rf.wrap(network, 2, task="multilabel")
    with pytest.raises(ModelError, match=r"loss='bce'\) if these are sigmoids"):
        rf.evaluate(classifier, (x, y), 0.1)
    assert rf.evaluate(classifier, (x, y), 0.1, loss="bce").tallies[0].clean_accuracy.value == 1
