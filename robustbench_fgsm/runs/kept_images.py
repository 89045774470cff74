"""Example images as a run keeps them in its directory; no torch to read them."""

from __future__ import annotations

from dataclasses import dataclass, fields
from pathlib import Path
from typing import Any, Generic, TypeVar

from numpy.typing import NDArray

from robustbench_fgsm.errors import RunError
from robustbench_fgsm.files.array_files import read_safetensors
from robustbench_fgsm.files.regular_files import is_present

EXAMPLE_IMAGES_FILE = "images.safetensors"

Column = TypeVar("Column")
"""A tensor before images are written, an array after they are read."""


@dataclass(frozen=True)
class ExampleImages(Generic[Column]):
    """M images before and after an attack at its largest budget.

    Clean and adversarial images are (M, C, H, W) float32 in pixel space. Ids, labels, attacks (their index in the run) and
    predictions are (M,) int64, confidences (probabilities of the predicted class) (M,) float32, and epsilons (M,) float64.
    """

    clean: Column
    adversarial: Column
    ids: Column
    labels: Column
    attacks: Column
    predictions_before: Column
    predictions_after: Column
    confidences_before: Column
    confidences_after: Column
    epsilons: Column

    def __len__(self) -> int:
        return len(self.ids)  # type: ignore[arg-type]

    def select(self, rows: Any) -> ExampleImages[Column]:
        """Return the images of some rows: (M,) bool or indices."""
        return ExampleImages(*(getattr(self, field.name)[rows] for field in fields(self)))


def read_example_images(path: Path) -> ExampleImages[NDArray[Any]] | None:
    """Return the example images in a file, or None if there is no file; raise RunError for a malformed file."""
    if not is_present(path):
        return None
    try:
        return ExampleImages(**read_safetensors(path, framework="np"))
    except (ValueError, TypeError) as error:
        raise RunError(f"{path} must hold images as rfgsm kept them, got {error}: delete it") from error
