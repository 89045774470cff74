"""scikit-learn models from a file, `sklearn:FILE.skops`, through ART's estimators."""

from __future__ import annotations

import zipfile
from dataclasses import replace
from pathlib import Path
from typing import Any

from robustbench_fgsm.errors import ModelError, UnsafeError
from robustbench_fgsm.models.art import ArtClassifier, sklearn_estimator
from robustbench_fgsm.models.download import hash_file
from robustbench_fgsm.models.request import ModelRequest

JOBLIB_SUFFIXES = (".joblib", ".pkl", ".pickle")


def load(request: ModelRequest) -> ArtClassifier:
    """Return the model of a skops file, or of a joblib file whose code is trusted; images are passed flat.

    Raises UnsafeError if a joblib file is not trusted, or a skops file has types that are not scikit-learn's own; ModelError if the
    file cannot be read, or the model has no gradients.
    """
    request.allow_only("bounds")
    file = request.existing_file()
    pickled = file.suffix.lower() in JOBLIB_SUFFIXES
    model = _read_joblib(file, request) if pickled else _read_skops(file)
    estimator = sklearn_estimator(model, request.bounds_or_default)
    classifier = ArtClassifier(estimator, class_names(model))
    classifier.info = replace(
        classifier.info,
        spec=request.spec,
        weights=type(model).__name__,
        sha256=classifier.info.sha256 or hash_file(file),
        settings=request.settings,
    )
    return classifier


def class_names(model: Any) -> list[str] | None:
    """Return the labels with which a model was fitted, if they are words."""
    found = getattr(model, "classes_", [])
    return list(found) if len(found) and all(isinstance(name, str) for name in found) else None


def _read_joblib(file: Path, request: ModelRequest) -> Any:
    request.require_trust("a pickled model", "joblib runs what the file asks for")
    import joblib

    try:
        return joblib.load(file)
    except Exception as error:  # a pickle raises whatever it likes
        raise ModelError(f"model must be a joblib file, got {file}, which cannot be read ({error})") from error


def _read_skops(file: Path) -> Any:
    from skops.io import get_untrusted_types, load

    try:
        untrusted = get_untrusted_types(file=file)
        if untrusted:
            raise UnsafeError(
                f"model must be of scikit-learn's own types, got {file} with {', '.join(untrusted[:3])}: "
                "they are not trusted, and not loaded"
            )
        return load(file, trusted=[])
    except (zipfile.BadZipFile, KeyError, ValueError, TypeError, OSError, EOFError) as error:
        raise ModelError(f"model must be a skops file, got {file}, which cannot be read ({error}): dump it again") from error
