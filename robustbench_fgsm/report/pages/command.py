"""The command that reproduces a run, made from its document and its manifest."""

from __future__ import annotations

import shlex
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from robustbench_fgsm.evaluation.document import Document
from robustbench_fgsm.models.names import BUNDLED_NAMES
from robustbench_fgsm.models.registry import sources_with_weights
from robustbench_fgsm.report.evaluations_in import evaluations_in
from robustbench_fgsm.report.loaded_run import LoadedRun, command_of
from robustbench_fgsm.report.tables.text import epsilon_text, is_range_scale

OPTION_NAMES = {"root": "data-root"}
OUTPUT_DIRECTORY = "repeated"
"""Output directory of a training and of saved images, which need one."""


def reproduction_command(run: LoadedRun) -> str:
    """Return the command for a shell that measures a run again, or that trains again into another directory."""
    schema, processes = run.document["schema"], (run.manifest or {}).get("processes", 1)
    if schema == "rfgsm.training/1":
        shared = ["torchrun", "--standalone", "--nproc-per-node", str(processes), "-m", "robustbench_fgsm"]
        return shlex.join([*(shared if processes > 1 else ["rfgsm"]), *_training_arguments(run)])
    if schema == "rfgsm.verification/2":
        candidate = run.document["candidate"]
        strict = ["--strict"] if run.document["strict"] else []
        return shlex.join(["rfgsm", "verify", candidate["name"], "--style", candidate["style"], *strict])
    return shlex.join(
        ["rfgsm", *(_transfer_arguments(run.document) if schema == "rfgsm.transfer/1" else _evaluation_arguments(run))]
    )


def _evaluation_arguments(run: LoadedRun) -> Iterator[str]:
    document, settings = run.document, run.manifest or {}
    found = evaluations_in(document)
    first, name = found[0], command_of(document["schema"])
    model, data, attack = first["model"], first["data"], first["attack"]
    yield from (name, "--model", model["spec"], "--weights", model["weights"])
    yield from _options(model["settings"])
    yield from _data_options(data)
    yield from ("--eps", _epsilon_list([at["epsilon"] for at in first["epsilons"]]), "--norm", attack["norm"])
    yield from _scale_option(attack)
    for evaluation in found:
        yield from ("--targeted", evaluation["attack"]["targeted"])
    if name == "compare":
        yield from _opponent_options(document, settings)
    else:
        yield from ("--loss", attack["loss"], *(["--stable"] if attack["stable"] else []))
        yield from ("--restarts", str(attack["restarts"]))
        yield from _check_options(found, settings)
    plan = first.get("plan") or {"level": "none", "batch_size": 128}
    yield from ("--seed", _seed_text(data, attack["seed"]), "--batch-size", str(plan["batch_size"]))
    yield from ("--optimize", plan["level"], "--device", str(first["environment"]["device"]))
    if first["bad"]["allowed"]:
        yield from ("--max-bad", str(first["bad"]["allowed"]))
    if name == "attack":
        output = document["output"]
        yield from ("--save-as", output["format"], "--shard-size", str(output["shard_size"]), "--out", OUTPUT_DIRECTORY)


def _data_options(data: Document) -> Iterator[str]:
    """Yield the options that select the images of a run, without the seed of a sample."""
    yield from ("--data", data["spec"])
    own = data.get("settings", {})
    if not isinstance(own.get("sample"), int):  # a number is the limit too
        yield from ("--limit", str(data["n"]))
    yield from _options({OPTION_NAMES.get(key, key): value for key, value in own.items() if key != "seed"})


def _seed_text(data: Document, seed: int) -> str:
    return str(data.get("settings", {}).get("seed", seed))


def _transfer_arguments(document: Document) -> Iterator[str]:
    attack, data, models = document["attack"], document["data"], document["models"]
    yield "transfer"
    for side in ("source", "target"):
        for place in document[f"{side}s"]:
            yield from (f"--{side}", _model_argument(models[place]))
    yield from _options({key: value for model in models for key, value in model["settings"].items()})
    yield from _data_options(data)
    yield from ("--eps", _epsilon_list(attack["epsilons"]), "--norm", attack["norm"], *_scale_option(attack))
    yield from ("--targeted", attack["targeted"])
    yield from ("--loss", attack["loss"], *(["--stable"] if attack["stable"] else []))
    yield from ("--restarts", str(attack["restarts"]))
    first = document["cells"][0]["epsilons"][0]
    asked = (("--common", "common_success_rate"), ("--per-class", "per_class"))
    yield from (option for option, key in asked if first[key] is not None)
    yield from ("--seed", _seed_text(data, attack["seed"]), "--batch-size", str(document.get("batch_size", "auto")))
    yield from ("--device", str(document["environment"]["device"]))
    if document["bad"]["allowed"]:
        yield from ("--max-bad", str(document["bad"]["allowed"]))


def _model_argument(model: Document) -> str:
    """Return a model for `--source`, with its weights if they can follow a colon."""
    spec, weights = model["spec"], model["weights"]
    weighed = spec in BUNDLED_NAMES or spec.partition(":")[0] in sources_with_weights()
    return f"{spec}:{weights}" if weighed else str(spec)


def _training_arguments(run: LoadedRun) -> Iterator[str]:
    document, recipe = run.document, run.document["recipe"]
    before = (run.manifest or document)["model"]
    weights = before["weights"] if run.manifest else "none"
    yield from ("train", "--model", before["spec"], "--weights", "auto" if weights == "given" else weights)
    yield from _options(before["settings"])
    yield from _data_options(document["data"])
    yield from ("--eps", _epsilon_list([recipe["epsilon"]]), "--clamp" if recipe["clamp"] else "--no-clamp")
    yield from _options({key: value for key, value in recipe.items() if key not in ("epsilon", "clamp")})
    yield from ("--device", str((run.manifest or {}).get("device", document["environment"]["device"])))
    if document["bad"]["allowed"]:
        yield from ("--max-bad", str(document["bad"]["allowed"]))
    yield from ("--out", OUTPUT_DIRECTORY)


def _check_options(evaluations: Sequence[Document], settings: Document) -> Iterator[str]:
    """Yield the options of the checks beside FGSM, from the manifest or else from the results."""
    asked = [found["pgd_check"]["asked"] for found in evaluations if found.get("pgd_check")]
    shown = {"pgd": asked[0] if asked else 0, "masking": any(found.get("masking_check") for found in evaluations)}
    checks = settings.get("checks", shown)
    if checks["pgd"]:
        yield from ("--pgd-check", str(checks["pgd"]))
    if checks["masking"]:
        yield "--check-masking"


def _opponent_options(document: Document, settings: Document) -> Iterator[str]:
    yield from ("--references", ",".join(side["name"] for side in document["references"]) or "none")
    if document["candidate"] is not None:
        candidate = settings.get("candidate", {"spec": document["candidate"]["name"], "style": "plain"})
        yield from ("--candidate", candidate["spec"], "--style", candidate["style"])


def _options(settings: Mapping[str, Any]) -> Iterator[str]:
    for key, value in settings.items():
        yield f"--{key.replace('_', '-')}"
        if key == "bounds" and isinstance(value[0], list):
            yield _feature_text("bounds.npz", *value)
        elif value is not True:
            yield ",".join(map(str, value)) if isinstance(value, list) else str(value)


def _scale_option(attack: Document) -> Iterator[str]:
    scale = attack.get("epsilon_scale")
    if scale is not None:
        yield "--eps-scale"
        yield "range" if is_range_scale(attack) else _feature_text("scale.npz", scale) if isinstance(scale, list) else repr(scale)


def _feature_text(file: str, *columns: Any) -> str:
    """Return vectors as the command line takes them: `1,2` for one, `0,1;0,5` for two; the name of a file for other arrays."""
    if any(isinstance(row, list) for column in columns for row in column):
        return file
    return ("," if len(columns) == 1 else ";").join(",".join(map(repr, row)) for row in zip(*columns, strict=True))


def _epsilon_list(epsilons: Sequence[float]) -> str:
    """Return budgets as a list that is read back exactly: fractions if all are fractions, because a list cannot mix both."""
    texts = [epsilon_text(epsilon) for epsilon in epsilons]
    fractions = all(text.endswith("/255") for text in texts)
    same = fractions and all(int(text.split("/")[0]) / 255 == epsilon for text, epsilon in zip(texts, epsilons, strict=True))
    return ",".join(texts if same else map(repr, epsilons))
