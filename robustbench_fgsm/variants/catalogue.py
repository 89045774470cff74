"""The known mistakes in implementations of the fast gradient sign method, each with a stable id.

A mistake that changes the images is a change of the correct recipe. The other mistakes show in the conduct of the call.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import asdict, dataclass, replace
from itertools import permutations
from typing import Any

from robustbench_fgsm.variants.recipe import CORRECT_RECIPE, AttackRecipe
from robustbench_fgsm.variants.stages import COMMON_EPSILONS, LOSS_VARIANTS, OUTPUT_FORMATS

MAX_CLASSES_ALL_ORDERS = 5
"""Up to this number of classes every order of the labels is tried; above, the orders that occur in practice."""

WRONG_EPSILONS = ("half", "twice", "five quarters", "per-image-mean", "first call's", *(f"always {e}" for e in COMMON_EPSILONS))

HALF_PRECISION_MODES = ("float16", "bfloat16", "autocast to bfloat16")

StageChanges = dict[str, str]


@dataclass(frozen=True)
class Mistake:
    """A known mistake: what the implementation does, and what to do instead.

    stage_changes: for each variant of the mistake, the stages that it changes. harmless: a warning unless the check is
    strict, because images are correct, or differ by float32 rounding only.
    """

    id: str
    summary: str
    remedy: str
    stage_changes: tuple[StageChanges, ...] = ()
    harmless: bool = False


def _one_change_each(stage: str, *names: str) -> tuple[StageChanges, ...]:
    return tuple({stage: name} for name in names)


MISTAKES = (
    Mistake(
        "no-op",
        "the images come back unchanged",
        "return x + epsilon * gradient.sign(), and check that a gradient reaches the images",
        _one_change_each("epsilon", "none"),
    ),
    Mistake(
        "wrong-sign",
        "the step descends the loss",
        "add epsilon * gradient.sign() to climb the loss; subtract it only if the attack is targeted",
        _one_change_each("step_sign", "opposite", "down"),
    ),
    Mistake(
        "targeted-as-untargeted",
        "a targeted attack climbs the target's loss instead of descending it",
        "subtract the step if y are targets",
        _one_change_each("step_sign", "up"),
    ),
    Mistake(
        "normalised-epsilon",
        "epsilon is taken in the units of normalised images",
        "divide epsilon by std if images are normalised, or step in pixel space",
        _one_change_each("epsilon", "normalised", "normalised-twice"),
    ),
    Mistake(
        "normalised-clip",
        "images are clipped to [0, 1] while they are normalised",
        "clip in pixel space, or to [(0 - mean) / std, (1 - mean) / std]",
        _one_change_each("clip", "normalised"),
    ),
    Mistake(
        "no-clip",
        "images leave the pixel range",
        "clip the result to the bounds: x_adv.clamp(0, 1)",
        _one_change_each("clip", "none"),
    ),
    Mistake(
        "wrong-clip-range",
        "images are clipped to a range that is not their pixel range",
        "clip to the bounds of the given images: clamp(0, 1)",
        _one_change_each(
            "clip",
            "to [-1, 1]",
            "to [-1, 1] when normalised",
            "to [0, 255]",
            "to [-0.5, 0.5]",
            "to the normalised range",
            "at the top only",
            "at the bottom only",
            "rescaled",
        ),
    ),
    Mistake(
        "clip-to-batch-range",
        "images are clipped to the smallest and largest pixel of the batch",
        "clip to the bounds of pixel space, clamp(0, 1): the batch may not reach them",
        _one_change_each("clip", "batch-range", "image-range", "normalised-to-batch"),
    ),
    Mistake(
        "epsilon-scale-255",
        "epsilon is multiplied or divided by 255",
        "use epsilon as given, in the units of the images: 8/255 for images in [0, 1]",
        _one_change_each("epsilon", "over-255", "times-255"),
    ),
    Mistake(
        "wrong-epsilon",
        "the step size is not epsilon",
        "take one step of size epsilon",
        _one_change_each("epsilon", *WRONG_EPSILONS),
    ),
    Mistake(
        "train-mode",
        "the gradient is taken in train mode, with dropout and batch statistics",
        "call model.eval() before the forward pass, and restore the mode afterwards",
        _one_change_each("mode", "train"),
    ),
    Mistake(
        "statistics-drift",
        "a forward pass in train mode moves the running statistics of batch norm",
        "call model.eval() before every forward pass",
        _one_change_each("mode", "statistics drift before", "statistics drift after"),
    ),
    Mistake(
        "predicted-labels",
        "the model's own predictions are attacked instead of the labels",
        "take the loss with the given labels",
        ({"labels": "predicted"}, {"loss": "largest-logit", "step_sign": "down"}),
    ),
    Mistake(
        "label-offset",
        "labels are shifted by a constant",
        "count classes from 0, in the order of the model's outputs",
        _one_change_each("labels", "shifted by 1", "shifted by -1", "shifted by 2", "shifted by -2"),
    ),
    Mistake(
        "wrong-label-order",
        "labels are in another order than the model's outputs",
        "map class names to the model's own order of outputs",
    ),
    Mistake(
        "stale-gradient",
        "a gradient of an earlier call is used",
        "take a new gradient in each call: torch.autograd.grad, or zero .grad before backward",
        (*_one_change_each("stale_gradient", "sum", "first", "previous"), {"labels": "first call's"}),
    ),
    Mistake(
        "accumulated-epsilon",
        "each call starts from the adversarial images of the call before, so that budgets add up",
        "start every budget from the clean images, and never change them in place",
        _one_change_each("steps", "chained", "chained with clean gradients"),
    ),
    Mistake(
        "double-softmax",
        "the loss applies softmax to probabilities",
        "pass logits to cross_entropy, or log-probabilities to nll_loss",
        _one_change_each("loss", "double-softmax"),
    ),
    Mistake(
        "nll-on-logits",
        "nll_loss receives logits or probabilities instead of log-probabilities",
        "use cross_entropy on logits, or nll_loss on log_softmax",
        _one_change_each("loss", "nll-on-logits", "nll-on-probabilities"),
    ),
    Mistake(
        "sum-of-logits",
        "the outputs are back-propagated without a loss of the label",
        "back-propagate cross_entropy(logits, y, reduction='sum')",
        _one_change_each("loss", "sum", "sum-of-probabilities", "own-logit", "largest-logit"),
    ),
    Mistake(
        "other-loss",
        "the attack climbs a loss other than cross-entropy",
        "use cross_entropy(logits, y), without smoothing or temperature",
        _one_change_each(
            "loss",
            "mse",
            "mse-on-probabilities",
            "bce",
            "bce-on-probabilities",
            "multi-margin",
            "smoothing",
            "margin",
            *(name for name in LOSS_VARIANTS if name.startswith("temperature")),
        ),
    ),
    Mistake(
        "raw-gradient",
        "the gradient itself is added instead of its sign",
        "take gradient.sign(): every pixel moves by epsilon",
        _one_change_each("direction", "raw", "raw-mean", "tanh"),
    ),
    Mistake(
        "wrong-norm",
        "the step is scaled by a norm other than L-infinity",
        "take gradient.sign() for the L-infinity budget",
        _one_change_each("direction", "norm-2", "norm-2-by-root-of-pixels", "norm-1", "norm-1-scaled", "by-largest-of-image"),
    ),
    Mistake(
        "sign-of-zero",
        "pixels whose gradient is zero are moved",
        "use torch.sign, which is 0 at 0, and not where(gradient >= 0, 1, -1)",
        _one_change_each("direction", "plus-at-zero", "minus-at-zero"),
    ),
    Mistake(
        "batch-coupled",
        "the result of an image depends on the other images of its batch",
        "sum the loss over the batch, and neither scale nor average over images",
        (
            *_one_change_each("coupling", "batch-mean", "first-image"),
            *_one_change_each("direction", "by-largest-of-batch", "by-norm-of-batch"),
        ),
    ),
    Mistake(
        "per-channel-grey",
        "all channels of a pixel move in one direction",
        "keep the gradient of each channel; do not average over channels",
        _one_change_each("coupling", "grey", "grey-by-sum-of-signs"),
    ),
    Mistake(
        "channel-order",
        "channels are in reversed order, RGB for BGR",
        "give the network the channels in the order of its training",
        (
            {"input_layout": "channels-reversed"},
            {"gradient_layout": "channels-reversed"},
            {"input_layout": "channels-reversed", "gradient_layout": "channels-reversed"},
            {"output_layout": "channels-reversed"},
        ),
    ),
    Mistake(
        "axis-scramble",
        "pixels change places, for example by reshape instead of permute",
        "use permute, never reshape, to change the order of axes",
        (
            *_one_change_each("input_layout", "transposed", "scrambled", "scrambled-back", "flipped"),
            *_one_change_each("gradient_layout", "transposed", "scrambled", "scrambled-back", "flipped"),
            *_one_change_each("output_layout", "transposed", "scrambled", "scrambled-back", "flipped"),
        ),
    ),
    Mistake(
        "iterated",
        "several steps are taken",
        "take one step: one gradient, at the clean image",
        tuple(
            {"steps": f"{count} of {size}"}
            for count in (2, 3, 4, 5, 7, 8, 10, 20, 40)
            for size in ("a share", "2.5 shares", "epsilon")
        ),
    ),
    Mistake(
        "random-start",
        "the gradient is taken at a random point near the image",
        "take the gradient at the image itself; a random start is another attack (FGSM-RS, R+FGSM)",
        _one_change_each("start", "a random point", "a random half step"),
    ),
    Mistake(
        "quantised-8bit",
        "the result is rounded to 8 bits",
        "return float images; round only to save them, and within epsilon",
        _one_change_each("output_format", "rounded to 8 bits"),
    ),
    Mistake(
        "truncated-8bit",
        "the result is truncated to 8 bits",
        "return float images; round instead of casting to uint8 when you save them",
        _one_change_each("output_format", "truncated to 8 bits", "truncated to 8 bits by 256"),
    ),
    Mistake(
        "half-precision",
        "images or gradients are in half precision",
        "keep images, gradient and step in float32",
        (
            *_one_change_each("output_format", "float16", "bfloat16"),
            *_one_change_each("mode", *HALF_PRECISION_MODES),
            *({"mode": mode, "reduction": "mean"} for mode in HALF_PRECISION_MODES),  # a division by the batch size rounds
            *_one_change_each("start", "the image in float16", "the image in bfloat16"),
            *({"mode": t, "start": f"the image in {t}", "epsilon": f"in {t}", "output_format": t} for t in ("float16", "bfloat16")),
            *_one_change_each("coupling", "float16"),
        ),
    ),
    Mistake(
        "resized-or-jpeg",
        "the result is resized or compressed",
        "return the images unchanged; JPEG and resizing undo the attack",
        _one_change_each("output_format", *(name for name in OUTPUT_FORMATS if name.startswith(("JPEG", "resized")))),
    ),
    Mistake(
        "skips-misclassified",
        "images that are misclassified before the attack are left clean",
        "attack every image; the success rate decides which images count",
        _one_change_each("kept_images", "clean where wrong before"),
    ),
    Mistake(
        "returns-clean-on-failure",
        "images on which the attack fails, or on which it succeeds, come back clean",
        "return the perturbed image whether or not it fools the network",
        _one_change_each("kept_images", "clean where it fails", "clean where it succeeds"),
    ),
    Mistake(
        "misaligned-images",
        "images come back in another order, or some are missing",
        "keep the order of the batch, and keep the last images if a batch is not full",
        _one_change_each("image_order", "the image before", "the next image", "reversed"),
    ),
    Mistake(
        "other-weights",
        "a network other than the given network is attacked",
        "take the gradient of the given model, with its own weights",
        _one_change_each("weights", "first call's"),
    ),
    Mistake(
        "backward-hook",
        "a hook changes the gradient in the backward pass, as guided backpropagation does at each ReLU",
        "remove backward hooks, and use a plain copy of the network",
        _one_change_each("backward", "guided"),
    ),
    Mistake("mutates-input", "the given images or labels are changed in place", "work on a copy: x.detach().clone()"),
    Mistake("changes-model", "the network is changed", "leave parameters, buffers, modules and hooks unchanged"),
    Mistake(
        "mode-left-changed",
        "the train or eval flags of the network are not restored",
        "store module.training of every module, and restore it, also after an exception",
    ),
    Mistake(
        "parameter-gradients-left",
        "gradients are left in the parameters",
        "use torch.autograd.grad(loss, x), which leaves parameters unchanged",
        harmless=True,
    ),
    Mistake("global-rng", "a global random generator is used", "draw from your own generator, or do not draw", harmless=True),
    Mistake("graph-attached", "the result is still attached to the graph", "return x_adv.detach()", harmless=True),
    Mistake(
        "nan-hidden",
        "a gradient that is not finite is ignored without a warning",
        "count or report images whose gradient is not finite: they were not attacked",
        harmless=True,
    ),
    Mistake(
        "mean-underflow",
        "a loss averaged over the batch makes tiny gradients underflow to zero",
        "sum the loss over the batch: cross_entropy(logits, y, reduction='sum')",
        harmless=True,
    ),
    Mistake(
        "saturation-cancellation",
        "float32 cross-entropy gives wrong signs on saturated images",
        "climb the logsumexp of the wrong logits minus the label's logit, as robustbench_fgsm does with stable=True",
        harmless=True,
    ),
    Mistake(
        "changes-global-state",
        "a global setting of the process is changed, such as the default dtype or the grad mode",
        "use torch.enable_grad() as a context, and leave defaults unchanged",
    ),
    Mistake(
        "reseeds-generator",
        "a global random generator is seeded, so that the caller draws the same numbers after every call",
        "draw from your own generator: torch.Generator().manual_seed(0)",
    ),
    Mistake("centred-gradient", "the mean gradient of an image is subtracted", "take gradient.sign() of the gradient as it is"),
    Mistake("least-likely-label", "the step goes towards the least likely class", "take the loss with the given labels"),
    Mistake("other-labels", "the loss is taken with labels other than the given ones", "take the loss with the given labels"),
    Mistake("added-regulariser", "a term beside the loss moves pixels", "take the gradient of the loss alone"),
    Mistake(
        "gradient-threshold",
        "pixels with a small gradient are not moved",
        "take gradient.sign() without a threshold: the sign does not depend on the magnitude",
    ),
    Mistake("soft-sign", "a smooth function of the gradient stands in for its sign", "take gradient.sign()"),
    Mistake("masked-pixels", "only some of the pixels are moved", "move every pixel by epsilon"),
    Mistake("blurred-gradient", "the gradient of a pixel is mixed with that of its neighbours", "use the gradient of each pixel as it is"),
    Mistake("norm-per-channel", "each channel is scaled by a norm of its own", "take gradient.sign() for the L-infinity budget"),
    Mistake(
        "wrong-std",
        "epsilon is scaled by a std that is not that of its channel",
        "divide epsilon by the std of each channel of this model, or step in pixel space",
    ),
    Mistake("random-budget", "the size of the step is drawn at random", "take one step of size epsilon"),
    Mistake("bounds-per-image", "each image is clipped to its own smallest and largest pixel", "clip to the bounds of pixel space: clamp(0, 1)"),
    Mistake("normalised-output", "normalised images are returned", "undo the normalisation before you return the images"),
    Mistake("scaled-output", "images in [0, 255] are returned", "divide the images by 255 before you return them"),
)

MISTAKE_BY_ID = {mistake.id: mistake for mistake in MISTAKES}
HARMLESS_IDS = frozenset(mistake.id for mistake in MISTAKES if mistake.harmless)


def mistake_recipes(
    mistake: Mistake, num_classes: int, *, max_classes_all_orders: int = MAX_CLASSES_ALL_ORDERS
) -> Iterator[AttackRecipe]:
    """Return the correct recipe with this mistake, in each of its variants."""
    for changes in mistake.stage_changes:
        yield replace(CORRECT_RECIPE, **changes)
    if mistake.id == "wrong-label-order":
        for order in _label_orders(num_classes, max_classes_all_orders):
            yield replace(CORRECT_RECIPE, labels=f"in order {' '.join(map(str, order))}")


def _label_orders(num_classes: int, max_classes_all_orders: int) -> Iterator[tuple[int, ...]]:
    """Return orders of the labels that are not shifts."""
    places = tuple(range(num_classes))
    by_name = sorted(places, key=str)
    in_practice = (places[::-1], tuple(by_name), tuple(by_name.index(place) for place in places))
    shifts = {places[k:] + places[:k] for k in range(num_classes)}
    orders = permutations(places) if num_classes <= max_classes_all_orders else in_practice
    yield from (order for order in orders if order not in shifts)


@dataclass(frozen=True)
class Finding:
    """One thing that is wrong with a candidate; also: other mistakes that explain the images equally well.

    The cause is the id of a known mistake, or `raises`, `time-limit`, `wrong-result` or `unknown`.
    """

    cause: str
    evidence: str
    remedy: str
    also: tuple[str, ...] = ()

    @classmethod
    def of_mistake(cls, mistake_id: str, evidence: str, also: tuple[str, ...] = ()) -> Finding:
        """Return the finding of a known mistake."""
        mistake = MISTAKE_BY_ID[mistake_id]
        return cls(mistake.id, f"{mistake.summary}: {evidence}", mistake.remedy, also)

    def to_dict(self) -> dict[str, Any]:
        """Return the JSON object of the finding."""
        return asdict(self) | {"also": list(self.also)}
