"""scikit-learn models from a file, `sklearn:FILE.skops`, as networks with the same outputs."""

from __future__ import annotations

import zipfile
from dataclasses import replace
from pathlib import Path
from typing import Any

from robustbench_fgsm.errors import ModelError, UnsafeError
from robustbench_fgsm.files.regular_files import hash_file
from robustbench_fgsm.models.classifier import Classifier, TorchClassifier
from robustbench_fgsm.models.precision import parse_dtype
from robustbench_fgsm.models.request import ModelRequest
from robustbench_fgsm.models.sklearn_model import from_sklearn

PLAIN_TYPES = (
    "sklearn.feature_selection._univariate_selection.chi2",
    "sklearn.feature_selection._univariate_selection.f_classif",
    "sklearn.metrics._scorer._PassthroughScorer",
    "sklearn.model_selection._split.StratifiedKFold",
    "sklearn.neural_network._stochastic_optimizers.AdamOptimizer",
    "sklearn.neural_network._stochastic_optimizers.SGDOptimizer",
)
"""Types of scikit-learn in files of models with gradients that skops does not trust by itself, and that hold numbers alone."""

JOBLIB_SUFFIXES = (".joblib", ".pkl", ".pickle")


def load(request: ModelRequest) -> Classifier:
    """Return the model of a skops file, or of a joblib file whose code is trusted; see `from_sklearn`.

    Raises UnsafeError if a joblib file, or a type in a skops file, is not trusted; ModelError if the file cannot be read, or the
    model is not a fitted classifier.
    """
    request.allow_only("bounds")
    file = request.existing_file()
    pickled = file.suffix.lower() in JOBLIB_SUFFIXES
    model = _read_joblib(file, request) if pickled else _read_skops(file, request)
    classifier = from_sklearn(model, bounds=request.bounds_or_default)
    if request.dtype is not None and isinstance(classifier, TorchClassifier):
        classifier = classifier.variant(parse_dtype(request.dtype))
        classifier.info = replace(classifier.info, dtype=request.dtype)
    classifier.info = replace(
        classifier.info,
        spec=request.spec,
        weights=type(model).__name__,
        sha256=classifier.info.sha256 or hash_file(file),
        settings=request.settings,
    )
    return classifier


def _read_joblib(file: Path, request: ModelRequest) -> Any:
    request.require_trust("a pickled model", "joblib runs what the file asks for")
    import joblib

    try:
        return joblib.load(file)
    except Exception as error:  # a pickle raises whatever it likes
        raise ModelError(f"model must be a joblib file, got {file}, which cannot be read ({error})") from error


def _read_skops(file: Path, request: ModelRequest) -> Any:
    from skops.io import get_untrusted_types, load

    try:
        untrusted = [name for name in get_untrusted_types(file=file) if name not in PLAIN_TYPES]
        if untrusted and not request.trust_model_code:
            raise UnsafeError(
                f"model must be of types that skops trusts, got {file} with {', '.join(untrusted[:3])}: "
                "they are not loaded; pass --trust-model-code only if you know who made the file"
            )
        return load(file, trusted=[*PLAIN_TYPES, *untrusted])
    except (zipfile.BadZipFile, KeyError, ValueError, TypeError, OSError, EOFError) as error:
        raise ModelError(f"model must be a skops file, got {file}, which cannot be read ({error}): dump it again") from error
