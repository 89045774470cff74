"""Measure a model in this process, without a run directory, and return its lock."""

from __future__ import annotations

from typing import Any

from robustbench_fgsm.data.match_model import as_classifier_and_data, match_to_classifier
from robustbench_fgsm.engine.close_predictions import RecordList
from robustbench_fgsm.engine.run_pieces import RunContext
from robustbench_fgsm.errors import InvalidRunError
from robustbench_fgsm.evaluation.evaluate import NO_OPTIMIZATION, run_attacks
from robustbench_fgsm.evaluation.result import Evaluation
from robustbench_fgsm.global_settings import neutral_settings
from robustbench_fgsm.options import AttackOptions, DistanceOptions, RunOptions
from robustbench_fgsm.runs.robustness_lock import RobustnessLock, lock_records
from robustbench_fgsm.runs.settings import run_settings

NO_DISTANCES = DistanceOptions()


@neutral_settings(generators=True)
def measure_lock(
    model: Any,
    data: Any,
    attack: AttackOptions,
    run_options: RunOptions = NO_OPTIMIZATION,
    distances: DistanceOptions = NO_DISTANCES,
) -> tuple[RobustnessLock, Evaluation]:
    """Return the lock and the evaluation of a model on these images.

    Args:
        model: a classifier, a bare `nn.Module`, or an ART estimator.
        data: a data set, or anything that `load_data` takes, such as a DataLoader or (x, y).
        attack: the attack, at one budget or several.
        run_options: batch size, level and limits.
        distances: whether distances are measured too.

    Raises:
        SettingError, ModelError, DataError: if settings, model and data do not fit each other.
        InvalidRunError: if the numbers must not be used.
    """
    classifier, images = as_classifier_and_data(model, data)
    images = match_to_classifier(images, classifier)
    (spec,), store = distances.apply([attack.to_spec(classifier.bounds)]), RecordList()
    (evaluation,) = run_attacks(classifier, images, [spec], run_options, context=RunContext(store=store, restart=store.restart))
    if reasons := evaluation.invalid_reasons:
        raise InvalidRunError(f"a model must have numbers that can be used, got {evaluation.model.spec}, whose {reasons[0]}")
    settings = run_settings("evaluate", classifier, images, [spec], max_bad=run_options.max_bad)
    return lock_records(store.records(), settings | {"path": evaluation.model.spec}, [spec]), evaluation
