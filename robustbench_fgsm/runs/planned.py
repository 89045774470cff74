"""The plan that a run directory was begun with."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from robustbench_fgsm.engine.plan import Plan
from robustbench_fgsm.errors import RunError
from robustbench_fgsm.runs.directory import MANIFEST, is_new, manifest_in


def plan_settings(plan: Plan) -> dict[str, Any]:
    """The plan as a setting of a run; nothing for level none, as in runs from before there were plans."""
    if plan.level == "none":
        return {}
    return {"plan": {key: value for key, value in plan.to_dict().items() if key != "threads"}}


def recorded_plan(directory: Path) -> Plan | None:
    """The plan in the directory's manifest, level none where that has no plan; None where the directory is new.

    Raises RunError where it is not a run, or its plan cannot be read.
    """
    if is_new(directory):
        return None
    document = manifest_in(directory)
    size = document.get("batch_size") or (document.get("output") or {}).get("batch_size") or Plan.batch_size
    try:
        return Plan.from_dict(document.get("plan"), int(size))
    except (KeyError, TypeError, ValueError) as error:
        raise RunError(
            f"{directory / MANIFEST} must hold a plan as rfgsm wrote it, got one that cannot be read "
            f"({type(error).__name__}: {error}): choose another directory"
        ) from error
