"""`rfgsm attack`."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from inspect import signature
from pathlib import Path
from typing import Annotated

import typer

from robustbench_fgsm.cli import options
from robustbench_fgsm.cli.options import DataOptionGroup, ModelOptionGroup, expand_options
from robustbench_fgsm.errors import SettingError

OPTIONS_WITH_CHECK = (
    "check",
    "weights",
    "limit",
    "device",
    "json",
    "quiet",
    "log_dir",
    "debug",
    "trust_model_code",
    "trust_data_code",
)
"""Options that mean something beside `--check`; the manifest says the rest."""


@expand_options
def attack_command(
    model: Annotated[
        str | None,
        typer.Option("--model", help="Classifier: a name of `rfgsm list models`; to craft.", show_default=False),
    ] = None,
    out: Annotated[
        Path | None,
        typer.Option(
            "--out",
            metavar="DIR",
            help="Where images and manifest go, to craft; the same command continues there.",
            show_default=False,
        ),
    ] = None,
    check: Annotated[
        Path | None,
        typer.Option(
            "--check",
            metavar="DIR",
            help="Verify what was saved there: hash every file, and craft the images again (--limit: so many).",
            show_default=False,
        ),
    ] = None,
    weights: options.Weights = "auto",
    data: options.Data = None,
    limit: options.Limit = None,
    eps: options.Eps = "8/255",
    norm: options.Norm = "inf",
    targeted: options.Targeted = "none",
    loss: options.Loss = "ce",
    stable: options.Stable = False,
    restarts: options.Restarts = 0,
    format: Annotated[  # noqa: A002  (the name of the option)
        str, typer.Option("--format", help="safetensors, npz, or png, which is rounded to 8 bits within the budget.")
    ] = "safetensors",
    shard_size: Annotated[int, typer.Option("--shard-size", help="Images a shard, of which one is held.")] = 1000,
    batch_size: options.BatchSize = "auto",
    optimize: options.Optimize = "safe",
    device: options.Device = "auto",
    seed: options.Seed = 0,
    data_options: DataOptionGroup = DataOptionGroup(),
    model_options: ModelOptionGroup = ModelOptionGroup(),
    trust_data_code: Annotated[
        bool, typer.Option("--trust-data-code", help="With --check: run the function of data that the manifest names.")
    ] = False,
    json: options.Json = False,
    quiet: options.Quiet = False,
    log_dir: options.LogDir = None,
    debug: options.Debug = False,
) -> int:
    """Craft adversarial images and save them with a manifest, or verify saved ones.

    Prints what became of the predictions, for PNG also after rounding. Exit 1: a gradient was not finite; with --check,
    something is not as the manifest says.

    Example: rfgsm attack --model resnet18 --out adversarial
    """
    if check is not None:
        _reject_other_options(locals() | vars(data_options) | vars(model_options))
        return _verify_saved_attack(
            check,
            None if weights == "auto" else weights,
            limit,
            device,
            trust_model_code=model_options.trust_model_code,
            trust_data_code=trust_data_code,
            json=json,
            quiet=quiet,
        )
    if trust_data_code:
        raise SettingError("--trust-data-code is about the data of a manifest, got no --check: leave it out")
    if model is None or out is None:
        raise SettingError("attack needs --model NAME and --out DIR to craft, or --check DIR: see rfgsm attack --help")

    from robustbench_fgsm.spec import AttackSpec, TargetRule, parse_epsilon, parse_norm

    order = parse_norm(norm)
    rule = TargetRule.parse(targeted)
    spec = AttackSpec(parse_epsilon(eps, order), order, rule, loss, seed=seed, restarts=restarts, stable=stable)

    from robustbench_fgsm.cli.load import load_model_and_data
    from robustbench_fgsm.cli.output import ResultFormat, progress_bar, write_result
    from robustbench_fgsm.cli.processes import join_processes
    from robustbench_fgsm.runs.attack.save import save_attack

    world = join_processes()
    quiet = quiet or not world.is_main
    place = world.local_device(device)
    classifier, images = load_model_and_data(
        model, weights, data, limit, place, data_options, model_options, seed=seed, quiet=quiet
    )
    with progress_bar("attack", quiet=quiet) as progress:
        saved = save_attack(
            classifier,
            images,
            out,
            replace(spec, bounds=classifier.bounds),
            format=format,
            shard_size=shard_size,
            batch_size=batch_size,
            optimize=optimize,
            max_bad=data_options.max_bad,
            strict=data_options.strict,
            progress=progress,
            world=world,
        )
    if world.is_main:
        write_result(saved.to_dict(), ResultFormat(json=json))
    return saved.exit_code


def _reject_other_options(given: Mapping[str, object]) -> None:
    """Raise SettingError for options that would contradict the manifest."""
    defaults = signature(attack_command).parameters
    extra = [
        f"--{name.replace('_', '-')}"
        for name, value in given.items()
        if name in defaults and name not in OPTIONS_WITH_CHECK and value != defaults[name].default
    ]
    if extra:
        raise SettingError(f"--check takes its settings from the manifest, got {', '.join(extra)}: leave them out")


def _verify_saved_attack(
    check: Path,
    weights: str | None,
    limit: int | None,
    device: str,
    *,
    trust_model_code: bool,
    trust_data_code: bool,
    json: bool,
    quiet: bool,
) -> int:
    from robustbench_fgsm.cli.output import ResultFormat, progress_bar, write_result
    from robustbench_fgsm.runs.attack.replay import check_adversarial

    with progress_bar("check", quiet=quiet) as progress:
        found = check_adversarial(
            check,
            weights=weights,
            limit=limit,
            device=device,
            trust_model_code=trust_model_code,
            trust_data_code=trust_data_code,
            progress=progress,
        )
    document = found.to_dict()
    write_result(document, ResultFormat(json=json))
    code: int = document["exit_code"]
    return code
