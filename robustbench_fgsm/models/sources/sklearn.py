"""scikit-learn models from a file, `sklearn:FILE.skops`, as networks with the same outputs."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

from pydantic import Field, NonNegativeInt

from robustbench_fgsm.errors import ModelError, RfgsmError, UnsafeError, describe_error, is_out_of_memory
from robustbench_fgsm.files.array_files import read_array_header
from robustbench_fgsm.files.json_files import parse_json
from robustbench_fgsm.files.regular_files import hash_file, open_to_read
from robustbench_fgsm.files.validation import FileSchema, validate
from robustbench_fgsm.files.zip_archives import ZIP_ERRORS, open_zip
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
SKOPS_SCHEMA_FILE = "schema.json"
MAX_SCHEMA_BYTES = 2**26


class SkopsSchema(FileSchema):
    """Fields of every schema of skops, which describes a tree of nodes."""

    protocol: NonNegativeInt
    loader: str = Field(alias="__loader__")
    class_name: str = Field(alias="__class__")
    module: str = Field(alias="__module__")


def load(request: ModelRequest) -> Classifier:
    """Return the model of a skops file, or of a joblib file whose code is trusted; see `from_sklearn`.

    Raises UnsafeError if a joblib file, or a type in a skops file, is not trusted; ModelError if the file cannot be read, or the
    model is not a fitted classifier.
    """
    request.allow_only("bounds")
    file = request.existing_file()
    pickled = file.suffix.lower() in JOBLIB_SUFFIXES
    model = _read_joblib(file, request) if pickled else _read_skops(file, request)
    try:
        classifier = from_sklearn(model, bounds=request.bounds_or_default)
    except (AttributeError, IndexError, KeyError, TypeError, ValueError, RuntimeError) as error:
        if isinstance(error, RfgsmError) or is_out_of_memory(error):
            raise
        raise ModelError(
            f"model must be as scikit-learn fits it, got {file} with values that do not fit together ({describe_error(error)}): "
            "dump it again"
        ) from error
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
    except Exception as error:  # a pickle may raise any error
        raise ModelError(
            f"model must be a joblib file, got {file}, which cannot be read ({describe_error(error)}): dump it again"
        ) from error


def _read_skops(file: Path, request: ModelRequest) -> Any:
    from skops.io import get_untrusted_types, load

    _check_skops_archive(file)
    try:
        untrusted = [name for name in get_untrusted_types(file=file) if name not in PLAIN_TYPES]
        if untrusted and not request.trust_model_code:
            raise UnsafeError(
                f"model must be of types that skops trusts, got {file} with {', '.join(untrusted[:3])}: "
                "they are not loaded; pass --trust-model-code only if you know who made the file"
            )
        return load(file, trusted=[*PLAIN_TYPES, *untrusted])
    except RfgsmError:
        raise
    except Exception as error:  # a node of the file may cause any error in skops and in the class that it makes
        if is_out_of_memory(error):
            raise
        raise ModelError(
            f"model must be a skops file, got {file}, which cannot be read ({describe_error(error)}): dump it again"
        ) from error


def _check_skops_archive(file: Path) -> None:
    """Raise ModelError or FileError if the archive, its schema or the sizes of its arrays are not as skops writes them."""
    try:
        with open_to_read(file, follow_links=True) as stream, open_zip(stream, file) as archive:
            if archive.getinfo(SKOPS_SCHEMA_FILE).file_size > MAX_SCHEMA_BYTES:
                raise ValueError(f"a {SKOPS_SCHEMA_FILE} of more than {MAX_SCHEMA_BYTES:,} bytes")
            document = parse_json(archive.read(SKOPS_SCHEMA_FILE), f"{SKOPS_SCHEMA_FILE} of {file}")
            validate(SkopsSchema, document, f"{SKOPS_SCHEMA_FILE} of {file}", ModelError, "dump it again")
            for member in archive.infolist():
                if member.filename.endswith(".npy"):
                    with archive.open(member) as array:
                        read_array_header(array, member.file_size, member.filename)
    except ZIP_ERRORS as error:
        raise ModelError(
            f"model must be a skops file, got {file}, which cannot be read ({describe_error(error)}): dump it again"
        ) from error
