"""Summary of a transfer document."""

from __future__ import annotations

from collections.abc import Iterator

from robustbench_fgsm.evaluation.document import Document
from robustbench_fgsm.report.documents.sentences import closing_sentences
from robustbench_fgsm.report.tables.csv import CsvRow, csv_text, rate_cells
from robustbench_fgsm.report.tables.sheet import Cell, Section, Sheet, Summary
from robustbench_fgsm.report.tables.text import count_text, epsilon_text, epsilon_unit_text, model_text, success_denominator

MAX_MATRIX_TARGETS = 4
"""Most targets of a matrix that fits 80 columns; of more, each pair has a row."""


def summarize(document: Document) -> Summary:
    """Return the summary of an `rfgsm.transfer/1` document."""
    return Summary(_heading(document), (Section(tuple(_sheets(document))),), tuple(_closing(document)), _answer(document))


def _heading(document: Document) -> tuple[str, ...]:
    attack, sources, targets = document["attack"], len(document["sources"]), len(document["targets"])
    budgets = ", ".join(map(epsilon_text, attack["epsilons"]))
    gradient = ", stable gradient" if attack["stable"] else ""
    starts = f", best of {attack['restarts'] + 1} starts" if attack["restarts"] else ""
    images = f"{count_text(document['n'], 'image')} of {document['data']['spec']}"
    return (
        f"FGSM from {count_text(sources, 'model')} to {targets}, on {images}",
        f"norm {attack['norm']}, epsilon {budgets}{epsilon_unit_text(attack)}, targeted {attack['targeted']}, "
        f"loss {attack['loss']}{gradient}{starts}",
    )


def _sheets(document: Document) -> Iterator[Sheet]:
    """Yield the models, a row for each pair at each budget, and the classes of each pair if they were counted."""
    models = document["models"]
    rows: tuple[tuple[Cell, ...], ...] = tuple(
        (str(place), model_text(model), model["clean_accuracy"]) for place, model in enumerate(models)
    )
    yield Sheet("models", f"Models; clean accuracy in per cent, n={document['n']:,}", ("", "model", "clean"), rows)
    fair = success_denominator(document["attack"])
    for budget, epsilon in enumerate(document["attack"]["epsilons"]):
        words = f"at epsilon {epsilon_text(epsilon)}, in per cent"
        if len(document["targets"]) > MAX_MATRIX_TARGETS:
            yield _pairs_sheet(document, budget, f"{words[0].upper()}{words[1:]}; attack success of those {fair} at both")
        else:
            yield from _matrix_sheets(document, budget, words)
    for cell in document["cells"]:
        for at in cell["epsilons"]:
            if at["per_class"] is not None:
                yield _classes_sheet(cell, at)


def _matrix_sheets(document: Document, budget: int, words: str) -> Iterator[Sheet]:
    """Yield a matrix of sources by targets for each rate at one budget, with the n of a cell below its rate."""
    fair = success_denominator(document["attack"])
    notes = {
        "attack_success_rate": f" of those {fair} at both",
        "common_success_rate": " of those that all models can be fooled on",
    }
    across = len(document["targets"])
    columns = ("", *(f"to {place}" for place in document["targets"]))
    for name in ("robust_accuracy", *notes):
        rates = [cell["epsilons"][budget][name] for cell in document["cells"]]
        if all(rates):
            rows: list[tuple[Cell, ...]] = []
            for row, source in enumerate(document["sources"]):
                own = rates[row * across : (row + 1) * across]
                rows += [(f"from {source}", *own), ("  n", *(rate["n"] for rate in own))]
            title = f"{name.removesuffix('_rate').replace('_', ' ').capitalize()} {words}{notes.get(name, '')}"
            yield Sheet(name, title, columns, tuple(rows), intervals_below=True)


def _pairs_sheet(document: Document, budget: int, title: str) -> Sheet:
    cells = [(cell, cell["epsilons"][budget]) for cell in document["cells"]]
    shared = all(at["common_success_rate"] is not None for _, at in cells)
    rows = []
    for cell, at in cells:
        rates = [at[name] for name in ("robust_accuracy", "attack_success_rate", *(["common_success_rate"] if shared else []))]
        rows.append((f"{cell['source']} > {cell['target']}", *(part for rate in rates for part in (rate, rate["n"]))))
    columns = ("pair", "robust", "n", "success", "of", *(("at all", "of") if shared else ()))
    return Sheet("pairs", title, columns, tuple(rows), intervals_below=True)


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
    return Sheet("per_class", title, ("", "robust", "n", "success", "of"), rows, intervals_below=True)


def _closing(document: Document) -> Iterator[str]:
    yield "From 1 to 2, or 1 > 2: images crafted on model 1, shown to model 2. Robust accuracy is over all images."
    if any(at["common_success_rate"] for cell in document["cells"] for at in cell["epsilons"]):
        yield "Common success, or at all: attack success over the images that every model here can be fooled on."
    yield from closing_sentences(document)


def lowest_pair(document: Document, budget: int, *, own: bool) -> tuple[Document, Document] | None:
    """Return the pair of models with the lowest robust accuracy at one budget, and that rate; own: source and target are one."""
    cells = [cell for cell in document["cells"] if (cell["source"] == cell["target"]) == own]
    rates = [(cell, cell["epsilons"][budget]["robust_accuracy"]) for cell in cells]
    return min((pair for pair in rates if pair[1]["value"] is not None), key=lambda pair: float(pair[1]["value"]), default=None)


def _answer(document: Document) -> str:
    """Return the lowest robust accuracy at the largest budget, by another network if there is one."""
    epsilons = document["attack"]["epsilons"]
    budget = epsilons.index(max(epsilons))
    found = lowest_pair(document, budget, own=False) or lowest_pair(document, budget, own=True)
    if found is None:
        return ""
    (cell, rate), models = found, document["models"]
    source, target = (model_text(models[cell[side]]) for side in ("source", "target"))
    clean = models[cell["target"]]["clean_accuracy"]
    own = cell["source"] == cell["target"]
    pair = f"of {target}, attacked itself" if own else f"of {target} on images crafted on {source}"
    return (
        f"Lowest robust accuracy at epsilon {epsilon_text(epsilons[budget])}: {100 * rate['value']:.1f} % (clean "
        f"{100 * clean['value']:.1f} %), {pair}."
    )


def csv_files(document: Document) -> dict[str, str]:
    """Return CSV text by file name: `models`, `pairs`, and `per_class` if the classes were counted."""
    tables = {"models": list(_model_rows(document)), "pairs": list(_pair_rows(document)), "per_class": list(_class_rows(document))}
    return {f"{name}.csv": csv_text(rows) for name, rows in tables.items() if rows}


def single_csv(document: Document) -> str:
    """Return one table as CSV: a row for each pair at each budget, or for each of its classes if they were counted."""
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
        ("source", model_text(models[cell["source"]])),
        ("target", model_text(models[cell["target"]])),
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
