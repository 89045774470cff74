"""Settings as frozen dataclasses, from which library and command line take names, defaults and help; no torch, no NumPy.

An `...Options` class holds settings as users write them. `AttackSpec` is a parsed and validated attack.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Annotated, Any, Literal, cast

from robustbench_fgsm.errors import SettingError, did_you_mean

Bounds = tuple[float, float]
TargetKind = Literal["none", "shift", "random", "least-likely", "class"]

PIXEL_BOUNDS: Bounds = (0.0, 1.0)
DEFAULT_EPSILON = 8 / 255
DEFAULT_EPSILON_TEXT = "8/255"
UNTARGETED = "none"
RANDOM_START_DESCRIPTION = "clean, and uniform in the ball with a full step projected back (ART's variant); the best for each image"


def parse_norm(value: str | float) -> float:
    """Return the order p of the norm, infinity for `inf`. Raises SettingError unless it is a real number p >= 1."""
    try:
        norm = float(value)
    except ValueError:
        norm = math.nan
    if not norm >= 1:
        raise SettingError(f"norm must be inf, 1, 2 or any real p >= 1, got {value}: below 1 it is not a norm")
    return norm


def norm_name(norm: float) -> str:
    """Return the norm as JSON and tables have it: `inf`, `1`, `2`, `1.5`."""
    return str(float(norm)).removesuffix(".0")


def _parse_fraction(text: str) -> float:
    """Return `8/255` or `0.03` as a number."""
    numerator, slash, denominator = text.partition("/")
    try:
        return float(numerator) / float(denominator) if slash else float(numerator)
    except (ValueError, ZeroDivisionError):
        raise SettingError(f"epsilon must look like 8/255 or 0.03, got {text!r}") from None


def parse_epsilon(value: str | float, norm: float = math.inf, bounds: Bounds | None = PIXEL_BOUNDS) -> tuple[float, ...]:
    """Return budgets in pixel space from `8/255`, `0.03` or a comma list, in the order of the list.

    A denominator on the last item serves the whole list if every other item is a bare integer: `1,5,10/255`. Raises
    SettingError for any other mix of fractions and numbers, and as `check_epsilon` does.
    """
    if not isinstance(value, str):
        return (check_epsilon(float(value), norm, bounds),)
    items = [item.strip() for item in value.split(",")]
    if any(not item for item in items):
        raise SettingError(f"epsilon must be a comma list without gaps, got {value!r}: write 1,2,4/255 or 0.01,0.02")
    *before, last = items
    if "/" in last and all(item.isdecimal() for item in before):
        items = [f"{item}/{last.partition('/')[2]}" for item in before] + [last]
    elif len({"/" in item for item in items}) > 1:
        raise SettingError(
            f"epsilon list mixes fractions and other numbers, got {value!r}: "
            "write 1,2,4/255 with one denominator at the end, or one for each item"
        )
    return tuple(check_epsilon(_parse_fraction(item), norm, bounds) for item in items)


def parse_epsilons(
    value: float | str | Iterable[float | str], norm: float = math.inf, bounds: Bounds | None = PIXEL_BOUNDS
) -> tuple[float, ...]:
    """Return budgets in pixel space from one number or text, or from several; raises as `parse_epsilon` does."""
    several = isinstance(value, Iterable) and not isinstance(value, str) and getattr(value, "ndim", 1) != 0
    items = cast("Iterable[float | str]", value) if several else [cast("float | str", value)]
    return tuple(epsilon for item in items for epsilon in parse_epsilon(item, norm, bounds))


def check_epsilon(epsilon: float, norm: float, bounds: Bounds | None) -> float:
    """Return the budget. Raises SettingError if it is negative, not finite, or wider than the bounds under L-infinity."""
    if not (math.isfinite(epsilon) and epsilon >= 0):
        raise SettingError(f"epsilon must be a finite number >= 0, got {epsilon:g}")
    if norm == math.inf and bounds is not None and epsilon > bounds[1] - bounds[0]:
        low, high = bounds
        hint = f": did you mean {epsilon:g}/255?" if bounds == PIXEL_BOUNDS and epsilon <= 255 else ""
        raise SettingError(f"linf epsilon must lie in [0, {high - low:g}] for images in [{low:g}, {high:g}], got {epsilon:g}{hint}")
    return epsilon


@dataclass(frozen=True)
class TargetRule:
    """Which class an attack aims at: `none` (untargeted), `shift` of the label, `random`, `least-likely` or one `class`."""

    kind: TargetKind = "none"
    shift: int = 0
    class_name: str = ""

    @classmethod
    def parse(cls, text: str) -> TargetRule:
        """Parse `none`, `next`, `shift:2`, `random`, `least-likely` or `class:NAME`; raise SettingError for other text."""
        kind, _, argument = text.partition(":")
        if text == "next":
            return cls("shift", 1)
        if text in ("none", "random", "least-likely"):
            return cls(cast("TargetKind", text))
        if kind == "class" and argument:
            return cls("class", class_name=argument)
        if kind == "shift" and argument.removeprefix("-").isdecimal() and int(argument) != 0:
            return cls("shift", int(argument))
        known = ("none", "next", "shift:2", "random", "least-likely", "class:NAME")
        raise SettingError(f"targeted must be one of {', '.join(known)}, got {text!r}; {did_you_mean(text, known)}")

    @property
    def targeted(self) -> bool:
        """Return True if the attack has a target."""
        return self.kind != "none"

    def __str__(self) -> str:
        if self.kind == "shift":
            return "next" if self.shift == 1 else f"shift:{self.shift}"
        return f"class:{self.class_name}" if self.kind == "class" else self.kind


@dataclass(frozen=True)
class AttackSpec:
    """Parsed settings of one attack over one or more budgets, as JSON documents have them under `attack`."""

    epsilons: tuple[float, ...] = (DEFAULT_EPSILON,)
    norm: float = math.inf
    target: TargetRule = TargetRule()
    loss: str = "ce"
    bounds: Bounds = PIXEL_BOUNDS
    seed: int = 0
    restarts: int = 0
    stable: bool = False

    def __post_init__(self) -> None:
        if self.seed < 0:
            raise SettingError(f"seed must be an integer >= 0, got {self.seed}")
        if self.restarts < 0:
            raise SettingError(f"restarts must be a number >= 0 of random starts beside the clean one, got {self.restarts}")

    def to_dict(self) -> dict[str, object]:
        """Return the settings as JSON documents have them, without the budgets."""
        return {
            "norm": norm_name(self.norm),
            "targeted": str(self.target),
            "loss": self.loss,
            "bounds": [bound if math.isfinite(bound) else None for bound in self.bounds],
            "seed": self.seed,
            "restarts": self.restarts,
            "start": RANDOM_START_DESCRIPTION if self.restarts else "clean",
            "stable": self.stable,
        }

    @classmethod
    def from_dict(cls, document: Mapping[str, Any], epsilons: Iterable[float]) -> AttackSpec:
        """Return the attack that `to_dict` wrote, with these budgets.

        Raises KeyError, TypeError, ValueError or AttributeError if `to_dict` did not write the document.
        """
        low, high = document["bounds"]
        if not isinstance(document["loss"], str):
            raise TypeError(f"loss {document['loss']!r}")
        return cls(
            tuple(map(float, epsilons)),
            parse_norm(document["norm"]),
            TargetRule.parse(document["targeted"]),
            document["loss"],
            (-math.inf if low is None else float(low), math.inf if high is None else float(high)),
            document["seed"],
            document["restarts"],
            document["stable"],
        )


AGREEMENT_TOLERANCE = 1e-6
"""Two pixels that are further apart than this differ."""

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
    """

    help: str
    flag: str = ""
    short: str = ""
    metavar: str | None = None
    default_text: str = ""
    min: int | None = None
    multiple: bool = False
    parse: Callable[[str], Any] | None = None


@dataclass(frozen=True)
class AttackOptions:
    """Settings of an attack as users write them; `to_spec` and `to_specs` parse and validate them."""

    epsilon: Annotated[
        float | str | Iterable[float], Option("Budget in pixel space, where images lie in [0, 1]: 8/255 or 0.03.", flag="--eps")
    ] = DEFAULT_EPSILON_TEXT
    norm: Annotated[str | float, Option("inf, 1, 2, or any real p >= 1.")] = "inf"
    targeted: Annotated[str | Sequence[str], Option("none, next, shift:2, random, least-likely or class:NAME.", metavar="RULE")] = (
        UNTARGETED
    )
    loss: Annotated[str, Option("ce, log-probabilities, probabilities or margin.")] = "ce"
    stable: Annotated[bool, Option("Use exact cross-entropy gradients if float32 saturates.")] = False
    restarts: Annotated[int, Option("Random starts beside the clean one. The best start of each image counts.")] = 0
    seed: Annotated[int, Option("Seed of random targets, random starts and --sample.")] = 0

    def to_spec(self, bounds: Bounds = PIXEL_BOUNDS) -> AttackSpec:
        """Return the attack, if there is one targeting rule; raises as `to_specs` does."""
        (spec,) = self.to_specs(bounds)
        return spec

    def to_specs(self, bounds: Bounds = PIXEL_BOUNDS) -> tuple[AttackSpec, ...]:
        """Return one attack for each different targeting rule. Raises SettingError for a value outside its domain."""
        norm = parse_norm(self.norm)
        epsilons = parse_epsilons(self.epsilon, norm, bounds)
        rules = [self.targeted] if isinstance(self.targeted, str) else self.targeted
        return tuple(
            AttackSpec(epsilons, norm, rule, self.loss, bounds, self.seed, self.restarts, self.stable)
            for rule in dict.fromkeys(map(TargetRule.parse, rules))
        )


@dataclass(frozen=True)
class CheckOptions:
    """Checks beside the attack: ART's PGD-20 on a sample of `pgd` images, and tests for gradient masking."""

    pgd: Annotated[
        int,
        Option(
            "Also run ART's PGD-20 on N of the images, at the largest epsilon: by how much FGSM overstates robustness.",
            flag="--pgd-check",
            metavar="N",
            min=0,
        ),
    ] = 0
    masking: Annotated[bool, Option("Also look for signs of gradient masking, on N images or 200.", flag="--check-masking")] = False

    def __post_init__(self) -> None:
        if self.pgd < 0:
            raise SettingError(f"pgd check must be a number of images >= 0, got {self.pgd}: try 500")

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
class RunOptions:
    """How an attack runs over a data set, and what makes the run invalid."""

    batch_size: Annotated[int | str, Option("Images in a batch, or auto.")] = "auto"
    optimize: Annotated[
        str, Option("none, safe (faster, same counts), max (may change a few counts), or bf16.", metavar="LEVEL")
    ] = "safe"
    max_bad: Annotated[int, Option("Exit 1 if more images than this number are unreadable.", min=0)] = 0
    strict: Annotated[bool, Option("Exit 2 if a preflight check warns.")] = False


@dataclass(frozen=True)
class ReloadOptions:
    """How the model and the data that a manifest names are loaded again."""

    weights: Annotated[str | None, Option("Current place of the weights.", default_text="the place in the manifest")] = None
    device: Annotated[str, Option("auto, cpu, cuda, cuda:1, ...")] = "auto"
    trust_model_code: Annotated[bool, Option("Run the model code that the manifest names.")] = False
    trust_data_code: Annotated[bool, Option("Run the data function that the manifest names.")] = False


@dataclass(frozen=True)
class TransferOptions:
    """Rates of a transfer beside those of each pair of models."""

    common: Annotated[bool, Option("Also success over the images that all models had right.")] = False
    per_class: Annotated[bool, Option("Also each pair class by class.")] = False


@dataclass(frozen=True)
class ShardOptions:
    """Files of saved adversarial images."""

    format: Annotated[str, Option("safetensors, npz, or png, which is rounded to 8 bits within the budget.")] = "safetensors"
    shard_size: Annotated[int, Option("Images in a shard. One shard is held in memory.")] = 1000
    """1,000 images are 3 MB of Fashion-MNIST or 600 MB of ImageNet."""


@dataclass(frozen=True)
class BenchmarkOptions:
    """What a benchmark times, and how often; `memory` may be a function that loads classifier and data again."""

    references: Annotated[
        str | Sequence[str] | None,
        Option(
            "Other libraries, as a comma list, or none.",
            default_text="all that are installed",
            parse=lambda text: () if text.strip() == "none" else tuple(text.split(",")),
        ),
    ] = None
    levels: Annotated[
        str | Sequence[str], Option("Optimisation levels of our FGSM, as a comma list.", parse=lambda text: tuple(text.split(",")))
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
        str, Option("How the candidate is written: plain, torchattacks, art, foolbox, tutorial, nhwc or normalised.")
    ] = "plain"
    cases: Annotated[
        Sequence[str],
        Option("Run only this case. May be repeated.", flag="--case", metavar="NAME", default_text="all", multiple=True),
    ] = ()
    strict: Annotated[bool, Option("Count side effects that leave the images right as failures.")] = False
    expect: Annotated[
        Sequence[str], Option("Accept this deviation, such as random-start. May be repeated.", metavar="ID", multiple=True)
    ] = ()
    time_limit: Annotated[float, Option("Seconds that one call may take.")] = 10.0


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
