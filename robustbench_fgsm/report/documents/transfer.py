"""A transfer in the terminal, as Markdown's tables, and as a heat map, from the document that `--json` prints."""

from __future__ import annotations

from collections.abc import Iterator

from rich.console import Group, RenderableType
from rich.text import Text

from robustbench_fgsm.evaluation.document import Document
from robustbench_fgsm.report.tables.csv import CsvRow, csv_text, rate_cells
from robustbench_fgsm.report.tables.sheet import Cell, Sheet
from robustbench_fgsm.report.tables.terminal import (
    INTERVAL_NOTE,
    LIMITATION_NOTE,
    count_text,
    epsilon_text,
    render_sheet,
    styled_lines,
)

TRANSFER_SCHEMA = "rfgsm.transfer/1"


def render_transfer(document: Document) -> RenderableType:
    """The whole of an `rfgsm.transfer/1` document."""
    tables = (render_sheet(sheet) for sheet in transfer_sheets(document))
    return Group(*map(Text, heading(document)), *tables, *styled_lines(["", *closing(document)]))


def heading(document: Document) -> list[str]:
    """What was attacked and how, and the models by number."""
    attack, sources, targets = document["attack"], len(document["sources"]), len(document["targets"])
    budgets = ", ".join(map(epsilon_text, attack["epsilons"]))
    gradient = ", stable gradient" if attack["stable"] else ""
    starts = f", best of {attack['restarts'] + 1} starts" if attack["restarts"] else ""
    return [
        f"FGSM from {count_text(sources, 'model')} to {targets}, on {count_text(document['n'], 'image')} of "
        f"{document['data']['spec']}",
        f"norm {attack['norm']}, epsilon {budgets}, targeted {attack['targeted']}, loss {attack['loss']}{gradient}{starts}",
    ]


def transfer_sheets(document: Document) -> Iterator[Sheet]:
    """The models; at each budget a row for each pair; and class by class where that was asked for."""
    models = document["models"]
    rows: tuple[tuple[Cell, ...], ...] = tuple(
        (str(place), model_label(model), model["clean_accuracy"]) for place, model in enumerate(models)
    )
    yield Sheet(f"Models; clean accuracy in per cent, n={document['n']:,}", ("", "model", "clean"), rows)
    fair = "right before" if document["attack"]["targeted"] == "none" else "off target"
    for budget, epsilon in enumerate(document["attack"]["epsilons"]):
        yield _pairs_sheet(
            document, budget, f"At epsilon {epsilon_text(epsilon)}, in per cent; attack success of those {fair} at both"
        )
    for cell in document["cells"]:
        for at in cell["epsilons"]:
            if at["per_class"] is not None:
                yield _classes_sheet(cell, at)


def _pairs_sheet(document: Document, budget: int, title: str) -> Sheet:
    cells = [(cell, cell["epsilons"][budget]) for cell in document["cells"]]
    shared = all(at["common_success_rate"] is not None for _, at in cells)
    rows = []
    for cell, at in cells:
        success, common = at["attack_success_rate"], at["common_success_rate"]
        row: list[Cell] = [f"{cell['source']} > {cell['target']}", at["robust_accuracy"], at["robust_accuracy"]["n"]]
        row += [success, success["n"]]
        rows.append((*row, common, common["n"]) if shared else tuple(row))
    columns = ("pair", "robust", "n", "success", "of", *(("at all", "of") if shared else ()))
    return Sheet(title, columns, tuple(rows), intervals_below=True)


def _classes_sheet(cell: Document, at: Document) -> Sheet:
    rows = tuple(
        (
            f"{result['label']} {result['name']}",
            result["robust_accuracy"],
            result["n"],
            result["attack_success_rate"],
            result["attack_success_rate"]["n"],
        )
        for result in at["per_class"]
    )
    title = f"{cell['source']} > {cell['target']} at epsilon {epsilon_text(at['epsilon'])}, by class, in per cent"
    return Sheet(title, ("", "robust", "n", "success", "of"), rows, intervals_below=True)


def closing(document: Document) -> Iterator[str]:
    """What must be said beside the numbers."""
    yield "1 > 2: images crafted on model 1, shown to model 2. Robust accuracy is over all images."
    if any(at["common_success_rate"] for cell in document["cells"] for at in cell["epsilons"]):
        yield "At all: attack success over the images that every model here can be fooled on."
    yield INTERVAL_NOTE
    yield LIMITATION_NOTE
    for warning in document["warnings"]:
        yield f"Warning: {warning}"
    for reason in document["invalid_reasons"]:
        yield f"INVALID: {reason}"


def model_label(model: Document) -> str:
    """The model and its weights."""
    return f"{model['spec']} ({model['weights']})"


def csv_files(document: Document) -> dict[str, str]:
    """CSV text by file name: `models`, `pairs`, and `per_class` where that was counted."""
    tables = {"models": _model_rows(document), "pairs": _pair_rows(document)}
    classes = list(_class_rows(document))
    return {f"{name}.csv": csv_text(rows) for name, rows in {**tables, **({"per_class": classes} if classes else {})}.items()}


def single_csv(document: Document) -> str:
    """One table: a row for each pair at each budget, or for each of its classes where these were counted."""
    return csv_text(list(_class_rows(document)) or _pair_rows(document))


def _model_rows(document: Document) -> Iterator[CsvRow]:
    for place, model in enumerate(document["models"]):
        yield [
            ("number", place),
            ("spec", model["spec"]),
            ("weights", model["weights"]),
            ("parameters", model["parameters"]),
            ("sha256", model["sha256"]),
            ("source", int(place in document["sources"])),
            ("target", int(place in document["targets"])),
            *rate_cells("clean_accuracy", model["clean_accuracy"]),
        ]


def _pair_cells(document: Document, cell: Document, at: Document) -> CsvRow:
    models, attack = document["models"], document["attack"]
    return [
        ("source", model_label(models[cell["source"]])),
        ("target", model_label(models[cell["target"]])),
        ("targeted", attack["targeted"]),
        ("restarts", attack["restarts"]),
        ("epsilon", at["epsilon"]),
    ]


def _pair_rows(document: Document) -> Iterator[CsvRow]:
    for cell in document["cells"]:
        for at in cell["epsilons"]:
            names = ("robust_accuracy", "attack_success_rate", "common_success_rate")
            yield _pair_cells(document, cell, at) + [pair for name in names for pair in rate_cells(name, at[name])]


def _class_rows(document: Document) -> Iterator[CsvRow]:
    for cell in document["cells"]:
        for at in cell["epsilons"]:
            for result in at["per_class"] or ():
                own: CsvRow = [("label", result["label"]), ("name", result["name"]), ("n", result["n"])]
                rates = [pair for name in ("robust_accuracy", "attack_success_rate") for pair in rate_cells(name, result[name])]
                yield _pair_cells(document, cell, at) + own + rates
