"""Every command is one function of the library: names, defaults and order are equal."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, fields
from inspect import Parameter, signature

import pytest

import robustbench_fgsm as rf
from robustbench_fgsm.cli.commands.attack import attack_command
from robustbench_fgsm.cli.commands.benchmark import benchmark_command
from robustbench_fgsm.cli.commands.compare import compare_command
from robustbench_fgsm.cli.commands.evaluate import evaluate_command
from robustbench_fgsm.cli.commands.explain import explain_command
from robustbench_fgsm.cli.commands.gate import gate_command
from robustbench_fgsm.cli.commands.lock import lock_command
from robustbench_fgsm.cli.commands.report import report_command
from robustbench_fgsm.cli.commands.sweep import sweep_command
from robustbench_fgsm.cli.commands.train import train_command
from robustbench_fgsm.cli.commands.transfer import transfer_command
from robustbench_fgsm.cli.commands.verify import verify_command
from robustbench_fgsm.cli.options import DataOptions, ModelOptions, OutputOptions
from robustbench_fgsm.spec import parse_epsilon

LOADING = {part.name for group in (ModelOptions, DataOptions) for part in fields(group)}
"""Options that `load_classifier` and `load_data` take."""

OUTPUT = {part.name for part in fields(OutputOptions)}
LIBRARY_ONLY = {"progress", "report", "extra"}
"""Callbacks, and cases of `verify` that the program makes of --model."""

LISTS = {"targeted", "references", "levels", "ignore"}
POSITIONAL = {"classifier", "data", "sources", "targets", "value", "candidate", "run", "runs", "baseline", "out", "output"}
"""Arguments that the library takes first, in an order of its own."""


SCALE = ("eps_scale", "epsilon_scale")


@dataclass(frozen=True)
class Parity:
    """One command and its function.

    renamed: arguments by the options that set them. program_only: options that are not arguments.
    """

    function: Callable[..., object]
    command: Callable[..., object]
    positional: tuple[str, ...]
    renamed: tuple[tuple[str, str], ...] = (("model", "classifier"), ("eps", "epsilon"), SCALE)
    program_only: frozenset[str] = frozenset()

    def options(self) -> dict[str, Parameter]:
        """Options by the names of their arguments."""
        names = dict(self.renamed)
        options = signature(self.command).parameters.items()
        return {names.get(name, name): found for name, found in options if name not in names.values()}

    def arguments(self) -> dict[str, Parameter]:
        return dict(signature(self.function).parameters)


SEVERAL = (("model", "classifier"), ("eps", "epsilons"), SCALE)
COMMANDS = [
    Parity(rf.benchmark, benchmark_command, ("classifier", "data", "epsilons"), SEVERAL, frozenset({"seed"})),
    Parity(rf.compare, compare_command, ("classifier", "data", "epsilon")),
    Parity(
        rf.evaluate, evaluate_command, ("classifier", "data", "epsilon"), program_only=frozenset({"min_robust_accuracy", "max_asr"})
    ),
    Parity(rf.explain, explain_command, ("classifier", "data", "value", "epsilon")),
    Parity(rf.gate, gate_command, ("run", "baseline", "max_drop"), program_only=frozenset({"badge", "plan", "drops"})),
    Parity(rf.lock, lock_command, ("run", "output")),
    Parity(
        rf.save_adversarial,
        attack_command,
        ("classifier", "data", "out", "epsilon"),
        (("model", "classifier"), ("eps", "epsilon"), SCALE, ("save_as", "format")),
        frozenset({"check", "trust_data_code"}),
    ),
    Parity(rf.write_report, report_command, ("runs", "output"), program_only=frozenset({"table"})),
    Parity(rf.sweep, sweep_command, ("classifier", "data", "epsilons"), SEVERAL, frozenset({"find_asr"})),
    Parity(rf.train, train_command, ("classifier", "data"), program_only=frozenset({"strict"})),
    Parity(
        rf.transfer,
        transfer_command,
        ("sources", "targets", "data", "epsilons"),
        (("source", "sources"), ("target", "targets"), ("eps", "epsilons"), SCALE),
    ),
    Parity(
        rf.verify,
        verify_command,
        ("candidate",),
        (("model", "classifier"), ("case", "cases")),
        frozenset({"classifier", "package", "adapters"}),
    ),
]
every_command = pytest.mark.parametrize("parity", COMMANDS, ids=[parity.command.__name__ for parity in COMMANDS])


def plain(name: str, value: object) -> object:
    """Budgets as numbers, lists as tuples, however they are written."""
    if name in ("epsilon", "epsilons", "max_epsilon", "max_decrease"):
        return parse_epsilon(value) if isinstance(value, str | float) else value
    if name in LISTS and isinstance(value, str):
        return tuple(value.split(",")) if value else ()
    return tuple(value) if isinstance(value, list | tuple) else value


@every_command
def test_names_are_equal(parity: Parity) -> None:
    options, arguments = parity.options(), parity.arguments()
    assert arguments.keys() - options.keys() <= LIBRARY_ONLY
    assert options.keys() - arguments.keys() <= LOADING | OUTPUT | parity.program_only
    own = (options.keys() & arguments.keys()) - POSITIONAL
    assert [name for name in options if name in own] == [name for name in arguments if name in own]


@every_command
def test_defaults_are_equal(parity: Parity) -> None:
    arguments = parity.arguments()
    for name, option in parity.options().items():
        if name in arguments and name not in POSITIONAL - {"candidate"} and name != parity.positional[0]:
            assert plain(name, option.default) == plain(name, arguments[name].default), name


@every_command
def test_the_library_takes_settings_by_keyword(parity: Parity) -> None:
    arguments = parity.arguments()
    assert tuple(name for name in arguments if arguments[name].kind is not Parameter.KEYWORD_ONLY) == parity.positional


def test_model_options_are_library_arguments() -> None:
    arguments = signature(rf.load_classifier).parameters
    for part in fields(ModelOptions):
        assert arguments[part.name].default == (Parameter.empty if part.name == "model" else part.default)


def test_data_options_are_library_arguments() -> None:
    arguments = signature(rf.load_data).parameters
    for part in fields(DataOptions):
        if part.name != "data":
            assert arguments[part.name.removeprefix("data_")].default == part.default, part.name
