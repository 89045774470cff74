"""Figure of example images, and the figure of any run by its kind."""

from __future__ import annotations

import math
from collections import defaultdict
from collections.abc import Sequence
from itertools import chain, zip_longest
from typing import TYPE_CHECKING

from robustbench_fgsm.errors import SettingError
from robustbench_fgsm.evaluation.document import Document
from robustbench_fgsm.report.figures.classes import draw_evaluation, figure_title
from robustbench_fgsm.report.figures.curves import draw_training_curves, escape_mathtext
from robustbench_fgsm.report.figures.selection import select_epsilon, select_evaluation
from robustbench_fgsm.report.figures.transfer import draw_heat_map
from robustbench_fgsm.report.figures.verification import draw_responses
from robustbench_fgsm.report.loaded_run import (
    REPORTED_SCHEMAS,
    TRAINING_SCHEMA,
    TRANSFER_SCHEMA,
    VERIFICATION_SCHEMA,
    ExampleImage,
    LoadedRun,
    check_schema,
)
from robustbench_fgsm.report.pages.images import draw_example, has_picture
from robustbench_fgsm.report.tables.text import epsilon_text, shorten

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

IMAGES_PER_ROW = 2
MAX_IMAGES = 10
MAX_NAME_LENGTH = 16


def draw_run(run: LoadedRun, kind: str, targeted: str | None = None, epsilon: float | None = None) -> Figure:
    """Draw a figure of a run; a transfer, a training and a verification have one figure each.

    Args:
        run: the run.
        kind: a kind of `draw_evaluation`, or `gallery` for example images.
        targeted: the targeting rule, by default the first.
        epsilon: the budget, by default 8/255, else the largest.

    Raises:
        SettingError: for a kind, a rule or a budget that the run does not have.
    """
    schema = run.document["schema"]
    check_schema(schema, REPORTED_SCHEMAS, run.name)
    own = {TRANSFER_SCHEMA: "transfer", TRAINING_SCHEMA: "training", VERIFICATION_SCHEMA: "verification"}.get(schema)
    if own is None and kind in ("transfer", "training"):
        raise SettingError(f"kind {kind} needs a run of that kind, got {run.name} of {schema}: try --kind confusion")
    if own is not None and targeted is not None:
        raise SettingError(f"a {own} has one figure, got --targeted {targeted}: leave it out")
    if own == "transfer":
        return draw_heat_map(run.document, epsilon)
    if own is not None and epsilon is not None:
        raise SettingError(f"a {own} has no figure of one epsilon, got --eps {epsilon_text(epsilon)}: leave it out")
    if own == "verification":
        return draw_responses(run.document)
    if own == "training":
        return draw_training_curves(run.document)
    return draw_gallery(run, targeted, epsilon) if kind == "gallery" else draw_evaluation(run.document, kind, targeted, epsilon)


def draw_gallery(run: LoadedRun, targeted: str | None = None, epsilon: float | None = None) -> Figure:
    """Draw up to ten example images of an attack with their predictions and confidences, changed predictions first.

    Raises SettingError if the run kept no example image of the attack or of the budget.
    """
    from matplotlib.figure import Figure

    evaluation = select_evaluation(run.document, targeted)
    kept = _images_at_epsilon(run, evaluation, epsilon)
    shown = choose_examples(kept)
    rows = math.ceil(len(shown) / IMAGES_PER_ROW)
    figure = Figure(figsize=(4.8 * IMAGES_PER_ROW, 1 + 1.9 * rows), layout="constrained")
    axes = figure.subplots(rows, 3 * IMAGES_PER_ROW, squeeze=False)
    for panel in axes.flat:
        panel.set_axis_off()
    names = evaluation["data"]["classes"]
    for place, image in enumerate(shown):
        row, column = divmod(place, IMAGES_PER_ROW)
        _draw_panels(list(axes[row, 3 * column : 3 * column + 3]), image, names)
    words = f"epsilon {epsilon_text(shown[0].epsilon)}; {len(shown)} chosen of {len(kept):,} kept images, changed predictions first"
    figure.suptitle(f"{figure_title(evaluation)}\n{words}", fontsize=10)
    return figure


def choose_examples(examples: Sequence[ExampleImage]) -> list[ExampleImage]:
    """Return the examples that a figure has room for: changed predictions first, in turns from each label."""
    turns: list[ExampleImage] = []
    for fooled in (True, False):
        labels: dict[int, list[ExampleImage]] = defaultdict(list)
        for image in sorted(examples, key=lambda one: (one.label, one.id)):
            if (image.prediction_before != image.prediction_after) == fooled:
                labels[image.label].append(image)
        turns += [one for one in chain.from_iterable(zip_longest(*labels.values())) if one is not None]
    return turns[:MAX_IMAGES]


def _images_at_epsilon(run: LoadedRun, evaluation: Document, epsilon: float | None) -> list[ExampleImage]:
    own = [image for image in run.example_images if image.targeted == evaluation["attack"]["targeted"]]
    if not own:
        raise SettingError(
            f"a gallery needs images that the run kept, got none of {run.name}: measure it with --out and --keep-images"
        )
    if not has_picture(own[0]):
        raise SettingError(f"a gallery needs images, signals or volumes, got features {own[0].clean.shape}: try --kind per-class")
    budgets = sorted({image.epsilon for image in own})
    chosen = budgets[select_epsilon(budgets, epsilon, "with kept images", rel_tol=1e-6)]
    return [image for image in own if image.epsilon == chosen]


def _draw_panels(panels: Sequence[Axes], image: ExampleImage, names: Sequence[str]) -> None:
    before = f"{shorten(names[image.prediction_before], MAX_NAME_LENGTH)} {image.confidence_before:.0%}"
    after = f"{shorten(names[image.prediction_after], MAX_NAME_LENGTH)} {image.confidence_after:.0%}"
    pictures = draw_example(image).values()
    titles = (f"label {shorten(names[image.label], MAX_NAME_LENGTH)}\n{before}", "perturbation,\namplified", f"after\n{after}")
    for panel, picture, title in zip(panels, pictures, titles, strict=True):
        panel.imshow(picture, cmap="gray", vmin=0, vmax=255, interpolation="nearest")
        panel.set_title(escape_mathtext(title), fontsize=7, color="black")
