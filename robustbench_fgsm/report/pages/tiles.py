"""The answer of a result in a few tiles: each number with its interval and its n."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

from robustbench_fgsm.evaluation.document import Document
from robustbench_fgsm.report.documents.evaluation import EXACT_MATCH_NAMES
from robustbench_fgsm.report.documents.training import ACCURACY_LABELS
from robustbench_fgsm.report.documents.transfer import lowest_pair
from robustbench_fgsm.report.tables.text import count_text, epsilon_text, model_text


@dataclass(frozen=True)
class Tile:
    """One number of an answer. detail: its interval and its n; tone: `good`, `bad` or empty."""

    label: str
    value: str
    detail: str = ""
    tone: str = ""


def rate_tile(label: str, rate: Document, detail: str = "") -> Tile:
    """Return the tile of a rate as JSON holds it."""
    if rate["value"] is None:
        return Tile(label, "n/a", f"n=0{detail}")
    interval = "" if rate["low"] is None else f"[{100 * rate['low']:.1f}, {100 * rate['high']:.1f}], "
    return Tile(label, f"{100 * rate['value']:.1f} %", f"{interval}n={rate['n']:,}{detail}")


def evaluation_tiles(evaluation: Document, side: Document, epsilon: float, result: Document | None = None) -> Iterator[Tile]:
    """Yield the tiles of an attack at one budget.

    Args:
        evaluation: an evaluation.
        side: its rates at the budget, of ordinary or of stable gradients.
        epsilon: the budget.
        result: the document of the run, whose thresholds or whose agreement have a tile.
    """
    names = EXACT_MATCH_NAMES if "labels" in evaluation["clean"] else {}
    yield rate_tile(names.get("clean accuracy", "clean accuracy"), evaluation["clean"]["accuracy"])
    beside, robust = side.get("stable"), side["robust_accuracy"]
    stable = ""
    if beside is not None and beside["robust_accuracy"] != robust and beside["robust_accuracy"]["value"] is not None:
        stable = f"; stable gradients {100 * beside['robust_accuracy']['value']:.1f} %"
    yield rate_tile(f"{names.get('robust accuracy', 'robust accuracy')}, ε {epsilon_text(epsilon)}", robust, stable)
    if side["worst_class"] is not None:
        worst = side["per_class"][side["worst_class"]]
        yield rate_tile(f"{names.get('worst class', 'worst class')}: {worst['name']}", worst["robust_accuracy"])
    checked = evaluation.get("pgd_check")
    if checked and checked["overstated"]["value"] is not None:
        yield _gap_tile(checked)
    if result is not None and "verdict" in result:
        agree = result["verdict"] == "agree"
        sides = count_text(len(result["references"]) + bool(result["candidate"]), "implementation")
        yield Tile("agreement", result["verdict"].upper(), f"with {sides}", "good" if agree else "bad")
    if result is not None and result.get("gates"):
        passed = sum(gate["passed"] for gate in result["gates"])
        of = count_text(len(result["gates"]), "threshold")
        verdict = passed == len(result["gates"])
        yield Tile("thresholds", "PASSED" if verdict else "FAILED", f"{passed} of {of} kept", "good" if verdict else "bad")


def _gap_tile(checked: Document) -> Tile:
    lead = checked["overstated"]
    interval = f"[{100 * lead['low']:.1f}, {100 * lead['high']:.1f}], n={checked['n']:,}"
    return Tile(f"PGD-{checked['steps']} gap, ε {epsilon_text(checked['epsilon'])}", f"{100 * lead['value']:.1f} points", interval)


def gate_tiles(document: Document) -> Iterator[Tile]:
    """Yield the verdict of a gate, and the change of accuracy over all images before the attack and at each budget."""
    passed = document["verdict"] == "passed"
    yield Tile("verdict", "PASSED" if passed else "FAILED", f"on {count_text(document['n'], 'image')}", "good" if passed else "bad")
    for drop in document["drops"]:
        if drop["label"] is None:
            rule = "" if drop["targeted"] == "none" or drop["epsilon"] is None else f", {drop['targeted']}"
            at = "clean accuracy, %" if drop["epsilon"] is None else f"robust accuracy, %, ε {epsilon_text(drop['epsilon'])}{rule}"
            bounds = f"change in [{-100 * drop['high']:+.1f}, {-100 * drop['low']:+.1f}], n={drop['n']:,}"
            sides = [100 * drop[key]["value"] for key in ("baseline_accuracy", "accuracy")]
            yield Tile(at, f"{sides[0]:.1f} → {sides[1]:.1f}", bounds, "bad" if drop["exceeds"] else "")


def verification_tiles(document: Document, sentence: str) -> Iterator[Tile]:
    """Yield the verdict of a verification and its count of right stages; sentence: the verdict with what it rests on."""
    verdict, stages = document["verdict"], document["stages"]
    word, _, rest = sentence.partition(": ")
    yield Tile("verdict", word.partition(" ")[0], rest, "good" if verdict == "right" else "bad")
    for name, label in (("ok", "right stages"), ("wrong", "wrong stages"), ("unmeasured", "unmeasured stages")):
        found = [stage["stage"] for stage in stages if stage["verdict"] == name]
        if found:
            yield Tile(label, f"{len(found)} of {len(stages)}", ", ".join(found), "bad" if name == "wrong" else "")


def training_tiles(document: Document, labels: Document) -> Iterator[Tile]:
    """Yield the held-out accuracy of the weights that a training kept, and whether it overfitted."""
    kept = document["kept"]
    for name in ACCURACY_LABELS:
        if kept[name] is not None:
            yield rate_tile(labels[name], kept[name], " held out")
    yield Tile(
        "weights kept",
        f"epoch {kept['epoch']}",
        f"quarter {kept['quarter']} of {count_text(document['recipe']['epochs'], 'epoch')}",
    )
    if document["overfitting"] is not None:
        yield Tile("catastrophic overfitting", f"epoch {document['overfitting']['epoch']}", "", "bad")


def transfer_tiles(document: Document, budget: int) -> Iterator[Tile]:
    """Yield the pairs with the lowest robust accuracy at one budget: source is target, and source is another network."""
    names = [model_text(model) for model in document["models"]]
    epsilon = epsilon_text(document["attack"]["epsilons"][budget])
    for own, words in ((True, "network itself"), (False, "other networks")):
        found = lowest_pair(document, budget, own=own)
        if found is not None:
            cell, rate = found
            pair = names[cell["target"]] if own else f"{names[cell['source']]} → {names[cell['target']]}"
            yield rate_tile(f"lowest robust accuracy by the {words}, ε {epsilon}", rate, f"; {pair}")
