"""A dataclass of options laid open in a command's signature."""

from __future__ import annotations

from dataclasses import dataclass
from inspect import signature
from typing import Annotated

import typer
from typer.testing import CliRunner

from robustbench_fgsm.cli.options import expand_options


@dataclass(frozen=True)
class Colour:
    red: Annotated[int, typer.Option("--red")] = 1
    bright: Annotated[bool, typer.Option("--bright")] = False


SEEN: list[object] = []


@expand_options
def paint(
    what: Annotated[str, typer.Option("--what")],
    colour: Colour = Colour(),
    *,
    often: Annotated[int, typer.Option("--often")] = 1,
) -> int:
    """Paint something."""
    SEEN.append((what, colour, often))
    return 0


def test_its_fields_stand_in_its_place() -> None:
    assert list(signature(paint).parameters) == ["what", "red", "bright", "often"]
    assert signature(paint).parameters["red"].default == 1


def test_the_command_gets_it_whole() -> None:
    app = typer.Typer()
    app.command()(paint)
    done = CliRunner().invoke(app, ["--what", "wall", "--red", "7", "--often", "2"])
    assert done.exit_code == 0, done.output
    assert SEEN.pop() == ("wall", Colour(7, False), 2)
    paint(what="door")
    assert SEEN.pop() == ("door", Colour(), 1)


def test_it_can_stand_on_another_decorator() -> None:
    @expand_options
    def keywords(*, colour: Colour = Colour(), often: int = 1) -> int:
        return colour.red + often

    assert list(signature(keywords).parameters) == ["red", "bright", "often"]
    assert keywords(red=4) == 5
