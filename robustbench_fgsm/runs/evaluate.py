"""Run an evaluation in a run directory, or continue it from its ledgers."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import ExitStack, closing
from dataclasses import replace
from pathlib import Path

from robustbench_fgsm.engine.choose_plan import check_recorded_plan
from robustbench_fgsm.engine.distributed import SINGLE_PROCESS, World
from robustbench_fgsm.engine.plan import Plan
from robustbench_fgsm.engine.progress import CheckProgress, FooledProgress, Progress
from robustbench_fgsm.engine.run_pieces import RunContext
from robustbench_fgsm.evaluation.document import Document
from robustbench_fgsm.evaluation.evaluate import run_attacks
from robustbench_fgsm.evaluation.result import sweep_document
from robustbench_fgsm.options import RunOptions
from robustbench_fgsm.runs.changed_images import is_complete_and_unchanged, open_store_of_pieces
from robustbench_fgsm.runs.directory import RESULT_FILE, RunDirectory
from robustbench_fgsm.runs.evaluation_run import EvaluationRun
from robustbench_fgsm.runs.example_images import MAX_EXAMPLE_IMAGES, images_in_ledger, save_example_images
from robustbench_fgsm.runs.kept_images import EXAMPLE_IMAGES_FILE
from robustbench_fgsm.runs.ledger import LEDGER_PATTERN, Ledger, LedgerStore
from robustbench_fgsm.runs.manifest import translate_document_errors
from robustbench_fgsm.runs.result_schema import StoredResult
from robustbench_fgsm.spec import is_multi_label


def evaluate_in_directory(
    run: EvaluationRun,
    out: Path | None,
    *,
    apply_thresholds: Callable[[Document], Document] = lambda document: document,
    max_example_images: int = MAX_EXAMPLE_IMAGES,
    world: World = SINGLE_PROCESS,
    progress: Progress | None = None,
    fooled_progress: FooledProgress | None = None,
    check_progress: CheckProgress | None = None,
) -> Document:
    """Return the run's document, from the directory if the run is finished there; without a directory nothing is kept.

    Pieces that the directory's ledgers hold are not attacked again. Raises as `RunDirectory`, `run_attacks` and
    `apply_thresholds` do.

    Args:
        run: what is evaluated.
        out: the run directory, or None.
        apply_thresholds: adds gates, for example, to a document; the directory keeps the document with the last ones.
        max_example_images: number of example images that are kept in the directory, at most.
        world: processes that share the pieces.
        progress: called with the number of images that are done, and of all images.
        fooled_progress: called with the number of images that are fooled, and of images that could be.
        check_progress: called before each attack of a check.
    """
    with RunDirectory(
        out,
        run.to_manifest,
        world,
        files=(EXAMPLE_IMAGES_FILE,),
        reuse_result=lambda directory: is_complete_and_unchanged(directory, run.data),
    ) as directory:
        document = directory.result
        if document is None:
            with ExitStack() as stores:

                def open_store() -> LedgerStore | None:
                    found = open_store_of_pieces(directory, run.data)
                    return None if found is None else stores.enter_context(closing(found))

                def restart(plan: Plan) -> LedgerStore | None:
                    nonlocal run
                    run = replace(run, plan=plan)
                    directory.restart(run.to_manifest, LEDGER_PATTERN)
                    return open_store()

                store = open_store()
                if store is not None and store.ledger.num_finished:
                    check_recorded_plan(run.classifier, run.data, run.specs, run.plan)
                evaluations = run_attacks(
                    run.classifier,
                    run.data,
                    run.specs,
                    RunOptions(max_bad=run.max_bad),
                    run.checks,
                    plan=run.plan,
                    warnings=run.preflight_warnings,
                    context=RunContext(world, store, progress, fooled_progress, check_progress, restart),
                )
            if out is not None and max_example_images and world.is_main and not is_multi_label(run.data):
                found = images_in_ledger(run, Ledger.of_directory(out))
                save_example_images(run, found, out / EXAMPLE_IMAGES_FILE, max_example_images)
            document = evaluations[0].to_dict() if run.command == "evaluate" else sweep_document(evaluations)
        if directory.result is None or out is None:
            return directory.write_result(apply_thresholds(document))
        with translate_document_errors(out):
            return StoredResult(directory.write_result(apply_thresholds(document)), out / RESULT_FILE)
