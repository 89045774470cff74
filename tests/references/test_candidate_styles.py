"""Each style calls the user's object as it says, and gives back images in (N, C, H, W) and pixel space."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor, nn

import robustbench_fgsm as rf
from robustbench_fgsm.models.classifier import PixelSpaceNetwork
from robustbench_fgsm.references.candidate import candidate_from_callable
from robustbench_fgsm.references.candidate_styles import (
    STYLES,
    argument_keywords,
    by_keyword,
    check_signature,
    get_style,
    has_own_statistics,
    offers_targets,
    with_statistics,
)

EPSILON = 0.25


class Linear(nn.Module):
    """Logits W x with W known, so that the gradient is W^T (softmax - onehot)."""

    def __init__(self, channels: int = 2) -> None:
        super().__init__()
        generator = torch.Generator().manual_seed(0)
        self.weight = nn.Parameter(torch.randn(3, channels * 12, generator=generator))

    def forward(self, x: Tensor) -> Tensor:
        return x.flatten(1) @ self.weight.T


@pytest.fixture
def x() -> Tensor:
    return torch.rand(4, 2, 3, 4, generator=torch.Generator().manual_seed(1))


Y = torch.tensor([0, 1, 2, 0])


def seen_by(style: str, model: nn.Module, x: Tensor, *, targeted: bool = False) -> tuple[list[Any], object]:
    """What a function in that style is called with, and what comes back where it returns its images."""
    seen: list[Any] = []

    def fn(*arguments: Any) -> Any:
        seen.extend(arguments)
        return arguments[0] if style == "tutorial" else arguments[1]

    def aimed(*arguments: Any, targeted: bool = False) -> Any:
        seen.append(targeted)
        return fn(*arguments)

    candidate = candidate_from_callable(aimed if targeted else fn, style)
    return seen, candidate.call_attack(model, x, Y, EPSILON, targeted=targeted)


def test_plain_passes_four_arguments(x: Tensor) -> None:
    model = Linear()
    seen, found = seen_by("plain", model, x)
    assert seen[0] is model
    assert [type(argument) for argument in seen[1:]] == [Tensor, Tensor, float]
    assert found is seen[1]
    assert seen_by("plain", model, x, targeted=True)[0][0] is True


def test_tutorial_passes_the_summed_gradient(x: Tensor) -> None:
    model = Linear()
    (image, epsilon, gradient), found = seen_by("tutorial", model, x)
    softmax = model(x).softmax(1).detach()
    softmax[torch.arange(4), Y] -= 1
    expected = (softmax @ model.weight.detach()).reshape(x.shape)
    torch.testing.assert_close(gradient, expected)
    assert torch.equal(image, x)
    assert epsilon == EPSILON
    assert found is image


def test_nhwc_passes_numpy_arrays(x: Tensor) -> None:
    (_, array, labels, _), found = seen_by("nhwc", Linear(), x)
    assert (array.shape, array.dtype, labels.dtype) == ((4, 3, 4, 2), np.float32, np.int64)
    assert array.flags.c_contiguous
    assert isinstance(found, np.ndarray)
    np.testing.assert_array_equal(found, x.numpy())
    tensor = candidate_from_callable(lambda model, x, y, epsilon: torch.from_numpy(x), "nhwc").call_attack(Linear(), x, Y, EPSILON)
    assert isinstance(tensor, Tensor)
    assert torch.equal(tensor, x)


def test_normalised_passes_the_bare_network(x: Tensor) -> None:
    network = Linear()
    model = PixelSpaceNetwork(network, (0.1, 0.2), (0.5, 2.0))
    (bare, normalised, _, epsilon, mean, std), found = seen_by("normalised", model, x)
    assert (bare, epsilon) == (network, EPSILON)
    assert torch.equal(normalised[:, 0], (x[:, 0] - 0.1) / 0.5)
    assert torch.equal(normalised[:, 1], (x[:, 1] - 0.2) / 2)
    assert torch.equal(bare(normalised), model(x))
    assert (x * std + mean).shape == x.shape
    assert isinstance(found, Tensor)
    torch.testing.assert_close(found, x)


def test_normalised_accepts_other_models(x: Tensor) -> None:
    model = Linear()
    (bare, normalised, _, _, mean, std), _ = seen_by("normalised", model, x)
    assert bare is model
    assert torch.equal(normalised, x)
    assert (float(mean), float(std)) == (0, 1)


def test_normalised_keeps_one_grey_channel(x: Tensor) -> None:
    model, grey = PixelSpaceNetwork(Linear(3), 0.3, 0.5, channels=3), x[:, :1]
    (bare, normalised, *_), _ = seen_by("normalised", model, grey)
    assert normalised.shape == grey.shape
    assert not bare.training
    assert torch.equal(bare(normalised), model(grey))
    with pytest.raises(rf.ModelError, match="one mean and std for grey images"):
        seen_by("normalised", PixelSpaceNetwork(Linear(3), (0.1, 0.2, 0.3), 0.5, channels=3), grey)


class Attack:
    """An attack class in the manner of torchattacks that says what it was told."""

    def __init__(self, model: nn.Module, eps: float) -> None:
        self.eps, self.targeted = eps, False

    def set_mode_targeted_by_label(self) -> None:
        self.targeted = True

    def __call__(self, images: Tensor, labels: Tensor) -> Tensor:
        return images - self.eps if self.targeted else images + self.eps


def test_torchattacks_sets_the_mode(x: Tensor) -> None:
    candidate = candidate_from_callable(Attack, "torchattacks")
    assert candidate.targets
    for targeted, sign in ((False, 1), (True, -1)):
        found = candidate.call_attack(Linear(), x, Y, EPSILON, targeted=targeted)
        assert isinstance(found, Tensor)
        assert torch.equal(found, x + sign * EPSILON)


def test_art_passes_a_classifier(x: Tensor) -> None:
    model, seen = Linear(), []

    class ArtAttack:
        def __init__(self, estimator: Any, eps: float, targeted: bool = False) -> None:
            seen.extend([estimator, eps, targeted])

        def generate(self, x: Any, y: Any) -> Any:
            seen.extend([x, y])
            return x

    found = candidate_from_callable(ArtAttack, "art").call_attack(model, x, Y, EPSILON, targeted=True)
    estimator, eps, targeted, array, labels = seen
    assert (eps, targeted) == (EPSILON, True)
    assert (array.dtype, labels.dtype) == (np.float32, np.int64)
    assert (tuple(estimator.clip_values), estimator.nb_classes) == ((0, 1), 3)
    np.testing.assert_array_equal(found, x.numpy())
    np.testing.assert_array_equal(estimator.predict(array), model(x).detach().numpy())


@pytest.mark.reference
@pytest.mark.parametrize("targeted", ["none", "next"])
def test_art_itself_is_a_candidate(classifier: rf.TorchClassifier, images: rf.ArrayDataset, targeted: str) -> None:
    candidate = rf.load_candidate("art.attacks.evasion:FastGradientMethod", "art")
    found = rf.compare(classifier, images.head(64), targeted=targeted, references=[], candidate=candidate)
    assert (found.verdict, found.candidate and found.candidate.agreement.pixels_differing) == ("agree", 0)


@pytest.mark.reference
def test_torchattacks_itself_is_a_candidate(classifier: rf.TorchClassifier, images: rf.ArrayDataset) -> None:
    pytest.importorskip("torchattacks")
    candidate = rf.load_candidate("torchattacks:FGSM", "torchattacks")
    assert rf.compare(classifier, images.head(64), targeted="next", references=[], candidate=candidate).verdict == "agree"


@pytest.mark.reference
def test_foolbox_itself_is_a_candidate(classifier: rf.TorchClassifier, images: rf.ArrayDataset) -> None:
    pytest.importorskip("foolbox", exc_type=ImportError)
    candidate = rf.load_candidate("foolbox.attacks:LinfFastGradientAttack", "foolbox")
    assert not candidate.targets
    assert rf.compare(classifier, images.head(64), references=[], candidate=candidate).verdict == "agree"

    class Aimed:
        def __init__(self, targeted: bool = False) -> None:
            self.targeted = targeted

        def __call__(self, model: Any, images: Tensor, criterion: Any, *, epsilons: float) -> Any:
            labels = criterion.target_classes.raw if self.targeted else criterion
            return images, images + labels[:, None, None, None], None

    aimed = candidate_from_callable(Aimed, "foolbox")
    batch = next(images.batches(0, 4, 4))
    for targeted in (False, True):
        found = aimed.call_attack(classifier.copy_network(), batch.images, Y, EPSILON, targeted=targeted)
        assert isinstance(found, Tensor)
        assert torch.equal(found, batch.images + Y[:, None, None, None])


def functions() -> dict[str, Callable[..., Any]]:
    return {
        "plain": lambda model, x, y, epsilon: x,
        "torchattacks": Attack,
        "tutorial": lambda image, epsilon, data_grad: image,
        "nhwc": lambda model, x, y, epsilon: x,
        "normalised": lambda network, x, y, epsilon, mean, std: x,
    }


@pytest.mark.parametrize("style", ["plain", "torchattacks", "tutorial", "nhwc", "normalised"])
def test_a_style_accepts_its_functions(style: str) -> None:
    check_signature(style, functions()[style])
    assert offers_targets(style, functions()[style]) == (style == "torchattacks")


def test_suggests_a_fitting_style() -> None:
    with pytest.raises(rf.SettingError, match=r"style plain calls fn\(.*got <lambda>\(image, .*mean --style tutorial"):
        check_signature("plain", functions()["tutorial"])
    with pytest.raises(rf.SettingError, match="write a function around it"):
        check_signature("plain", lambda x, y: x)


def test_every_style_shows_a_call() -> None:
    for name, style in STYLES.items():
        assert get_style(name) is style
        assert style.adapt.__name__ == f"call_{name}"
        assert "8 / 255" in (style.adapt.__doc__ or "")
    with pytest.raises(rf.SettingError, match="did you mean normalised"):
        get_style("normalized")


def test_missing_library_shows_install_command(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(__import__("sys").modules, "foolbox", None)
    with pytest.raises(rf.SettingError, match="pip install foolbox"):
        get_style("foolbox")


@pytest.mark.parametrize(
    ("call", "keywords"),
    [
        (lambda model, x, y, epsilon: x, ()),
        (lambda net, data, labels, eps=0.1: data, ()),
        (lambda model, x, epsilon, y: x, ("model", "x", "y", "epsilon")),
        (lambda x, y, model, eps: x, ("model", "x", "y", "eps")),
        (lambda images, eps, network, target, bounds=(0, 1): images, ("network", "images", "target", "eps")),
        (lambda model, x, y, *, eps: x, ("model", "x", "y", "eps")),
        (lambda a, b, c, d: a, ()),
        (lambda x, y, model, eps, steps: x, ()),
        (lambda x, y, model, data, eps=0.1: x, ()),
        (lambda *arguments: arguments[1], ()),
        (max, ()),
    ],
)
def test_arguments_are_recognised_by_name(call: Callable[..., Any], keywords: tuple[str, ...]) -> None:
    assert argument_keywords("plain", call) == keywords
    if keywords:
        check_signature("plain", call)
        values: dict[str, int] = {}
        by_keyword(lambda **given: values.update(given), keywords)(1, 2, 3, 4, more=5)
        assert values == dict(zip(keywords, (1, 2, 3, 4), strict=True)) | {"more": 5}
    assert argument_keywords("tutorial", call) == ()


def test_normalised_function_without_statistics(images: rf.ArrayDataset) -> None:
    seen: list[int] = []

    def fgsm(net: nn.Module, x: Tensor, y: Tensor, eps: float) -> Tensor:
        seen.append(len(net(x)))
        return x + eps / 0.5

    assert has_own_statistics(fgsm)
    assert not has_own_statistics(functions()["normalised"])
    check_signature("normalised", fgsm)
    model = PixelSpaceNetwork(nn.Flatten(), 0.25, 0.5).eval()
    x = next(images.batches(0, 2, 2)).images
    torch.testing.assert_close(candidate_from_callable(fgsm, "normalised").call_attack(model, x, Y, EPSILON), x + EPSILON)
    assert seen == [2]


def test_other_statistics_leave_the_outputs() -> None:
    model = PixelSpaceNetwork(nn.Flatten(), (0.1, 0.2), (0.5, 0.25)).eval()
    other = with_statistics(model, torch.tensor([0.3, 0.4]), torch.tensor([0.2, 0.1]))
    x = torch.rand(3, 2, 4, 4, generator=torch.Generator().manual_seed(0))
    torch.testing.assert_close(other(x), model(x))
    assert not any(module.training for module in other.modules())
    assert torch.equal(other.network((x - other.mean) / other.std), other(x))
