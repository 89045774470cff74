"""The drop-in for ART's method: the same answers where ART has no quirk, and each quirk beside what we do instead."""

from __future__ import annotations

import contextlib
import inspect
import io
import logging
import runpy
import subprocess
import sys
import warnings
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from sklearn.linear_model import LogisticRegression
from sklearn.svm import SVC, LinearSVC
from sklearn.tree import DecisionTreeClassifier
from torch import Tensor, nn

from robustbench_fgsm.errors import DataError, ModelError, SettingError
from robustbench_fgsm.models.art import import_art

import_art()  # first of all with a home of its own, so that tests write to nobody's

from art.attacks.evasion import FastGradientMethod as ArtsOwn  # noqa: E402
from art.attacks.evasion import FrameSaliencyAttack  # noqa: E402
from art.defences.preprocessor.preprocessor import Preprocessor  # noqa: E402
from art.defences.trainer import AdversarialTrainer  # noqa: E402
from art.estimators.classification import PyTorchClassifier, SklearnClassifier  # noqa: E402
from art.estimators.estimator import BaseEstimator, LossGradientsMixin  # noqa: E402
from art.estimators.regression import PyTorchRegressor  # noqa: E402
from art.exceptions import EstimatorError  # noqa: E402
from art.summary_writer import SummaryWriter  # noqa: E402

import robustbench_fgsm.art  # noqa: E402
from robustbench_fgsm.art import FastGradientMethod  # noqa: E402

pytestmark = pytest.mark.reference

Array = np.ndarray[Any, Any]
SHAPE = (2, 4, 5)
BOTH = pytest.mark.parametrize("method", [FastGradientMethod, ArtsOwn], ids=["ours", "art"])


def images(n: int = 7, *, seed: int = 0, shape: tuple[int, ...] = SHAPE) -> Array:
    return np.random.default_rng(seed).random((n, *shape), dtype=np.float32)


def network(outputs: int = 3) -> nn.Sequential:
    torch.manual_seed(0)
    return nn.Sequential(nn.Conv2d(2, 3, 2), nn.ReLU(), nn.Flatten(), nn.Linear(36, outputs))


def pytorch(module: nn.Module | None = None, loss: nn.Module | None = None, **given: Any) -> Any:
    known = {"input_shape": SHAPE, "nb_classes": 3, "clip_values": (0, 1), "device_type": "cpu", **given}
    return PyTorchClassifier(network() if module is None else module, nn.CrossEntropyLoss() if loss is None else loss, **known)


def scikit(model: Any) -> Any:
    x = images(60, seed=1, shape=(6,))
    model.fit(x, np.digitize(x[:, 0] + x[:, 1], [0.7, 1.3]))
    if isinstance(model, SVC):
        model.probability = False  # "deprecated" by default, which ART takes for true
    return SklearnClassifier(model, clip_values=(0, 1))


class Function(nn.Module):
    """A network of one formula."""

    def __init__(self, formula: Callable[[Tensor], Tensor]) -> None:
        super().__init__()
        self.formula = formula

    def forward(self, x: Tensor) -> Tensor:
        return self.formula(x)


def beyond(threshold: float) -> Any:
    """A classifier of one pixel: class 1 beyond the threshold."""
    return pytorch(Function(lambda x: torch.cat([threshold - x, x - threshold], 1)), input_shape=(1,), nb_classes=2)


def predicted(estimator: Any, x: Array) -> Array:
    found: Array = estimator.predict(x).argmax(1)
    return found


class OneBit(Preprocessor):  # type: ignore[misc]
    """A defence in NumPy, whose gradient is taken for 1."""

    def __call__(self, x: Any, y: Any = None) -> Any:
        return np.rint(x), y

    def estimate_gradient(self, x: Any, grad: Any) -> Any:
        return grad


class Custom(LossGradientsMixin, BaseEstimator):  # type: ignore[misc]
    """No classifier: its loss is y times the sum of the squares of an image, of whatever shape."""

    input_shape = ()

    def __init__(self, clip_values: Any = None) -> None:
        super().__init__(model=object(), clip_values=clip_values)

    def predict(self, x: Any, **_: Any) -> Any:
        return np.array([1.0 + (np.sum(image) > 1) for image in x])

    def loss_gradient(self, x: Any, y: Any, **_: Any) -> Any:
        gradients = [2 * label * image for image, label in zip(x, y, strict=True)]
        if x.dtype != object:
            return np.stack(gradients)
        found = np.empty(len(x), dtype=object)
        found[:] = gradients
        return found

    def fit(self, x: Any, y: Any, **_: Any) -> None:
        raise NotImplementedError


# ---------------------------------------------------------------------------------------------- one import for the other


def test_signature_equals_art() -> None:
    mine, theirs = (inspect.signature(method).parameters for method in (FastGradientMethod, ArtsOwn))
    extra = list(mine)[len(theirs) :]
    assert list(mine)[: len(theirs)] == list(theirs)
    assert {name: mine[name].default for name in theirs} == {name: theirs[name].default for name in theirs}
    assert extra == ["art_quirks", "seed"]
    assert all(mine[name].kind is inspect.Parameter.KEYWORD_ONLY for name in extra)
    assert FastGradientMethod.attack_params == [*ArtsOwn.attack_params, *extra]
    assert issubclass(FastGradientMethod, ArtsOwn)
    assert set(robustbench_fgsm.art.__all__) == {"FastGradientMethod", "to_art", "from_art"}


DOCUMENTED = """
import numpy as np, torch
from torch import nn
from sklearn.linear_model import LogisticRegression
from IMPORT import FastGradientMethod
from art.estimators.classification import PyTorchClassifier, SklearnClassifier
from robustbench_fgsm import load_data

batch = next(load_data("fashion-mnist", limit=300).batches(0, 300, 300))
x, y = batch.images.numpy(), np.eye(10, dtype=np.float32)[batch.labels]

torch.manual_seed(0)
model = nn.Sequential(nn.Conv2d(1, 4, 5, 2), nn.ReLU(), nn.Flatten(), nn.Linear(576, 10))
classifier = PyTorchClassifier(
    model=model,
    clip_values=(0.0, 1.0),
    loss=nn.CrossEntropyLoss(),
    optimizer=torch.optim.Adam(model.parameters(), lr=0.01),
    input_shape=(1, 28, 28),
    nb_classes=10,
)
classifier.fit(x, y, batch_size=64, nb_epochs=2)
print(np.mean(classifier.predict(x).argmax(1) == y.argmax(1)))
attack = FastGradientMethod(estimator=classifier, eps=0.2)
x_adv = attack.generate(x=x)
print(np.mean(classifier.predict(x_adv).argmax(1) == y.argmax(1)))

x_flat = x.reshape(len(x), -1)
logistic = SklearnClassifier(model=LogisticRegression(tol=0.1), clip_values=(0.0, 1.0))
logistic.fit(x_flat, y)
attack = FastGradientMethod(estimator=logistic, eps=0.1)
attack.set_params(eps=0.2, batch_size=50)
x_flat_adv = attack.generate(x_flat, y=y)
print(np.mean(logistic.predict(x_flat_adv).argmax(1) == y.argmax(1)), attack.targeted)
"""


def test_runs_a_script_of_art() -> None:
    said, made = [], []
    for module in ("art.attacks.evasion", "robustbench_fgsm.art"):
        scope: dict[str, Any] = {}
        with contextlib.redirect_stdout(io.StringIO()) as out:
            exec(compile(DOCUMENTED.replace("IMPORT", module), module, "exec"), scope)
        said.append(out.getvalue())
        made.append(scope["x_adv"])
        assert scope["FastGradientMethod"].__module__.startswith(module)
    assert said[0] == said[1]
    np.testing.assert_array_equal(made[0], made[1])


SCRIPT = """
import logging, sys
handler = logging.FileHandler(sys.argv[1])
logging.getLogger().addHandler(handler)
import robustbench_fgsm.art
import art
logging.getLogger("mine").warning("still heard")
print(art.config.ART_DATA_PATH)
"""


def test_keeps_art_home_and_logging(tmp_path: Path) -> None:
    """A model that ART saves, or data that it loads, must be where they would be without us."""
    done = subprocess.run(
        [sys.executable, "-c", SCRIPT, str(tmp_path / "log")],
        env={"HOME": str(tmp_path), "PATH": ""},
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    assert Path(done.stdout.strip()) == tmp_path / ".art" / "data"
    assert "still heard" in (tmp_path / "log").read_text()


def test_it_may_take_the_place_of_the_class_in_art(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("art.attacks.evasion.FastGradientMethod", FastGradientMethod)
    np.testing.assert_array_equal(
        FastGradientMethod(pytorch(), eps=0.1).generate(images()), ArtsOwn(pytorch(), eps=0.1).generate(images())
    )


def test_adversarial_trainer_accepts_it() -> None:
    module = network()
    estimator = pytorch(module, optimizer=torch.optim.SGD(module.parameters(), lr=0.1))
    before = module[3].weight.detach().clone() if isinstance(module[3], nn.Linear) else torch.zeros(0)
    AdversarialTrainer(estimator, FastGradientMethod(estimator, eps=0.1)).fit(
        images(8), np.eye(3, dtype=np.float32)[np.arange(8) % 3], batch_size=4, nb_epochs=1
    )
    assert not torch.equal(module.state_dict()["3.weight"], before)


# ------------------------------------------------------------------------------------------------- equal where ART is right


@st.composite
def attacks(draw: st.DrawFn, features: tuple[int, ...]) -> dict[str, Any]:
    """Images, settings and a mask for which ART has no quirk."""
    n, seed, axes = draw(st.integers(1, 7)), draw(st.integers(0, 2**16)), len(features)
    norm = draw(st.sampled_from([np.inf, "inf", 1, 2, 1.5, 3]))
    minimal = draw(st.booleans())
    random = np.random.default_rng(seed)
    shapes = [None, (n, *[1] * axes)]
    if norm in (np.inf, "inf") or minimal:
        shapes += [(n, *features), *(features[k:] for k in range(axes) if len(features[k:]) > 1 or features[k] != n)]
    shape = draw(st.sampled_from(shapes if not minimal or norm in (np.inf, "inf") else shapes[:2]))
    eps: Any = draw(st.integers(0, 64)) / 64
    eps_step: Any = draw(st.sampled_from([1 / 64, 1 / 8, 3 / 32]))  # sums of these do not round
    if shape is not None and minimal:
        eps, eps_step = np.full(shape, eps, np.float32), np.full(shape, eps_step, np.float32)
    elif shape is not None:
        eps = random.random(shape, dtype=np.float32)
        eps_step = np.ones_like(eps)
    masks: list[Any] = [None, random.random((n, *features)) < 0.5, (random.random(features) < 0.5).astype(np.float32)]
    batch_size = draw(st.integers(1, 8))
    if batch_size >= n:
        masks.append((random.random((1, *features)) < 0.5).astype(np.float64))
    return {
        "x": random.random((n, *features), dtype=np.float32),
        "mask": draw(st.sampled_from(masks)),
        "targeted": draw(st.booleans()),
        "labels": draw(st.sampled_from(["none", "indices", "rows"])),
        "settings": {"norm": norm, "eps": eps, "eps_step": eps_step, "minimal": minimal, "batch_size": batch_size},
        "shift": random.integers(0, 3, n),
    }


def both(estimator: Any, case: dict[str, Any]) -> tuple[Array, Array]:
    """Our answer and ART's."""
    x, settings_ = case["x"], dict(case["settings"], targeted=case["targeted"])
    classes = predicted(estimator, x)
    if case["targeted"]:
        classes = (classes + 1) % 3  # ART does not ask whether an image hits its target from the start
    elif not settings_["minimal"]:
        classes = (classes + case["shift"]) % 3
    y: Any = None if case["labels"] == "none" and not case["targeted"] else classes
    y = np.eye(3, dtype=np.float32)[classes] if case["labels"] == "rows" else y
    mine = FastGradientMethod(estimator, **settings_).generate(x, y, mask=case["mask"])
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", RuntimeWarning)  # ART divides 0 by 0 under a budget of 0
        theirs = ArtsOwn(estimator, **settings_).generate(x, y, mask=case["mask"])
    return mine, theirs


@settings(max_examples=80)
@given(attacks(SHAPE), st.sampled_from(["mean", "sum"]), st.sampled_from([None, (0.0, 1.0), (0.4, 0.3)]))
def test_equal_on_pytorch(case: dict[str, Any], reduction: str, preprocessing: Any) -> None:
    """To the last bit under L-infinity, on the same batches under the estimator's own loss."""
    estimator = pytorch(loss=nn.CrossEntropyLoss(reduction=reduction), preprocessing=preprocessing)
    mine, theirs = both(estimator, case)
    assert mine.dtype == theirs.dtype == np.float32
    if case["settings"]["norm"] in (np.inf, "inf"):
        np.testing.assert_array_equal(mine, theirs)
    else:
        np.testing.assert_allclose(mine, theirs, rtol=0, atol=1e-6)


@pytest.fixture(scope="module")
def fitted() -> list[Any]:
    return [scikit(model) for model in (LogisticRegression(), LinearSVC(), SVC(), SVC(kernel="poly"))]


@settings(max_examples=50)
@given(case=attacks((6,)), which=st.integers(0, 3))
def test_equal_on_scikit_learn(case: dict[str, Any], which: int, fitted: list[Any]) -> None:
    mine, theirs = both(fitted[which], case)
    np.testing.assert_allclose(mine, theirs, rtol=0, atol=1e-6)


@pytest.mark.parametrize("loss", [nn.NLLLoss(), nn.MultiMarginLoss(), nn.CrossEntropyLoss(label_smoothing=0.1)])
def test_equal_under_other_losses(loss: nn.Module) -> None:
    estimator, y = pytorch(nn.Sequential(network(), nn.LogSoftmax(1)), loss), np.arange(7) % 3
    np.testing.assert_array_equal(
        FastGradientMethod(estimator, batch_size=3).generate(images(), y), ArtsOwn(estimator, batch_size=3).generate(images(), y)
    )


def test_soft_labels() -> None:
    estimator, y = pytorch(), np.random.default_rng(0).random((7, 3), dtype=np.float32)
    np.testing.assert_array_equal(FastGradientMethod(estimator).generate(images(), y), ArtsOwn(estimator).generate(images(), y))


@pytest.mark.parametrize("limits", [None, (0.2, 0.6), (np.full(SHAPE, 0.1), np.linspace(0.2, 0.9, 40).reshape(SHAPE))])
def test_images_outside_clip_values(limits: Any) -> None:
    estimator = pytorch(clip_values=limits)
    mine, theirs = (method(estimator, eps=0.1).generate(images()) for method in (FastGradientMethod, ArtsOwn))
    np.testing.assert_allclose(mine, theirs, rtol=0, atol=1e-7)
    assert abs(mine - images()).max() <= 0.1 + 1e-7


def recurrent() -> nn.Module:
    class Last(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.rnn, self.drop, self.head = nn.GRU(5, 4, batch_first=True), nn.Dropout(0.5), nn.Linear(4, 3)

        def forward(self, x: Tensor) -> Tensor:
            outputs: Tensor = self.head(self.drop(self.rnn(x.flatten(1, 2))[0][:, -1]))
            return outputs

    torch.manual_seed(0)
    return Last()


@pytest.mark.parametrize("minimal", [False, True])
@pytest.mark.parametrize("kind", ["defended", "recurrent"])
def test_equal_with_numpy_preprocessing(kind: str, minimal: bool) -> None:
    estimator = pytorch(preprocessing_defences=OneBit()) if kind == "defended" else pytorch(recurrent())
    given_: dict[str, Any] = {"eps": 0.5, "eps_step": 0.125, "minimal": minimal, "batch_size": 4}
    mine, theirs = (method(estimator, **given_).generate(images()) for method in (FastGradientMethod, ArtsOwn))
    np.testing.assert_array_equal(mine, theirs)
    assert not np.array_equal(mine, images())


def test_one_pass_per_batch() -> None:
    module = network()
    forwards: list[int] = []
    backwards: list[int] = []
    module[0].register_forward_hook(lambda *_: forwards.append(1))
    module[0].register_full_backward_hook(lambda *_: backwards.append(1))
    FastGradientMethod(pytorch(module), batch_size=4).generate(images())
    assert (len(forwards), len(backwards)) == (2, 2)


def test_regressors_and_other_estimators() -> None:
    torch.manual_seed(0)
    regressor = PyTorchRegressor(nn.Linear(6, 1), nn.MSELoss(), (6,), clip_values=(0, 1), device_type="cpu")
    x, y = images(shape=(6,)), images(seed=1, shape=(1,))
    for estimator, targets in ((regressor, y[:, 0]), (Custom(), y[:, 0]), (Custom((0, 1)), None)):
        for method_settings in ({"norm": np.inf}, {"norm": 2, "batch_size": 3}):
            mine, theirs = (method(estimator, **method_settings).generate(x, targets) for method in (FastGradientMethod, ArtsOwn))
            np.testing.assert_allclose(mine, theirs, rtol=0, atol=1e-6)
    np.testing.assert_array_equal(
        FastGradientMethod(Custom(), targeted=True).generate(x, y[:, 0]), np.maximum(x - np.float32(0.3), x - 0.3)
    )


@pytest.mark.parametrize("eps", [0.1, np.array([0.1, 0.0, 0.2])])
def test_object_arrays(eps: Any) -> None:
    """Sounds of three lengths, as ART's speech recognisers take them."""
    x = np.empty(3, dtype=object)
    x[:] = [images(1, shape=(length,))[0] for length in (4, 2, 5)]
    eps_step = 0.1 if isinstance(eps, float) else np.ones(3)
    for targets in (None, np.array([1.0, 1.0, -1.0])):
        mine, theirs = (
            method(Custom((0, 1)), eps=eps, eps_step=eps_step, batch_size=2).generate(x, targets)
            if isinstance(eps, float)
            else method(Custom((0, 1)), eps=eps, eps_step=eps_step).generate(x, targets)
            for method in (FastGradientMethod, ArtsOwn)
        )
        assert [part.shape for part in mine] == [(4,), (2,), (5,)]
        for one, other, before in zip(mine, theirs, x, strict=True):
            np.testing.assert_allclose(one, np.asarray(other, dtype=float), rtol=0, atol=1e-6)
            assert one.dtype == before.dtype == np.float32


def test_object_arrays_reject_starts_and_minimal() -> None:
    x = np.empty(2, dtype=object)
    x[:] = [images(1, shape=(length,))[0] for length in (4, 2)]
    with pytest.raises((AttributeError, TypeError)):
        ArtsOwn(Custom(), num_random_init=1).generate(x, np.ones(2))
    for attack in (FastGradientMethod(Custom(), num_random_init=1), FastGradientMethod(pytorch(), minimal=True)):
        with pytest.raises(SettingError, match="object arrays must be attacked without"):
            attack.generate(x, np.ones(2, dtype=np.int64))
    moved = FastGradientMethod(Custom()).generate(x, np.ones(2), mask=np.array([False, True]))
    np.testing.assert_array_equal(moved[0], x[0])
    assert (moved[1] > x[1]).all()


class Listener(SummaryWriter):  # type: ignore[misc]
    """Keeps what it is told."""

    def __init__(self) -> None:
        self.heard: list[dict[str, Any]] = []
        self.resets = 0

    def update(self, batch_id: Any, global_step: Any, **rest: Any) -> None:  # type: ignore[override, unused-ignore]
        kept = {key: value.copy() if isinstance(value, np.ndarray) else value for key, value in rest.items()}
        self.heard.append({"batch_id": batch_id, "global_step": global_step, **kept})

    def reset(self) -> None:
        self.resets += 1


@pytest.mark.parametrize("targeted", [False, True])
def test_summary_writer(targeted: bool) -> None:
    mine, theirs, estimator, y = Listener(), Listener(), pytorch(), np.arange(7) % 3
    for method, writer in ((FastGradientMethod, mine), (ArtsOwn, theirs)):
        method(estimator, batch_size=3, targeted=targeted, summary_writer=writer).generate(images(), y)
    assert len(mine.heard) == len(theirs.heard) == 3
    assert mine.resets == theirs.resets == 1
    for one, other in zip(mine.heard, theirs.heard, strict=True):
        assert one.keys() == other.keys()
        assert one["estimator"] is other["estimator"] is estimator
        for key in one.keys() - {"estimator"}:
            np.testing.assert_array_equal(one[key], other[key])


# ---------------------------------------------------------------------------------------- what ART's own tests ask of both


def flat_images(n: int = 40) -> Array:
    return images(n, seed=5, shape=(6,))


@BOTH
@pytest.mark.parametrize("norm", [np.inf, 1, 2])
def test_images_stay_in_ball_and_bounds(method: Any, norm: float) -> None:
    estimator, x = pytorch(), images(11)
    x_before = x.copy()
    x_adv = method(estimator, norm=norm, eps=1.0, batch_size=128).generate(x)
    assert x_adv.shape == x.shape
    assert x_adv.min() >= 0
    assert x_adv.max() <= 1
    assert np.linalg.norm((x_adv - x).reshape(11, -1), norm, axis=1).max() <= 1 + 1e-5
    assert (predicted(estimator, x_adv) != predicted(estimator, x)).any()
    np.testing.assert_array_equal(x, x_before)


@BOTH
@pytest.mark.parametrize("limits", [(0, 1), None])
@pytest.mark.parametrize("targeted", [False, True])
def test_features_with_and_without_range(method: Any, targeted: bool, limits: Any) -> None:
    estimator, x = scikit(LogisticRegression()), flat_images()
    estimator = SklearnClassifier(estimator.model, clip_values=limits)
    targets = (predicted(estimator, x) + 1) % 3
    x_adv = method(estimator, eps=0.3, targeted=targeted).generate(x, y=targets if targeted else None)
    after = predicted(estimator, x_adv)
    assert (after == targets).any() if targeted else (after != predicted(estimator, x)).any()
    assert ((x_adv < 0) | (x_adv > 1)).any() == (limits is None)


@BOTH
def test_targeted_minimal(method: Any) -> None:
    estimator, x = scikit(LogisticRegression()), flat_images()
    attack = method(estimator, eps=1.0, targeted=True)
    attack.set_params(minimal=True, eps_step=0.0625, eps=1.0)
    targets = np.eye(3)[(predicted(estimator, x) + 1) % 3]
    assert (predicted(estimator, attack.generate(x, y=targets)) == targets.argmax(1)).mean() > 0.5


@BOTH
def test_random_starts_move_the_images(method: Any) -> None:
    assert (method(pytorch(), num_random_init=3).generate(images(11)) != images(11)).any()


@BOTH
@pytest.mark.parametrize("shape", [(11, *SHAPE), SHAPE])
def test_masked_pixels_stay(method: Any, shape: tuple[int, ...]) -> None:
    mask = np.random.default_rng(2).binomial(1, 0.5, shape).astype(np.float32)
    x_adv = method(pytorch(), eps=1.0, num_random_init=1).generate(images(11), mask=mask)
    still = np.broadcast_to(mask == 0, x_adv.shape)
    np.testing.assert_allclose(x_adv[still], images(11)[still], rtol=0, atol=1e-6)
    assert (x_adv[~still] != images(11)[~still]).any()


@BOTH
def test_minimal_accepts_arrays(method: Any) -> None:
    x, found = images(11), []
    for shape in (None, x.shape, x.shape[1:], x.shape[2:], x.shape[3:]):
        eps: Any = 5.0 if shape is None else np.ones(shape) * 5.0
        eps_step: Any = 0.125 if shape is None else np.ones(shape) * 0.125
        attack = method(pytorch(), eps=1.0, batch_size=11)
        attack.set_params(minimal=True, eps=eps, eps_step=eps_step)
        found.append(attack.generate(x))
    for other in found[1:]:
        np.testing.assert_allclose(other, found[0], rtol=0, atol=1e-6)


@BOTH
@pytest.mark.parametrize(
    ("wrong", "error"),
    [
        ({"norm": 0}, ValueError),
        ({"norm": "two"}, ValueError),
        ({"eps": -1, "eps_step": 1}, ValueError),
        ({"eps": -np.ones(3), "eps_step": np.ones(3)}, ValueError),
        ({"eps": "0.1"}, TypeError),
        ({"eps": 1, "eps_step": -1}, ValueError),
        ({"eps": 1, "eps_step": 0}, ValueError),
        ({"eps": np.ones(3), "eps_step": -np.ones(3)}, ValueError),
        ({"eps": np.ones(3), "eps_step": np.ones(4)}, ValueError),
        ({"eps": 1, "eps_step": np.ones(3)}, TypeError),
        ({"targeted": "true"}, ValueError),
        ({"num_random_init": 1.0}, TypeError),
        ({"num_random_init": -1}, ValueError),
        ({"batch_size": -1}, ValueError),
        ({"minimal": "true"}, ValueError),
        ({"summary_writer": 0}, ValueError),
    ],
)
def test_wrong_parameters(method: Any, wrong: dict[str, Any], error: type[Exception]) -> None:
    with pytest.raises(error):
        method(pytorch(), **wrong)
    attack = method(pytorch())
    if "summary_writer" not in wrong:
        with pytest.raises(error):
            attack.set_params(**wrong)


@BOTH
def test_wrong_estimators_and_arguments(method: Any) -> None:
    with pytest.raises(EstimatorError):
        method(SklearnClassifier(DecisionTreeClassifier().fit([[0], [1]], [0, 1])))
    with pytest.raises(EstimatorError):
        method(network())
    with pytest.raises(ValueError, match="cannot be set"):
        method(pytorch()).set_params(epsilon=0.1)
    with pytest.raises(ValueError, match="targe"):
        method(pytorch(), targeted=True).generate(images())
    with pytest.raises(ValueError, match=r"[Mm]ask"):
        method(pytorch()).generate(images(), mask=np.ones((1, 7, *SHAPE)))
    with pytest.raises(ValueError, match="mask"):
        method(pytorch()).generate(images(), mask=np.ones(SHAPE, dtype=np.int64))
    with pytest.raises(ValueError, match="mask"):
        method(pytorch()).generate(images(), mask=-np.ones(SHAPE))
    with pytest.raises(ValueError, match=r"[Mm]inimal"):
        method(Custom(), minimal=True).generate(images())


@BOTH
def test_other_types_of_images(method: Any) -> None:
    whole = (images() * 255).astype(np.uint8)
    estimator = pytorch(clip_values=(0, 255))
    for x in (whole, whole.astype(np.float64)):
        x_adv = method(estimator, eps=8).generate(x, np.arange(7) % 3)
        assert x_adv.dtype == np.float32
        assert abs(x_adv - x).max() == 8


@BOTH
def test_targeted_can_be_set(method: Any) -> None:
    attack = method(pytorch())
    attack.targeted = True
    assert attack.targeted is True
    attack.set_params(targeted=False)
    assert attack.targeted is False
    assert "targeted=False" in repr(attack)
    assert "eps=0.3" in repr(attack)


# --------------------------------------------------------------------------------------------------------- ART's own bits


@pytest.mark.parametrize(
    "given_",
    [
        {},
        {"num_random_init": 1},
        {"num_random_init": 3, "norm": 2},
        {"minimal": True, "eps": 0.3, "eps_step": 0.1},
        {"norm": 1.5, "targeted": True},
    ],
)
def test_art_quirks_equals_art(given_: dict[str, Any]) -> None:
    x, y, made, writers = images(), np.arange(7) % 3, [], []
    for method, quirks in ((FastGradientMethod, {"art_quirks": True}), (ArtsOwn, {})):
        writers.append(Listener())
        np.random.seed(1)
        made.append(method(pytorch(), batch_size=3, summary_writer=writers[-1], **given_, **quirks).generate(x, y))
        made.append(np.random.random(3))
    assert made[0].tobytes() == made[2].tobytes()
    np.testing.assert_array_equal(made[1], made[3])  # NumPy's generator stands where ART leaves it
    assert len(writers[0].heard) == len(writers[1].heard)


def test_art_quirks_set_params() -> None:
    attack = FastGradientMethod(pytorch(), eps=np.zeros(SHAPE), eps_step=np.zeros(SHAPE))
    with pytest.raises(ValueError, match="positive"):
        attack.set_params(art_quirks=True)
    attack = FastGradientMethod(pytorch(), num_random_init=1)
    attack.set_params(art_quirks=True)
    np.random.seed(3)
    once = attack.generate(images())
    np.random.seed(3)
    np.testing.assert_array_equal(once, ArtsOwn(pytorch(), num_random_init=1).generate(images()))


@pytest.mark.parametrize("wrong", [{"seed": -1}, {"seed": 0.5}, {"art_quirks": "yes"}])
def test_rejects_own_parameters(wrong: dict[str, Any]) -> None:
    with pytest.raises(SettingError, match="must be"):
        FastGradientMethod(pytorch(), **wrong)


# --------------------------------------------------------------------------------------- each quirk, and what we do instead


def test_best_start_per_image() -> None:
    estimator, x = pytorch(), images(30)
    before = predicted(estimator, x)
    fooled = [
        predicted(estimator, FastGradientMethod(estimator, eps=0.15, num_random_init=starts).generate(x)) != before
        for starts in (1, 8)
    ]
    assert not (fooled[0] & ~fooled[1]).any()  # its first start is the other's only one
    assert fooled[1].sum() > fooled[0].sum()


def test_art_returns_clean_images_without_success() -> None:
    x = images()
    assert ArtsOwn(pytorch(), eps=1e-5, num_random_init=2).generate(x) is x
    x_adv = FastGradientMethod(pytorch(), eps=1e-5, num_random_init=2).generate(x)
    assert all((moved != image).any() for moved, image in zip(x_adv, x, strict=True))


def test_random_starts_depend_on_seed_and_image() -> None:
    estimator, x = pytorch(), images()
    by_art = []
    for seed in (0, 1):
        np.random.seed(seed)
        by_art.append(ArtsOwn(estimator, num_random_init=1).generate(x))
    assert not np.array_equal(*by_art)

    state = np.random.get_state()[1].tolist()  # type: ignore[index]
    made = [
        FastGradientMethod(estimator, num_random_init=2, batch_size=size, seed=seed).generate(x, np.arange(7) % 3)
        for size, seed in ((7, 0), (2, 0), (7, 1))
    ]
    assert np.random.get_state()[1].tolist() == state  # type: ignore[index]
    np.testing.assert_array_equal(made[0], made[1])
    assert not np.array_equal(made[0], made[2])


@pytest.mark.parametrize(("norm", "shape"), [(np.inf, (7, *SHAPE)), (2, (7, 1, 1, 1)), (1, (7, 1, 1, 1))])
def test_random_starts_with_epsilon_array(norm: float, shape: tuple[int, ...]) -> None:
    eps = np.random.default_rng(0).random(shape, dtype=np.float32)
    given_: dict[str, Any] = {"norm": norm, "eps": eps, "eps_step": np.ones_like(eps), "num_random_init": 2}
    with pytest.raises((ValueError, NotImplementedError)):
        ArtsOwn(pytorch(), **given_).generate(images())
    moved = FastGradientMethod(pytorch(), **given_).generate(images()) - images()
    if norm == np.inf:
        assert (abs(moved) <= eps + 1e-6).all()
    else:
        assert (np.linalg.norm(moved.reshape(7, -1), norm, axis=1) <= eps.reshape(7) + 1e-5).all()


def test_random_starts_any_norm() -> None:
    with pytest.raises(NotImplementedError):
        ArtsOwn(pytorch(), norm=1.5, num_random_init=1).generate(images())
    moved = FastGradientMethod(pytorch(), norm=1.5, num_random_init=1).generate(images()) - images()
    assert np.linalg.norm(moved.reshape(7, -1), 1.5, axis=1).max() == pytest.approx(0.3, abs=1e-5)


def test_float_mask() -> None:
    for method, same in ((ArtsOwn, False), (FastGradientMethod, True)):
        made = []
        for weight in (1.0, 0.01):
            np.random.seed(0)
            attack = method(pytorch(), num_random_init=1)
            made.append(attack.generate(images(), np.arange(7) % 3, mask=np.full(SHAPE, weight)))
        assert np.array_equal(made[0], made[1]) == same


def test_minimal_grid_is_exact() -> None:
    """A pixel at 0.1 crosses 0.39 at the third step of 0.1, and 0.1 + 0.1 + 0.1 exceeds 0.3."""
    estimator, x = beyond(0.39), np.array([[0.1]], dtype=np.float32)
    given_: dict[str, Any] = {"minimal": True, "eps": 0.3, "eps_step": 0.1}
    assert ArtsOwn(estimator, **given_).generate(x)[0, 0] == pytest.approx(0.3)
    assert FastGradientMethod(estimator, **given_).generate(x)[0, 0] == pytest.approx(0.4)


def test_minimal_keeps_fooled_images() -> None:
    estimator, x, y = beyond(0.5), np.array([[0.25], [0.4]], dtype=np.float32), np.array([1, 0])
    given_: dict[str, Any] = {"minimal": True, "eps": 0.5, "eps_step": 0.125}
    assert ArtsOwn(estimator, **given_).generate(x, y).ravel().tolist() == pytest.approx([0.125, 0.525])
    assert FastGradientMethod(estimator, **given_).generate(x, y).ravel().tolist() == pytest.approx([0.25, 0.525])


def test_minimal_per_image() -> None:
    estimator, x = beyond(0.75), np.array([[0.25], [0.25], [0.5]], dtype=np.float32)
    given_: dict[str, Any] = {"minimal": True, "eps": np.array([[0.125], [0.625], [0.5]]), "eps_step": np.full((3, 1), 0.125)}
    assert ArtsOwn(estimator, **given_).generate(x).ravel().tolist() == [0.375, 0.375, 0.625]
    assert FastGradientMethod(estimator, **given_).generate(x).ravel().tolist() == [0.375, 0.875, 0.875]


def test_minimal_integer_images() -> None:
    estimator, x = scikit(LogisticRegression()), np.zeros((4, 6), dtype=np.int64)
    given_: dict[str, Any] = {"minimal": True, "eps": 0.75, "eps_step": 0.25}
    assert (ArtsOwn(estimator, **given_).generate(x) == 0).all()
    x_adv = FastGradientMethod(estimator, **given_).generate(x)
    assert x_adv.dtype == np.float32
    assert ((x_adv > 0) & (x_adv < 1)).any()


def test_epsilon_per_image() -> None:
    estimator, x, eps = pytorch(), images(5), np.array([0.0, 0.1, 0.2, 0.3, 0.4], dtype=np.float32)  # 5 wide
    given_: dict[str, Any] = {"eps": eps, "eps_step": np.ones_like(eps)}
    by_art = abs(ArtsOwn(estimator, **given_).generate(x) - x)
    np.testing.assert_allclose(by_art.max((0, 1, 2)), eps, atol=1e-6)  # along the width
    with pytest.warns(UserWarning, match="taken as one an image"):
        mine = abs(FastGradientMethod(estimator, **given_).generate(x) - x)
    np.testing.assert_allclose(mine.max((1, 2, 3)), eps, atol=1e-6)
    column: dict[str, Any] = {"eps": eps.reshape(5, 1, 1, 1), "eps_step": np.ones((5, 1, 1, 1))}
    np.testing.assert_array_equal(abs(FastGradientMethod(estimator, **column).generate(x) - x), mine)


def test_epsilon_per_pixel_needs_inf() -> None:
    given_: dict[str, Any] = {"norm": 2, "eps": np.linspace(0, 1, 40).reshape(SHAPE), "eps_step": np.ones(SHAPE)}
    with pytest.raises(NotImplementedError):
        ArtsOwn(pytorch(), **given_).generate(images())
    with pytest.raises(SettingError, match=r"the same all over an image under norm 2.*pass one epsilon per image"):
        FastGradientMethod(pytorch(), **given_).generate(images())


def test_epsilon_along_the_width() -> None:
    eps = np.linspace(0, 0.4, 5, dtype=np.float32)
    made = [method(pytorch(), eps=eps, eps_step=eps + 1).generate(images(6)) for method in (FastGradientMethod, ArtsOwn)]
    np.testing.assert_array_equal(made[0], made[1])
    with pytest.raises(SettingError, match="one per image"):
        FastGradientMethod(pytorch(), eps=np.ones(3), eps_step=np.ones(3)).generate(images(6))


@pytest.mark.parametrize("minimal", [False, True])
def test_zero_epsilon(minimal: bool) -> None:
    eps = np.array([0.0, 0.5, 0.25] * 2, dtype=np.float32).reshape(6, 1, 1, 1)
    with pytest.raises(ValueError, match="positive"):
        ArtsOwn(pytorch(), eps=eps, eps_step=eps, minimal=minimal)
    moved = FastGradientMethod(pytorch(), eps=eps, eps_step=eps, minimal=minimal).generate(images(6)) - images(6)
    np.testing.assert_allclose(abs(moved).max((1, 2, 3)), eps.ravel(), atol=1e-6)
    with pytest.raises(SettingError, match="never reach eps"):
        FastGradientMethod(pytorch(), eps=eps, eps_step=np.zeros_like(eps), minimal=True)


def test_rejects_nonfinite_epsilon() -> None:
    assert np.isin(ArtsOwn(pytorch(), eps=np.inf).generate(images()), [0, 1]).any()
    with pytest.raises(SettingError, match="finite"):
        FastGradientMethod(pytorch(), eps=np.inf).generate(images())


def test_epsilon_array_of_one_value() -> None:
    x = np.rint(images(20) * 255).astype(np.float32) / np.float32(255)
    eps = np.full((20, 1, 1, 1), 0.3)
    for method, same in ((ArtsOwn, False), (FastGradientMethod, True)):
        made = [method(pytorch(), **given_).generate(x) for given_ in ({"eps": eps, "eps_step": eps}, {"eps": 0.3})]
        assert np.array_equal(made[0], made[1]) == same


def test_mask_in_every_batch() -> None:
    mask = np.random.default_rng(0).random((1, *SHAPE)) < 0.5
    with pytest.raises(ValueError, match="broadcast"):
        ArtsOwn(pytorch(), batch_size=4).generate(images(), mask=mask)
    made = [FastGradientMethod(pytorch(), batch_size=4).generate(images(), mask=free) for free in (mask, mask[0])]
    np.testing.assert_array_equal(made[0], made[1])


def test_mask_of_regressors() -> None:
    mask = np.array([0.0, 1, 0, 1, 0, 1])
    x = images(shape=(6,))
    assert (ArtsOwn(Custom()).generate(x, mask=mask) != x).all()
    assert ((FastGradientMethod(Custom()).generate(x, mask=mask) != x) == (mask > 0)).all()


@pytest.mark.parametrize("num_random_init", [0, 2])
def test_nonfinite_gradient(num_random_init: int) -> None:
    def formula(x: Tensor) -> Tensor:
        nothing = (0 * x[:, 0]).sqrt()  # the derivative at 0 is infinite, and times 0 not a number
        return torch.stack([nothing + x[:, 1], -x[:, 1], x[:, 1] * 0], 1)

    estimator = pytorch(Function(formula), input_shape=(2,))
    x, y = np.array([[0.0, 0.5], [0.0, 0.25]], dtype=np.float32), np.array([0, 0])
    moved = ArtsOwn(estimator, eps=0.1).generate(x, y)
    assert (moved[:, 0] == 0).all()
    assert (moved[:, 1] != x[:, 1]).all()  # half of a gradient
    attack = FastGradientMethod(estimator, eps=0.1, num_random_init=num_random_init)
    with pytest.warns(RuntimeWarning, match="2 of 2 images met a gradient that is not finite"):
        np.testing.assert_array_equal(attack.generate(x, y), x)
    free = FastGradientMethod(estimator, eps=0.1).generate(x, y, mask=np.array([False, True]))  # no matter, and no warning
    assert (free[:, 1] != x[:, 1]).all()


def test_underflow() -> None:
    layer = nn.Linear(4, 3, bias=False)
    with torch.no_grad():
        layer.weight.copy_(1e-24 * torch.tensor([[1.0, -2.0, 3.0, 0.5], [0.0, 1.0, -1.0, 2.0], [1.0, 1.0, 1.0, 1.0]]))
    estimator, x = pytorch(layer, input_shape=(4,)), np.full((2, 4), 0.5, dtype=np.float32)
    assert (ArtsOwn(estimator, norm=2, eps=0.1).generate(x, np.array([0, 1])) == x).all()
    moved = FastGradientMethod(estimator, norm=2, eps=0.1).generate(x, np.array([0, 1])) - x
    np.testing.assert_allclose(np.linalg.norm(moved, axis=1), 0.1, atol=1e-6)


def test_keeps_clip_values_exactly() -> None:
    low, high = np.float32(-2.5023181438446045), np.float32(0.2967032492160797)
    x = np.array([[-0.6509634852409363]], dtype=np.float32)
    estimator = pytorch(Function(lambda x: torch.cat([-x, x, 0 * x], 1)), input_shape=(1,), clip_values=(low, high))
    eps = 1.3859494924545288
    assert ArtsOwn(estimator, eps=eps).generate(x, np.array([0]))[0, 0] > high
    assert FastGradientMethod(estimator, eps=eps).generate(x, np.array([0]))[0, 0] == high


def test_tied_predictions() -> None:
    def formula(x: Tensor) -> Tensor:
        return torch.stack([x[:, 0], x[:, 1], x[:, 0] - 9], 1)

    estimator, x = pytorch(Function(formula), input_shape=(2,)), np.full((1, 2), 0.5, dtype=np.float32)
    mine = FastGradientMethod(estimator, eps=0.1).generate(x)
    np.testing.assert_array_equal(mine, FastGradientMethod(estimator, eps=0.1).generate(x, np.array([0])))
    np.testing.assert_allclose(mine, [[0.4, 0.6]])
    assert (mine != ArtsOwn(estimator, eps=0.1).generate(x)).any()


@pytest.mark.parametrize("minimal", [False, True])
@pytest.mark.parametrize("shape", [(-1,), (-1, 1)])
@pytest.mark.parametrize("loss", [nn.BCEWithLogitsLoss(), nn.BCELoss()])
def test_a_single_output(loss: nn.Module, shape: tuple[int, ...], minimal: bool) -> None:
    """The sum of two pixels less 1: ART can attack a column of logits only as class 1, and a vector only with labels."""
    end: Callable[[Tensor], Tensor] = torch.sigmoid if isinstance(loss, nn.BCELoss) else lambda logits: logits
    module = Function(lambda x: end(x.sum(1) - 1).view(shape))
    estimator = pytorch(module, loss, input_shape=(2,), nb_classes=2)
    x = np.array([[0.3, 0.4], [0.6, 0.7]], dtype=np.float32)
    x_adv = FastGradientMethod(estimator, eps=0.25, eps_step=0.25, minimal=minimal).generate(x)
    np.testing.assert_allclose(x_adv, x + np.array([[0.25], [-0.25]]), atol=1e-6)
    np.testing.assert_array_equal(x_adv, FastGradientMethod(estimator, eps=0.25).generate(x, np.array([0, 1])))
    by_art = ArtsOwn(estimator, eps=0.25).generate(x, None if len(shape) == 2 else np.array([0, 1]))
    assert np.allclose(by_art, x - 0.25) if len(shape) == 2 else np.array_equal(by_art, x_adv)


def test_single_output_needs_labels() -> None:
    def squares(outputs: Tensor, rows: Tensor) -> Tensor:
        return (outputs - rows[:, 1:]).square().mean()

    loss = nn.Module()
    loss.forward = squares
    estimator = pytorch(nn.Linear(2, 1), loss, input_shape=(2,), nb_classes=2)
    x = images(shape=(2,))
    assert (FastGradientMethod(estimator).generate(x, np.arange(7) % 2) != x).any()
    with pytest.raises(ModelError, match="at least two outputs"):
        FastGradientMethod(estimator).generate(x)


def test_svc() -> None:
    estimator = scikit(SVC())
    estimator.model.probability = "deprecated"  # scikit-learn 1.9's default
    with pytest.raises(AttributeError, match="predict_proba"):
        ArtsOwn(estimator).generate(flat_images())
    x_adv = FastGradientMethod(estimator).generate(flat_images())
    assert (estimator.model.predict(x_adv) != estimator.model.predict(flat_images())).any()
    assert estimator.model.probability == "deprecated"


@pytest.mark.parametrize(
    ("y", "message"),
    [
        ([0, 3], "got 0 to 3"),
        ([-1, 0], "got -1 to 0"),
        ([1], "got 1 for 2"),
        (np.eye(4)[:2], "must have 3 columns, one a class, got 4"),
    ],
)
def test_rejects_labels(y: Any, message: str) -> None:
    with pytest.raises(DataError, match=message):
        FastGradientMethod(pytorch()).generate(images(2), np.array(y))


def test_art_accepts_wrong_labels() -> None:
    with pytest.raises(IndexError):
        ArtsOwn(pytorch()).generate(images(2), np.array([0, 3]))
    made = [ArtsOwn(pytorch()).generate(images(2), np.array(y)) for y in ([-1, 0], [2, 0])]
    np.testing.assert_array_equal(made[0], made[1])


def test_norm_as_text() -> None:
    with pytest.raises(TypeError):
        ArtsOwn(pytorch(), norm="2").generate(images())
    made = [FastGradientMethod(pytorch(), norm=norm).generate(images()) for norm in (2, "2")]
    np.testing.assert_array_equal(made[0], made[1])


def test_ignores_unknown_arguments_as_art_does() -> None:
    """ART's own helpers pass `x_init` to every attack."""
    made = [method(pytorch()).generate(images(), x_init=images(), masks=None) for method in (FastGradientMethod, ArtsOwn)]
    np.testing.assert_array_equal(made[0], made[1])


@pytest.mark.parametrize("method", ["iterative_saliency", "one_shot"])
def test_frame_saliency_accepts_it(method: str) -> None:
    """ART tests `isinstance(attacker, FastGradientMethod)`."""
    x, found = images(), []
    for attack in (FastGradientMethod, ArtsOwn):
        estimator = pytorch()
        saliency = FrameSaliencyAttack(estimator, attack(estimator, eps=0.2), method, verbose=False)
        found.append(saliency.generate(x))
    np.testing.assert_array_equal(found[0], found[1])
    assert (found[0] != x).any()


@pytest.mark.parametrize("kind", ["native", "defended"])
def test_leaves_no_trace(kind: str) -> None:
    module = nn.Sequential(network(), nn.BatchNorm1d(3), nn.Dropout(0.5)).train()
    module[1].eval()
    defence = {} if kind == "native" else {"preprocessing_defences": OneBit()}
    estimator = pytorch(module, **defence)
    module(torch.from_numpy(images())).sum().backward()

    def state() -> tuple[list[bool], list[Any]]:
        flags = [part.training for part in module.modules()]
        return flags, [part.grad.tolist() if part.grad is not None else None for part in module.parameters()]

    before = state()
    torch.manual_seed(4)
    drawn = torch.rand(1)
    torch.manual_seed(4)
    for given_ in ({}, {"num_random_init": 2}, {"minimal": True}):
        FastGradientMethod(estimator, summary_writer=Listener(), **given_).generate(images())
    assert state() == before
    assert torch.equal(torch.rand(1), drawn)
    ArtsOwn(estimator).generate(images())
    assert not any(state()[0])
    assert state()[1] != before[1]


def test_writes_no_log(caplog: pytest.LogCaptureFixture) -> None:
    with caplog.at_level(logging.INFO, logger="art"):
        FastGradientMethod(pytorch(), eps=0.5).generate(images())
        assert "Success rate" not in caplog.text
        ArtsOwn(pytorch(), eps=0.5).generate(images())
        assert "Success rate of FGM attack: 0.00%" in caplog.text


def test_no_images() -> None:
    for given_ in ({}, {"num_random_init": 2}, {"minimal": True}):
        assert FastGradientMethod(pytorch(), **given_).generate(images(0)).shape == (0, *SHAPE)


# ---------------------------------------------------------------------------------------------- what the documentation says


def test_docs_list_the_same_differences() -> None:
    page = (Path(__file__).parents[1] / "docs/howto/art-users.md").read_text(encoding="utf-8")
    table = page[page.index("| what | ART") :].split("\n\n")[0].splitlines()[2:]
    docstring = (robustbench_fgsm.art.__doc__ or "").splitlines()
    rules = [at for at, line in enumerate(docstring) if line.startswith("===")]
    rows = [line[:36].strip() for line in docstring[rules[1] + 1 : rules[2]]]
    assert [row.split(" | ")[0].removeprefix("| ") for row in table] == [row for row in rows if row]


def test_the_example_runs(capsys: pytest.CaptureFixture[str]) -> None:
    runpy.run_path(str(Path(__file__).parents[1] / "examples/art_users.py"), run_name="__main__")
    before, after = (int(line.split()[4]) for line in capsys.readouterr().out.splitlines())
    assert before > 350
    assert after < before - 100
