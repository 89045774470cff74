"""Save a finished evaluation or sweep as the run directory that `rfgsm evaluate` or `rfgsm sweep` would have written."""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import closing
from dataclasses import replace
from pathlib import Path

import torch

from robustbench_fgsm.engine.dataset_pieces import PieceRecord, piece_size
from robustbench_fgsm.errors import SettingError
from robustbench_fgsm.evaluation.document import Document
from robustbench_fgsm.evaluation.result import Evaluation, sweep_document
from robustbench_fgsm.evaluation.thresholds import apply_thresholds, find_epsilon_for_success
from robustbench_fgsm.options import CheckOptions, Thresholds
from robustbench_fgsm.runs.directory import RunDirectory
from robustbench_fgsm.runs.kept_images import EXAMPLE_IMAGES_FILE
from robustbench_fgsm.runs.ledger import LedgerStore
from robustbench_fgsm.runs.manifest import RUN_SCHEMA, EvaluationCommand
from robustbench_fgsm.runs.record_schema import RecordSchema
from robustbench_fgsm.runs.settings import complete_settings, device_kind, name_by_outputs, plan_settings


def save_run(result: Evaluation | Sequence[Evaluation], directory: Path | str) -> Path:
    """Write a run directory as `rfgsm evaluate --out` does, or `rfgsm sweep` for several budgets or rules.

    `rfgsm report`, `gate` and `runs` read the directory, and so do `gate` and `load_run`. It holds no example images.

    Args:
        result: what one call of `evaluate` or `sweep` returned.
        directory: a new directory, or one that holds the same run.

    Returns:
        The path of the directory.

    Raises:
        SettingError: the result has too many images to keep what became of each.
        RunError: the directory holds something else.
        ResourceError: the directory cannot be written.
    """
    evaluations = [result] if isinstance(result, Evaluation) else list(result)
    is_sweep = not isinstance(result, Evaluation) or len(result.tallies) > 1
    command: EvaluationCommand = "sweep" if is_sweep else "evaluate"
    records = evaluations[0].records if evaluations else None
    if records is None or any(one.records is not records for one in evaluations):
        raise SettingError(
            "save needs what became of each image in one call of evaluate or sweep, got evaluations without: measure fewer images "
            f"or budgets, or run rfgsm {command} --out"
        )
    kept = list(records.records())  # which also measures the outputs on noise
    model = name_by_outputs(evaluations[0].model.to_dict(), records.outputs_on_noise)
    place, settings = Path(directory), _settings(command, evaluations, model)
    manifest = {"schema": RUN_SCHEMA, **settings, "asked": {}, "environment": evaluations[0].environment}
    with RunDirectory(place, manifest, files=(EXAMPLE_IMAGES_FILE,)) as run:
        if run.result is None:
            store = LedgerStore(place, RecordSchema.from_settings(run.settings))
            finished = set(store.ledger.finished_numbers.tolist())
            with closing(store):
                for record in kept:
                    if record.number not in finished:
                        store.keep(_select_attacks(record, [one.attack_index for one in evaluations]))
            run.write_result(_document(command, evaluations))
    return place


def _document(command: EvaluationCommand, evaluations: Sequence[Evaluation]) -> Document:
    if command == "evaluate":
        return apply_thresholds(evaluations[0].to_dict(), Thresholds())
    return find_epsilon_for_success(sweep_document(evaluations), None)


def _settings(command: EvaluationCommand, evaluations: Sequence[Evaluation], model: Document) -> Document:
    """Return the settings of a run, which `EvaluationRun.settings` gives before it."""
    first = evaluations[0]
    checks = CheckOptions(0 if first.pgd_check is None else first.pgd_check.requested, first.masking_check is not None)
    device = torch.device(device_kind(str(first.environment["device"])))
    return complete_settings(
        command,
        {"model": model},
        first.data,
        [one.attack for one in evaluations],
        device.type,
        **plan_settings(first.plan),
        max_bad=first.max_bad,
        piece_size=piece_size(first.plan, device),
        **({"checks": checks.to_dict()} if checks.sample_size else {}),
    )


def _select_attacks(record: PieceRecord, indices: Sequence[int]) -> PieceRecord:
    if not len(record):
        return record
    return replace(
        record,
        outcomes=tuple(record.outcomes[at] for at in indices),
        decided_again=tuple(record.decided_again[at] for at in indices),
        audits=tuple(record.audits[at] for at in indices),
    )
