"""The styles in which attacks are written, each adapted to one call on a batch.

An adapter gets the user's object, `model` (a module from pixel space to logits in evaluation mode), x float32 (N, C, H, W) in
pixel space, y int64 (N,), epsilon in pixel space, and whether y are targets. It returns what the user's object returns. A batch
of images in another layout or space is converted to (N, C, H, W) in pixel space.
"""

from __future__ import annotations

import inspect
import warnings
from collections.abc import Callable, Collection, Sequence
from dataclasses import dataclass
from functools import wraps
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from robustbench_fgsm.attack.gradient import READ_LOGITS, input_gradient
from robustbench_fgsm.attack.losses import cross_entropy
from robustbench_fgsm.errors import ModelError, SettingError, did_you_mean
from robustbench_fgsm.models.art import import_art, pytorch_estimator
from robustbench_fgsm.models.classifier import PixelSpaceNetwork
from robustbench_fgsm.spec import PIXEL_BOUNDS

UserCallable = Callable[..., Any]
ARGUMENT_NAMES = {
    "model": ("model", "net", "network", "classifier", "clf"),
    "x": ("x", "images", "image", "data", "inputs", "input", "imgs", "img", "batch"),
    "y": ("y", "labels", "label", "target", "targets", "y_true"),
    "epsilon": ("epsilon", "eps", "epsilons", "budget"),
}
"""Names in lower case by which an argument of the style `plain` is recognised, whatever its place; in the order of the style."""
StyleAdapter = Callable[[UserCallable, nn.Module, Tensor, Tensor, Any, bool], object]


@dataclass(frozen=True)
class CandidateStyle:
    """Style in which attacks are written: its adapter, and the arguments with which it calls the user's object.

    import_library: function that imports the style's library without side effects. different_execution: images have another memory
    layout than ours, so that ties in pooling may differ. shorter_count: number of arguments of a shorter form. by_name: the first
    four arguments may stand in another order, if `ARGUMENT_NAMES` has their names.
    """

    summary: str
    usage: str
    adapt: StyleAdapter
    positional_count: int
    keywords: tuple[str, ...] = ()
    import_library: Callable[[], object] | None = None
    different_execution: bool = False
    shorter_count: int | None = None
    by_name: bool = False


def get_style(name: str) -> CandidateStyle:
    """Return the style of that name, its library imported; raise SettingError if it is unknown or not installed."""
    if name not in STYLES:
        raise SettingError(f"style must be one of {', '.join(STYLES)}, got {name!r}: {did_you_mean(name, STYLES)}")
    style = STYLES[name]
    if style.import_library is not None:
        try:
            style.import_library()
        except ImportError as error:
            raise SettingError(f"style {name} must have its library, got {error}: pip install {name}") from error
    return style


def has_parameter(call: UserCallable, keyword: str) -> bool:
    """Return True if a callable has a parameter of that name."""
    try:
        return keyword in inspect.signature(call).parameters
    except (TypeError, ValueError):  # built in, without a signature
        return False


def offers_targets(name: str, call: UserCallable) -> bool:
    """Return True if an object in that style has a targeted attack."""
    return has_parameter(call, "targeted") or (name == "torchattacks" and hasattr(call, "set_mode_targeted_by_label"))


def check_signature(name: str, call: UserCallable) -> None:
    """Raise SettingError if the object does not accept the arguments of its style."""
    try:
        signature = inspect.signature(call)
    except (TypeError, ValueError):  # built in, without a signature: the call will tell
        return
    if argument_keywords(name, call):
        return
    fitting = [other for other, style in STYLES.items() if _signature_fits(signature, style)]
    if name not in fitting:
        others = " or ".join(f"--style {other}" for other in fitting)
        remedy = f"did you mean {others}?" if others else "change its parameters, or write a function around it"
        arguments = signature.replace(return_annotation=inspect.Signature.empty)
        shown = f"{getattr(call, '__name__', type(call).__name__)}{arguments}"
        raise SettingError(f"style {name} calls {STYLES[name].usage}, got {' '.join(shown.split())}: {remedy}")


def _signature_fits(signature: inspect.Signature, style: CandidateStyle) -> bool:
    counts = [style.positional_count, *([] if style.shorter_count is None else [style.shorter_count])]
    return any(_binds(signature, count, style.keywords) for count in counts)


def _binds(signature: inspect.Signature, count: int, keywords: Collection[str] = ()) -> bool:
    try:
        signature.bind(*range(count), **dict.fromkeys(keywords))
    except TypeError:
        return False
    return True


def accepts(call: UserCallable, count: int) -> bool:
    """Return True if a callable takes this number of positional arguments, as far as its signature says."""
    try:
        return _binds(inspect.signature(call), count)
    except (TypeError, ValueError):  # built in, without a signature
        return False


def argument_keywords(name: str, call: UserCallable) -> tuple[str, ...]:
    """Return the parameters for model, x, y and epsilon of a callable that has them in another order, by their names.

    The result is empty if the style's own order fits, if a name is not in `ARGUMENT_NAMES`, or if another parameter has no default.
    """
    if not STYLES[name].by_name:
        return ()
    try:
        parameters = inspect.signature(call).parameters.values()
    except (TypeError, ValueError):  # built in, without a signature
        return ()
    roles = {role: [one.name for one in parameters if one.name.lower() in names] for role, names in ARGUMENT_NAMES.items()}
    if any(len(found) != 1 for found in roles.values()):
        return ()
    keywords = tuple(found[0] for found in roles.values())
    given = [one for one in parameters if one.kind not in (one.VAR_POSITIONAL, one.VAR_KEYWORD)]
    needed = {one.name for one in given if one.default is one.empty}
    in_order = tuple(one.name for one in given if one.kind is not one.KEYWORD_ONLY)[:4] == keywords
    if in_order or not needed <= {*keywords} or any(one.kind is one.POSITIONAL_ONLY for one in given):
        return ()
    return keywords


def by_keyword(call: UserCallable, keywords: Sequence[str]) -> UserCallable:
    """Return a callable as a function of model, x, y and epsilon in this order, which it gets by keyword."""

    @wraps(call)
    def called(model: object, x: object, y: object, epsilon: object, **more: object) -> object:
        return call(**dict(zip(keywords, (model, x, y, epsilon), strict=True)), **more)

    return called


def _targeted_keyword(call: UserCallable, targeted: bool) -> dict[str, bool]:
    """Return the keyword for a targeted attack, if the callable has it."""
    return {"targeted": True} if targeted and has_parameter(call, "targeted") else {}


def call_plain(call: UserCallable, model: nn.Module, x: Tensor, y: Tensor, epsilon: Any, targeted: bool) -> object:
    """Call a function from images to images: `fgsm(model, x, y, 8 / 255)`."""
    return call(model, x, y, epsilon, **_targeted_keyword(call, targeted))


def call_torchattacks(call: UserCallable, model: nn.Module, x: Tensor, y: Tensor, epsilon: Any, targeted: bool) -> object:
    """Call an attack class, or a function that makes an attack: `FGSM(model, eps=8 / 255)(images, labels)`."""
    attack = call(model, eps=epsilon, **_targeted_keyword(call, targeted))
    if targeted and hasattr(attack, "set_mode_targeted_by_label"):
        attack.set_mode_targeted_by_label()
    return attack(x, y)


def call_art(call: UserCallable, model: nn.Module, x: Tensor, y: Tensor, epsilon: Any, targeted: bool) -> object:
    """Call an attack class of ART, or a function that makes an attack: `Attack(estimator, eps=8 / 255).generate(x, y)`.

    The estimator is ART's PyTorchClassifier with summed cross-entropy, clip_values (0, 1) and no preprocessing.
    """
    with torch.no_grad():
        num_classes = model(x[:1]).shape[1]
    estimator = pytorch_estimator(model, num_classes, PIXEL_BOUNDS, x.device, tuple(x.shape[1:]))
    attack = call(estimator, eps=epsilon, **_targeted_keyword(call, targeted))
    return attack.generate(x.cpu().numpy(), y.cpu().numpy())


def call_foolbox(call: UserCallable, model: nn.Module, x: Tensor, y: Tensor, epsilon: Any, targeted: bool) -> object:
    """Call an attack class of Foolbox, or a function that makes an attack: `Attack()(fmodel, images, labels, epsilons=8 / 255)`.

    Of the returned values (raw, clipped, success), the clipped images are used.
    """
    library = import_foolbox()
    fmodel = library.PyTorchModel(model.eval(), bounds=(0, 1), device=x.device)
    attack = call(**_targeted_keyword(call, targeted))
    found = attack(fmodel, x, library.criteria.TargetedMisclassification(y) if targeted else y, epsilons=epsilon)
    return found[1] if isinstance(found, tuple) and len(found) == 3 else found


def call_tutorial(call: UserCallable, model: nn.Module, x: Tensor, y: Tensor, epsilon: Any, targeted: bool) -> object:
    """Call the function of PyTorch's FGSM tutorial: `fgsm_attack(image, 8 / 255, data_grad)`.

    image: the whole batch; data_grad: the gradient of its summed cross-entropy in pixel space.
    """
    gradient, _ = input_gradient(model, x, y, cross_entropy)
    return call(x, epsilon, gradient, **_targeted_keyword(call, targeted))


def call_nhwc(call: UserCallable, model: nn.Module, x: Tensor, y: Tensor, epsilon: Any, targeted: bool) -> object:
    """Call a function over NumPy arrays with channels last: `fgsm(model, x, y, 8 / 255)`.

    x: float32 (N, H, W, C); y: int64 (N,). The model still takes tensors (N, C, H, W).
    """
    found = call(
        model, x.permute(0, 2, 3, 1).contiguous().cpu().numpy(), y.cpu().numpy(), epsilon, **_targeted_keyword(call, targeted)
    )
    if isinstance(found, np.ndarray) and found.ndim == 4:
        return np.ascontiguousarray(found.transpose(0, 3, 1, 2))
    return found.permute(0, 3, 1, 2).contiguous() if isinstance(found, Tensor) and found.ndim == 4 else found


def call_normalised(call: UserCallable, model: nn.Module, x: Tensor, y: Tensor, epsilon: Any, targeted: bool) -> object:
    """Call a function on normalised images and the bare network: `fgsm(network, x_normalised, y, 8 / 255, mean, std)`.

    epsilon is in pixel space; mean and std broadcast to the images, (x - mean) / std. A function of four parameters has its own
    mean and std, and does not get them. A model that is not of this package is the bare network, with mean 0 and std 1. Raises
    ModelError if a grey image becomes channels with different normalisations, so a step on them cannot be converted back.
    """
    network, mean, std = _split_normalisation(model, x)
    statistics = () if has_own_statistics(call) else (mean, std)
    found = call(network, (x - mean) / std, y, epsilon, *statistics, **_targeted_keyword(call, targeted))
    return found * std.to(found.device) + mean.to(found.device) if isinstance(found, Tensor) else found


def has_own_statistics(call: UserCallable) -> bool:
    """Return True if a function on normalised images has no parameters for mean and std."""
    return accepts(call, 4) and not accepts(call, 6)


class _PixelSpaceInput(nn.Module):
    """A network from pixel space, as a network from images with these statistics."""

    mean: Tensor
    std: Tensor

    def __init__(self, model: nn.Module, mean: Tensor, std: Tensor) -> None:
        super().__init__()
        self.model = model
        self.register_buffer("mean", mean.view(-1, 1, 1), persistent=False)
        self.register_buffer("std", std.view(-1, 1, 1), persistent=False)

    def forward(self, x: Tensor) -> Tensor:
        outputs: Tensor = self.model(x * self.std + self.mean)
        return outputs


def with_statistics(model: nn.Module, mean: Tensor, std: Tensor) -> PixelSpaceNetwork:
    """Return a network from pixel space as one that first normalises its images with this mean and std (C,).

    The outputs are equal but for rounding. So a function that has its own statistics can be called with any network.
    """
    inner = _PixelSpaceInput(model, mean, std)
    network = PixelSpaceNetwork(inner, mean.tolist(), std.tolist())
    for module in (network, inner):
        module.training = model.training  # train() would change the modes inside the model
    return network


class _NormalisedInput(nn.Module):
    """The network inside a classifier, from normalised images to logits, which repeats a grey channel as the classifier does."""

    def __init__(self, model: PixelSpaceNetwork, channels: int) -> None:
        super().__init__()
        self.network = model.network
        self.reader = model.reader or READ_LOGITS
        self.channels = channels
        self.training = model.network.training

    def forward(self, x: Tensor) -> Tensor:
        return self.reader(self.network(x.expand(-1, self.channels, *x.shape[2:])), len(x))


def _split_normalisation(model: nn.Module, x: Tensor) -> tuple[nn.Module, Tensor, Tensor]:
    if not isinstance(model, PixelSpaceNetwork):
        return model, x.new_zeros(()), x.new_ones(())
    if model.channels is None or x.shape[1] != 1 or model.channels == 1:
        return model.network if model.reader is None else _NormalisedInput(model, x.shape[1]), *model.broadcast_statistics(x)
    if model.mean.numel() > 1 or model.std.numel() > 1:
        raise ModelError(f"style normalised needs one mean and std for grey images, got {model.channels} channels: use style plain")
    return _NormalisedInput(model, model.channels).eval(), model.mean, model.std


def import_foolbox() -> Any:
    """Return Foolbox, imported without its warnings."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", DeprecationWarning)  # it imports names that SciPy has moved
        import foolbox as library
    return library


STYLES = {
    "plain": CandidateStyle("a function from images to images", "fn(model, x, y, epsilon)", call_plain, 4, by_name=True),
    "torchattacks": CandidateStyle(
        "an attack class as in torchattacks", "Attack(model, eps=epsilon)(images, labels)", call_torchattacks, 1, ("eps",)
    ),
    "art": CandidateStyle(
        "an attack class as in ART", "Attack(estimator, eps=epsilon).generate(x, y)", call_art, 1, ("eps",), import_art
    ),
    "foolbox": CandidateStyle(
        "an attack class as in Foolbox",
        "Attack()(fmodel, images, labels, epsilons=epsilon)",
        call_foolbox,
        0,
        import_library=import_foolbox,
    ),
    "tutorial": CandidateStyle(
        "the function of PyTorch's FGSM tutorial", "fgsm_attack(image, epsilon, data_grad)", call_tutorial, 3
    ),
    "nhwc": CandidateStyle(
        "NumPy arrays, channels last", "fn(model, x, y, epsilon) on NumPy", call_nhwc, 4, different_execution=True, by_name=True
    ),
    "normalised": CandidateStyle(
        "normalised images, bare network",
        "fn(network, x_normalised, y, epsilon, mean, std)",
        call_normalised,
        6,
        shorter_count=4,
        by_name=True,
    ),
}
"""By the name that `--style` takes."""
