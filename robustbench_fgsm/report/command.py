"""The command that gives a run again, from its document and its manifest."""

from __future__ import annotations

import shlex
from collections.abc import Iterator, Sequence
from typing import Any

from robustbench_fgsm.report.run import Run
from robustbench_fgsm.report.sheets import Document
from robustbench_fgsm.report.subjects import evaluations
from robustbench_fgsm.report.terminal import epsilon_text

RENAMED = {"root": "data-root"}
COMMANDS = {"rfgsm.evaluation/1": "evaluate", "rfgsm.sweep/1": "sweep", "rfgsm.comparison/1": "compare"}


def command(run: Run) -> str:
    """One line for a shell, without the run's directory: it measures anew."""
    return shlex.join(["rfgsm", *_words(run)])


def _words(run: Run) -> Iterator[str]:
    document, settings = run.document, run.settings or {}
    found = evaluations(document)
    first, name = found[0], COMMANDS[document["schema"]]
    model, data, attack = first["model"], first["data"], first["attack"]
    yield from (name, "--model", model["spec"], "--weights", model["weights"])
    for key, value in model["settings"].items():
        yield from _option(key, value)
    yield from ("--data", data["spec"])
    own = data.get("settings", {})
    if "sample" not in own:
        yield from ("--limit", str(data["n"]))
    for key, value in own.items():
        if key != "seed":
            yield from _option(RENAMED.get(key, key), value)
    yield from ("--eps", _budgets([at["epsilon"] for at in first["epsilons"]]), "--norm", attack["norm"])
    for evaluation in found:
        yield from ("--targeted", evaluation["attack"]["targeted"])
    if name == "compare":
        yield from _opponents(document, settings)
    else:
        yield from ("--loss", attack["loss"], *(["--stable"] if attack["stable"] else []))
        yield from ("--restarts", str(attack["restarts"]))
        yield from _checks(found, settings)
    plan = first.get("plan") or {"level": "none", "batch_size": 128}
    yield from ("--seed", str(own.get("seed", attack["seed"])), "--batch-size", str(plan["batch_size"]))
    yield from ("--optimize", plan["level"], "--device", str(first["environment"]["device"]))
    if first["bad"]["allowed"]:
        yield from ("--max-bad", str(first["bad"]["allowed"]))


def _checks(evaluations: Sequence[Document], settings: Document) -> Iterator[str]:
    """What was tried beside FGSM, as the manifest has it, or else as far as the results show it."""
    asked = [found["pgd_check"]["asked"] for found in evaluations if found.get("pgd_check")]
    shown = {"pgd": asked[0] if asked else 0, "masking": any(found.get("masking_check") for found in evaluations)}
    checks = settings.get("checks", shown)
    if checks["pgd"]:
        yield from ("--pgd-check", str(checks["pgd"]))
    if checks["masking"]:
        yield "--check-masking"


def _opponents(document: Document, settings: Document) -> Iterator[str]:
    yield from ("--references", ",".join(side["name"] for side in document["references"]) or "none")
    if document["candidate"] is not None:
        candidate = settings.get("candidate", {"spec": document["candidate"]["name"], "style": "plain"})
        yield from ("--candidate", candidate["spec"], "--style", candidate["style"])


def _option(key: str, value: Any) -> list[str]:
    name = f"--{key.replace('_', '-')}"
    if value is True:
        return [name]
    return [name, ",".join(map(str, value)) if isinstance(value, list) else str(value)]


def _budgets(epsilons: Sequence[float]) -> str:
    """A list that reads back as the very same numbers: fractions where all are such, since a list may not mix them."""
    texts = [epsilon_text(epsilon) for epsilon in epsilons]
    fractions = all(text.endswith("/255") for text in texts)
    same = fractions and all(
        int(text.split("/")[0]) / 255 == epsilon for text, epsilon in zip(texts, epsilons, strict=True)
    )
    return ",".join(texts if same else map(repr, epsilons))
