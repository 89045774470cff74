"""Groups of options expanded into a command's signature."""

from __future__ import annotations

from dataclasses import dataclass
from inspect import signature
from typing import Annotated, Any

import pytest
import typer
from typer.testing import CliRunner

from robustbench_fgsm.cli.expand_options import Variant, changed_flags, expand_options
from robustbench_fgsm.cli.options import DataOptions, ModelOptions
from robustbench_fgsm.errors import SettingError
from robustbench_fgsm.options import AttackOptions, Option, RunOptions
from robustbench_fgsm.training.recipe import TrainingRecipe


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
    assert list(signature(expanded).parameters) == ["red", "name"]
    assert invoke(expanded) == Colour(5, True, ("a",))
    assert invoke(expanded, "--name", "x", "--name", "y") == Colour(5, True, ("x", "y"))


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


def test_a_value_is_one_of_the_choices() -> None:
    @expand_options
    def choose(*, colour: Annotated[str, Option("Colour.", choices=("red", "blue"))] = "red") -> int:
        CALLS.append(colour)
        return 0

    assert invoke(choose, "--colour", "blue") == "blue"
    with pytest.raises(SettingError, match=r"colour must be one of red, blue, got 'bleu': did you mean blue\?"):
        choose(colour="bleu")
