"""Options that describe a model which says too little of itself: declared once, and handed on together."""

from __future__ import annotations

import inspect
from collections.abc import Callable
from dataclasses import dataclass
from functools import wraps
from inspect import Parameter
from typing import Annotated, Any

import typer

from robustbench_fgsm.errors import SettingError

PANEL = "Models"
"""Heading under which the help lists them."""


@dataclass(frozen=True)
class ModelOptions:
    """As `load_classifier` takes them; None where nothing was said."""

    num_classes: int | None = None
    mean: tuple[float, ...] | None = None
    std: tuple[float, ...] | None = None
    bounds: tuple[float, ...] | None = None
    dataset: str | None = None
    threat_model: str | None = None
    trust_model_code: bool = False


def _option(kind: Any, name: str, help_: str, metavar: str | None = None) -> Any:
    return Annotated[
        kind, typer.Option(f"--{name}", help=help_, metavar=metavar, show_default=False, rich_help_panel=PANEL)
    ]


TEXT = str | None
DECLARED: dict[str, tuple[Any, Any]] = {
    "num_classes": (_option(int | None, "num-classes", "Outputs of a network whose weights are yours, or none."), None),
    "mean": (_option(TEXT, "mean", "Normalisation: one value, or one a channel.", "M,M,M"), None),
    "std": (_option(TEXT, "std", "Normalisation: one value, or one a channel.", "S,S,S"), None),
    "bounds": (_option(TEXT, "bounds", "Range of the images that the network takes; 0,1 otherwise.", "LOW,HIGH"), None),
    "dataset": (_option(TEXT, "dataset", "RobustBench: cifar10, cifar100 or imagenet."), None),
    "threat_model": (_option(TEXT, "threat-model", "RobustBench: Linf, L2 or corruptions."), None),
    "trust_model_code": (
        _option(bool, "trust-model-code", "Load model files whose loading can run code: exported programs, joblib."),
        False,
    ),
}


def takes_model_options(command: Callable[..., int]) -> Callable[..., int]:
    """The command with these options in its signature, where Typer finds them; it is given them as `model_options`."""

    @wraps(command)
    def with_options(**given: Any) -> int:
        said = {name: given.pop(name, default) for name, (_, default) in DECLARED.items()}
        return command(**given, model_options=parse_model_options(said))

    own = [
        parameter
        for parameter in inspect.signature(command, eval_str=True).parameters.values()
        if parameter.name != "model_options"
    ]
    declared = [
        Parameter(name, Parameter.KEYWORD_ONLY, default=default, annotation=kind)
        for name, (kind, default) in DECLARED.items()
    ]
    keyword = [parameter.replace(kind=Parameter.KEYWORD_ONLY) for parameter in own]
    parameters = [*keyword, *declared]
    with_options.__signature__ = inspect.Signature(parameters, return_annotation=int)  # type: ignore[attr-defined]
    with_options.__annotations__ = {parameter.name: parameter.annotation for parameter in parameters} | {"return": int}
    del with_options.__wrapped__  # or its annotations would be taken for the command's
    return with_options


def parse_model_options(said: dict[str, Any]) -> ModelOptions:
    """The options with their numbers read; raises SettingError for what are no numbers."""
    numbers = {name: _numbers(name, said[name]) for name in ("mean", "std", "bounds")}
    if numbers["bounds"] is not None and len(numbers["bounds"]) != 2:
        raise SettingError(f"--bounds must be low and high, got {said['bounds']!r}: try 0,1")
    return ModelOptions(**said | numbers)


def _numbers(name: str, text: str | None) -> tuple[float, ...] | None:
    if text is None:
        return None
    try:
        return tuple(float(word) for word in text.split(","))
    except ValueError:
        raise SettingError(
            f"--{name} must be numbers with commas between, got {text!r}: try 0.5 or 0.4,0.5,0.6"
        ) from None
