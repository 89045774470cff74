"""Classifier and data of a call, in the forms that a user has: a bare network, a DataLoader; and their adaptation to each other."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

from torch import Tensor, nn

from robustbench_fgsm.attack.gradient import predict_outputs
from robustbench_fgsm.attack.network_call import network_device
from robustbench_fgsm.data.axes import CHANNEL_COUNTS
from robustbench_fgsm.data.class_names import complete_class_names
from robustbench_fgsm.data.dataset import ArrayDataset, Dataset, first_readable_batch
from robustbench_fgsm.data.images import ImageDataset
from robustbench_fgsm.data.load import as_dataset
from robustbench_fgsm.data.subset import Subset, whole_dataset
from robustbench_fgsm.errors import DataError, ModelError, ResourceError, first_line, is_out_of_memory
from robustbench_fgsm.models.classifier import Classifier, TorchClassifier, describe_other_object, wrap
from robustbench_fgsm.models.sklearn_model import from_sklearn, is_sklearn_model
from robustbench_fgsm.spec import check_bounds, task_of

TRIAL_IMAGES = 2
"""Images that show how many outputs a network has, and whether it takes images of their form."""


def as_classifier_and_data(classifier: Any, data: Any) -> tuple[Classifier, Dataset]:
    """Return classifier and data set of what a public function was given.

    classifier: as `as_classifier` takes it. data: as `load_data` takes it.
    """
    dataset = as_dataset(data, task_of(classifier))
    return as_classifier(classifier, dataset), dataset


def as_classifier(model: Any, data: Dataset) -> Classifier:
    """Return the classifier of a model: itself, an ART estimator's, a scikit-learn model's, or that of a bare network.

    A bare network is copied, in evaluation mode, as by `wrap`. Its outputs for the first images show the number of classes. Raises
    ModelError for another object, or if the network accepts no images of the data.
    """
    if isinstance(model, Classifier):
        return model
    if isinstance(model, nn.Module):
        return _wrap_by_first_outputs(model, data)
    if any(base.__module__.partition(".")[0] == "art" for base in type(model).__mro__):
        from robustbench_fgsm.models.art import from_art

        return from_art(model)
    if is_sklearn_model(model):
        return from_sklearn(model)
    raise ModelError(f"classifier must be a classifier, a torch module or an ART estimator, {describe_other_object(model)}")


def _wrap_by_first_outputs(module: nn.Module, data: Dataset) -> TorchClassifier:
    device = network_device(module)
    failure = ""
    for form in (data, *_other_forms(data)):
        images = first_readable_batch(form, TRIAL_IMAGES).images
        try:
            return wrap(module, predict_outputs(module, images.to(device)).shape[1])
        except (MemoryError, RuntimeError) as error:
            if not is_out_of_memory(error):
                raise
            raise ResourceError(
                f"memory must hold the network twice and {TRIAL_IMAGES} images, got too little ({first_line(error)}): "
                "use a smaller network or image, or network.cpu()"
            ) from error
        except ModelError as error:
            remedy = channel_remedy(lambda images: predict_outputs(module, images.to(device)), images)
            failure = failure or f"images {tuple(images.shape[1:])}: {error}{remedy and f'; {remedy}'}"
    raise ModelError(f"{failure}; or pass images of {data.name} in the form that it takes, or rf.wrap(module, num_classes)")


def channel_remedy(predict: Callable[[Tensor], Tensor], images: Tensor) -> str:
    """Return what to do if a network that fails on images (N, C, H, W) takes them with another number of channels; else empty."""
    if images.ndim != 4 or images.shape[1] not in CHANNEL_COUNTS:
        return ""
    other = images.expand(-1, 3, -1, -1) if images.shape[1] == 1 else images.mean(1, keepdim=True)
    try:
        predict(other)
    except Exception:  # noqa: BLE001  (a network may raise any error)
        return ""
    if images.shape[1] == 1:
        return (
            "it takes colour, so pass --mean 0,0,0 --std 1,1,1 (in Python, wrap(..., channels=3)), which repeats the grey channel"
        )
    return "it takes grey images, so convert the images to grey"


def match_to_classifier(data: Dataset, classifier: Classifier) -> Dataset:
    """Return the data with the classifier's resizing, unless they have their own, and its names for unnamed classes.

    8-bit images are put into the classifier's bounds, because their own range is known: level 0 becomes the low and level 255 the
    high one. Floating-point images stay as they are. If the classifier fails on the images, and takes them in another form
    (signals, one of three equal channels), the data have that form. A second call changes nothing. Data sets of other packages
    stay unchanged.
    """
    found = _match(data, classifier)
    if getattr(found, "notes", ()) or _accepts(classifier, found):
        return found
    return next((form for form in _other_forms(found) if _accepts(classifier, form)), found)


def _other_forms(data: Dataset) -> Sequence[Dataset]:
    """Return the other forms of images that are read here."""
    if isinstance(data, Subset):
        return [data.with_dataset(form) for form in _other_forms(data.dataset)]
    return list(data.other_forms()) if isinstance(data, (ArrayDataset, ImageDataset)) and len(data) else []


def _accepts(classifier: Classifier, data: Dataset) -> bool:
    """Return True if the classifier returns one row of outputs for each of a few images, or the data cannot change."""
    base = whole_dataset(data)
    if not (isinstance(base, (ArrayDataset, ImageDataset)) and base.may_have_other_forms and len(data)):
        return True
    try:
        images = first_readable_batch(data, TRIAL_IMAGES).images
        return classifier.predict(images.to(classifier.device)).shape == (len(images), classifier.num_classes)
    except DataError:
        return True
    except Exception:  # noqa: BLE001  (a network may raise any error; the checks before the attack report it)
        return False


def _match(data: Dataset, classifier: Classifier) -> Dataset:
    if isinstance(data, Subset):
        matched = _match(data.dataset, classifier)
        return data if matched is data.dataset else data.with_dataset(matched)
    preprocessing, classes = classifier.info.preprocessing, classifier.classes
    if isinstance(data, ImageDataset) and data.preprocessing is None and preprocessing is not None:
        data = data.with_preprocessing(preprocessing)
    if isinstance(data, (ArrayDataset, ImageDataset)) and data.bounds != classifier.bounds:
        data = data.with_bounds(check_bounds(classifier.bounds))
    names = complete_class_names(data.classes, classifier.num_classes, classes)
    return data.with_class_names(names) if names != data.classes and isinstance(data, (ArrayDataset, ImageDataset)) else data
