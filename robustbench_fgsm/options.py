"""Settings as users write them: groups of options, from which library and command line take names, defaults and help.

No torch, no NumPy.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass, fields, replace
from typing import Annotated, Any

from robustbench_fgsm.errors import SettingError
from robustbench_fgsm.feature_values import FeatureArray, FeatureValues
from robustbench_fgsm.spec import (
    DEFAULT_EPSILON_TEXT,
    DEFAULT_MAX_EPSILON,
    TARGET_RULES,
    UNKNOWN_BOUNDS,
    UNTARGETED,
    AttackSpec,
    Bounds,
    TargetRule,
    check_bounds,
    check_epsilon,
    check_epsilon_scale,
    check_flag,
    check_integer,
    parse_device_name,
    parse_epsilons,
    parse_norm,
)

LOSS_NAMES = ("ce", "logits", "log-probabilities", "probabilities", "margin", "bce", "bce-with-logits")
OPTIMIZE_LEVELS = ("none", "safe", "max")
STYLE_NAMES = ("plain", "torchattacks", "art", "foolbox", "tutorial", "nhwc", "normalised")
METHOD_NAMES = ("fgsm", "fgm", "r+fgsm", "fgsm-rs", "bim", "pgd", "mi-fgsm")
FLOOR = "floor"
ARRAY_LAYOUTS = ("NCHW", "NHWC", "NHW", "NF", "NCL", "NLC", "NCDHW", "NDHWC")
"""Axes of a batch: N samples, C channels, H x W pixels, F features, L steps of a signal, D slices of a volume."""

SHARD_FORMATS = ("safetensors", "npz", "png")

SWEEP_EPSILONS = "1,2,4,8,16/255"
BENCHMARK_EPSILONS = "1,2,3,4,5,6,7,8/255"
MASKING_SAMPLE_SIZE = 200
"""Images on which masking is looked for if no number is given."""


@dataclass(frozen=True)
class Option:
    """How a setting stands on the command line; name, type and default are those of its field.

    Args:
        help: what the setting means.
        flag: name on the command line, if it is not the field's.
        short: one-letter name, such as `-o`.
        metavar: what `--help` prints for the value.
        default_text: what `--help` prints for the default, if not the value itself.
        min: lowest value.
        multiple: the option may be repeated, and the value is a list.
        parse: function from the text on the command line to the field's value.
        panel: panel of `--help`, if it is not that of the group.
        choices: the only values; a shell completes them.
        suggestions: values, or a function that returns values, for a shell to complete; others are allowed too.
    """

    help: str
    flag: str = ""
    short: str = ""
    metavar: str | None = None
    default_text: str = ""
    min: int | None = None
    multiple: bool = False
    parse: Callable[[str], Any] | None = None
    panel: str = ""
    choices: tuple[str, ...] = ()
    suggestions: tuple[str, ...] | Callable[[], Iterable[str]] = ()

    def changed(self, other: Option | None) -> Option:
        """Return this declaration with the changes that another one declares."""
        declared = {} if other is None else {part.name: getattr(other, part.name) for part in fields(Option) if part.name != "help"}
        given = {name: value for name, value in declared.items() if value != getattr(Option, name)}
        return self if other is None else replace(self, help=other.help, **given)


DEVICE_OPTION = Option(
    "auto, cpu, cuda, cuda:1, ...", panel="Performance", parse=parse_device_name, suggestions=("auto", "cpu", "cuda")
)


@dataclass(frozen=True)
class AttackOptions:
    """Settings of an attack as users write them; `to_spec` and `to_specs` parse and validate them."""

    epsilon: Annotated[
        float | str | Iterable[float],
        Option("Budget in the units of the images, which lie in [0, 1] or in --bounds: 8/255 or 0.03.", flag="--eps", short="-e"),
    ] = DEFAULT_EPSILON_TEXT
    norm: Annotated[str | float, Option("inf, 1, 2, or any real p >= 1.", suggestions=("inf", "1", "2"))] = "inf"
    epsilon_scale: Annotated[
        str | FeatureArray | None,
        Option(
            "Multiply epsilon in each feature: range (low to high), numbers with commas, or a file.",
            flag="--eps-scale",
            metavar="SCALE",
            default_text="1",
        ),
    ] = None
    targeted: Annotated[
        str | Sequence[str],
        Option("none, next, shift:2, random, least-likely or class:NAME.", metavar="RULE", suggestions=TARGET_RULES),
    ] = UNTARGETED
    loss: Annotated[
        str, Option("ce, logits, log-probabilities, probabilities, bce, bce-with-logits or margin.", choices=LOSS_NAMES)
    ] = "ce"
    stable: Annotated[bool, Option("Use exact cross-entropy gradients if float32 saturates.")] = False
    restarts: Annotated[int, Option("Random starts beside the clean one. The best start of each image counts.")] = 0
    seed: Annotated[int, Option("Seed of random targets, random starts and --sample.")] = 0

    def to_spec(self, bounds: Bounds) -> AttackSpec:
        """Return the attack, if there is one targeting rule; raises as `to_specs` does."""
        spec, *others = self.to_specs(bounds)
        if others:
            raise SettingError(f"this takes one targeting rule, got {1 + len(others)}: use sweep for several")
        return spec

    def to_specs(self, bounds: Bounds) -> tuple[AttackSpec, ...]:
        """Return one attack for each different targeting rule, on images within the model's bounds.

        bounds: those of the model, which a class of the user's own may have as a pair, or UNKNOWN_BOUNDS for a check of the
        settings before the model is loaded. Raises SettingError for a value outside its domain.
        """
        norm, bounds = parse_norm(self.norm), check_bounds(bounds)
        scale = check_epsilon_scale(self.epsilon_scale, bounds)
        is_known = scale is not None or self.epsilon_scale is None  # the range of a model that is not loaded yet is not
        epsilons = _parse_budgets(self.epsilon, norm, bounds if is_known else UNKNOWN_BOUNDS, scale)
        rules = self.targeted if isinstance(self.targeted, Iterable) and not isinstance(self.targeted, str) else [self.targeted]
        parsed = dict.fromkeys(map(TargetRule.parse, rules))
        if not parsed:
            raise SettingError("targeted must be at least one rule, got none: pass none for an untargeted attack")
        return tuple(
            AttackSpec(epsilons, norm, rule, self.loss, bounds, self.seed, self.restarts, self.stable, scale) for rule in parsed
        )


def _parse_budgets(
    value: float | str | Iterable[float], norm: float, bounds: Bounds, scale: FeatureValues | None, name: str = "epsilon"
) -> tuple[float, ...]:
    """Return budgets that the bounds allow under the scale; raise as `parse_epsilon` does."""
    if scale is None:
        return parse_epsilons(value, norm, bounds, name)
    return tuple(check_epsilon(epsilon, norm, bounds, scale, name) for epsilon in parse_epsilons(value, norm, None, name))


@dataclass(frozen=True)
class CheckOptions:
    """Checks beside the attack: PGD-20 on a sample of `pgd` images, and tests for gradient masking."""

    pgd: Annotated[
        int,
        Option(
            "Also run PGD-20 on N of the images, at the largest epsilon: by how much FGSM overstates robustness.",
            flag="--pgd-check",
            metavar="N",
            min=0,
        ),
    ] = 0
    masking: Annotated[bool, Option("Also look for signs of gradient masking, on N images or 200.", flag="--check-masking")] = False

    def __post_init__(self) -> None:
        check_integer("pgd check", self.pgd, "try 500")
        check_flag("check masking", self.masking)

    @property
    def sample_size(self) -> int:
        """Return the number of images that the checks attack; 0 if there is no check."""
        return self.pgd or (MASKING_SAMPLE_SIZE if self.masking else 0)

    def to_dict(self) -> dict[str, Any]:
        """Return the checks as a manifest records them."""
        return asdict(self)

    @classmethod
    def from_dict(cls, found: Mapping[str, Any] | None) -> CheckOptions:
        """Return the checks that a manifest records; None stands for a manifest without checks."""
        return cls() if found is None else cls(int(found["pgd"]), bool(found["masking"]))


@dataclass(frozen=True)
class DistanceOptions:
    """Whether an attack also measures distances, and the largest budget that it tries for them."""

    distance: Annotated[
        bool, Option("Also measure each image's distance: the smallest epsilon along its one direction that fools it.")
    ] = False
    max_epsilon: Annotated[float | str, Option("Largest epsilon tried for a distance, such as 0.5 or 64/255.", metavar="EPS")] = (
        DEFAULT_MAX_EPSILON
    )

    def apply(self, specs: Iterable[AttackSpec]) -> list[AttackSpec]:
        """Return the attacks, with the largest budget if distances are measured; raise SettingError for an invalid one."""
        check_flag("distance", self.distance)
        return [replace(spec, max_epsilon=self._parse(spec)) if self.distance else spec for spec in specs]

    def _parse(self, spec: AttackSpec) -> float:
        found = _parse_budgets(self.max_epsilon, spec.norm, spec.bounds, spec.epsilon_scale, "max epsilon")
        if len(found) != 1 or not found[0]:
            raise SettingError(f"max epsilon must be one number > 0, got {self.max_epsilon}: try {DEFAULT_MAX_EPSILON}")
        return found[0]


@dataclass(frozen=True)
class RunOptions:
    """How an attack runs over a data set, and what makes the run invalid."""

    batch_size: Annotated[int | str, Option("Images in a batch, or auto.")] = "auto"
    optimize: Annotated[
        str, Option("none, safe (faster, same counts) or max (may change a few counts).", metavar="LEVEL", choices=OPTIMIZE_LEVELS)
    ] = "safe"
    max_bad: Annotated[int, Option("Exit 1 if more images than this number are unreadable.", min=0, panel="Checks")] = 0
    strict: Annotated[bool, Option("Fail on warnings: exit 2 if a check before the attack warns.", panel="Checks")] = False

    def __post_init__(self) -> None:
        check_batch_size(self.batch_size)
        check_integer("max bad", self.max_bad)
        check_flag("strict", self.strict)


def check_batch_size(batch_size: int | str) -> int:
    """Return the number of images at a time, 128 for `auto`; raise SettingError for any other text or number."""
    if batch_size == "auto":
        return 128
    if not str(batch_size).isdecimal() or int(batch_size) < 1:
        raise SettingError(f"batch size must be auto or a positive integer, got {batch_size!r}: try 128")
    return int(batch_size)


@dataclass(frozen=True)
class ReloadOptions:
    """How the model and the data that a manifest names are loaded again."""

    weights: Annotated[str | None, Option("Current place of the weights.", default_text="the place in the manifest")] = None
    device: Annotated[str, DEVICE_OPTION] = "auto"
    trust_model_code: Annotated[bool, Option("Run the model code that the manifest names.")] = False
    trust_data_code: Annotated[bool, Option("Run the data function that the manifest names.", panel="Data")] = False


@dataclass(frozen=True)
class TransferOptions:
    """Rates of a transfer beside those of each pair of models."""

    common: Annotated[bool, Option("Also success over the images that all models classify correctly.")] = False
    per_class: Annotated[bool, Option("Also each pair class by class.")] = False


@dataclass(frozen=True)
class ShardOptions:
    """Files of saved adversarial images."""

    format: Annotated[
        str,
        Option("safetensors, npz, or png, which is rounded to 8 bits within the budget.", flag="--save-as", choices=SHARD_FORMATS),
    ] = "safetensors"
    shard_size: Annotated[int, Option("Images in a shard. One shard is held in memory.")] = 1000
    """1,000 images are 3 MB of Fashion-MNIST or 600 MB of ImageNet."""
    keep_images: Annotated[int, Option("Keep at most N example images in --out; 0 for none.", metavar="N", min=0)] = 500


def split_names(text: str) -> tuple[str, ...]:
    """Return the names in a comma list; none for `none` and for nothing."""
    return () if text.strip() in ("", "none") else tuple(name.strip() for name in text.split(","))


def split_levels(text: str) -> tuple[str, ...]:
    """Return the levels in a comma list; `none` is one of them."""
    return tuple(level.strip() for level in text.split(","))


@dataclass(frozen=True)
class OpponentOptions:
    """What our FGSM is compared with, and which differences are accepted."""

    references: Annotated[str | Sequence[str], Option("Other libraries, as a comma list, or none.", parse=split_names)] = ("art",)
    candidate: Annotated[
        str | None, Option("Your own FGSM: file.py:fn, pkg.mod:fn, or saved images as .npz or .safetensors.", metavar="SPEC")
    ] = None
    ignore: Annotated[
        str | Sequence[str],
        Option(
            "Differences to accept: floor, steps too short where a library's norm of the gradient has a floor.",
            parse=split_names,
            choices=(FLOOR,),
        ),
    ] = ()


@dataclass(frozen=True)
class BenchmarkOptions:
    """What a benchmark times, and how often; `memory` may be a function that loads classifier and data again."""

    references: Annotated[
        str | Sequence[str] | None,
        Option(
            "Other libraries, as a comma list, or none.", default_text="all that are installed", parse=split_names, panel="Checks"
        ),
    ] = None
    levels: Annotated[
        str | Sequence[str],
        Option("Optimisation levels of our FGSM, as a comma list.", parse=split_levels, choices=OPTIMIZE_LEVELS),
    ] = ("none", "safe", "max")
    rounds: Annotated[int, Option("Timed rounds, after one to warm up.")] = 5
    memory: Annotated[
        bool | Callable[..., Any], Option("Measure peak memory, in one process for each contender.", flag="--memory/--no-memory")
    ] = True
    threads: Annotated[int | None, Option("Threads of PyTorch on the CPU.", default_text="PyTorch's own choice")] = None


@dataclass(frozen=True)
class VerifyOptions:
    """How a candidate is called, and which deviations count as failures."""

    style: Annotated[
        str,
        Option(
            "How the candidate is written: plain, torchattacks, art, foolbox, tutorial, nhwc or normalised.", choices=STYLE_NAMES
        ),
    ] = "plain"
    cases: Annotated[
        Sequence[str],
        Option("Run only calls of this name. May be repeated.", flag="--case", metavar="NAME", default_text="all", multiple=True),
    ] = ()
    strict: Annotated[bool, Option("Fail on warnings: exit 1 for deviations that leave the images right.")] = False
    expect: Annotated[
        Sequence[str], Option("Accept this deviation, such as random-start. May be repeated.", metavar="ID", multiple=True)
    ] = ()
    time_limit: Annotated[float, Option("Seconds that one call may take.")] = 10.0
    image_shape: Annotated[
        str, Option("Shape of the images that the candidate takes, such as 1x28x28.", metavar="CxHxW", default_text="3x32x32")
    ] = ""
    classes: Annotated[
        int | None, Option("Number of classes that the candidate takes.", metavar="N", default_text="10, 2 and 1000")
    ] = None
    one_image: Annotated[bool, Option("Pass one image at a time: the candidate takes no batches.")] = False
    method: Annotated[
        str,
        Option(
            "The attack that the candidate claims to be: fgsm, fgm, r+fgsm, fgsm-rs, bim, pgd or mi-fgsm.",
            choices=METHOD_NAMES,
            panel="Attack",
        ),
    ] = "fgsm"
    norm: Annotated[
        str, Option("Norm of the method's ball: inf or 2.", default_text="that of the method's paper", panel="Attack")
    ] = ""
    steps: Annotated[
        int | None, Option("Number of steps.", metavar="N", default_text="10 for bim, pgd and mi-fgsm", panel="Attack")
    ] = None
    step_size: Annotated[
        str,
        Option(
            "Size of a step: a share of epsilon such as 0.25, or with a slash a size in pixels such as 2/255.",
            metavar="SIZE",
            default_text="2.5 / steps for pgd, 1 / steps for bim and mi-fgsm, 0.5 for r+fgsm, 1.25 for fgsm-rs",
            panel="Attack",
        ),
    ] = ""
    random_start: Annotated[bool, Option("The attack starts at a random point of the ball, for pgd.", panel="Attack")] = False


@dataclass(frozen=True)
class PackageOptions:
    """A published package whose attack is verified, in an environment that is made for it."""

    package: Annotated[
        str,
        Option(
            "Install a package in an environment of its own, and verify its attack through its adapter. It is run.",
            metavar="NAME==VERSION[:ATTACK]",
        ),
    ] = ""
    adapters: Annotated[str, Option("Folder of the adapters of packages.", metavar="DIR")] = "examples/wall"


def check_share(name: str, value: float | None) -> None:
    """Raise SettingError unless the share is None or lies in [0, 1]."""
    if value is not None and not 0 <= value <= 1:
        hint = f": did you mean {value / 100:g}?" if 1 < value <= 100 else ""
        raise SettingError(f"{name} must be a share in [0, 1], got {value:g}{hint}")


@dataclass(frozen=True)
class Thresholds:
    """Thresholds in [0, 1] that decide the exit code of an evaluation; None if there is no threshold."""

    min_robust_accuracy: Annotated[float | None, Option("Exit 1 below this share, such as 0.4.")] = None
    max_asr: Annotated[float | None, Option("Exit 1 above this attack success rate, such as 0.5.")] = None

    def __post_init__(self) -> None:
        check_share("min robust accuracy", self.min_robust_accuracy)
        check_share("max asr", self.max_asr)
