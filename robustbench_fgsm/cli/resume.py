"""Continue a run from its directory alone, as its own command would."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

from robustbench_fgsm.cli.options import OutputOptions

if TYPE_CHECKING:
    from robustbench_fgsm.engine.distributed import World
    from robustbench_fgsm.evaluation.document import Document
    from robustbench_fgsm.options import ReloadOptions


def resume(directory: Path, options: ReloadOptions, world: World, output: OutputOptions) -> Document:
    """Finish the run in a directory; raise RunError for a run that cannot be continued, and as its own command does."""
    from robustbench_fgsm.errors import RunError
    from robustbench_fgsm.runs.directory import manifest_command
    from robustbench_fgsm.runs.manifest import require_manifest

    kinds = {"evaluate": resume_evaluation, "sweep": resume_evaluation, "transfer": resume_transfer, "train": resume_training}
    kind = manifest_command(require_manifest(directory))
    if kind not in kinds:
        raise RunError(
            f"a run that is resumed must be one of {', '.join(kinds)}, got {directory} of {kind}: run its own command again"
        )
    options = replace(options, device=world.local_device(options.device))
    return kinds[kind](directory, options, world, output)


def resume_evaluation(directory: Path, options: ReloadOptions, _: World, output: OutputOptions) -> Document:
    """Finish an evaluation or a sweep, with the thresholds that its command had last."""
    from robustbench_fgsm.cli.run_evaluation import run_with_progress_bar as finish
    from robustbench_fgsm.evaluation.thresholds import apply_thresholds, find_epsilon_for_success
    from robustbench_fgsm.options import Thresholds, check_share
    from robustbench_fgsm.runs.resume import reload_evaluation_run

    run = reload_evaluation_run(directory, options=options)
    single, asked = run.command == "evaluate", run.thresholds
    gates, success = Thresholds(asked.get("min_robust_accuracy"), asked.get("max_asr")), asked.get("find_asr")
    check_share("find asr", success)

    def judged(document: Document) -> Document:
        return apply_thresholds(document, gates) if single else find_epsilon_for_success(document, success)

    return finish(run, replace(output, out=directory), judged)


def resume_transfer(directory: Path, options: ReloadOptions, world: World, output: OutputOptions) -> Document:
    """Finish the transfer in a directory."""
    from robustbench_fgsm.cli.output import progress_bar
    from robustbench_fgsm.runs.resume import reload_transfer_run
    from robustbench_fgsm.runs.transfer import transfer_in_directory

    run = reload_transfer_run(directory, options=options)
    with progress_bar("transfer", quiet=output.quiet or not world.is_main) as progress:
        return transfer_in_directory(run, directory, world=world, progress=progress)


def resume_training(directory: Path, options: ReloadOptions, world: World, output: OutputOptions) -> Document:
    """Finish the training in a directory."""
    from robustbench_fgsm.cli.output import progress_bar, write_note
    from robustbench_fgsm.report.documents.training import training_check_text
    from robustbench_fgsm.runs.resume import reload_training_run
    from robustbench_fgsm.runs.train import train_in_directory

    run = reload_training_run(directory, options=options)
    quiet = output.quiet or not world.is_main
    with progress_bar("train", quiet=quiet) as progress:
        found = train_in_directory(
            run,
            directory,
            progress=progress,
            report=lambda check: write_note(training_check_text(check.to_dict()), quiet=quiet),
            world=world,
        )
    return found.to_dict()
