"""A number from separate code with a mistake is traced back to this mistake."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import fields, replace
from itertools import pairwise

import pytest
import torch
from torch import Tensor, nn
from torch.nn import functional

import robustbench_fgsm as rf
from robustbench_fgsm.data.sources.fashion_mnist import load_fashion_mnist
from robustbench_fgsm.explanation import explain
from robustbench_fgsm.explanation.claim import parse_claims
from robustbench_fgsm.explanation.result import Hypothesis
from robustbench_fgsm.variants.stages import STEPS
from robustbench_fgsm.variants.variant import RIGHT_VARIANT, Variant

Subject = tuple[rf.TorchClassifier, rf.ArrayDataset]

EPSILON = 8 / 255


@pytest.fixture(scope="module")
def subject() -> Subject:
    """A small convolutional network that sees images normalised."""
    classifier = rf.load_classifier("smallcnn", device="cpu")
    assert isinstance(classifier, rf.TorchClassifier)
    return classifier, load_fashion_mnist().head(100)


@pytest.fixture(scope="module")
def linear_subject() -> Subject:
    """A linear network that sees images normalised, with labels that it predicts but for every fifth image."""
    torch.manual_seed(0)
    classifier = rf.wrap(nn.Sequential(nn.Flatten(), nn.Linear(16, 4)), 4, mean=0.5, std=0.25)
    x = torch.rand(200, 1, 4, 4)
    y = (classifier.predict(x).argmax(1) + (torch.arange(200) % 5 == 0)) % 4
    return classifier, rf.ArrayDataset("made", x, y, tuple("abcd"))


@pytest.fixture(scope="module")
def measured(subject: Subject) -> rf.Explanation:
    """Counts of all attacks; other claims follow from these counts."""
    return rf.explain(*subject, "0.5", EPSILON)


def claiming(explanation: rf.Explanation, text: str, n: int | None = None) -> rf.Explanation:
    return replace(explanation, claims=parse_claims(text, n))


def all_of(data: rf.Dataset) -> tuple[Tensor, Tensor]:
    (batch,) = data.batches(0, len(data), len(data))
    return batch.images, batch.labels


def gradient(loss: Callable[[Tensor], Tensor], x: Tensor) -> Tensor:
    leaf = x.clone().requires_grad_()
    return torch.autograd.grad(loss(leaf).sum(), leaf)[0]


def share(right: Tensor) -> str:
    """With more digits than the count among the images needs."""
    return f"{right.double().mean().item():.4f}"


def fitting(explanation: rf.Explanation) -> list[Hypothesis]:
    return [found for found in explanation.explanations if found.fits]


def exact(explanation: rf.Explanation, definition: str) -> list[str]:
    """Names of all that give the claim to its digits by that definition."""
    found = [found for found in fitting(explanation) if found.definition == definition and found.distance == 0]
    return [name for one in found for name in (one.variant.name, *one.also)]


def normalised_epsilon(classifier: rf.TorchClassifier, x: Tensor, y: Tensor) -> Tensor:
    """As a tutorial does it: the step is taken of the normalised image, and clipped in pixel space."""
    mean, std = classifier.network.mean, classifier.network.std
    assert isinstance(mean, Tensor)
    assert isinstance(std, Tensor)
    inner = classifier.network.network
    assert isinstance(inner, nn.Module)
    z = (x.expand(-1, 1, -1, -1) - mean) / std
    moved = z + EPSILON * gradient(lambda z: functional.cross_entropy(inner(z), y, reduction="none"), z).sign()
    return (moved * std + mean).clamp(0, 1)


def double_softmax(classifier: rf.TorchClassifier, x: Tensor, y: Tensor) -> Tensor:
    return stepped(x, gradient(lambda x: functional.cross_entropy(classifier(x).softmax(1), y, reduction="none"), x))


def nll_on_logits(classifier: rf.TorchClassifier, x: Tensor, y: Tensor) -> Tensor:
    return stepped(x, gradient(lambda x: -classifier(x)[torch.arange(len(y)), y], x))


def offset(classifier: rf.TorchClassifier, x: Tensor, y: Tensor) -> Tensor:
    return stepped(x, gradient(lambda x: functional.cross_entropy(classifier(x), (y + 1) % 10), x))


def predicted(classifier: rf.TorchClassifier, x: Tensor, y: Tensor) -> Tensor:
    own = classifier(x).argmax(1)
    return stepped(x, gradient(lambda x: functional.cross_entropy(classifier(x), own, reduction="none"), x))


def downhill(classifier: rf.TorchClassifier, x: Tensor, y: Tensor) -> Tensor:
    return stepped(x, -gradient(lambda x: functional.cross_entropy(classifier(x), y, reduction="none"), x))


def divided_twice(classifier: rf.TorchClassifier, x: Tensor, y: Tensor) -> Tensor:
    uphill = gradient(lambda x: functional.cross_entropy(classifier(x), y, reduction="none"), x).sign()
    return (x + EPSILON / 255 * uphill).clamp(0, 1)


def truncated(classifier: rf.TorchClassifier, x: Tensor, y: Tensor) -> Tensor:
    return (right(classifier, x, y) * 255).to(torch.uint8).float() / 255


def right(classifier: rf.TorchClassifier, x: Tensor, y: Tensor) -> Tensor:
    return stepped(x, gradient(lambda x: functional.cross_entropy(classifier(x), y, reduction="none"), x))


def stepped(x: Tensor, uphill: Tensor) -> Tensor:
    return (x + EPSILON * uphill.sign()).clamp(0, 1)


@pytest.mark.parametrize(
    ("mistaken", "name"),
    [
        (normalised_epsilon, "normalised-epsilon (times std)"),
        (double_softmax, "double-softmax"),
        (nll_on_logits, "nll-on-logits"),
        (offset, "label-offset (shifted by 1)"),
        (predicted, "predicted-labels"),
        (downhill, "wrong-sign"),
        (divided_twice, "epsilon-scale-255 (over 255)"),
        (truncated, "truncated-8bit (truncated)"),
        (right, "the right attack"),
    ],
)
def test_finds_the_mistake(
    subject: Subject, measured: rf.Explanation, mistaken: Callable[[rf.TorchClassifier, Tensor, Tensor], Tensor], name: str
) -> None:
    classifier, data = subject
    x, y = all_of(data)
    number = share(classifier.predict(mistaken(classifier, x, y)).argmax(1) == y)
    explanation = claiming(measured, number)
    assert name in exact(explanation, "robust_accuracy")
    order = [(found.exact, not found.variant.mistakes) for found in fitting(explanation)]
    assert order == sorted(order, reverse=True)
    assert [found.variant for found in explanation.honest] == [RIGHT_VARIANT] * 8


@pytest.mark.parametrize(
    "definition", ["attack_success_rate", "error_rate", "flip_rate", "accuracy_drop", "accuracy_difference", "accuracy_of_correct"]
)
def test_definitions_by_masks(subject: Subject, measured: rf.Explanation, definition: str) -> None:
    classifier, data = subject
    x, y = all_of(data)
    before, after = classifier.predict(x).argmax(1), classifier.predict(right(classifier, x, y)).argmax(1)
    correct = before == y
    number = {
        "attack_success_rate": (after != y)[correct].double().mean(),
        "error_rate": (after != y).double().mean(),
        "flip_rate": (after != before).double().mean(),
        "accuracy_drop": 1 - (after == y).double().mean() / correct.double().mean(),
        "accuracy_difference": correct.double().mean() - (after == y).double().mean(),
        "accuracy_of_correct": (after == y)[correct].double().mean(),
    }[definition].item()
    explanation = claiming(measured, f"{number:.5f}")
    assert "the right attack" in exact(explanation, definition)
    first = explanation.explanations[0]
    assert (first.variant, first.distance) == (RIGHT_VARIANT, 0)
    assert math.isclose(first.rate.value or 0, number, abs_tol=5e-6)


@pytest.mark.parametrize("rule", ["none", "next", "least-likely"])
def test_honest_figures_match_evaluate(subject: Subject, rule: str) -> None:
    data = subject[1].head(40)
    explanation = rf.explain(subject[0], data, 0.5, targeted=rule)
    (tally,) = rf.evaluate(subject[0], data, targeted=rule).tallies
    assert explanation.correct_tally.adversarial.tolist() == tally.adversarial.tolist()
    found = {found.definition: found.rate for found in explanation.honest}
    assert found["attack_success_rate"] == tally.attack_success_rate
    assert found.get("target_hit_rate") == tally.target_hit_rate
    assert ("accuracy_of_correct" in found) == (rule == "none")


def test_impossible_number_has_no_match(measured: rf.Explanation) -> None:
    """In the middle of the widest gap between all rates, as if it were found on many images, and so without sampling error."""
    exact_tallies = {variant: (multiplied(tally, 10_000),) for variant, (tally,) in measured.tallies.items()}
    rates = sorted({max(found.rate.value or 0.0, 0.0) for found in measured.explanations})
    gap, low = max((high - low, low) for low, high in pairwise(rates))
    explanation = claiming(replace(measured, tallies=exact_tallies), f"{low + gap / 2:.6f}")
    assert fitting(explanation) == []
    assert explanation.exit_code == 0
    nearest = min(found.distance for found in explanation.explanations if found.distance is not None)
    assert nearest == pytest.approx(gap / 2, abs=1e-5)


def multiplied(tally: rf.Tally, factor: int) -> rf.Tally:
    counts = {field.name: factor * getattr(tally, field.name) for field in fields(tally) if field.name != "targeted"}
    return replace(tally, **counts)


def test_counts_do_not_depend_on_batches(linear_subject: Subject) -> None:
    whole, parts = (rf.explain(*linear_subject, 0.5, 0.1, batch_size=size) for size in (200, 64))
    for variant, (tally,) in whole.tallies.items():
        assert parts.tallies[variant][0].adversarial.tolist() == tally.adversarial.tolist(), variant.name


def test_two_numbers_leave_fewer_causes(linear_subject: Subject) -> None:
    """Robust accuracies at two budgets, with epsilon in the units of normalised images."""
    epsilons = [0.1, 0.2]
    tallies = rf.sweep(*linear_subject, [0.25 * epsilon for epsilon in epsilons])[0].tallies
    numbers = [f"{tally.robust_accuracy.value:.4f}" for tally in tallies]
    both = rf.explain(*linear_subject, numbers, epsilons)
    first = next(one for one in both.explanations if one.definition == "robust_accuracy")
    assert (first.variant, first.exact) == (Variant(size="times std"), True)
    one = rf.explain(*linear_subject, numbers[0], epsilons[0])
    causes = [{name for found in fitting(each) for name in (found.variant.name, *found.also)} for each in (both, one)]
    assert causes[0] < causes[1]


def test_clean_and_robust_accuracy_of_one_table_row(linear_subject: Subject) -> None:
    (tally,) = rf.evaluate(*linear_subject, 0.1).tallies
    numbers = [f"{rate.value:.4f}" for rate in (tally.clean_accuracy, tally.robust_accuracy)]
    first = rf.explain(*linear_subject, numbers, 0.1).explanations[0]
    assert (first.variant, first.exact) == (RIGHT_VARIANT, True)
    assert [match.definition for match in first.matches] == ["clean_accuracy", "robust_accuracy"]


def test_skipped_images_are_tried_with_other_mistakes(subject: Subject, measured: rf.Explanation) -> None:
    classifier, data = subject
    x, y = all_of(data)
    wrong = (classifier.predict(x).argmax(1) != y).view(-1, 1, 1, 1)
    number = share(classifier.predict(torch.where(wrong, x, offset(classifier, x, y))).argmax(1) == y)
    assert "label-offset (shifted by 1) + skips-misclassified" in exact(claiming(measured, number), "robust_accuracy")


@pytest.mark.parametrize(
    ("name", "steps", "step_size"), [("iterated (PGD-20 of 2.5/20)", 20, None), ("iterated (PGD-50 of 2/255)", 50, 2 / 255)]
)
def test_a_number_of_pgd(subject: Subject, measured: rf.Explanation, name: str, steps: int, step_size: float | None) -> None:
    """Named after what is simpler, if that gives the number too."""
    classifier, data = subject
    x, y = all_of(data)
    x_adv = rf.pgd(classifier, x, y, EPSILON, steps=steps, step_size=step_size, ids=next(data.batches(0, 100, 100)).ids)
    claimed = claiming(measured, share(classifier.predict(x_adv).argmax(1) == y))
    assert name in exact(claimed, "robust_accuracy")
    ranked = [one.variant.steps for one in claimed.explanations if one.exact and len(one.variant.mistakes) == 1]
    assert ranked == sorted(ranked, key=lambda choice: STEPS[choice].value.count)


def test_leaves_no_trace(subject: Subject) -> None:
    classifier, data = subject
    before = torch.get_rng_state()
    states = {key: value.clone() for key, value in classifier.network.state_dict().items()}
    calls: list[tuple[int, int]] = []
    few = data.head(20)
    rf.explain(classifier, few, "37%", batch_size=8, progress=lambda done, total: calls.append((done, total)))
    assert calls == [(8, 20), (16, 20), (20, 20)]
    assert torch.equal(torch.get_rng_state(), before)
    assert not any(module.training for module in classifier.network.modules())
    assert all(torch.equal(value, states[key]) for key, value in classifier.network.state_dict().items())


class NoClassifier:
    """Anything but a PyTorch classifier."""

    def __init__(self, classifier: rf.TorchClassifier) -> None:
        self.num_classes, self.classes, self.bounds = classifier.num_classes, classifier.classes, classifier.bounds
        self.info, self.any_loss, self.device = classifier.info, True, classifier.device
        self.predict, self.loss_gradient = classifier.predict, classifier.loss_gradient


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"norm": 2}, "norm must be inf, whose mistakes are known, got 2"),
        ({"n": 0}, "n must be at least 1, got 0"),
        ({"epsilon": "1,2/255"}, "this takes one epsilon, got 2: pass one number for each"),
        ({"value": [0.3, 0.2, 0.1], "epsilon": "1,2/255"}, "one epsilon, or one for each of 3 numbers, got 2"),
        ({"value": []}, "got none"),
        ({"value": 37}, "did you mean 0.37"),
        ({"batch_size": 0}, "batch size must be"),
        ({"targeted": "nxt"}, "did you mean next"),
    ],
)
def test_rejects_bad_settings(subject: Subject, monkeypatch: pytest.MonkeyPatch, options: dict[str, object], message: str) -> None:
    monkeypatch.setattr(explain, "attack_batch", None)
    with pytest.raises(rf.SettingError, match=message):
        rf.explain(*subject, **({"value": 0.37} | options))  # type: ignore[arg-type]


def test_rejects_other_classifiers(subject: Subject) -> None:
    with pytest.raises(rf.ModelError, match="must be a PyTorch one"):
        rf.explain(NoClassifier(subject[0]), subject[1], 0.37)


def test_one_logit_is_read_as_two_columns() -> None:
    torch.manual_seed(0)
    data = rf.ArrayDataset("two", torch.rand(60, 1, 2, 2), torch.tensor([0, 1] * 30), ("a", "b"))
    network, columns = nn.Sequential(nn.Flatten(), nn.Linear(4, 1)), nn.Linear(1, 2, bias=False)
    columns.weight.data = torch.tensor([[0.0], [1.0]])
    found, expected = (rf.explain(rf.wrap(one, 2), data, 0.37, 0.1) for one in (network, nn.Sequential(network, columns)))
    assert found.correct_tally.robust_accuracy == expected.correct_tally.robust_accuracy
    assert [one.to_dict() for one in found.explanations] == [one.to_dict() for one in expected.explanations]


class NotFinite(nn.Module):
    def forward(self, x: Tensor) -> Tensor:
        logits = x.flatten(1)
        return logits + (logits - logits.detach()).sqrt()


def test_nonfinite_gradients_are_invalid() -> None:
    data = rf.ArrayDataset("four", torch.rand(6, 1, 2, 2), torch.arange(6) % 4, tuple("abcd"))
    explanation = rf.explain(rf.wrap(NotFinite(), 4), data, 0.5)
    assert explanation.exit_code == 1
    assert "not finite" in explanation.invalid_reasons[0]
    assert explanation.to_dict()["status"] == "invalid"


def test_half_epsilon_matches_evaluate(subject: Subject, measured: rf.Explanation) -> None:
    (tally,) = rf.evaluate(*subject, EPSILON / 2).tallies
    (half,) = measured.tallies[Variant(size="half")]
    assert half.adversarial.tolist() == tally.adversarial.tolist()
