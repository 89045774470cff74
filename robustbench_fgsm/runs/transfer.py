"""A transfer in its directory: begun, continued from its ledgers, or already done."""

from __future__ import annotations

import json
from collections.abc import Sequence
from contextlib import closing, nullcontext
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from robustbench_fgsm.data.dataset import Dataset, describe
from robustbench_fgsm.engine.batch_size import choose_for_all
from robustbench_fgsm.engine.distributed import ALONE, World
from robustbench_fgsm.engine.environment import describe_environment
from robustbench_fgsm.engine.progress import Progress
from robustbench_fgsm.errors import RunError
from robustbench_fgsm.evaluation.transfer import Transfer, pieces_for, run_transfer
from robustbench_fgsm.evaluation.transfer_counts import Crossing
from robustbench_fgsm.runs.directory import MANIFEST, RESULT, is_new, locked, open_run, read_json, sweep_up, write_json
from robustbench_fgsm.runs.ledger import LedgerStore
from robustbench_fgsm.runs.manifest import recorded_plan
from robustbench_fgsm.spec import AttackSpec

Document = dict[str, Any]


@dataclass(frozen=True)
class TransferRun:
    """What is measured: who attacks whom, on what data, and how."""

    crossing: Crossing
    data: Dataset
    spec: AttackSpec
    batch_size: int
    common: bool = False
    per_class: bool = False
    max_bad: int = 0
    warnings: Sequence[str] | None = None
    """Of `check_transfer`, where that was called already."""

    def settings(self) -> Document:
        """What has to be the same for the run to be continued, as JSON knows it."""
        environment = describe_environment(self.crossing.models[0].device)
        settings = {
            "command": "transfer",
            "models": [model.info.to_dict() for model in self.crossing.models],
            "sources": self.crossing.sources,
            "targets": self.crossing.targets,
            "data": describe(self.data),
            "attack": self.spec.to_dict() | {"epsilons": self.spec.epsilons},
            "common": self.common,
            "per_class": self.per_class,
            "batch_size": self.batch_size,
            "piece_size": self.pieces_size,
            "max_bad": self.max_bad,
            "device": self.crossing.models[0].device.type,
            "package": environment["package"],
            "torch": environment["torch"],
        }
        found: Document = json.loads(json.dumps(settings))
        return found

    @property
    def pieces_size(self) -> int:
        """Images of a piece."""
        return pieces_for(self.crossing, self.data, self.batch_size).size

    def measured(
        self, store: LedgerStore | None = None, world: World = ALONE, progress: Progress | None = None
    ) -> Transfer:
        """The transfer; what the store has is not attacked again."""
        return run_transfer(
            self.crossing,
            self.data,
            self.spec,
            common=self.common,
            per_class=self.per_class,
            batch_size=self.batch_size,
            max_bad=self.max_bad,
            warnings=self.warnings,
            progress=progress,
            store=store,
            world=world,
        )


def size_for(crossing: Crossing, data: Dataset, batch_size: int | str, out: Path | None) -> int:
    """Images at a time: under `auto` those of the run in the directory, where there is one, or else as the models allow."""
    recorded = None if out is None or batch_size != "auto" else recorded_plan(out)
    return choose_for_all(batch_size, crossing.models, data) if recorded is None else recorded.batch_size


def transfer_in(run: TransferRun, out: Path, *, world: World = ALONE, progress: Progress | None = None) -> Document:
    """The run's document; pieces that its ledgers have are not attacked again, and a result that is there is returned.

    Raises RunError where the directory holds another run or anything else, ResourceError where it cannot be written or
    another process is in it, and whatever `run_transfer` raises.
    """
    settings = run.settings()
    found = world.first(_result(out, settings) if world.leads else None)
    if found is not None:
        return found
    with locked(out) if world.leads else nullcontext():
        if world.leads:
            sweep_up(out, MANIFEST, RESULT)
            open_run(out, settings)
        world.barrier()
        if is_new(out):
            raise RunError(
                f"all processes must see the same --out, got {out} without {MANIFEST}: choose a shared directory"
            )
        pieces = len(pieces_for(run.crossing, run.data, run.batch_size))
        with closing(LedgerStore(out, pieces, world.rank)) as store:
            document = run.measured(store, world, progress).to_dict()
        if world.leads:
            write_json(out / RESULT, document)
    world.barrier()
    return document


def _result(out: Path, settings: Document) -> Document | None:
    if is_new(out):
        return None
    open_run(out, settings)
    return read_json(out / RESULT) if (out / RESULT).is_file() else None
