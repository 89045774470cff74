"""Runs that go on from their directory alone, each as its own command would."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from rich.console import RenderableType

    from robustbench_fgsm.engine.distributed import World

Document = dict[str, Any]
DocumentAndRenderer = tuple[Document, Callable[[Document], "RenderableType"]]
"""A document, and what shows it in the terminal."""


@dataclass(frozen=True)
class ResumeOptions:
    """How what a manifest names is loaded again, and how many example images are kept."""

    weights: str | None
    device: str
    max_example_images: int
    trust_model_code: bool
    trust_data_code: bool

    def load_arguments(self, world: World) -> dict[str, Any]:
        """The same as arguments, on the device of this process."""
        return {
            "weights": self.weights,
            "device": world.local_device(self.device),
            "trust_model_code": self.trust_model_code,
            "trust_data_code": self.trust_data_code,
        }


def resume(directory: Path, resume_options: ResumeOptions, world: World, *, quiet: bool) -> DocumentAndRenderer:
    """The run in the directory, finished. Raises RunError where it is none that can go on, and what its command raises."""
    from robustbench_fgsm.errors import RunError
    from robustbench_fgsm.runs.manifest import manifest_command, require_manifest

    kinds = {"evaluate": resume_evaluation, "sweep": resume_evaluation, "transfer": resume_transfer, "train": resume_training}
    kind = manifest_command(require_manifest(directory))
    if kind not in kinds:
        raise RunError(
            f"a run that is resumed must be one of {', '.join(kinds)}, got {directory} of {kind}: run its own command again"
        )
    return kinds[kind](directory, resume_options, world, quiet=quiet)


def resume_evaluation(directory: Path, resume_options: ResumeOptions, world: World, *, quiet: bool) -> DocumentAndRenderer:
    """A run of evaluate or sweep, judged as the command that made it last judged it."""
    from robustbench_fgsm.cli.run_evaluation import OutputOptions
    from robustbench_fgsm.cli.run_evaluation import run_with_progress_bar as finish
    from robustbench_fgsm.evaluation.thresholds import Thresholds, apply_thresholds, check_share, find_epsilon_for_success
    from robustbench_fgsm.report.documents import evaluation
    from robustbench_fgsm.runs.resume import reload_evaluation_run

    run = reload_evaluation_run(directory, **resume_options.load_arguments(world))
    single, asked = run.command == "evaluate", run.thresholds
    gates, success = Thresholds(asked.get("min_robust_accuracy"), asked.get("max_asr")), asked.get("find_asr")
    check_share("find asr", success)

    def judged(document: Document) -> Document:
        return apply_thresholds(document, gates) if single else find_epsilon_for_success(document, success)

    document = finish(run, OutputOptions(directory, resume_options.max_example_images), judged, quiet=quiet)
    return document, evaluation.render_evaluation if single else evaluation.render_sweep


def resume_transfer(directory: Path, resume_options: ResumeOptions, world: World, *, quiet: bool) -> DocumentAndRenderer:
    """A run of transfer."""
    from robustbench_fgsm.cli.output import progress_bar
    from robustbench_fgsm.report.documents.transfer import render_transfer
    from robustbench_fgsm.runs.resume import reload_transfer_run
    from robustbench_fgsm.runs.transfer import transfer_in_directory

    run = reload_transfer_run(directory, **resume_options.load_arguments(world))
    with progress_bar("transfer", quiet=quiet or not world.is_main) as progress:
        return transfer_in_directory(run, directory, world=world, progress=progress), render_transfer


def resume_training(directory: Path, resume_options: ResumeOptions, world: World, *, quiet: bool) -> DocumentAndRenderer:
    """A training."""
    from robustbench_fgsm.cli.output import progress_bar, write_note
    from robustbench_fgsm.report.documents.training import render_training, training_check_text
    from robustbench_fgsm.runs.resume import reload_training_run

    learning = reload_training_run(directory, **resume_options.load_arguments(world))
    quiet = quiet or not world.is_main
    with progress_bar("train", quiet=quiet) as progress:
        found = learning.train(
            directory, progress, lambda check: write_note(training_check_text(check.to_dict()), quiet=quiet), world
        )
    return found.to_dict(), render_training
