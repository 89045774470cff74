"""The styles in which attacks are written, each adapted to one call on a batch.

An adapter gets the user's object, `model` (a module from pixel space to logits in evaluation mode), x float32 (N, C, H, W) in
pixel space, y int64 (N,), epsilon in pixel space, and whether y are targets. It returns what the user's object returns. A batch
of images in another layout or space is converted to (N, C, H, W) in pixel space.
"""

from __future__ import annotations

import inspect
import warnings
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from robustbench_fgsm.attack.gradient import input_gradient
from robustbench_fgsm.attack.losses import cross_entropy
from robustbench_fgsm.errors import ModelError, SettingError, did_you_mean
from robustbench_fgsm.models.art import import_art, pytorch_estimator
from robustbench_fgsm.models.classifier import PixelSpaceNetwork
from robustbench_fgsm.spec import PIXEL_BOUNDS

UserCallable = Callable[..., Any]
StyleAdapter = Callable[[UserCallable, nn.Module, Tensor, Tensor, float, bool], object]


@dataclass(frozen=True)
class CandidateStyle:
    """Style in which attacks are written: its adapter, and the arguments with which it calls the user's object.

    import_library: function that imports the style's library without side effects. different_execution: images have another memory
    layout than ours, so that ties in pooling may differ.
    """

    summary: str
    usage: str
    adapt: StyleAdapter
    positional_count: int
    keywords: tuple[str, ...] = ()
    import_library: Callable[[], object] | None = None
    different_execution: bool = False


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
    fitting = [other for other, style in STYLES.items() if _signature_fits(signature, style)]
    if name not in fitting:
        others = " or ".join(f"--style {other}" for other in fitting)
        remedy = f"did you mean {others}?" if others else "change its parameters, or write a function around it"
        arguments = signature.replace(return_annotation=inspect.Signature.empty)
        shown = f"{getattr(call, '__name__', type(call).__name__)}{arguments}"
        raise SettingError(f"style {name} calls {STYLES[name].usage}, got {' '.join(shown.split())}: {remedy}")


def _signature_fits(signature: inspect.Signature, style: CandidateStyle) -> bool:
    try:
        signature.bind(*range(style.positional_count), **dict.fromkeys(style.keywords))
    except TypeError:
        return False
    return True


def _targeted_keyword(call: UserCallable, targeted: bool) -> dict[str, bool]:
    """Return the keyword for a targeted attack, if the callable has it."""
    return {"targeted": True} if targeted and has_parameter(call, "targeted") else {}


def call_plain(call: UserCallable, model: nn.Module, x: Tensor, y: Tensor, epsilon: float, targeted: bool) -> object:
    """Call a function from images to images: `fgsm(model, x, y, 8 / 255)`."""
    return call(model, x, y, epsilon, **_targeted_keyword(call, targeted))


def call_torchattacks(call: UserCallable, model: nn.Module, x: Tensor, y: Tensor, epsilon: float, targeted: bool) -> object:
    """Call an attack class, or a function that makes an attack: `FGSM(model, eps=8 / 255)(images, labels)`."""
    attack = call(model, eps=epsilon, **_targeted_keyword(call, targeted))
    if targeted and hasattr(attack, "set_mode_targeted_by_label"):
        attack.set_mode_targeted_by_label()
    return attack(x, y)


def call_art(call: UserCallable, model: nn.Module, x: Tensor, y: Tensor, epsilon: float, targeted: bool) -> object:
    """Call an attack class of ART, or a function that makes an attack: `Attack(estimator, eps=8 / 255).generate(x, y)`.

    The estimator is ART's PyTorchClassifier with summed cross-entropy, clip_values (0, 1) and no preprocessing.
    """
    with torch.no_grad():
        num_classes = model(x[:1]).shape[1]
    estimator = pytorch_estimator(model, num_classes, PIXEL_BOUNDS, x.device, tuple(x.shape[1:]))
    attack = call(estimator, eps=epsilon, **_targeted_keyword(call, targeted))
    return attack.generate(x.cpu().numpy(), y.cpu().numpy())


def call_foolbox(call: UserCallable, model: nn.Module, x: Tensor, y: Tensor, epsilon: float, targeted: bool) -> object:
    """Call an attack class of Foolbox, or a function that makes an attack: `Attack()(fmodel, images, labels, epsilons=8 / 255)`.

    Of the returned values (raw, clipped, success), the clipped images are used.
    """
    library = import_foolbox()
    fmodel = library.PyTorchModel(model.eval(), bounds=(0, 1), device=x.device)
    attack = call(**_targeted_keyword(call, targeted))
    found = attack(fmodel, x, library.criteria.TargetedMisclassification(y) if targeted else y, epsilons=epsilon)
    return found[1] if isinstance(found, tuple) and len(found) == 3 else found


def call_tutorial(call: UserCallable, model: nn.Module, x: Tensor, y: Tensor, epsilon: float, targeted: bool) -> object:
    """Call the function of PyTorch's FGSM tutorial: `fgsm_attack(image, 8 / 255, data_grad)`.

    image: the whole batch; data_grad: the gradient of its summed cross-entropy in pixel space.
    """
    gradient, _ = input_gradient(model, x, y, cross_entropy)
    return call(x, epsilon, gradient, **_targeted_keyword(call, targeted))


def call_nhwc(call: UserCallable, model: nn.Module, x: Tensor, y: Tensor, epsilon: float, targeted: bool) -> object:
    """Call a function over NumPy arrays with channels last: `fgsm(model, x, y, 8 / 255)`.

    x: float32 (N, H, W, C); y: int64 (N,). The model still takes tensors (N, C, H, W).
    """
    found = call(
        model, x.permute(0, 2, 3, 1).contiguous().cpu().numpy(), y.cpu().numpy(), epsilon, **_targeted_keyword(call, targeted)
    )
    if isinstance(found, np.ndarray) and found.ndim == 4:
        return np.ascontiguousarray(found.transpose(0, 3, 1, 2))
    return found.permute(0, 3, 1, 2).contiguous() if isinstance(found, Tensor) and found.ndim == 4 else found


def call_normalised(call: UserCallable, model: nn.Module, x: Tensor, y: Tensor, epsilon: float, targeted: bool) -> object:
    """Call a function on normalised images and the bare network: `fgsm(network, x_normalised, y, 8 / 255, mean, std)`.

    epsilon is in pixel space; mean and std broadcast to the images, (x - mean) / std. A model that is not of this package is the
    bare network, with mean 0 and std 1. Raises ModelError if a grey image becomes channels with different normalisations, so a step
    on them cannot be converted back.
    """
    network, mean, std = _split_normalisation(model, x)
    found = call(network, (x - mean) / std, y, epsilon, mean, std, **_targeted_keyword(call, targeted))
    return found * std.to(found.device) + mean.to(found.device) if isinstance(found, Tensor) else found


class _RepeatedChannels(nn.Module):
    """Network that repeats its one grey channel."""

    def __init__(self, network: nn.Module, channels: int) -> None:
        super().__init__()
        self.network = network
        self.channels = channels

    def forward(self, x: Tensor) -> Tensor:
        outputs: Tensor = self.network(x.expand(-1, self.channels, *x.shape[2:]))
        return outputs


def _split_normalisation(model: nn.Module, x: Tensor) -> tuple[nn.Module, Tensor, Tensor]:
    if not isinstance(model, PixelSpaceNetwork):
        return model, x.new_zeros(()), x.new_ones(())
    if model.channels is None or x.shape[1] != 1 or model.channels == 1:
        return model.network, *model.broadcast_statistics(x)
    if model.mean.numel() > 1 or model.std.numel() > 1:
        raise ModelError(f"style normalised needs one mean and std for grey images, got {model.channels} channels: use style plain")
    return _RepeatedChannels(model.network, model.channels).eval(), model.mean, model.std


def import_foolbox() -> Any:
    """Return Foolbox, imported without its warnings."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", DeprecationWarning)  # it imports names that SciPy has moved
        import foolbox as library
    return library


STYLES = {
    "plain": CandidateStyle("a function from images to images", "fn(model, x, y, epsilon)", call_plain, 4),
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
        "NumPy arrays, channels last", "fn(model, x, y, epsilon) on NumPy", call_nhwc, 4, different_execution=True
    ),
    "normalised": CandidateStyle(
        "normalised images, bare network", "fn(network, x_normalised, y, epsilon, mean, std)", call_normalised, 6
    ),
}
"""By the name that `--style` takes."""
