"""The command `rfgsm list`: models, data sets and references."""

from __future__ import annotations

import time
from enum import StrEnum
from pathlib import Path
from typing import Annotated, Any

import typer

from robustbench_fgsm.cli.expand_options import Variant, expand_options
from robustbench_fgsm.cli.options import RESULT_OPTIONS, DataOptions, OutputOptions
from robustbench_fgsm.errors import SettingError
from robustbench_fgsm.options import Option


class ListCategory(StrEnum):
    """Kinds of names that can be listed."""

    models = "models"
    data = "data"
    references = "references"


@expand_options
def list_command(
    *,
    what: Annotated[ListCategory, typer.Argument(help="What to list.", show_default=False)],
    filter: Annotated[  # noqa: A002  (the name of the option)
        str | None,
        Option(
            "Models of all installed sources whose name contains TEXT.",
            metavar="TEXT",
            default_text="the bundled ones",
            panel="Model",
        ),
    ] = None,
    data_options: Annotated[DataOptions, Variant(only=("data_root",))],
    output: Annotated[OutputOptions, Variant(only=RESULT_OPTIONS)],
) -> int:
    """List what can be named: models and their sources, data sets or references.

    Example: rfgsm list models --filter resnet
    """
    from robustbench_fgsm.cli.output import write_result
    from robustbench_fgsm.engine.environment import describe_software
    from robustbench_fgsm.evaluation.document import complete_document

    if filter is not None and what is not ListCategory.models:
        raise SettingError(f"--filter is for models, got it with {what.value}: leave it out")
    began = time.perf_counter()
    found = _list_rows(what, filter, data_options.data_root)
    document = complete_document("rfgsm.list/1", found, describe_software(), time.perf_counter() - began)
    return write_result(document, output)


def _list_rows(what: ListCategory, text: str | None, root: Path) -> dict[str, Any]:
    """Return what is listed by its key in the document."""
    if what is ListCategory.models:
        return {"models": _bundled_models() if text is None else _find_models(text), "sources": _model_sources()}
    return {what.value: _data_sets(root) if what is ListCategory.data else _references()}


def _bundled_models() -> list[dict[str, Any]]:
    from robustbench_fgsm.models.cards import BUNDLED_DATA, bundled_cards, weights_file

    keys = ("name", "weights", "parameters", "clean_accuracy")
    return [
        {key: card[key] for key in keys}
        | {"data": BUNDLED_DATA, "source": "bundled", "bytes": weights_file(card).stat().st_size, "on_disk": True}
        for card in bundled_cards()
    ]


def _find_models(text: str) -> list[dict[str, Any]]:
    """Return the models of every installed source that has a list and can be imported."""
    from robustbench_fgsm.models.registry import model_names

    ours = [row for row in _bundled_models() if text.lower() in row["name"]]
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


def _model_sources() -> list[dict[str, Any]]:
    from robustbench_fgsm.models.registry import MODEL_SOURCES

    return [
        {"name": name, "example": entry.example, "package": entry.package or None, "version": entry.installed_version}
        | {"install": None if entry.installed_version else entry.install_command}
        for name, entry in MODEL_SOURCES.entries().items()
    ]


def _data_sets(root: Path) -> list[dict[str, Any]]:
    from robustbench_fgsm.data.registry import availability, data_sources

    return [
        {"name": entry.example, "state": availability(entry, root), "summary": entry.summary} for entry in data_sources().values()
    ]


def _references() -> list[dict[str, Any]]:
    from robustbench_fgsm.references.registry import REFERENCES

    return [
        {"name": name, "package": entry.package, "version": entry.installed_version}
        | {"install": None if entry.entry_point else entry.install_command}
        for name, entry in REFERENCES.entries().items()
    ]
