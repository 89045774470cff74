"""Expand groups of options into the options of a command; each option is declared once."""

from __future__ import annotations

import inspect
import re
from collections.abc import Callable, Iterator, Mapping
from dataclasses import MISSING, dataclass, field, fields, is_dataclass, replace
from functools import wraps
from pathlib import Path
from types import NoneType, UnionType
from typing import Annotated, Any, Union, get_args, get_origin, get_type_hints

import typer

from robustbench_fgsm.cli.check_names import check_names
from robustbench_fgsm.cli.feature_files import parse_epsilon_scale
from robustbench_fgsm.cli.progress import show_loading
from robustbench_fgsm.errors import SettingError, did_you_mean
from robustbench_fgsm.options import Option

FILE_PARSERS: Mapping[str, Callable[[str], Any]] = {"epsilon_scale": parse_epsilon_scale}
"""Functions from text to the values of fields that may stand in files, which `options.py` does not read."""


PANELS = {
    "ModelOptions": "Model",
    "DataOptions": "Data",
    "AttackOptions": "Attack",
    "TrainingRecipe": "Training",
    "DistanceOptions": "Attack",
    "CheckOptions": "Checks",
    "Thresholds": "Gates",
    "GateOptions": "Gates",
    "OpponentOptions": "Checks",
    "VerifyOptions": "Checks",
    "PackageOptions": "Model",
    "ReloadOptions": "Model",
    "RunOptions": "Performance",
    "BenchmarkOptions": "Performance",
    "TransferOptions": "Output",
    "ShardOptions": "Output",
    "OutputOptions": "Output",
}
"""Panel of `--help` in which the options of each group stand."""

METAVARS: Mapping[Any, str] = {bool: "", str: "TEXT", int: "N", float: "X", Path: "PATH", list[str]: "TEXT"}
"""What `--help` prints for a value of each type, if the option does not say."""


@dataclass(frozen=True)
class Variant:
    """How one command's group of options differs from the group's declaration.

    Args:
        only: fields that are options of this command, if not all.
        without: fields that are not.
        defaults: default values of this command, by field.
        options: what differs in the declarations of this command, by field.
    """

    only: tuple[str, ...] = ()
    without: tuple[str, ...] = ()
    defaults: Mapping[str, Any] = field(default_factory=dict)
    options: Mapping[str, Option] = field(default_factory=dict)

    def has(self, name: str) -> bool:
        """Return True if the field is an option of this command."""
        return name not in self.without and (not self.only or name in self.only)


@dataclass(frozen=True)
class _DeclaredOption:
    """One option of a command: its field's type, declaration and default."""

    field: str
    hint: Any
    option: Option
    default: Any
    panel: str | None

    @property
    def flag(self) -> str:
        return self.option.flag or f"--{self.field.replace('_', '-')}"

    @property
    def name(self) -> str:
        """Return the name of the parameter that Typer fills in."""
        return self.flag.split("/")[0].removeprefix("--").replace("-", "_")

    def parse(self, value: Any) -> Any:
        if isinstance(value, list):
            return tuple(value)
        parse, known = self.option.parse or FILE_PARSERS.get(self.field), self.option.choices
        found = parse(value) if parse and isinstance(value, str) else value
        for one in found if isinstance(found, tuple) else (found,):
            if known and one is not None and one not in known:
                words = f"{self.name.replace('_', ' ')} must be one of {', '.join(known)}, got {one!r}"
                raise SettingError(f"{words}: {did_you_mean(one, known)}")
        return found

    def _complete(self, incomplete: str) -> list[str]:
        found = self.option.choices or self.option.suggestions
        values = found() if callable(found) else found
        return [value for value in values if value.startswith(incomplete)]

    def to_parameter(self) -> inspect.Parameter:
        """Return the parameter of which Typer makes the option."""
        option, default = self.option, self.default
        kinds = get_args(self.hint) if get_origin(self.hint) in (Union, UnionType) else (self.hint,)
        kind: Any = str if str in kinds or option.parse else next(kind for kind in kinds if kind is not NoneType)
        if option.multiple:
            kind = list[str]
            default = default if default is MISSING else [default] if isinstance(default, str) else list(default)
        elif isinstance(default, tuple):
            default = ",".join(default)
        elif isinstance(default, float) and kind is str:
            default = str(default)
        metavar = METAVARS.get(kind) if option.metavar is None else option.metavar
        if default is None:
            kind |= None
        declaration = typer.Option(
            *filter(None, [option.short, self.flag]),
            help=option.help,
            metavar=metavar,
            autocompletion=self._complete if option.choices or option.suggestions else None,
            min=option.min,
            show_default=option.default_text or default not in (None, MISSING, "", []),
            rich_help_panel=self.panel,
        )
        return inspect.Parameter(
            self.name,
            inspect.Parameter.KEYWORD_ONLY,
            default=inspect.Parameter.empty if default is MISSING else default,
            annotation=Annotated[kind, declaration],
        )


def _declared_options(group: type[Any], variant: Variant) -> list[_DeclaredOption]:
    """Return the options that one group adds to a command."""
    hints, found = get_type_hints(group, include_extras=True), []
    for part in fields(group):
        hint, option = get_args(hints[part.name])
        if variant.has(part.name):
            default = variant.defaults.get(part.name, part.default)
            option = option.changed(variant.options.get(part.name))
            if part.name in variant.defaults and part.name not in variant.options:
                option = replace(option, default_text="")  # it describes the default of the group
            found.append(_DeclaredOption(part.name, hint, option, default, option.panel or PANELS.get(group.__name__)))
    return found


def expand_options(command: Callable[..., int]) -> Callable[..., int]:
    """Return the command with one keyword parameter for each option in place of each group of options.

    A group is a parameter whose type is a dataclass, alone or as `Annotated[Group, Variant(...)]`. A parameter of its own is
    declared as `Annotated[type, Option(...)]`.
    """
    parameters: list[inspect.Parameter] = []
    groups: dict[str, tuple[type[Any], Variant, list[_DeclaredOption]]] = {}
    singles: dict[str, _DeclaredOption] = {}
    for parameter in inspect.signature(command, eval_str=True).parameters.values():
        annotated = get_origin(parameter.annotation) is Annotated
        kind, mark = get_args(parameter.annotation) if annotated else (parameter.annotation, None)
        if isinstance(kind, type) and is_dataclass(kind):
            variant = mark or Variant()
            options = _declared_options(kind, variant)
            groups[parameter.name] = kind, variant, options
            parameters += [option.to_parameter() for option in options]
        elif isinstance(mark, Option):
            default = MISSING if parameter.default is inspect.Parameter.empty else parameter.default
            single = singles[parameter.name] = _DeclaredOption(parameter.name, kind, mark, default, mark.panel or None)
            parameters.append(single.to_parameter())
        else:
            parameters.append(parameter.replace(kind=inspect.Parameter.KEYWORD_ONLY))

    @wraps(command)
    def call(**given: Any) -> int:
        arguments = {}
        for name, (kind, variant, options) in groups.items():
            values = {option.field: option.parse(given.pop(option.name)) for option in options if option.name in given}
            arguments[name] = kind(**{**variant.defaults, **values})
        for name, single in singles.items():
            if single.name in given:
                arguments[name] = single.parse(given.pop(single.name))
        if check_names(command.__name__.removesuffix("_command"), arguments):
            show_loading(quiet=any(getattr(value, "quiet", False) for value in arguments.values()))
        return command(**given, **arguments)

    call.__doc__ = re.sub(r"(?<!\n)\n[ ]*(?!\n)", " ", inspect.cleandoc(command.__doc__ or ""))
    call.__signature__ = inspect.Signature(parameters, return_annotation=int)  # type: ignore[attr-defined]
    call.__annotations__ = {parameter.name: parameter.annotation for parameter in parameters}
    return call


def _changed_options(group: object) -> Iterator[tuple[_DeclaredOption, Any]]:
    """Yield the options whose values are not the defaults of their group, with these values."""
    for option in _declared_options(type(group), Variant()):
        value = getattr(group, option.field)
        if value != (option.default if option.default is not MISSING else ""):
            yield option, value


def changed_flags(*groups: object) -> list[str]:
    """Return the flags of the options whose values are not the defaults of their groups."""
    return [option.flag for group in groups for option, _ in _changed_options(group)]


def to_arguments(group: object) -> list[str]:
    """Return the arguments of a command line that set the options whose values are not the defaults of their group."""
    arguments: list[str] = []
    for option, value in _changed_options(group):
        flag = option.flag.split("/")[0]
        values = value if option.option.multiple else [value]
        arguments += [flag] if isinstance(value, bool) else [part for one in values for part in (flag, str(one))]
    return arguments
