"""A measurement in its directory: begun, continued from its ledgers, or already done."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import closing, nullcontext
from pathlib import Path
from typing import Any

from robustbench_fgsm.engine.distributed import ALONE, World
from robustbench_fgsm.engine.progress import Checking, Progress, Watch
from robustbench_fgsm.errors import RunError
from robustbench_fgsm.evaluation.evaluate import run_attacks
from robustbench_fgsm.evaluation.result import Evaluation, sweep_document
from robustbench_fgsm.runs.directory import MANIFEST, RESULT, locked, read_json, sweep_up, write_json
from robustbench_fgsm.runs.example_images import IMAGES, MOST, keep_images
from robustbench_fgsm.runs.ledger import Ledger, LedgerStore
from robustbench_fgsm.runs.manifest import Command, Run, find_manifest, keep_asked

Document = dict[str, Any]


def document_of(command: Command, evaluations: list[Evaluation]) -> Document:
    """The document of that command."""
    return evaluations[0].to_dict() if command == "evaluate" else sweep_document(evaluations)


def measure_run(
    run: Run,
    out: Path,
    *,
    judge: Callable[[Document], Document] = lambda document: document,
    keep: int = MOST,
    world: World = ALONE,
    progress: Progress | None = None,
    watch: Watch | None = None,
    checking: Checking | None = None,
) -> Document:
    """The run's document, judged; pieces that its ledgers have are not attacked again, and a result that is there is returned.

    judge: what is said of a document without measuring, such as gates; the directory keeps the last judgement. keep:
    example images at most.

    Raises RunError where the directory holds another run or anything else, ResourceError where it cannot be written or
    another process is in it, and whatever `run_attacks` and `judge` raise.
    """
    settings = run.settings()
    found = world.first(_result(out, settings) if world.leads else None)
    if found is not None:
        document = judge(found)
        if world.leads and document != found:
            write_json(out / RESULT, document)
            keep_asked(out, run)
        return document
    with locked(out) if world.leads else nullcontext():
        document = judge(_continue(run, out, settings, keep, world, progress, watch, checking))
        if world.leads:
            write_json(out / RESULT, document)
    world.barrier()
    return document


def _result(out: Path, settings: Document) -> Document | None:
    known = find_manifest(out, settings) is not None and (out / RESULT).is_file()
    return read_json(out / RESULT) if known else None


def _continue(
    run: Run,
    out: Path,
    settings: Document,
    keep: int,
    world: World,
    progress: Progress | None,
    watch: Watch | None,
    checking: Checking | None,
) -> Document:
    if world.leads:
        sweep_up(out, MANIFEST, RESULT, IMAGES)
        if find_manifest(out, settings) is None:
            write_json(out / MANIFEST, run.manifest())
        keep_asked(out, run)
    world.barrier()
    if find_manifest(out, settings) is None:
        raise RunError(
            f"all processes must see the same --out, got {out} without {MANIFEST}: choose a shared directory"
        )
    with closing(LedgerStore(out, len(run.pieces), world.rank)) as store:
        evaluations = run_attacks(
            run.classifier,
            run.data,
            run.specs,
            plan=run.plan,
            checks=run.checks,
            max_bad=run.max_bad,
            warnings=run.warnings,
            progress=progress,
            watch=watch,
            checking=checking,
            store=store,
            world=world,
        )
    if keep and world.leads:
        keep_images(run, Ledger(out, len(run.pieces)), out / IMAGES, keep)
    return document_of(run.command, evaluations)
