"""A stopped run made ready to go on from its manifest alone."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

from robustbench_fgsm.data.dataset import Dataset
from robustbench_fgsm.data.fit import fit_to
from robustbench_fgsm.models.classifier import Classifier
from robustbench_fgsm.runs.manifest import Run, read_manifest
from robustbench_fgsm.runs.subject import classifier_of, data_of


def resumed(
    directory: Path | str,
    classifier: Classifier | None = None,
    data: Dataset | None = None,
    *,
    weights: str | None = None,
    device: str = "auto",
    trust_model_code: bool = False,
    trust_data_code: bool = False,
) -> Run:
    """The run in that directory, with what its manifest names loaded again; `measure_run` goes on with it.

    classifier, data: what it is about, where the manifest's own names do not lead to it. weights: from another place.
    trust_model_code, trust_data_code: run the code that the manifest's model or data name; whoever wrote the manifest
    chose it.

    Raises RunError where there is no such run, UnsafeError where it names code and there is no trust, ModelError or
    DataError where classifier or data cannot be had.
    """
    recorded = read_manifest(Path(directory))
    document = recorded.document
    classifier = classifier or classifier_of(document, "resume", weights, device, trust_model_code=trust_model_code)
    data = fit_to(data or data_of(document, "resume", trust_code=trust_data_code), classifier)
    specs = tuple(replace(spec, bounds=classifier.bounds) for spec in recorded.specs)
    return Run(
        recorded.command,
        classifier,
        data,
        specs,
        recorded.plan,
        recorded.max_bad,
        checks=recorded.checks,
        asked=recorded.asked,
    )
