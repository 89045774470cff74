"""A measurement in its directory: begun, continued from its ledgers, or already done."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import closing, nullcontext
from pathlib import Path
from typing import Any

from robustbench_fgsm.engine.distributed import SINGLE_PROCESS, World
from robustbench_fgsm.engine.progress import CheckProgress, FooledProgress, Progress
from robustbench_fgsm.errors import RunError
from robustbench_fgsm.evaluation.evaluate import run_attacks
from robustbench_fgsm.evaluation.result import Evaluation, sweep_document
from robustbench_fgsm.runs.directory import (
    MANIFEST_FILE,
    RESULT_FILE,
    lock_directory,
    read_json,
    remove_temporary_files,
    write_json,
)
from robustbench_fgsm.runs.example_images import EXAMPLE_IMAGES_FILE, MAX_EXAMPLE_IMAGES, save_example_images
from robustbench_fgsm.runs.ledger import Ledger, LedgerStore
from robustbench_fgsm.runs.manifest import EvaluationCommand, EvaluationRun, find_matching_manifest, update_thresholds

Document = dict[str, Any]


def build_result_document(command: EvaluationCommand, evaluations: list[Evaluation]) -> Document:
    """The document of that command."""
    return evaluations[0].to_dict() if command == "evaluate" else sweep_document(evaluations)


def evaluate_in_directory(
    run: EvaluationRun,
    out: Path,
    *,
    apply_thresholds: Callable[[Document], Document] = lambda document: document,
    max_example_images: int = MAX_EXAMPLE_IMAGES,
    world: World = SINGLE_PROCESS,
    progress: Progress | None = None,
    fooled_progress: FooledProgress | None = None,
    check_progress: CheckProgress | None = None,
) -> Document:
    """The run's document, judged; pieces that its ledgers have are not attacked again, and a result that is there is returned.

    judge: what is said of a document without measuring, such as gates; the directory keeps the last judgement. keep:
    example images at most.

    Raises RunError where the directory holds another run or anything else, ResourceError where it cannot be written or
    another process is in it, and whatever `run_attacks` and `judge` raise.
    """
    settings = run.settings()
    found = world.broadcast(_finished_result(out, settings) if world.is_main else None)
    if found is not None:
        document = apply_thresholds(found)
        if world.is_main and document != found:
            write_json(out / RESULT_FILE, document)
            update_thresholds(out, run)
        return document
    with lock_directory(out) if world.is_main else nullcontext():
        document = apply_thresholds(
            _run_with_ledger(run, out, settings, max_example_images, world, progress, fooled_progress, check_progress)
        )
        if world.is_main:
            write_json(out / RESULT_FILE, document)
    world.barrier()
    return document


def _finished_result(out: Path, settings: Document) -> Document | None:
    known = find_matching_manifest(out, settings) is not None and (out / RESULT_FILE).is_file()
    return read_json(out / RESULT_FILE) if known else None


def _run_with_ledger(
    run: EvaluationRun,
    out: Path,
    settings: Document,
    max_example_images: int,
    world: World,
    progress: Progress | None,
    fooled_progress: FooledProgress | None,
    check_progress: CheckProgress | None,
) -> Document:
    if world.is_main:
        remove_temporary_files(out, MANIFEST_FILE, RESULT_FILE, EXAMPLE_IMAGES_FILE)
        if find_matching_manifest(out, settings) is None:
            write_json(out / MANIFEST_FILE, run.to_manifest())
        update_thresholds(out, run)
    world.barrier()
    if find_matching_manifest(out, settings) is None:
        raise RunError(f"all processes must see the same --out, got {out} without {MANIFEST_FILE}: choose a shared directory")
    with closing(LedgerStore(out, len(run.pieces), world.rank)) as store:
        evaluations = run_attacks(
            run.classifier,
            run.data,
            run.specs,
            plan=run.plan,
            checks=run.checks,
            max_bad=run.max_bad,
            warnings=run.preflight_warnings,
            progress=progress,
            fooled_progress=fooled_progress,
            check_progress=check_progress,
            store=store,
            world=world,
        )
    if max_example_images and world.is_main:
        save_example_images(run, Ledger(out, len(run.pieces)), out / EXAMPLE_IMAGES_FILE, max_example_images)
    return build_result_document(run.command, evaluations)
