"""Runs that go on from their directory alone, each as its own command would."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

from robustbench_fgsm.cli.options import OutputOptions
from robustbench_fgsm.spec import Option

if TYPE_CHECKING:
    from rich.console import RenderableType

    from robustbench_fgsm.engine.distributed import World

Document = dict[str, Any]
DocumentAndRenderer = tuple[Document, Callable[[Document], "RenderableType"]]
"""A document, and what shows it in the terminal."""


@dataclass(frozen=True)
class ResumeOptions:
    """How the model and the data that a manifest names are loaded again."""

    weights: Annotated[str | None, Option("Current place of the weights.", default_text="the place in the manifest")] = None
    device: Annotated[str, Option("auto, cpu, cuda, cuda:1, ...")] = "auto"
    trust_model_code: Annotated[bool, Option("Run the model code that the manifest names.")] = False
    trust_data_code: Annotated[bool, Option("Run the data function that the manifest names.")] = False

    def load_arguments(self, world: World) -> dict[str, Any]:
        """Return the arguments of the functions that reload a run, with the device of this process."""
        return asdict(self) | {"device": world.local_device(self.device)}


def resume(directory: Path, resume_options: ResumeOptions, world: World, output: OutputOptions) -> DocumentAndRenderer:
    """The run in the directory, finished. Raises RunError where it is none that can go on, and what its command raises."""
    from robustbench_fgsm.errors import RunError
    from robustbench_fgsm.runs.manifest import manifest_command, require_manifest

    kinds = {"evaluate": resume_evaluation, "sweep": resume_evaluation, "transfer": resume_transfer, "train": resume_training}
    kind = manifest_command(require_manifest(directory))
    if kind not in kinds:
        raise RunError(
            f"a run that is resumed must be one of {', '.join(kinds)}, got {directory} of {kind}: run its own command again"
        )
    return kinds[kind](directory, resume_options, world, output)


def resume_evaluation(directory: Path, resume_options: ResumeOptions, world: World, output: OutputOptions) -> DocumentAndRenderer:
    """A run of evaluate or sweep, judged as the command that made it last judged it."""
    from robustbench_fgsm.cli.run_evaluation import run_with_progress_bar as finish
    from robustbench_fgsm.evaluation.thresholds import apply_thresholds, find_epsilon_for_success
    from robustbench_fgsm.report.documents import evaluation
    from robustbench_fgsm.runs.resume import reload_evaluation_run
    from robustbench_fgsm.spec import Thresholds, check_share

    run = reload_evaluation_run(directory, **resume_options.load_arguments(world))
    single, asked = run.command == "evaluate", run.thresholds
    gates, success = Thresholds(asked.get("min_robust_accuracy"), asked.get("max_asr")), asked.get("find_asr")
    check_share("find asr", success)

    def judged(document: Document) -> Document:
        return apply_thresholds(document, gates) if single else find_epsilon_for_success(document, success)

    document = finish(run, replace(output, out=directory), judged)
    return document, evaluation.render_evaluation if single else evaluation.render_sweep


def resume_transfer(directory: Path, resume_options: ResumeOptions, world: World, output: OutputOptions) -> DocumentAndRenderer:
    """A run of transfer."""
    from robustbench_fgsm.cli.output import progress_bar
    from robustbench_fgsm.report.documents.transfer import render_transfer
    from robustbench_fgsm.runs.resume import reload_transfer_run
    from robustbench_fgsm.runs.transfer import transfer_in_directory

    run = reload_transfer_run(directory, **resume_options.load_arguments(world))
    with progress_bar("transfer", quiet=output.quiet or not world.is_main) as progress:
        return transfer_in_directory(run, directory, world=world, progress=progress), render_transfer


def resume_training(directory: Path, resume_options: ResumeOptions, world: World, output: OutputOptions) -> DocumentAndRenderer:
    """A training."""
    from robustbench_fgsm.cli.output import progress_bar, write_note
    from robustbench_fgsm.report.documents.training import render_training, training_check_text
    from robustbench_fgsm.runs.resume import reload_training_run

    learning = reload_training_run(directory, **resume_options.load_arguments(world))
    quiet = output.quiet or not world.is_main
    with progress_bar("train", quiet=quiet) as progress:
        found = learning.train(
            directory, progress, lambda check: write_note(training_check_text(check.to_dict()), quiet=quiet), world
        )
    return found.to_dict(), render_training
