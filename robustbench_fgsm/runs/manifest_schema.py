"""Schema of the manifest of any command: the values that are read again have their types and ranges if they are there."""

from __future__ import annotations

from typing import Annotated, Any

from pydantic import ConfigDict, Field, NonNegativeFloat, NonNegativeInt, PositiveInt

from robustbench_fgsm.feature_values import StoredValues
from robustbench_fgsm.files.validation import FileSchema
from robustbench_fgsm.spec import MAX_CLASSES

MAX_COUNT = 2**48

Count = Annotated[int, Field(ge=0, le=MAX_COUNT)]
Size = Annotated[int, Field(ge=1, le=2**31)]
Name = Annotated[str, Field(max_length=2**16)]


class ModelFields(FileSchema):
    """A model as `ModelInfo.to_dict` describes it."""

    spec: Name | None = None
    weights: Name | None = None
    sha256: Name | None = None
    mean: list[float] | None = None
    std: list[float] | None = None
    settings: dict[str, Any] | None = None
    outputs_on_noise: list[float] | None = None


class PreprocessingFields(FileSchema):
    """Resizing and cropping of images, as `Preprocessing` describes them."""

    resize: list[int] | None = None
    crop: list[int] | None = None
    interpolation: Name | None = None
    antialias: bool | None = None


class DataFields(FileSchema):
    """Data as `describe_data` describes them."""

    spec: Name | None = None
    n: Count | None = None
    fingerprint: Name | None = None
    classes: Annotated[list[Name], Field(max_length=MAX_CLASSES)] | None = None
    settings: dict[str, Any] | None = None
    preprocessing: PreprocessingFields | None = None


class AttackFields(FileSchema):
    """An attack as `AttackSpec.to_dict` describes it, with its budgets."""

    norm: Name | None = None
    targeted: Name | None = None
    loss: Name | None = None
    seed: int | None = None
    restarts: NonNegativeInt | None = None
    stable: bool | None = None
    bounds: Annotated[list[StoredValues], Field(min_length=2, max_length=2)] | None = None
    epsilon_scale: StoredValues = None
    epsilon: NonNegativeFloat | None = None
    epsilons: Annotated[list[NonNegativeFloat], Field(min_length=1)] | None = None


class OutputFields(FileSchema):
    """Form of the files that `rfgsm attack` writes."""

    format: Name | None = None
    shard_size: PositiveInt | None = None
    batch_size: Size | None = None


class BadFields(FileSchema):
    """Counts and paths of unreadable samples."""

    count: Count | None = None
    allowed: Count | None = None
    paths: list[str] | None = None


class BadSampleFields(FileSchema):
    """An unreadable sample, as `BadSample` describes it."""

    model_config = ConfigDict(extra="forbid")

    path: Name
    reason: Name
    hash: int | None = None


class FileFields(FileSchema):
    """A file that `rfgsm attack` wrote, and the unreadable samples among its images."""

    name: Name
    sha256: Name
    bytes: Count
    n: Count
    bad: Annotated[list[BadSampleFields], Field(default_factory=list)]


class SecondsFields(FileSchema):
    """Time that the run took."""

    total: NonNegativeFloat | None = None


class ManifestFields(FileSchema):
    """Fields of a manifest that are read again; which of them a command needs is checked where they are read."""

    command: Name | None = None
    status: Name | None = None
    model: ModelFields | None = None
    models: list[ModelFields] | None = None
    data: DataFields | None = None
    attack: AttackFields | None = None
    attacks: list[AttackFields] | None = None
    output: OutputFields | None = None
    plan: dict[str, Any] | None = None
    checks: dict[str, Any] | None = None
    asked: dict[str, Any] | None = None
    recipe: dict[str, Any] | None = None
    environment: dict[str, Any] | None = None
    candidate: dict[str, Any] | None = None
    sources: list[NonNegativeInt] | None = None
    targets: list[NonNegativeInt] | None = None
    batch_size: Size | None = None
    piece_size: Count | None = None
    processes: Size | None = None
    max_bad: Count | None = None
    bad: BadFields | None = None
    files: list[FileFields] | None = None
    invalid_reasons: list[str] | None = None
    warnings: list[str] | None = None
    seconds: SecondsFields | None = None
