"""The command `rfgsm attack`: save adversarial images, or verify saved ones."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Annotated

from robustbench_fgsm.cli.expand_options import Variant, changed_flags, expand_options
from robustbench_fgsm.cli.options import VERDICT_OPTIONS, DataOptions, ModelOptions, OutputOptions
from robustbench_fgsm.errors import SettingError
from robustbench_fgsm.options import AttackOptions, Option, RunOptions, ShardOptions

MODEL_VARIANT = Variant(
    defaults={"model": ""},
    options={"model": Option("Classifier: a name of `rfgsm list models`, SOURCE:NAME, or a file, to craft.")},
)
OUTPUT_VARIANT = Variant(
    only=(*VERDICT_OPTIONS, "out", "keep_images", "quiet", "log_dir"),
    options={"out": Option("Directory of images and manifest, to craft. The same command continues there.", metavar="DIR")},
)


@expand_options
def attack_command(
    *,
    model_options: Annotated[ModelOptions, MODEL_VARIANT],
    data_options: DataOptions,
    attack: AttackOptions,
    shard_options: Annotated[ShardOptions, Variant(without=("keep_images",))],
    run_options: RunOptions,
    output: Annotated[OutputOptions, OUTPUT_VARIANT],
    check: Annotated[
        Path | None,
        Option(
            "Verify the images in DIR: hash every file, and craft the images again (--limit: the first N).",
            metavar="DIR",
            panel="Checks",
        ),
    ] = None,
    trust_data_code: Annotated[bool, Option("With --check: run the data function that the manifest names.", panel="Data")] = False,
) -> int:
    """Craft adversarial images and save them with a manifest, or verify saved ones.

    Prints the predictions before and after the attack, for PNG also after rounding. Exit 1: a gradient was not finite, or,
    with --check, the images do not match the manifest.

    Example: rfgsm attack --model resnet18 --out adversarial
    """
    if check is not None:
        if output.csv is not None:
            raise SettingError("--csv holds the rates of crafted images, got it with --check: leave it out")
        options = replace(model_options, weights="auto", device="auto", trust_model_code=False)
        flags = changed_flags(options, replace(data_options, limit=None), attack, run_options, shard_options)
        flags += ["--out"] if output.out is not None else []
        flags += ["--keep-images"] if output.keep_images != OutputOptions.keep_images else []
        if flags:
            raise SettingError(f"--check takes its settings from the manifest, got {', '.join(flags)}: leave them out")
        return _check_saved_attack(check, model_options, data_options.limit, output, trust_data_code=trust_data_code)
    if trust_data_code:
        raise SettingError("--trust-data-code is about the data of a manifest, got no --check: leave it out")
    if not model_options.model or output.out is None:
        raise SettingError("attack needs --model NAME and --out DIR to craft, or --check DIR: see rfgsm attack --help")
    out = output.out
    attack.to_spec(model_options.expected_bounds)

    from robustbench_fgsm.cli.load import load_model_and_data
    from robustbench_fgsm.cli.output import progress_bar, write_result
    from robustbench_fgsm.cli.processes import join_processes
    from robustbench_fgsm.runs.attack.save import save_attack

    world, model_options, output = join_processes(model_options, output)
    shard_options = replace(shard_options, keep_images=output.keep_images)
    classifier, images = load_model_and_data(
        model_options, data_options, seed=attack.seed, epsilon_scale=attack.epsilon_scale, quiet=output.quiet
    )
    with progress_bar("attack", quiet=output.quiet) as progress:
        saved = save_attack(classifier, images, out, attack.to_spec(classifier.bounds), shard_options, run_options, progress, world)
    return write_result(saved.to_dict(), output, is_main=world.is_main)


def _check_saved_attack(
    directory: Path, model_options: ModelOptions, limit: int | None, output: OutputOptions, *, trust_data_code: bool
) -> int:
    """Verify saved images, print the result, and return the exit code."""
    from robustbench_fgsm.runs.directory import read_attack_json

    read_attack_json(directory)  # before torch is imported

    from robustbench_fgsm.cli.output import progress_bar, write_result
    from robustbench_fgsm.runs.attack.replay import check_adversarial

    with progress_bar("check", quiet=output.quiet) as progress:
        found = check_adversarial(
            directory,
            weights=None if model_options.weights == "auto" else model_options.weights,
            limit=limit,
            device=model_options.device,
            trust_model_code=model_options.trust_model_code,
            trust_data_code=trust_data_code,
            progress=progress,
        )
    return write_result(found.to_dict(), output)
