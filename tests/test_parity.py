"""Every command is one function of the library: the same names, and the same defaults."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import fields
from inspect import Parameter, signature

import pytest

import robustbench_fgsm as rf
from robustbench_fgsm.cli.commands.benchmark import benchmark_command
from robustbench_fgsm.cli.commands.compare import compare_command
from robustbench_fgsm.cli.commands.evaluate import evaluate_command
from robustbench_fgsm.cli.commands.explain import explain_command
from robustbench_fgsm.cli.commands.sweep import sweep_command
from robustbench_fgsm.cli.options import DataOptionGroup, ModelOptionGroup
from robustbench_fgsm.spec import parse_epsilon

COMMANDS = [
    (rf.benchmark, benchmark_command),
    (rf.compare, compare_command),
    (rf.evaluate, evaluate_command),
    (rf.explain, explain_command),
    (rf.sweep, sweep_command),
]

SEVERAL = (rf.benchmark, rf.sweep)
"""These take several budgets."""

RENAMED = {"model": "classifier", "eps": "epsilon"}
"""Options by the argument that they are; for several budgets, `epsilons`."""

HOW = {"weights", "limit", "device", "out", "keep_images", "json", "quiet", "log_dir", "debug"} | (
    set(vars(DataOptionGroup())) - {"max_bad", "strict"}
)
"""What only a program asks: where model and data come from, and where the result goes. The library has functions for it."""

DESCRIBED = set(ModelOptionGroup.__dataclass_fields__)
"""What `load_classifier` asks of a model that says too little of itself."""

SHOWN = {"csv", "format", "html", "plot"}
DRAWN = {(rf.benchmark, "seed")}
"""Where an option draws images only, as `load_data` does."""

ASKED = {"min_robust_accuracy", "max_asr", "find_asr"}
"""Asked of the result: `Evaluation.first_epsilon` and the rates answer these."""

LIBRARY_ONLY = {"progress"}

SAID_FIRST = {"value"}
"""What a command takes without an option's name, before all options; the library, after what it is about."""


def names(function: Callable[..., object], several: bool) -> list[str]:
    renamed = RENAMED | ({"eps": "epsilons"} if several else {})
    return [renamed.get(name, name) for name in signature(function).parameters]


def default_of(parameter: Parameter) -> object:
    """Budgets as numbers, and lists of rules or references as tuples, however they are written."""
    value = parameter.default
    if parameter.name in ("eps", "epsilon", "epsilons"):
        return parse_epsilon(value) if isinstance(value, str) else value if isinstance(value, tuple) else (value,)
    if parameter.name in ("targeted", "references", "levels") and value is not None:
        return tuple(value.split(",")) if isinstance(value, str) else tuple(value)
    return value


@pytest.mark.parametrize(("function", "command"), COMMANDS)
def test_names_are_the_same(function: Callable[..., object], command: Callable[..., object]) -> None:
    options = names(command, several=function in SEVERAL)
    arguments = names(function, several=False)
    assert set(arguments) - set(options) == LIBRARY_ONLY
    drawn = {name for owner, name in DRAWN if owner is function}
    assert set(options) - set(arguments) - drawn <= HOW | DESCRIBED | SHOWN | ASKED
    shared = [name for name in options if name in arguments and name not in SAID_FIRST]
    assert shared == [name for name in arguments if name in options and name not in SAID_FIRST]


@pytest.mark.parametrize(("function", "command"), COMMANDS)
def test_defaults_are_the_same(function: Callable[..., object], command: Callable[..., object]) -> None:
    arguments = signature(function).parameters
    several = function in SEVERAL
    for name, parameter in zip(names(command, several), signature(command).parameters.values(), strict=True):
        if name in arguments and name not in ("classifier", "data"):
            assert default_of(parameter) == default_of(arguments[name]), name


@pytest.mark.parametrize(("function", "command"), COMMANDS)
def test_the_library_takes_settings_by_name_only(function: Callable[..., object], command: Callable[..., object]) -> None:
    positional = [
        name for name, parameter in signature(function).parameters.items() if parameter.kind is not Parameter.KEYWORD_ONLY
    ]
    said = [name for name in names(command, several=False) if name in SAID_FIRST]
    assert positional == ["classifier", "data", *said, "epsilons" if function in SEVERAL else "epsilon"]


def test_descriptions_of_a_model_are_arguments_of_load_classifier() -> None:
    arguments = signature(rf.load_classifier).parameters
    for field in fields(ModelOptionGroup):
        assert arguments[field.name].default == field.default
