"""Check classifier, data and attack on a few images before the first attack."""

from __future__ import annotations

import json
from collections.abc import Iterator, Sequence

import torch
from torch import Tensor

from robustbench_fgsm.attack.arguments import check_batch
from robustbench_fgsm.attack.clip import limits_of
from robustbench_fgsm.attack.gradient import GRADIENT_REMEDY, NO_CLASS, predicted_classes
from robustbench_fgsm.attack.losses import MULTI_LABEL_LOSSES, binary_cross_entropy, get_loss
from robustbench_fgsm.attack.normalisation import normalisation_warnings
from robustbench_fgsm.attack.outputs import brings_own_loss, check_outputs, is_one_output, predict_noise, read_for_loss
from robustbench_fgsm.data.class_names import is_unnamed_class, same_class_name
from robustbench_fgsm.data.dataset import Batch, Dataset, first_readable_batch
from robustbench_fgsm.data.images import ImageDataset
from robustbench_fgsm.data.labels import MULTI_LABEL_REMEDY, check_multi_hot, count_from_one
from robustbench_fgsm.data.limit import sample_warnings
from robustbench_fgsm.data.match_model import channel_remedy
from robustbench_fgsm.data.subset import RandomAccess, dataset_labels, whole_dataset
from robustbench_fgsm.data.torch_dataset import TorchImageSource
from robustbench_fgsm.data.training_images import training_image_warnings
from robustbench_fgsm.engine.out_of_memory import run_on_fitting_prefix
from robustbench_fgsm.engine.targets import targets_for
from robustbench_fgsm.errors import DataError, InputError, ModelError, SettingError
from robustbench_fgsm.global_settings import preserve_generators
from robustbench_fgsm.models.classifier import Classifier, PixelSpaceNetwork, TorchClassifier, decide
from robustbench_fgsm.models.precision import output_resolution
from robustbench_fgsm.options import check_batch_size as check_batch_size
from robustbench_fgsm.spec import (
    AttackSpec,
    Bounds,
    TargetRule,
    check_bounds,
    feature_epsilon_warnings,
    is_multi_label,
    small_epsilon_warnings,
    task_of,
)
from robustbench_fgsm.spec import check_single_epsilon as check_single_epsilon
from robustbench_fgsm.user_code import user_code

PREFLIGHT_IMAGES = 32
REPEATED_IMAGES = 8
"""Images that are read twice: a random flip changes none of them once in 256 times."""

MIN_ACCURACY_IMAGES = 8
"""Images that an accuracy needs at least to count as low."""

OUTPUT_TOLERANCE = 0.01
"""Outputs differ if they are farther apart than this share of the largest; reduced precision gives a tenth of it."""

MAX_CHANGED_SIGNS = 0.01
"""Share of the pixels on which 16-bit gradients may have another sign than float32 ones without a warning."""

MIN_PIXELS_AT_ENDS = 100
"""Pixels at an end of their range that show by their gradients whether a network clamps its images."""

DARK_IMAGE_THRESHOLD = 0.02
"""Largest pixel below which images were probably divided by 255 twice."""


def preflight(
    classifier: Classifier,
    data: Dataset,
    spec: AttackSpec,
    *,
    strict: bool = False,
    is_attacked: bool = True,
    targets: Sequence[TargetRule] = (),
) -> list[str]:
    """Check a few images spread over the data, and return warnings.

    Args:
        classifier: the model.
        data: the images.
        spec: the attack.
        strict: raise an error if there is a warning.
        is_attacked: False if the model only predicts images crafted on other models; then it needs no gradient.
        targets: targets of all attacks, if there are several; none for the target of `spec` alone.

    Raises:
        DataError, ModelError, SettingError: if model, data and attack do not fit each other.
        InputError: if `strict` is set and there is a warning.
    """
    get_loss(spec.loss, stable=spec.stable)
    classifier = read_for_loss(classifier, spec.loss)
    if spec.stable and brings_own_loss(classifier):
        raise SettingError("stable needs cross-entropy, but the model brings its own loss: leave stable out")
    check_task(classifier, data)
    if is_multi_label(classifier):
        check_multi_label_attack(spec, targets or [spec.target])
    if len(data) == 0:
        raise DataError(f"data must hold at least one image, got none in {data.name}")
    check_classes(classifier, data)
    looked_at = evenly_spaced_batch(data)
    warnings = run_on_fitting_prefix(looked_at, lambda batch: _check_batch(classifier, batch, spec, is_attacked=is_attacked))
    for target in targets or [spec.target]:
        targets_for(looked_at, target, data.classes, spec.seed)
    warnings += [*sample_warnings(data), *training_image_warnings(classifier.info, data)]
    if is_attacked:
        warnings += feature_epsilon_warnings(spec)
        if spec.epsilon_scale is None:
            warnings += small_epsilon_warnings(spec.epsilons, spec.bounds)
    check_repeatable(data)
    if strict and warnings:
        raise InputError(f"strict takes warnings for errors: {'; '.join(warnings)}")
    return [*getattr(data, "notes", ()), *_output_notes(classifier, spec.loss), *warnings]


def _output_notes(classifier: Classifier, loss: str) -> Iterator[str]:
    """Yield what the outputs of a multi-label network were found to be."""
    if isinstance(classifier, TorchClassifier) and is_multi_label(classifier) and loss == "ce":
        kind = "a sigmoid, predicted above 0.5" if classifier.own_loss is binary_cross_entropy else "a logit, predicted above 0"
        yield f"each label of the multi-label model has {kind}; loss ce is its binary cross-entropy"


def check_task(classifier: Classifier, data: Dataset) -> None:
    """Raise DataError unless classifier and data both have one class for each image, or both any number of labels."""
    if task_of(classifier) != task_of(data):
        raise DataError(
            f"data must have one class an image, got multi-hot labels in {data.name}: {MULTI_LABEL_REMEDY}"
            if is_multi_label(data)
            else f"data must have multi-hot labels (N, {classifier.num_classes}) for a multi-label network, got one class an image "
            f"in {data.name}: pass multi-hot labels with task='multilabel' in rf.load_data too, or use --loss bce (sigmoids) or "
            "--loss bce-with-logits (logits) without task multilabel, where the largest output counts"
        )


def check_multi_label_attack(spec: AttackSpec, targets: Sequence[TargetRule]) -> None:
    """Raise SettingError for settings of an attack that need one class an image."""
    if spec.loss != "ce" and spec.loss not in MULTI_LABEL_LOSSES:
        raise SettingError(f"a multi-label model takes loss ce, bce or bce-with-logits, got {spec.loss}: leave loss out")
    if targeted := [target for target in targets if target.targeted]:
        raise SettingError(
            f"targeted {targeted[0]} needs one class an image, got a multi-label network: leave targeted out, or attack towards "
            "labels of your own with rf.fgsm(model, x, labels, targeted=True)"
        )
    if spec.max_epsilon is not None:
        raise SettingError(
            "a distance is the smallest epsilon that changes the class of an image, got a multi-label network: leave distance out, "
            "or sweep over several epsilons"
        )
    if spec.restarts:
        raise SettingError(
            f"restarts choose the start that changes the class of an image, got {spec.restarts} for a multi-label network: "
            "leave restarts out"
        )


def preflight_all(classifier: Classifier, data: Dataset, specs: Sequence[AttackSpec], *, strict: bool = False) -> tuple[str, ...]:
    """Return the warnings of `preflight` about attacks that differ in their targets alone, so that the network runs once."""
    return tuple(dict.fromkeys(preflight(classifier, data, specs[0], strict=strict, targets=[spec.target for spec in specs])))


def _check_batch(classifier: Classifier, batch: Batch, spec: AttackSpec, *, is_attacked: bool) -> list[str]:
    warnings = check_images(batch, classifier)
    outputs = _predict_checked(classifier, batch)
    if outputs.shape != (len(batch), classifier.num_classes):
        raise ModelError(
            f"model must return logits ({len(batch)}, {classifier.num_classes}) for {len(batch)} images, got {tuple(outputs.shape)}"
        )
    fewer = batch.at(slice(max(min(2, len(batch)), len(batch) // 4)))
    if is_attacked or is_one_output(_predict_checked(read_for_loss(classifier, "ce"), batch)):  # its threshold depends on the kind
        warnings += check_classifier_outputs(classifier, batch, outputs, spec.loss)
    if not is_attacked:
        return [*warnings, *model_warnings(classifier, batch, outputs, _predict_checked(classifier, fewer))]
    gradient, among_fewer = check_gradient(classifier, fewer, spec)
    warnings += clamp_warnings(fewer.images, gradient.cpu(), check_bounds(classifier.bounds))
    warnings += precision_warnings(classifier, fewer, spec)
    return [*warnings, *model_warnings(classifier, batch, outputs, among_fewer)]


def check_classes(classifier: Classifier, data: Dataset) -> None:
    """Raise DataError unless data and classifier list the same classes; a class named by its number fits any class."""
    if classifier.num_classes != len(data.classes):
        one_more = len(data.classes) == classifier.num_classes + 1 and not is_multi_label(data)
        one_more = one_more and all(is_unnamed_class(label, name) for label, name in enumerate(data.classes))
        if one_more and count_from_one(dataset_labels(data), classifier.num_classes):
            raise _labels_from_one_error(classifier, data)
        remedy = "pass --class-map FILE where they are some of them"
        if len(data.classes) > classifier.num_classes:
            remedy = f"choose a model of {len(data.classes)} classes, or leave out the images of other classes and count from 0"
        raise DataError(
            f"data must have the model's {classifier.num_classes} classes, got {len(data.classes)} in {data.name}: {remedy}"
        )
    for label, (ours, theirs) in enumerate(zip(classifier.classes or (), data.classes, strict=False)):
        if not (same_class_name(ours, theirs) or is_unnamed_class(label, ours) or is_unnamed_class(label, theirs)):
            raise DataError(
                f"data must list the model's classes in its order, got {theirs!r} where the model has {ours!r}: "
                f"pass --class-map FILE, such as {json.dumps({label: [theirs, ours]})[:-1]}, ...}}"
            )


def _labels_from_one_error(classifier: Classifier, data: Dataset) -> DataError:
    return DataError(
        f"labels must lie in [0, {classifier.num_classes}), got 1 to {classifier.num_classes} in {data.name}: they count "
        "classes from 1, so pass --labels-from 1 (in Python, load_data(..., labels_from=1))"
    )


def check_repeatable(data: Dataset) -> None:
    """Raise DataError if a torch data set returns other images at a second reading, as random transforms do."""
    base = whole_dataset(data)
    if not isinstance(base, ImageDataset) or not isinstance(base.source, TorchImageSource):
        return
    with preserve_generators():
        first, second = (evenly_spaced_batch(data, REPEATED_IMAGES) for _ in range(2))
    if not torch.equal(first.images.nan_to_num(), second.images.nan_to_num()) or not torch.equal(first.labels, second.labels):
        raise DataError(
            f"data must be the same at each reading, got other images at the second one in {data.name}: "
            "leave out random transforms, such as RandomCrop and RandomHorizontalFlip"
        )


def evenly_spaced_batch(data: Dataset, size: int = PREFLIGHT_IMAGES) -> Batch:
    """Return a few images spread over the data, or its first images if the data has no random access."""
    if isinstance(data, RandomAccess):
        places = [len(data) * step // size for step in range(size)]
        batch = next(data.take(list(dict.fromkeys(places)), size))
        if len(batch):
            return batch
    return first_readable_batch(data, size)


def check_classifier_outputs(classifier: Classifier, batch: Batch, outputs: Tensor, loss: str) -> list[str]:
    """Return warnings about outputs (N, K) for a batch; raise ModelError if they are not what the loss takes."""
    x = batch.images.to(classifier.device)
    if isinstance(classifier, TorchClassifier) and is_multi_label(classifier):
        if loss != "ce":
            return check_outputs(outputs, loss)
        classifier.find_own_loss(x)
        return []
    if brings_own_loss(classifier):
        return []
    found = check_outputs(outputs, loss, lambda: predict_noise(classifier.predict, x, classifier.bounds))
    if loss != "logits" and is_one_output(outputs) and bool((outputs <= 0).all()) and len(set(batch.labels.tolist())) > 1:
        found.append(
            "the one output of the model is never positive, so that class 0 is predicted everywhere: if it is a log-sigmoid, "
            "use --loss log-probabilities"
        )
    return found


def require_multi_class(classifier: Classifier, command: str) -> None:
    """Raise ModelError for a multi-label classifier, as a command needs that has one class for each image."""
    if is_multi_label(classifier):
        raise ModelError(f"{command} needs a multi-class model, whose loss is cross-entropy, got a multi-label one: use evaluate")


def require_cross_entropy(classifier: Classifier, batch: Batch, command: str) -> None:
    """Raise ModelError unless the classifier is multi-class and returns logits, as a command needs that has no other loss."""
    require_multi_class(classifier, command)
    check_classifier_outputs(classifier, batch, _predict_checked(classifier, batch), "ce")


def check_images(batch: Batch, classifier: Classifier) -> list[str]:
    """Return warnings about the scale of the images.

    Raises DataError, which names the first wrong image, unless images are float within the bounds and labels in [0, K).
    """
    labels: Tensor | None = batch.labels
    if is_multi_label(classifier):
        labels = None
        check_multi_hot(batch.labels, len(batch), classifier.num_classes)
    bounds = check_bounds(classifier.bounds)
    try:
        return check_batch(batch.images, labels, bounds=bounds, num_classes=classifier.num_classes).warnings
    except DataError as error:
        low, high = limits_of(bounds, batch.images)
        fits = ((batch.images >= low) & (batch.images <= high)).flatten(1).all(1)
        if bool(fits.all()):
            raise
        raise DataError(f"{error} (first of them: image {int(batch.ids[~fits][0])})") from error


def _predict_checked(classifier: Classifier, batch: Batch) -> Tensor:
    images = batch.images.to(classifier.device)
    expected = f"model must accept images of shape {tuple(batch.images.shape[1:])}"
    try:
        with user_code(expected, ModelError):
            return classifier.predict(images)
    except ModelError as error:
        remedy = _form_remedy(classifier, images) or channel_remedy(classifier.predict, images)
        if not remedy:
            raise
        raise ModelError(f"{error}: {remedy}") from error


def _form_remedy(classifier: Classifier, images: Tensor) -> str:
    """Return what to do if the normalisation has more channels than the images, or the network states another image size."""
    channels = max(len(statistic or ()) for statistic in (classifier.info.mean, classifier.info.std))
    if images.shape[1] == 1 < channels:
        return f"images have 1 channel, and mean and std have {channels} numbers: pass --mean and --std with one number each"
    modules = classifier.network.modules() if isinstance(classifier, TorchClassifier) else ()
    sizes = (getattr(module, name, None) for module in modules for name in ("image_size", "img_size"))
    side = next((size[0] if isinstance(size, tuple) else size for size in sizes if isinstance(size, int | tuple)), None)
    if not isinstance(side, int) or images.ndim != 4 or images.shape[-1] == side:
        return ""
    return f"pass --image-size {side} for image files, or resize arrays to {side} x {side}"


def check_gradient(classifier: Classifier, batch: Batch, spec: AttackSpec) -> tuple[Tensor, Tensor]:
    """Return the gradient (N, ...) and the outputs (N, K); raise ModelError if no gradient reaches the images."""
    loss = get_loss(spec.loss, stable=spec.stable)
    device = classifier.device
    with user_code("model must pass a gradient back to its images", ModelError, GRADIENT_REMEDY):
        return classifier.loss_gradient(batch.images.to(device), batch.labels.to(device), loss)


def clamp_warnings(images: Tensor, gradient: Tensor, bounds: Bounds) -> list[str]:
    """Return a warning if no pixel (N, ...) at an end of its range has a gradient, and most others have one.

    In PyTorch 2.14, torch.clamp has no gradient at its limits.
    """
    low, high = limits_of(bounds, images)
    at_end, has_gradient = (images <= low) | (images >= high), gradient != 0
    is_masked = int(at_end.sum()) >= MIN_PIXELS_AT_ENDS and not bool(has_gradient[at_end].any())
    if not (is_masked and has_gradient[~at_end].float().mean() > 0.5):
        return []
    return [
        f"gradient masking: {float(at_end.float().mean()):.0%} of the pixels are at an end of their range, where their gradient is "
        "exactly zero, so FGSM cannot move them: if the network clamps its images, leave this out"
    ]


def precision_warnings(classifier: Classifier, batch: Batch, spec: AttackSpec) -> list[str]:
    """Return a warning if 16-bit numbers change the sign of many pixels' gradients against float32 with the same weights."""
    if not output_resolution(classifier.info.dtype) or not isinstance(classifier, TorchClassifier):
        return []
    loss, x, y = get_loss(spec.loss, stable=spec.stable), batch.images.to(classifier.device), batch.labels.to(classifier.device)
    try:
        exact, _ = classifier.variant(torch.float32).loss_gradient(x, y, loss)
    except (RuntimeError, TypeError, ValueError, ModelError):  # the network casts inside
        return []
    gradient, _ = classifier.loss_gradient(x, y, loss)
    changed = int((gradient.sign() != exact.sign()).sum())
    if changed <= MAX_CHANGED_SIGNS * gradient.numel():
        return []
    return [
        f"the model computes in {classifier.info.dtype}, where the gradient of {changed / gradient.numel():.0%} of the pixels has "
        "another sign than in float32: pass --dtype float32 for the gradients of its weights"
    ]


def model_warnings(classifier: Classifier, batch: Batch, outputs: Tensor, smaller_batch_outputs: Tensor) -> Iterator[str]:
    """Yield warnings from outputs (N, K) for a few images, and outputs (n, K) for the first n of them in a smaller batch."""
    if missing := int((decide(classifier, outputs) == NO_CLASS).reshape(len(outputs), -1).any(1).sum()):
        yield (
            f"{missing} of {len(outputs)} images looked at have outputs that are not finite: look in the network for a division "
            "by 0, a logarithm of 0, or an overflow of float16"
        )
        return
    yield from _unstable_output_warnings(classifier, batch.images.to(classifier.device), outputs, smaller_batch_outputs)
    wrong_units = normalisation_warnings(classifier.info.mean, classifier.info.std, classifier.bounds)
    yield from wrong_units or _low_accuracy_warnings(classifier, batch, outputs)
    brightest = float(batch.images.max()) if batch.images.numel() else 0.0
    if 0 < brightest < DARK_IMAGE_THRESHOLD:
        yield f"all pixels are below {brightest:.2g}: look whether the images were divided by 255 twice"


def _unstable_output_warnings(classifier: Classifier, x: Tensor, outputs: Tensor, smaller_batch_outputs: Tensor) -> Iterator[str]:
    """Warn if outputs change from call to call, or with the other images of the batch."""
    distance = _relative_difference(smaller_batch_outputs, outputs[: len(smaller_batch_outputs)])
    tolerance = max(OUTPUT_TOLERANCE, 4 * output_resolution(classifier.info.dtype))
    if distance <= tolerance:
        return
    if _relative_difference(classifier.predict(x), outputs) > tolerance:
        yield (
            f"the model answers the same images differently from call to call (by {distance:.2g} of its outputs): "
            "dropout or another source of chance is on, so switch it off"
        )
    else:
        yield (
            f"an image's outputs depend on the images beside it (by {distance:.2g} of them): batch norm uses the batch's "
            "statistics, so let it use its running ones"
        )


def _relative_difference(ours: Tensor, theirs: Tensor) -> float:
    """Return the largest difference, relative to the largest output; 0 if it is not a number."""
    scale = float(theirs.abs().nan_to_num(0.0, 0.0).max()) or 1.0
    return float((ours - theirs).abs().max().nan_to_num(0.0)) / max(scale, 1e-12)


def _low_accuracy_warnings(classifier: Classifier, batch: Batch, outputs: Tensor) -> Iterator[str]:
    """Warn if the clean accuracy is too low for a network that was trained on the data."""
    if is_multi_label(classifier):  # labels that are rarely there are right by chance
        return
    n, chance = len(batch), 1 / classifier.num_classes
    right = _count_correct(outputs, batch)
    least = min(3 * chance, 0.5)
    if n < MIN_ACCURACY_IMAGES or right >= least * n:
        return
    found = f"clean accuracy is {right} of {n} on the images looked at, below {least:.3g}"
    bare = _outputs_without_normalisation(classifier, batch.images.to(classifier.device))
    if bare is not None and _count_correct(bare, batch) >= max(2 * right, least * n):
        yield f"{found}, and higher without mean and std: the network normalises by itself, so leave them out"
    else:
        yield f"{found}: look for wrong weights, another order of classes, or images prepared for another model"


def _count_correct(outputs: Tensor, batch: Batch) -> int:
    return int((predicted_classes(outputs).cpu() == batch.labels).sum())


@torch.no_grad()
def _outputs_without_normalisation(classifier: Classifier, x: Tensor) -> Tensor | None:
    """Return outputs (N, K) without the model's mean and std; None if it has none."""
    if not isinstance(classifier, TorchClassifier) or not isinstance(classifier.network, PixelSpaceNetwork):
        return None
    network = classifier.network
    if bool((network.mean == 0).all()) and bool((network.std == 1).all()):
        return None
    mean, std = network.broadcast_statistics(x)
    outputs: Tensor = network(x * std + mean)
    return outputs
