"""What an image of an attack of several steps depends on beside its arguments: earlier calls, and other images of its batch."""

from __future__ import annotations

from collections.abc import Collection, Iterator

from robustbench_fgsm.verification.check_pixels import Response
from robustbench_fgsm.verification.evidence import Evidence
from robustbench_fgsm.verification.iterates import Measured, calls_with_carried_over, smooth_paths, stops_early
from robustbench_fgsm.verification.stages.conduct import Observation
from robustbench_fgsm.verification.trajectory import TOLERANCE

MAX_APART = 0.01
"""Share of pixels that may differ between equal calls: rounding decides signs of tiny gradients, and later steps follow them."""


def batch_observations(seen: Measured | None, evidence: Evidence, causes: Collection[str | None]) -> Iterator[Observation]:
    """Find what an image depends on beside its arguments: earlier calls, and other images of its batch."""
    if seen is not None:
        if "wrong-step-count" not in causes and stops_early(seen):
            bad = [p for p in smooth_paths(seen).values() if bool(((p.counts < seen.method.steps) & ~p.fools[-1]).any())]
            if bad:
                left = int(((bad[0].counts < seen.method.steps) & ~bad[0].fools[-1]).sum())
                many = len(bad[0].counts)
                text = f"the batch stops after {int(bad[0].counts.max())} steps, while {left} of {many} images are not fooled"
                yield Observation("stops-with-first-image", text)
        carried = calls_with_carried_over(seen) if seen.is_explained else []
        if carried and not causes:
            cause = "momentum-carried-over" if seen.method.uses_momentum else "stale-gradient"
            share = 100 * float(seen.fits[carried[0]].wrong[0].double().mean())
            text = f"in call `{carried[0]}` the first step does not follow its own gradient in {share:.0f} % of the pixels"
            yield Observation(cause, text)
            return
    first, again, changed = (evidence.get(f"rows{name}") for name in ("", ", repeated", ", other neighbours"))
    if first is None or evidence.is_random or not {"best-of-batch", "batch-coupled"}.isdisjoint(causes):
        return
    if again is not None and (share := _apart(first, again, len(first.call.x))) > MAX_APART:
        yield Observation(
            "stale-gradient", f"the same call gives other images after other calls: {100 * share:.0f} % of the pixels"
        )
    if changed is not None and (share := _apart(first, changed, len(first.call.x) // 2)) > MAX_APART:
        text = f"{100 * share:.0f} % of an image's pixels come back changed if other images of its batch change"
        yield Observation("batch-coupled", text)


def _apart(one: Response, other: Response, n: int) -> float:
    """Return the share of the pixels of the first n images that differ."""
    return float(((one.moved[:n] - other.moved[:n]).abs() > TOLERANCE).double().mean())
