"""Summary of a benchmark document."""

from __future__ import annotations

from collections.abc import Iterator

from robustbench_fgsm.evaluation.document import Document
from robustbench_fgsm.report.documents.sentences import invalid_sentences, model_and_data_line, warning_sentences
from robustbench_fgsm.report.tables.sheet import Cell, Section, Sheet, Summary
from robustbench_fgsm.report.tables.text import count_text, epsilon_text

MEBIBYTE = 2**20


def summarize(document: Document) -> Summary:
    """Return the summary of an `rfgsm.benchmark/1` document."""
    return Summary(_heading(document), (Section(tuple(_sheets(document))),), tuple(_closing(document)), _answer(document))


def _heading(document: Document) -> tuple[str, ...]:
    environment = document["environment"]
    where = environment["processor"] if environment["device"] == "cpu" else environment["device"]
    rounds = count_text(document["rounds"], "round")
    return (
        model_and_data_line(document),
        f"FGSM, norm {document['attack']['norm']}, batch size {document['batch_size']}, {rounds}",
        f"{where}, {environment['cores']} cores, {environment['threads']} threads, PyTorch {environment['torch']}",
    )


def _sheets(document: Document) -> Iterator[Sheet]:
    """Yield the times at the largest budget, the times at all budgets, and the memory if it was measured."""
    for epsilons in dict.fromkeys(tuple(task["epsilons"]) for task in document["noise"]):
        yield _timing_sheet(document, epsilons)
    if any(contender["memory"] for contender in document["contenders"]):
        yield _memory_sheet(document)


def _timing_sheet(document: Document, epsilons: tuple[float, ...]) -> Sheet:
    """Return the seconds of each contender, their ratio to the unit's, and the robust accuracy at the largest budget."""
    budgets = f"epsilon {epsilon_text(epsilons[0])}" if len(epsilons) == 1 else f"{len(epsilons)} epsilons"
    largest = max(epsilons)
    rows = tuple(_timing_row(contender, epsilons, largest) for contender in document["contenders"])
    columns = (
        "",
        "\nattack\nseconds",
        "times\nthe\nunit",
        "\njob\nseconds",
        "times\nthe\nunit",
        "% of\nthe\nlimit",
        "robust\naccuracy\nin %",
    )
    return Sheet(
        "timing", f"Medians at {budgets}, with the range of the ratio over the rounds", columns, rows, intervals_below=True
    )


def _timing_row(contender: Document, epsilons: tuple[float, ...], largest: float) -> tuple[Cell, ...]:
    found = {one["task"]: one for one in contender["timings"] if tuple(one["epsilons"]) == epsilons}
    cells: list[Cell] = []
    for task in ("attack", "job"):
        seconds, ratio = found[task]["seconds"], found[task]["ratio"]
        cells.append("n/a" if seconds is None else f"{seconds['median']:7.3f}")
        cells.append(
            "n/a" if ratio is None else f"{_ratio_text(ratio['median'])}\n{_ratio_text(ratio['low'])}-{_ratio_text(ratio['high'])}"
        )
    share = found["job"]["limit_share"]
    cells.append("n/a" if share is None else f"{100 * share:4.1f}")
    rates = (at["robust_accuracy"] for at in contender["epsilons"] if at["epsilon"] == largest)
    return _contender_label(contender), *cells, next(rates, "n/a")


def _memory_sheet(document: Document) -> Sheet:
    """Return the peak memory of each contender's job in MiB, and its ratio to the unit's."""
    unit = document["contenders"][0]["memory"]
    rows = []
    for contender in document["contenders"]:
        found = contender["memory"]
        if found is None:
            rows.append((_contender_label(contender), *["n/a"] * 4))
            continue
        ratio = f"{found['above'] / unit['above']:.2f}" if unit and unit["above"] else "n/a"
        sizes = (f"{found[key] / MEBIBYTE:8,.0f}" for key in ("before", "above", "peak"))
        rows.append((_contender_label(contender), *sizes, ratio))
    count = len(document["attack"]["epsilons"])
    title = f"Memory of the job at {count} epsilon{'s' if count > 1 else ''}, in MiB, in a process for each"
    columns = ("", "before\nthe job", "taken\nby it", "\nat peak", "taken, times\nthe unit's")
    return Sheet("memory", title, columns, tuple(rows), intervals_below=True)


def _contender_label(contender: Document) -> str:
    """Return a name, and below it the memory layout, optimisation level or version."""
    name, _, which = contender["name"].partition(" ")
    return f"{name}\n{which or contender['version']}".rstrip()


def _closing(document: Document) -> Iterator[str]:
    noise = max((task["relative"] for task in document["noise"] if task["relative"] is not None), default=None)
    spread = "" if noise is None else f" Its own seconds range over up to {noise:.0%} of their median: the noise."
    yield f"Unit: the loop of PyTorch named {document['unit']}, in the same round.{spread}"
    yield "Attack: images to adversarial images. Job: predictions before, attack, predictions after."
    if (roofline := document["roofline"]) is None:
        yield "Limit: PyTorch cannot count the operations of this network."
    else:
        rate = f"{roofline['flops_per_second'] / 1e9:,.0f} GFLOP/s"
        yield f"Limit: the operations of the job at the rate of a float32 matrix multiplication in this run, {rate}."
    for contender in document["contenders"]:
        if contender["error"]:
            yield f"Failed: {contender['name']}: {contender['error']}"
        elif contender["memory_error"]:
            yield f"Memory of {contender['name']} not measured: {contender['memory_error']}"
    yield from (f"Not installed: {absent['name']}: {absent['install']}" for absent in document["absent"])
    yield from warning_sentences(document)
    yield from invalid_sentences(document)


def _answer(document: Document) -> str:
    """Return the time of the job at all budgets of each contender, in times of the unit's."""
    epsilons = max((tuple(task["epsilons"]) for task in document["noise"]), key=len, default=())
    ratios = [
        f"{contender['name']} {_ratio_text(timing['ratio']['median'])}"
        for contender in document["contenders"]
        for timing in contender["timings"]
        if (timing["task"], tuple(timing["epsilons"])) == ("job", epsilons) and timing["ratio"] is not None
    ]
    return f"Job at {count_text(len(epsilons), 'epsilon')}, in times of {document['unit']}: {', '.join(ratios)}."


def _ratio_text(ratio: float) -> str:
    """Return a ratio to three digits, in at most five characters up to 99,999."""
    return f"{ratio:.2f}" if ratio < 10 else f"{ratio:.1f}" if ratio < 100 else f"{ratio:.0f}"
