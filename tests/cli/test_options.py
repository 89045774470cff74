"""Groups of options expanded into a command's signature, and the options of every command."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from inspect import signature
from pathlib import Path
from typing import Annotated, Any

import pytest
import typer
from typer.testing import CliRunner

from robustbench_fgsm.cli.main import app
from robustbench_fgsm.cli.options import (
    DataOptions,
    ModelOptions,
    OutputOptions,
    Variant,
    changed_flags,
    check_output_path,
    expand_options,
)
from robustbench_fgsm.errors import FileError, ResourceError, SettingError
from robustbench_fgsm.options import AttackOptions, CheckOptions, Option, RunOptions, Thresholds
from robustbench_fgsm.training.recipe import TrainingRecipe

GROUPS = {
    "MODEL": "--weights --device --num-classes --mean --std --bounds --dataset --threat-model --trust-model-code",
    "DATA": "--data --limit --split --data-root --download --layout --class-map --image-size --sample --stratified --workers",
    "ATTACK": "--eps --norm --targeted --loss --stable --restarts --seed",
    "RUN": "--batch-size --max-bad --strict",
    "OUTPUT": "--json --quiet --debug",
}
FLAGS = """
attack: MODEL DATA ATTACK RUN OUTPUT --model --out --check --format --shard-size --optimize --trust-data-code --log-dir
benchmark: MODEL DATA RUN OUTPUT --model --eps --norm --references --levels --rounds --memory --no-memory --threads
    --seed --out --format
compare: MODEL DATA RUN OUTPUT --model --eps --norm --targeted --references --candidate --style --optimize --seed --out
    --html
evaluate: MODEL DATA ATTACK RUN OUTPUT --model --pgd-check --check-masking --optimize --min-robust-accuracy --max-asr
    --out --keep-images --csv --html --format --log-dir
explain: MODEL DATA RUN OUTPUT --model --eps --norm --targeted --n --seed --out
gate: --baseline --max-drop --require-evidence --alpha --format --json --debug
plot: -o --output --kind --eps --targeted --quiet --debug
report: -o --output --quiet --debug
sweep: MODEL DATA ATTACK RUN OUTPUT --model --pgd-check --check-masking --optimize --find-asr --plot --out --keep-images
    --csv --html --format --log-dir
train: MODEL DATA RUN OUTPUT --model --out --method --eps --epochs --optimizer --learning-rate --weight-decay --schedule
    --augment --craft-mode --clamp --no-clamp --noise --mix --held-out --early-stop --keep --precision --seed --plot
    --format --log-dir
transfer: DATA ATTACK RUN OUTPUT --source --target --common --per-class --device --num-classes --mean --std --bounds
    --dataset --threat-model --trust-model-code --plot --out --csv --html --format --log-dir
verify: OUTPUT --style --case --model --weights --data --strict --expect --time-limit --num-classes --mean --std
    --bounds --dataset --threat-model --trust-model-code
list: --data-root --filter --json --debug
runs list: --json --debug
runs show: --samples --limit --export --json --debug
runs resume: OUTPUT --weights --device --keep-images --trust-model-code --trust-data-code --log-dir
"""
"""Every option that a command must keep, by command; a name in capitals stands for a group."""

HELP_WITHOUT_TORCH = """
import sys
from robustbench_fgsm.cli.main import main
try:
    main([*sys.argv[1:], "--help"])
except SystemExit as stopped:
    assert not stopped.code
assert not {"torch", "art", "numpy"} & sys.modules.keys(), "loaded"
"""


def programs(program: Any, name: str = "") -> Iterator[tuple[str, Any]]:
    """Every command, by its words."""
    if not hasattr(program, "commands"):
        yield name.strip(), program
        return
    for word, command in program.commands.items():
        yield from programs(command, f"{name} {word}")


PROGRAMS = dict(programs(typer.main.get_command(app)))
every_command = pytest.mark.parametrize("name", PROGRAMS)


@every_command
def test_keeps_every_option(name: str) -> None:
    flags = {flag for parameter in PROGRAMS[name].params for flag in (*parameter.opts, *parameter.secondary_opts)}
    (expected,) = re.findall(rf"^{name}: ((?:.|\n )*)$", FLAGS, re.MULTILINE)
    assert {flag for word in expected.split() for flag in GROUPS.get(word, word).split()} <= flags


@every_command
def test_help_texts_end_with_a_period(name: str) -> None:
    for parameter in PROGRAMS[name].params:
        assert parameter.help.endswith((".", ".)", "...")), parameter.name


@every_command
def test_help_loads_no_torch(name: str) -> None:
    subprocess.run([sys.executable, "-c", HELP_WITHOUT_TORCH, *name.split()], check=True, capture_output=True)


@pytest.mark.parametrize("group", [ModelOptions, DataOptions, AttackOptions, CheckOptions, Thresholds, RunOptions, OutputOptions])
def test_every_field_is_an_option(group: type) -> None:
    shown = {parameter.name for parameter in PROGRAMS["evaluate"].params}
    names = {"epsilon": "eps", "pgd": "pgd_check", "masking": "check_masking"}
    assert {names.get(name, name) for name in group.__dataclass_fields__} - {"plot"} <= shown  # type: ignore[attr-defined]


@dataclass(frozen=True)
class Colour:
    red: Annotated[int, Option("Red.")] = 1
    bright: Annotated[bool, Option("Bright.")] = False
    names: Annotated[tuple[str, ...] | str, Option("Names.", flag="--name", parse=lambda text: tuple(text.split(",")))] = ("a",)


CALLS: list[object] = []


@expand_options
def paint(
    what: Annotated[str, Option("What.")], colour: Colour = Colour(), *, often: Annotated[int, Option("Often.", min=1)] = 1
) -> int:
    """Paint something."""
    CALLS.append((what, colour, often))
    return 0


def invoke(command: Any, *words: str) -> object:
    program = typer.Typer()
    program.command()(command)
    done = CliRunner().invoke(program, words)
    assert done.exit_code == 0, done.output
    return CALLS.pop()


def test_fields_become_parameters() -> None:
    assert list(signature(paint).parameters) == ["what", "red", "bright", "name", "often"]
    assert signature(paint).parameters["red"].default == 1


def test_the_command_gets_the_group() -> None:
    assert invoke(paint, "--what", "wall", "--red", "7", "--often", "2") == ("wall", Colour(7, False), 2)
    paint(what="door")
    assert CALLS.pop() == ("door", Colour(), 1)


def test_text_is_parsed() -> None:
    assert invoke(paint, "--what", "wall", "--name", "b,c") == ("wall", Colour(names=("b", "c")), 1)


def test_text_is_parsed_to_a_number() -> None:
    @expand_options
    def train(recipe: TrainingRecipe) -> int:
        CALLS.append(recipe.epsilon)
        return 0

    assert invoke(train, "--eps", "4/255") == 4 / 255
    assert invoke(train) == 8 / 255


def test_a_variant_changes_the_group() -> None:
    variant = Variant(without=("bright",), defaults={"red": 5, "bright": True}, options={"names": Option("N.", multiple=True)})

    def paint_variant(colour: Any) -> int:
        CALLS.append(colour)
        return 0

    paint_variant.__annotations__["colour"] = Annotated[Colour, variant]
    expanded = expand_options(paint_variant)
    assert list(signature(expanded).parameters) == ["red", "names"]
    assert invoke(expanded) == Colour(5, True, ("a",))
    assert invoke(expanded, "--names", "x", "--names", "y") == Colour(5, True, ("x", "y"))


def test_a_group_can_require_an_option() -> None:
    def load(model_options: ModelOptions) -> int:
        CALLS.append(model_options)
        return 0

    load.__annotations__["model_options"] = ModelOptions
    assert invoke(expand_options(load), "--model", "mlp300") == ModelOptions("mlp300")
    program = typer.Typer()
    program.command()(expand_options(load))
    assert CliRunner().invoke(program, []).exit_code == 2


def test_changed_flags_are_named() -> None:
    assert changed_flags(AttackOptions(epsilon="4/255"), DataOptions(split="train"), RunOptions()) == ["--eps", "--split"]


def test_works_as_a_direct_decorator() -> None:
    @expand_options
    def keywords(*, colour: Colour = Colour(), often: int = 1) -> int:
        return colour.red + often

    assert list(signature(keywords).parameters) == ["red", "bright", "name", "often"]
    assert keywords(red=4) == 5


def test_outputs_are_checked_before_anything_is_measured(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "link.csv").symlink_to("/dev/null")  # which the output replaces
    for name in ("new.csv", "deep/er/new.csv", "link.csv"):
        check_output_path("--csv", tmp_path / name)
    for path, error in {"/dev/null": FileError, str(tmp_path): SettingError, "a" * 5000: SettingError}.items():
        with pytest.raises(error):
            check_output_path("--csv", Path(path))
    monkeypatch.setattr(os, "access", lambda *_: False)  # a read-only file system; root may write anywhere else
    with pytest.raises(ResourceError, match=f"--csv .*new.csv must be writable, got {tmp_path}, which is not: choose another path"):
        check_output_path("--csv", tmp_path / "deep" / "new.csv")
