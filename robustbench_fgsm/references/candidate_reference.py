"""A candidate as a reference, so that it is compared in the same way."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from robustbench_fgsm.attack.step import Epsilon
from robustbench_fgsm.errors import CandidateError, ModelError, SettingError, describe_error
from robustbench_fgsm.models.classifier import Classifier, TorchClassifier
from robustbench_fgsm.models.copy_module import make_trainable
from robustbench_fgsm.references.batched_reference import BatchedReference
from robustbench_fgsm.references.candidate import Candidate
from robustbench_fgsm.references.candidate_styles import STYLES
from robustbench_fgsm.references.saved_images import SavedImages
from robustbench_fgsm.spec import AttackSpec
from robustbench_fgsm.user_code import place_text


@dataclass(frozen=True)
class SavedImagesReference:
    """Saved images in place of an attack; where and how they were made is unknown."""

    saved_images: SavedImages
    classifier: Classifier
    version: str = ""
    norm_floor: float = 0.0
    different_execution: bool = True
    own_success: None = None

    @property
    def name(self) -> str:
        """Return the name of the file."""
        return self.saved_images.name

    def predict(self, x: Tensor) -> Tensor:
        """Return outputs (N, K) of the classifier itself."""
        parts = torch.split(x, 128)
        return torch.cat([self.classifier.predict(part.to(self.classifier.device)).cpu() for part in parts])


def make_candidate_reference(candidate: Candidate, classifier: Classifier, spec: AttackSpec, batch_size: int) -> BatchedReference:
    """Return the candidate over its own copy of the classifier's network; another copy computes the predictions.

    The reference's `fgsm` raises CandidateError if the candidate raises, or does not return images. Raises SettingError if the
    attack is targeted, and the candidate has no targeted attack; ModelError if the classifier is not a PyTorch network.
    """
    if not isinstance(classifier, TorchClassifier):
        raise ModelError(f"a candidate needs a PyTorch network, got {type(classifier).__name__}: compare saved images")
    if spec.target.targeted and not candidate.targets:
        raise SettingError(
            f"candidate {candidate.name} must take a parameter named targeted to be compared with --targeted "
            f"{spec.target}, got none: add it, or compare untargeted"
        )
    network = make_trainable(classifier.copy_network())  # as its author has it

    def craft(images: Tensor, labels: Tensor, epsilon: Epsilon) -> Tensor:
        network.eval()
        epsilon = epsilon.to(images.device, copy=True) if isinstance(epsilon, Tensor) else epsilon
        try:
            with torch.inference_mode(False), torch.enable_grad():
                found = candidate.call_attack(network, images.clone(), labels.clone(), epsilon, targeted=spec.target.targeted)
        except KeyboardInterrupt:
            raise
        except BaseException as error:  # what a candidate raises is its answer
            text = f"candidate {candidate.name} must return images, it raised {describe_error(error)}{place_text(error)}"
            raise CandidateError(text) from error
        return check_returned_images(candidate.name, found, images)

    return BatchedReference(
        candidate.name,
        candidate.version,
        classifier.copy_network(),
        craft,
        batch_size,
        classifier.device,
        different_execution=STYLES[candidate.style].different_execution,
    )


def check_returned_images(name: str, returned: object, clean: Tensor, *, require_finite: bool = True) -> Tensor:
    """Return the candidate's images as a float32 tensor on the device of the clean images.

    Raises:
        CandidateError: not a floating-point tensor or array in the shape of the clean images, or not finite if that is required.
    """
    if not isinstance(returned, Tensor | np.ndarray):
        shown = f"a tuple of {len(returned)}" if isinstance(returned, tuple) else type(returned).__name__
        raise CandidateError(f"candidate {name} must return a tensor or an array, got {shown}: return the images alone")
    if isinstance(returned, Tensor) and (returned.is_nested or returned.layout != torch.strided or returned.is_meta):
        shown = "a nested tensor" if returned.is_nested else f"a tensor of layout {returned.layout} on {returned.device}"
        raise CandidateError(f"candidate {name} must return a dense tensor, got {shown}: return the images as one plain tensor")
    if tuple(returned.shape) != tuple(clean.shape):
        raise CandidateError(
            f"candidate {name} must return images {tuple(clean.shape)} as it was given, got {tuple(returned.shape)}"
        )
    floating = returned.is_floating_point() if isinstance(returned, Tensor) else returned.dtype.kind == "f"
    if not floating:
        raise CandidateError(f"candidate {name} must return floating point in pixel space, got {returned.dtype}")
    if isinstance(returned, np.ndarray):
        returned = torch.from_numpy(np.ascontiguousarray(returned, dtype=np.float32))
    images = returned.detach().as_subclass(Tensor).to(clean.device, torch.float32)
    if require_finite and not bool(images.isfinite().all()):
        bad = int((~images.flatten(1).isfinite().all(1)).sum())
        raise CandidateError(f"candidate {name} must return finite images, got NaN or infinity in {bad} of {len(images)}")
    return images
