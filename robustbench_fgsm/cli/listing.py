"""`rfgsm list`."""

from __future__ import annotations

from enum import StrEnum
from typing import Annotated, Any

import typer
from rich.console import RenderableType

from robustbench_fgsm.cli import options
from robustbench_fgsm.errors import SettingError


class What(StrEnum):
    """What can be listed."""

    models = "models"
    data = "data"
    references = "references"


def list_command(
    what: Annotated[What, typer.Argument(help="What to list.", show_default=False)],
    filter: Annotated[  # noqa: A002  (the name of the option)
        str | None,
        typer.Option(
            "--filter",
            metavar="TEXT",
            help="Models of all installed sources whose name holds this text.",
            show_default="the bundled ones",
        ),
    ] = None,
    json: options.Json = False,
    debug: options.Debug = False,  # noqa: ARG001  (read by main, before anything can go wrong)
) -> int:
    """List what can be named: models and their sources, data sets or references.

    Example: rfgsm list models --filter resnet
    """
    from robustbench_fgsm.cli.output import write_result

    if filter is not None and what is not What.models:
        raise SettingError(f"--filter is for models, got it with {what.value}: leave it out")
    if what is What.models:
        rows = _bundled() if filter is None else _named(filter)
        sources = _sources()
        document = {"schema": "rfgsm.list/1", "models": rows, "sources": sources}
        write_result(document, lambda _: _models_table(rows, sources, every=filter is None), as_json=json)
        return 0
    rows = {What.data: _data, What.references: _references}[what]()
    write_result({"schema": "rfgsm.list/1", what.value: rows}, lambda _: _table(rows), as_json=json)
    return 0


def _bundled() -> list[dict[str, Any]]:
    from robustbench_fgsm.models.cards import DATA, cards, weights_file

    keys = ("name", "weights", "parameters", "clean_accuracy")
    return [
        {key: card[key] for key in keys}
        | {"data": DATA, "source": "bundled", "bytes": weights_file(card).stat().st_size, "on_disk": True}
        for card in cards()
    ]


def _named(text: str) -> list[dict[str, Any]]:
    """Models of every installed source; of one that has no list, or cannot be imported, none."""
    from robustbench_fgsm.models.registry import model_names

    ours = [row for row in _bundled() if text.lower() in row["name"]]
    return ours + [
        {
            "name": found.spec,
            "weights": found.weights,
            "parameters": found.parameters,
            "clean_accuracy": None,
            "data": None,
            "source": source,
            "bytes": found.size,
            "on_disk": found.on_disk,
        }
        for source, found in model_names()
        if text.lower() in found.spec.lower()
    ]


def _sources() -> list[dict[str, Any]]:
    from robustbench_fgsm.models.registry import source_cards

    return [
        {
            "name": name,
            "example": card.example,
            "package": card.package or None,
            "version": card.installed,
            "install": None if card.installed else card.install,
        }
        for name, card in source_cards()
    ]


def _models_table(rows: list[dict[str, Any]], sources: list[dict[str, Any]], *, every: bool) -> RenderableType:
    """Bundled weights and all sources, or what was found by name."""
    from rich.console import Group

    if not every:
        keys = ("name", "weights", "parameters", "bytes", "on_disk")
        return _table([{key: row[key] for key in keys} for row in rows]) if rows else "no model of that name"
    keys = ("name", "weights", "parameters", "clean_accuracy", "data")
    lines = [
        {
            "source": row["name"],
            "model": row["example"],
            "installed": f"{row['package'] or 'rfgsm'} {row['version']}" if row["version"] else row["install"],
        }
        for row in sources
    ]
    return Group(_table([{key: row[key] for key in keys} for row in rows]), "", _table(lines))


def _data() -> list[dict[str, Any]]:
    from robustbench_fgsm.data.load import SOURCES

    sets = {name: load() for name, load in SOURCES.items()}
    return [{"name": name, "images": len(images), "classes": len(images.classes)} for name, images in sets.items()]


def _references() -> list[dict[str, Any]]:
    from robustbench_fgsm.reference import REFERENCES, installed_version

    found = {name: installed_version(name) for name in REFERENCES}
    missing = "not installed: pip install {}"
    return [
        {"name": name, "package": package, "version": found[name] or missing.format(package)}
        for name, package in REFERENCES.items()
    ]


def _table(rows: list[dict[str, Any]]) -> RenderableType:
    from rich.table import Table
    from rich.text import Text

    table = Table(box=None, pad_edge=False)
    for key in rows[0]:
        table.add_column(Text(key.replace("_", " ")), overflow="fold")
    for row in rows:
        table.add_row(*(Text(_cell(value)) for value in row.values()))
    return table


def _cell(value: Any) -> str:
    from robustbench_fgsm.report.terminal import rate_text

    if value is None or isinstance(value, bool):
        return {None: "", True: "yes", False: "no"}[value]
    if value is None or isinstance(value, bool):
        return {None: "", True: "yes", False: "no"}[value]
    if isinstance(value, dict):
        return f"{rate_text(value)} n={value['n']:,}"
    return f"{value:,}" if isinstance(value, int) else str(value)
