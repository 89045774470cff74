"""Options that go together, declared once as the fields of a dataclass, and laid open for Typer, which reads signatures."""

from __future__ import annotations

import inspect
from collections.abc import Callable
from dataclasses import dataclass, fields, is_dataclass
from functools import wraps
from pathlib import Path
from typing import Annotated, Any, get_type_hints

import typer

DataRoot = Annotated[
    Path, typer.Option("--data-root", metavar="DIR", help="Where torchvision's data sets and imagenet lie.")
]


@dataclass(frozen=True)
class DataChoice:
    """How the data are read, and what is held against them."""

    split: Annotated[
        str | None, typer.Option("--split", help="Part of the data, such as train.", show_default="the source's own")
    ] = None
    data_root: DataRoot = Path("data")
    download: Annotated[bool, typer.Option("--download", help="Fetch torchvision's data sets into --data-root.")] = (
        False
    )
    layout: Annotated[
        str | None,
        typer.Option("--layout", help="Axes of arrays: NCHW, NHWC or NHW.", show_default="told by the shape"),
    ] = None
    class_map: Annotated[
        Path | None,
        typer.Option(
            "--class-map",
            metavar="FILE",
            help="JSON with the model's order of classes, or `numbers`.",
            show_default=False,
        ),
    ] = None
    image_size: Annotated[
        int | None,
        typer.Option("--image-size", help="Resize and crop image files to a square of N pixels.", show_default=False),
    ] = None
    sample: Annotated[
        int | None, typer.Option("--sample", help="Only N images, drawn with --seed.", show_default=False)
    ] = None
    stratified: Annotated[
        bool, typer.Option("--stratified", help="Draw as many of each class as its share comes to.")
    ] = False
    workers: Annotated[
        int | None,
        typer.Option("--workers", min=0, help="Processes that decode images.", show_default="as many as help"),
    ] = None
    max_bad: Annotated[int, typer.Option("--max-bad", min=0, help="Exit 1 with more unreadable images than that.")] = 0
    strict: Annotated[bool, typer.Option("--strict", help="Exit 2 for what the checks before the attack warn of.")] = (
        False
    )


def laid_open(command: Callable[..., int]) -> Callable[..., int]:
    """The command with the fields of each parameter that is a dataclass in that parameter's place."""
    parameters: list[inspect.Parameter] = []
    bundles: dict[str, type[Any]] = {}
    for parameter in inspect.signature(command, eval_str=True).parameters.values():
        kind = parameter.annotation
        if not (isinstance(kind, type) and is_dataclass(kind)):
            parameters.append(parameter)
            continue
        bundles[parameter.name] = kind
        hints = get_type_hints(kind, include_extras=True)
        parameters += [
            inspect.Parameter(field.name, parameter.kind, default=field.default, annotation=hints[field.name])
            for field in fields(kind)
        ]

    @wraps(command)
    def call(**given: Any) -> int:
        made = {
            name: kind(**{field.name: given.pop(field.name, field.default) for field in fields(kind)})
            for name, kind in bundles.items()
        }
        return command(**given, **made)

    call.__signature__ = inspect.Signature(parameters, return_annotation=int)  # type: ignore[attr-defined]
    call.__annotations__ = {parameter.name: parameter.annotation for parameter in parameters}
    return call
