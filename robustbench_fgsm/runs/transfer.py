"""A transfer in its directory: begun, continued from its ledgers, or already done."""

from __future__ import annotations

import json
from collections.abc import Sequence
from contextlib import closing, nullcontext
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from robustbench_fgsm.data.dataset import Dataset, describe_data
from robustbench_fgsm.engine.batch_size import choose_common_batch_size
from robustbench_fgsm.engine.distributed import SINGLE_PROCESS, World
from robustbench_fgsm.engine.environment import describe_environment
from robustbench_fgsm.engine.progress import Progress
from robustbench_fgsm.errors import RunError
from robustbench_fgsm.evaluation.transfer import Transfer, run_transfer, split_transfer_into_pieces
from robustbench_fgsm.evaluation.transfer_counts import TransferModels
from robustbench_fgsm.runs.directory import (
    MANIFEST_FILE,
    RESULT_FILE,
    is_new_run,
    lock_directory,
    open_run,
    read_json,
    remove_temporary_files,
    write_json,
)
from robustbench_fgsm.runs.ledger import LedgerStore
from robustbench_fgsm.runs.manifest import read_recorded_plan
from robustbench_fgsm.spec import AttackSpec, RunOptions, TransferOptions

Document = dict[str, Any]


@dataclass(frozen=True)
class TransferRun:
    """What is measured: who attacks whom, on what data, and how."""

    transfer_models: TransferModels
    data: Dataset
    spec: AttackSpec
    batch_size: int
    common: bool = False
    per_class: bool = False
    max_bad: int = 0
    preflight_warnings: Sequence[str] | None = None
    """Of `check_transfer`, where that was called already."""

    def settings(self) -> Document:
        """What has to be the same for the run to be continued, as JSON knows it."""
        environment = describe_environment(self.transfer_models.models[0].device)
        settings = {
            "command": "transfer",
            "models": [model.info.to_dict() for model in self.transfer_models.models],
            "sources": self.transfer_models.sources,
            "targets": self.transfer_models.targets,
            "data": describe_data(self.data),
            "attack": self.spec.to_dict() | {"epsilons": self.spec.epsilons},
            "common": self.common,
            "per_class": self.per_class,
            "batch_size": self.batch_size,
            "piece_size": self.piece_size,
            "max_bad": self.max_bad,
            "device": self.transfer_models.models[0].device.type,
            "package": environment["package"],
            "torch": environment["torch"],
        }
        found: Document = json.loads(json.dumps(settings))
        return found

    @property
    def piece_size(self) -> int:
        """Images of a piece."""
        return split_transfer_into_pieces(self.transfer_models, self.data, self.batch_size).size

    def measure(
        self, store: LedgerStore | None = None, world: World = SINGLE_PROCESS, progress: Progress | None = None
    ) -> Transfer:
        """The transfer; what the store has is not attacked again."""
        return run_transfer(
            self.transfer_models,
            self.data,
            self.spec,
            TransferOptions(self.common, self.per_class),
            RunOptions(self.batch_size, max_bad=self.max_bad),
            warnings=self.preflight_warnings,
            progress=progress,
            store=store,
            world=world,
        )


def choose_transfer_batch_size(transfer_models: TransferModels, data: Dataset, batch_size: int | str, out: Path | None) -> int:
    """Images at a time: under `auto` those of the run in the directory, where there is one, or else as the models allow."""
    recorded = None if out is None or batch_size != "auto" else read_recorded_plan(out)
    return choose_common_batch_size(batch_size, transfer_models.models, data) if recorded is None else recorded.batch_size


def transfer_in_directory(
    run: TransferRun, out: Path, *, world: World = SINGLE_PROCESS, progress: Progress | None = None
) -> Document:
    """The run's document; pieces that its ledgers have are not attacked again, and a result that is there is returned.

    Raises RunError where the directory holds another run or anything else, ResourceError where it cannot be written or
    another process is in it, and whatever `run_transfer` raises.
    """
    settings = run.settings()
    found = world.broadcast(_finished_transfer(out, settings) if world.is_main else None)
    if found is not None:
        return found
    with lock_directory(out) if world.is_main else nullcontext():
        if world.is_main:
            remove_temporary_files(out, MANIFEST_FILE, RESULT_FILE)
            open_run(out, settings)
        world.barrier()
        if is_new_run(out):
            raise RunError(f"all processes must see the same --out, got {out} without {MANIFEST_FILE}: choose a shared directory")
        pieces = len(split_transfer_into_pieces(run.transfer_models, run.data, run.batch_size))
        with closing(LedgerStore(out, pieces, world.rank)) as store:
            document = run.measure(store, world, progress).to_dict()
        if world.is_main:
            write_json(out / RESULT_FILE, document)
    world.barrier()
    return document


def _finished_transfer(out: Path, settings: Document) -> Document | None:
    if is_new_run(out):
        return None
    open_run(out, settings)
    return read_json(out / RESULT_FILE) if (out / RESULT_FILE).is_file() else None
