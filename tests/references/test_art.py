"""ART behind our signature: it agrees with us, and it leaves nothing behind."""

from __future__ import annotations

import copy
import math
import subprocess
import sys
from pathlib import Path

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor, nn

import robustbench_fgsm as rf
from robustbench_fgsm.models.art import pytorch_estimator
from robustbench_fgsm.references.art import ArtReference
from robustbench_fgsm.spec import PIXEL_BOUNDS, Bounds

pytestmark = pytest.mark.reference

MODELS = ["resnet18", "smallcnn", "mlp300", "mlp600", "mlp900"]


def art_fgsm(
    model: nn.Module | rf.TorchClassifier,
    x: Tensor,
    y: Tensor | None = None,
    epsilon: float | Tensor = 8 / 255,
    *,
    norm: float = math.inf,
    targeted: bool = False,
    bounds: Bounds | None = PIXEL_BOUNDS,
) -> Tensor:
    """ART's adversarial images on a copy of the model, with the arguments of our own `fgsm`."""
    network = model.copy_network() if isinstance(model, rf.TorchClassifier) else copy.deepcopy(model)
    with torch.no_grad():
        num_classes = network.eval()(x[:1]).shape[1]
    estimator = pytorch_estimator(network, num_classes, bounds, x.device)
    return ArtReference(estimator, norm=norm, targeted=targeted, batch_size=max(len(x), 1)).fgsm(x, y, epsilon)


@pytest.fixture(scope="module")
def batch() -> rf.Batch:
    return next(rf.load_data("fashion-mnist").batches(500, 548, 48))  # not a power of two


@pytest.mark.parametrize("targeted", [False, True])
@pytest.mark.parametrize("model", MODELS)
def test_equal_bits_under_linf(model: str, targeted: bool, batch: rf.Batch) -> None:
    classifier = rf.load_classifier(model)
    assert isinstance(classifier, rf.TorchClassifier)
    y = (batch.labels + 2) % 10 if targeted else batch.labels
    ours = rf.fgsm(classifier, batch.images, y, 8 / 255, targeted=targeted)
    assert torch.equal(ours, art_fgsm(classifier, batch.images, y, 8 / 255, targeted=targeted))
    assert not torch.equal(ours, batch.images)


@pytest.mark.parametrize("targeted", [False, True])
@pytest.mark.parametrize(("norm", "epsilon"), [("2", 1.0), ("1", 3.0), (1.5, 1.0), (3, 0.5)])
@pytest.mark.parametrize("model", MODELS)
def test_within_1e_6_under_other_norms(model: str, norm: str | float, epsilon: float, targeted: bool, batch: rf.Batch) -> None:
    """Whatever differs more is ART's underflow, shown by float64: `compare` counts it apart, and nothing else differs."""
    data = rf.ArrayDataset("batch", batch.images, batch.labels, rf.load_data("fashion-mnist").classes)
    found = rf.compare(
        rf.load_classifier(model), data, epsilon, norm=norm, targeted="shift:2" if targeted else "none", ignore=["floor"]
    )
    agreement = found.references[0].agreement
    assert found.verdict == "agree"
    assert agreement.images_differing == agreement.images_subnormal
    if norm in ("2", "1", 3):
        assert agreement.images_differing == 0


@settings(deadline=None, max_examples=40)
@given(
    seed=st.integers(0, 2**32),
    shape=st.sampled_from([(1, 5, 5), (3, 4, 6), (2, 1, 7)]),
    n=st.integers(1, 9),
    epsilon=st.floats(0, 1),
    per_image=st.booleans(),
    targeted=st.booleans(),
    labelled=st.booleans(),
)
def test_equal_for_any_shape_and_budget(
    seed: int, shape: tuple[int, ...], n: int, epsilon: float, per_image: bool, targeted: bool, labelled: bool
) -> None:
    generator = torch.Generator().manual_seed(seed)
    torch.manual_seed(seed % 1000)
    model = nn.Sequential(nn.Conv2d(shape[0], 3, 1), nn.ReLU(), nn.Flatten(), nn.Linear(3 * shape[1] * shape[2], 4))
    x, y = torch.rand(n, *shape, generator=generator), torch.randint(0, 4, (n,), generator=generator)
    budget = epsilon * torch.rand(n, generator=generator) if per_image else epsilon
    given_y = y if labelled or targeted else None
    ours = rf.fgsm(model, x, given_y, budget, targeted=targeted)
    assert torch.equal(ours, art_fgsm(model, x, given_y, budget, targeted=targeted))


def test_another_range_of_pixels() -> None:
    torch.manual_seed(0)
    model, x, y = nn.Linear(6, 3), 4 * torch.rand(5, 6) - 1, torch.tensor([0, 1, 2, 0, 1])
    ours = rf.fgsm(model, x, y, 0.7, bounds=(-1, 3))
    torch.testing.assert_close(ours, art_fgsm(model, x, y, 0.7, bounds=Bounds(-1.0, 3.0)), rtol=0, atol=1e-6)


def test_the_callers_model_is_left_alone() -> None:
    torch.manual_seed(0)
    model = nn.Sequential(nn.Flatten(), nn.Linear(6, 3), nn.Dropout()).train()
    model[1].weight.grad = torch.ones(3, 6)
    art_fgsm(model, torch.rand(4, 6), torch.tensor([0, 1, 2, 0]))
    assert all(module.training for module in model.modules())
    assert torch.equal(model[1].weight.grad, torch.ones(3, 6))


SCRIPT = """
import logging, os, sys
from pathlib import Path
handler = logging.FileHandler(sys.argv[1])
logging.getLogger().addHandler(handler)
before = list(logging.getLogger().handlers)
from robustbench_fgsm.models.art import import_art
home = os.environ["HOME"]
import_art()
import art
assert os.environ["HOME"] == home
assert logging.getLogger().handlers == before
logging.getLogger("mine").warning("still heard")
assert not Path(home, ".art").exists()
assert Path(art.config.ART_DATA_PATH).exists()
print(art.config.ART_DATA_PATH)
"""


def test_import_changes_no_home_or_logging(tmp_path: Path) -> None:
    log = tmp_path / "log"
    done = subprocess.run(
        [sys.executable, "-c", SCRIPT, str(log)],
        env={"HOME": str(tmp_path), "PATH": ""},
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    assert "still heard" in log.read_text()
    assert not Path(done.stdout.strip()).exists()  # its own home is gone with the process


def test_art_underflows_under_l2() -> None:
    """Gradients of 1e-24: ART's L2 norm is 0 in float32 and its step with it; ours moves, and float64 agrees with ours."""
    model = nn.Linear(4, 2, bias=False)
    with torch.no_grad():
        model.weight.copy_(1e-24 * torch.tensor([[1.0, -2.0, 3.0, 0.5], [0.0, 1.0, -1.0, 2.0]]))
    x, y = torch.full((1, 4), 0.5), torch.tensor([0])
    assert torch.equal(art_fgsm(model, x, y, 0.1, norm=2), x)
    exact = rf.fgsm(model.double(), x.double(), y, 0.1, norm=2)
    torch.testing.assert_close(rf.fgsm(model.float(), x, y, 0.1, norm=2).double(), exact, rtol=0, atol=1e-6)
    assert math.isclose(float((exact - 0.5).norm()), 0.1, rel_tol=1e-9)


@pytest.mark.parametrize("targeted", ["none", "next"])
def test_own_success_matches_art(classifier: rf.TorchClassifier, images: rf.ArrayDataset, targeted: str) -> None:
    from robustbench_fgsm.models.art import import_art

    import_art()
    from art.attacks.evasion import FastGradientMethod
    from art.estimators.classification import PyTorchClassifier
    from art.utils import compute_success, to_categorical

    batch = next(images.batches(0, 256, 256))
    x, aim = batch.images.numpy(), batch.labels if targeted == "none" else (batch.labels + 1) % 10
    estimator = PyTorchClassifier(
        classifier.copy_network(), torch.nn.CrossEntropyLoss(reduction="sum"), (1, 28, 28), 10, clip_values=(0, 1)
    )
    wanted = to_categorical(aim.numpy(), 10)
    x_adv = FastGradientMethod(estimator, eps=8 / 255, targeted=targeted != "none").generate(x, wanted)
    theirs = compute_success(estimator, x, wanted, x_adv, targeted=targeted != "none", batch_size=256)
    (reference,) = rf.compare(classifier, images, targeted=targeted, references=["art"]).references
    assert reference.own_success is not None
    rate = reference.own_success.rate(reference.timed_tally.tally)
    assert rate.value == pytest.approx(theirs, abs=1e-12)
    assert rate != reference.timed_tally.tally.attack_success_rate
