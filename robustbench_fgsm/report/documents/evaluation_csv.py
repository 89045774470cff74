"""CSV files of an evaluation or a sweep."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from robustbench_fgsm.evaluation.document import Document
from robustbench_fgsm.report.documents.evaluation import LABEL_COUNTS, label_counts
from robustbench_fgsm.report.evaluations_in import evaluations_in, is_multi_label_document
from robustbench_fgsm.report.tables.csv import CsvRow, csv_text, rate_cells
from robustbench_fgsm.stats.confusion import matrix_from_json
from robustbench_fgsm.stats.rate import Rate

LABEL_COLUMNS = tuple(f"{when}: {kind}" for when in ("before", "after") for kind in LABEL_COUNTS)
RATE_NAMES = ("robust_accuracy", "attack_success_rate", "flip_rate", "target_hit_rate", "accuracy_drop")


def csv_files(document: Document) -> dict[str, str]:
    """Return CSV text by file name: `rates`, `per_class`, `clean_confusion`, `confusion` and `transition`.

    The matrices of a multi-label network stand in `per_class`.
    """
    found = evaluations_in(document)
    tables = {"rates": _overall_rows(found), "per_class": _class_rows(found)}
    if not is_multi_label_document(document):
        tables |= {
            "clean_confusion": _clean_confusion_rows(found),
            "confusion": _matrix_rows(found, "confusion", "label"),
            "transition": _matrix_rows(found, "transition", "before"),
        }
    return {f"{name}.csv": csv_text(rows) for name, rows in tables.items()}


def single_csv(document: Document) -> str:
    """Return one table as CSV: a row for each class at each budget, its rates, and its rows of both confusion matrices."""
    found = evaluations_in(document)
    if is_multi_label_document(document):
        return csv_text(_class_rows(found))
    rows = []
    for evaluation in found:
        before = matrix_from_json(evaluation["clean"]["confusion"]).tolist()
        for place, kind, side in _rates_by_gradient(evaluation):
            after, names = matrix_from_json(side["confusion"]).tolist(), evaluation["data"]["classes"]
            for label, result in enumerate(side["per_class"]):
                counts = _count_cells(names, before[label], "before: ") + _count_cells(names, after[label], "after: ")
                rows.append(_attack_cells(evaluation, place, kind) + _class_cells(result, names) + counts)
    return csv_text(rows)


def table_rows(evaluation: Document) -> Iterator[dict[str, object]]:
    """Yield rows of a data frame: at each budget and kind of gradient one for all images, and one for each class."""
    whole: CsvRow = [("label", None), ("name", None), ("n", evaluation["n"])]
    whole += rate_cells("clean_accuracy", evaluation["clean"]["accuracy"])
    for epsilon, kind, side in _rates_by_gradient(evaluation):
        shared = {"targeted": evaluation["attack"]["targeted"], "epsilon": epsilon, "gradient": kind}
        yield shared | dict(whole + [cell for name in RATE_NAMES[:2] for cell in rate_cells(name, side[name])])
        for result in side["per_class"]:
            cells = dict(_class_cells(result, evaluation["data"]["classes"]))
            yield shared | {name: cell for name, cell in cells.items() if name not in ("most_common_wrong", *LABEL_COLUMNS)}


def _rates_by_gradient(evaluation: Document) -> Iterator[tuple[float, str, Document]]:
    """Yield each budget, the kind of gradient, and its rates."""
    for at in evaluation["epsilons"]:
        yield at["epsilon"], "exact" if evaluation["attack"]["stable"] else "ordinary", at
        if "stable" in at:
            yield at["epsilon"], "stable where saturated", at["stable"]


def _attack_cells(evaluation: Document, epsilon: float, kind: str) -> CsvRow:
    attack = evaluation["attack"]
    return [("targeted", attack["targeted"]), ("restarts", attack["restarts"]), ("epsilon", epsilon), ("gradient", kind)]


def _overall_rows(found: Sequence[Document]) -> Iterator[CsvRow]:
    for evaluation in found:
        clean = rate_cells("clean_accuracy", evaluation["clean"]["accuracy"])
        for epsilon, kind, side in _rates_by_gradient(evaluation):
            rates = [cell for name in RATE_NAMES for cell in rate_cells(name, side[name])]
            if "labels" in side:
                rates += rate_cells("clean_label_accuracy", evaluation["clean"]["labels"]["accuracy"])
                rates += rate_cells("label_accuracy", side["labels"]["accuracy"])
                rates += rate_cells("label_attack_success_rate", side["labels"]["attack_success_rate"])
            yield _attack_cells(evaluation, epsilon, kind) + clean + rates + [("leaked", side["leaked"])]


def _class_rows(found: Sequence[Document]) -> Iterator[CsvRow]:
    for evaluation in found:
        for epsilon, kind, side in _rates_by_gradient(evaluation):
            for result in side["per_class"]:
                yield _attack_cells(evaluation, epsilon, kind) + _class_cells(result, evaluation["data"]["classes"])


def _class_cells(result: Document, classes: Sequence[str]) -> CsvRow:
    wrong = result["most_common_wrong"]
    return [
        ("label", result["label"]),
        ("name", result["name"]),
        ("n", result["n"]),
        *rate_cells("clean_accuracy", Rate(result["clean_correct"], result["n"]).to_dict()),
        *rate_cells("robust_accuracy", result["robust_accuracy"]),
        *rate_cells("attack_success_rate", result["attack_success_rate"]),
        ("most_common_wrong", None if wrong is None else classes[wrong]),
        *(zip(LABEL_COLUMNS, label_counts(result), strict=True) if "confusion" in result else ()),
    ]


def _clean_confusion_rows(found: Sequence[Document]) -> Iterator[CsvRow]:
    evaluation = found[0]  # the same for every targeting rule
    names = evaluation["data"]["classes"]
    for name, line in zip(names, matrix_from_json(evaluation["clean"]["confusion"]).tolist(), strict=True):
        yield [("label", name), *_count_cells(names, line)]


def _matrix_rows(found: Sequence[Document], key: str, rows: str) -> Iterator[CsvRow]:
    for evaluation in found:
        names = evaluation["data"]["classes"]
        for epsilon, kind, side in _rates_by_gradient(evaluation):
            for name, line in zip(names, matrix_from_json(side[key]).tolist(), strict=True):
                yield [*_attack_cells(evaluation, epsilon, kind), (rows, name), *_count_cells(names, line)]


def _count_cells(names: Sequence[str], counts: Sequence[int], prefix: str = "") -> CsvRow:
    return [(f"{prefix}{name}", count) for name, count in zip(names, counts, strict=True)]
