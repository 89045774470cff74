"""A benchmark in the terminal, readable at 80 columns, from the document that `--json` prints."""

from __future__ import annotations

from collections.abc import Iterator

from rich.console import Group, RenderableType
from rich.text import Text

from robustbench_fgsm.evaluation.document import Document
from robustbench_fgsm.report.tables.sheet import Cell, Sheet
from robustbench_fgsm.report.tables.terminal import count_text, epsilon_text, render_sheet, styled_lines

MEBIBYTE = 2**20


def render_benchmark(document: Document) -> RenderableType:
    """The whole of an `rfgsm.benchmark/1` document."""
    tables = (render_sheet(sheet) for sheet in benchmark_sheets(document))
    return Group(*map(Text, heading(document)), *tables, *styled_lines(["", *closing(document)]))


def heading(document: Document) -> list[str]:
    """What was timed, and on what."""
    model, environment = document["model"], document["environment"]
    where = environment["processor"] if environment["device"] == "cpu" else environment["device"]
    cores = f"{environment['cores']} cores, {environment['threads']} threads"
    return [
        f"{model['spec']} ({model['weights']}) on {count_text(document['n'], 'image')} of {document['data']['spec']}",
        f"FGSM, norm {document['attack']['norm']}, batch size {document['batch_size']}, {count_text(document['rounds'], 'round')}",
        f"{where}, {cores}, PyTorch {environment['torch']}",
    ]


def benchmark_sheets(document: Document) -> Iterator[Sheet]:
    """Times at the largest budget, at all of them, and memory where it was measured."""
    for epsilons in dict.fromkeys(tuple(task["epsilons"]) for task in document["noise"]):
        yield timing_sheet(document, epsilons)
    if any(contender["memory"] for contender in document["contenders"]):
        yield memory_sheet(document)


def timing_sheet(document: Document, epsilons: tuple[float, ...]) -> Sheet:
    """Seconds of each contender and times the unit's, with the robust accuracy at the largest budget."""
    budgets = f"epsilon {epsilon_text(epsilons[0])}" if len(epsilons) == 1 else f"{len(epsilons)} epsilons"
    largest = max(epsilons)
    rows = tuple(_timing_row(contender, epsilons, largest) for contender in document["contenders"])
    columns = (
        "",
        "\nattack\nseconds",
        "times\nthe\nunit",
        "\njob\nseconds",
        "times\nthe\nunit",
        "robust\naccuracy\nin %",
    )
    return Sheet(f"Medians at {budgets}, with the range of the ratio over the rounds", columns, rows, intervals_below=True)


def _timing_row(contender: Document, epsilons: tuple[float, ...], largest: float) -> tuple[Cell, ...]:
    found = {one["task"]: one for one in contender["timings"] if tuple(one["epsilons"]) == epsilons}
    cells: list[Cell] = []
    for task in ("attack", "job"):
        seconds, ratio = found[task]["seconds"], found[task]["ratio"]
        cells.append("n/a" if seconds is None else f"{seconds['median']:7.3f}")
        cells.append(
            "n/a" if ratio is None else f"{_ratio_text(ratio['median'])}\n{_ratio_text(ratio['low'])}-{_ratio_text(ratio['high'])}"
        )
    rates = (at["robust_accuracy"] for at in contender["epsilons"] if at["epsilon"] == largest)
    return contender_label(contender), *cells, next(rates, "n/a")


def memory_sheet(document: Document) -> Sheet:
    """Mebibytes that each contender's job took at its peak, and times the unit's."""
    unit = document["contenders"][0]["memory"]
    rows = []
    for contender in document["contenders"]:
        found = contender["memory"]
        if found is None:
            rows.append((contender_label(contender), *["n/a"] * 4))
            continue
        ratio = f"{found['above'] / unit['above']:.2f}" if unit and unit["above"] else "n/a"
        sizes = (f"{found[key] / MEBIBYTE:8,.0f}" for key in ("before", "above", "peak"))
        rows.append((contender_label(contender), *sizes, ratio))
    count = len(document["attack"]["epsilons"])
    name = f"Memory of the job at {count} epsilon{'s' if count > 1 else ''}, in MiB, in a process for each"
    columns = ("", "before\nthe job", "taken\nby it", "\nat peak", "taken, times\nthe unit's")
    return Sheet(name, columns, tuple(rows), intervals_below=True)


def contender_label(contender: Document) -> str:
    """Name, and below it the layout, level or version."""
    name, _, which = contender["name"].partition(" ")
    return f"{name}\n{which or contender['version']}".rstrip()


def closing(document: Document) -> list[str]:
    """What the unit is, how noisy it was, who failed, who is absent, and warnings."""
    noise = max((task["relative"] for task in document["noise"] if task["relative"] is not None), default=None)
    spread = "" if noise is None else f" Its own seconds range over up to {noise:.0%} of their median: the noise."
    lines = [
        f"Unit: the loop of PyTorch named {document['unit']}, in the same round.{spread}",
        "Attack: images to adversarial images. Job: predictions before, attack, predictions after.",
    ]
    for contender in document["contenders"]:
        if contender["error"]:
            lines.append(f"Failed: {contender['name']}: {contender['error']}")
        elif contender["memory_error"]:
            lines.append(f"Memory of {contender['name']} not measured: {contender['memory_error']}")
    lines += [f"Not installed: {absent['name']}: {absent['install']}" for absent in document["absent"]]
    lines += [f"Warning: {warning}" for warning in document["warnings"]]
    return lines + [f"INVALID: {reason}" for reason in document["invalid_reasons"]]


def _ratio_text(ratio: float) -> str:
    """Three digits, and no more than five characters up to 99,999."""
    return f"{ratio:.2f}" if ratio < 10 else f"{ratio:.1f}" if ratio < 100 else f"{ratio:.0f}"
