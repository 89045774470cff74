"""Run a transfer matrix in a run directory, or continue it from its ledgers."""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import closing, nullcontext
from dataclasses import asdict, dataclass
from pathlib import Path

from robustbench_fgsm.data.dataset import Dataset
from robustbench_fgsm.engine.batch_size import choose_common_batch_size
from robustbench_fgsm.engine.dataset_pieces import Pieces
from robustbench_fgsm.engine.distributed import SINGLE_PROCESS, World
from robustbench_fgsm.engine.progress import Progress
from robustbench_fgsm.engine.run_pieces import RunContext
from robustbench_fgsm.evaluation.document import Document
from robustbench_fgsm.evaluation.transfer import run_transfer, split_transfer_into_pieces
from robustbench_fgsm.evaluation.transfer_counts import TransferModels
from robustbench_fgsm.options import RunOptions, TransferOptions
from robustbench_fgsm.runs.changed_images import is_complete_and_unchanged, open_store_of_pieces
from robustbench_fgsm.runs.directory import RunDirectory
from robustbench_fgsm.runs.manifest import read_recorded_plan
from robustbench_fgsm.runs.settings import run_settings
from robustbench_fgsm.spec import AttackSpec


@dataclass(frozen=True)
class TransferRun:
    """A transfer matrix: source and target models, images, and the attack."""

    transfer_models: TransferModels
    data: Dataset
    spec: AttackSpec
    transfer_options: TransferOptions
    batch_size: int
    max_bad: int = 0
    preflight_warnings: Sequence[str] | None = None
    """Warnings of `check_transfer`; None if it has not run."""

    def settings(self) -> Document:
        """Return the settings, as JSON."""
        crossing = self.transfer_models
        return run_settings(
            "transfer",
            crossing.models,
            self.data,
            self.spec,
            max_bad=self.max_bad,
            sources=crossing.sources,
            targets=crossing.targets,
            **asdict(self.transfer_options),
            batch_size=self.batch_size,
            piece_size=self.pieces.size,
        )

    @property
    def pieces(self) -> Pieces:
        """Return how the images are divided into pieces."""
        return split_transfer_into_pieces(self.transfer_models, self.data, self.batch_size)


def choose_transfer_batch_size(transfer_models: TransferModels, data: Dataset, batch_size: int | str, out: Path | None) -> int:
    """Return the batch size: for `auto` that of the run in the directory, or else one that all models can take."""
    recorded = None if out is None or batch_size != "auto" else read_recorded_plan(out)
    return choose_common_batch_size(batch_size, transfer_models.models, data) if recorded is None else recorded.batch_size


def transfer_in_directory(
    run: TransferRun, out: Path | None, *, world: World = SINGLE_PROCESS, progress: Progress | None = None
) -> Document:
    """Return the run's document, from the directory if the run is finished there; without a directory nothing is kept.

    Pieces that the directory's ledgers hold are not attacked again. Raises as `RunDirectory` and `run_transfer` do.
    """
    with RunDirectory(
        out, run.settings, world, reuse_result=lambda directory: is_complete_and_unchanged(directory, run.data)
    ) as directory:
        if directory.result is not None:
            return directory.result
        store = open_store_of_pieces(directory, run.data)
        with nullcontext() if store is None else closing(store):
            transfer = run_transfer(
                run.transfer_models,
                run.data,
                run.spec,
                run.transfer_options,
                RunOptions(run.batch_size, max_bad=run.max_bad),
                warnings=run.preflight_warnings,
                context=RunContext(world, store, progress),
            )
        return directory.write_result(transfer.to_dict())
