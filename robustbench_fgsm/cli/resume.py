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
Finished = tuple[Document, Callable[[Document], "RenderableType"]]
"""A document, and what shows it in the terminal."""


@dataclass(frozen=True)
class Ways:
    """How what a manifest names is loaded again, and how many example images are kept."""

    weights: str | None
    device: str
    keep_images: int
    trust_model_code: bool
    trust_data_code: bool

    def loading(self, world: World) -> dict[str, Any]:
        """The same as arguments, on the device of this process."""
        return {
            "weights": self.weights,
            "device": world.device(self.device),
            "trust_model_code": self.trust_model_code,
            "trust_data_code": self.trust_data_code,
        }


def go_on(directory: Path, ways: Ways, world: World, *, quiet: bool) -> Finished:
    """The run in the directory, finished. Raises RunError where it is none that can go on, and what its command raises."""
    from robustbench_fgsm.errors import RunError
    from robustbench_fgsm.runs.manifest import kind_of, open_manifest

    kinds = {"evaluate": measured, "sweep": measured, "transfer": transferred, "train": trained}
    kind = kind_of(open_manifest(directory))
    if kind not in kinds:
        raise RunError(
            f"a run that is resumed must be one of {', '.join(kinds)}, got {directory} of {kind}: "
            "run its own command again"
        )
    return kinds[kind](directory, ways, world, quiet=quiet)


def measured(directory: Path, ways: Ways, world: World, *, quiet: bool) -> Finished:
    """A run of evaluate or sweep, judged as the command that made it last judged it."""
    from robustbench_fgsm.cli.run_evaluation import Keeping
    from robustbench_fgsm.cli.run_evaluation import measured as finish
    from robustbench_fgsm.evaluation.thresholds import Gates, check_share, find_success, judge
    from robustbench_fgsm.report.documents import evaluation
    from robustbench_fgsm.runs.resume import resumed

    run = resumed(directory, **ways.loading(world))
    single, asked = run.command == "evaluate", run.asked
    gates, success = Gates(asked.get("min_robust_accuracy"), asked.get("max_asr")), asked.get("find_asr")
    check_share("find asr", success)

    def judged(document: Document) -> Document:
        return judge(document, gates) if single else find_success(document, success)

    document = finish(run, Keeping(directory, ways.keep_images), judged, quiet=quiet)
    return document, evaluation.evaluation if single else evaluation.sweep


def transferred(directory: Path, ways: Ways, world: World, *, quiet: bool) -> Finished:
    """A run of transfer."""
    from robustbench_fgsm.cli.output import progress_bar
    from robustbench_fgsm.report.documents.transfer import transfer
    from robustbench_fgsm.runs.resume import resumed_transfer
    from robustbench_fgsm.runs.transfer import transfer_in

    run = resumed_transfer(directory, **ways.loading(world))
    world.check_same(run.settings() | {"--out": directory})
    with progress_bar("transfer", quiet=quiet or not world.leads) as progress:
        return transfer_in(run, directory, world=world, progress=progress), transfer


def trained(directory: Path, ways: Ways, world: World, *, quiet: bool) -> Finished:
    """A training."""
    from robustbench_fgsm.cli.output import note, progress_bar
    from robustbench_fgsm.report.documents.training import check_text, training
    from robustbench_fgsm.runs.resume import resumed_training

    learning = resumed_training(directory, **ways.loading(world))
    quiet = quiet or not world.leads
    with progress_bar("train", quiet=quiet) as progress:
        found = learning.trained(
            directory, progress, lambda check: note(check_text(check.to_dict()), quiet=quiet), world
        )
    return found.to_dict(), training
