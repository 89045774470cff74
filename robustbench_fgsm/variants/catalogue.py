"""The known mistakes in implementations of the fast gradient sign method, each with a stable id."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from typing import Any


@dataclass(frozen=True)
class Mistake:
    """A known mistake: what the implementation does, and what to do instead.

    Attributes:
        id: stable name, which is also the name of the documentation's page.
        stage: stage of the attack at which the mistake is measured, one of `verification.stage_result.STAGES`.
        summary: what the implementation does.
        remedy: what to do instead.
        harmless: a warning unless the check is strict, because images are correct, or differ by float32 rounding only.
    """

    id: str
    stage: str
    summary: str
    remedy: str
    harmless: bool = False


MISTAKES = (
    Mistake(
        "no-op",
        "size",
        "the images come back unchanged",
        "return x + epsilon * gradient.sign(), and check that a gradient reaches the images",
    ),
    Mistake(
        "wrong-sign",
        "direction",
        "the step descends the loss",
        "add epsilon * gradient.sign() to climb the loss; subtract it only if the attack is targeted",
    ),
    Mistake(
        "targeted-as-untargeted",
        "direction",
        "a targeted attack climbs the target's loss instead of descending it",
        "subtract the step if y are targets",
    ),
    Mistake(
        "normalised-epsilon",
        "size",
        "epsilon is taken in the units of normalised images",
        "divide epsilon by std if images are normalised, or step in pixel space",
    ),
    Mistake(
        "normalised-clip",
        "clip",
        "images are clipped to [0, 1] while they are normalised",
        "clip in pixel space, or to [(0 - mean) / std, (1 - mean) / std]",
    ),
    Mistake("no-clip", "clip", "images leave the pixel range", "clip the result to the bounds: x_adv.clamp(0, 1)"),
    Mistake(
        "wrong-clip-range",
        "clip",
        "images are clipped to a range that is not their pixel range",
        "clip to the bounds of the given images: clamp(0, 1)",
    ),
    Mistake(
        "clip-to-batch-range",
        "clip",
        "images are clipped to the smallest and largest pixel of the batch",
        "clip to the bounds of pixel space, clamp(0, 1): the batch may not reach them",
    ),
    Mistake(
        "epsilon-scale-255",
        "size",
        "epsilon is multiplied or divided by 255",
        "use epsilon as given, in the units of the images: 8/255 for images in [0, 1]",
    ),
    Mistake("wrong-epsilon", "size", "the step size is not epsilon", "take one step of size epsilon"),
    Mistake(
        "train-mode",
        "conduct",
        "the gradient is taken in train mode, with dropout and batch statistics",
        "call model.eval() before the forward pass, and restore the mode afterwards",
    ),
    Mistake(
        "statistics-drift",
        "conduct",
        "a forward pass in train mode moves the running statistics of batch norm",
        "call model.eval() before every forward pass",
    ),
    Mistake(
        "predicted-labels",
        "labels",
        "the model's own predictions are attacked instead of the labels",
        "take the loss with the given labels",
    ),
    Mistake(
        "label-offset", "labels", "labels are shifted by a constant", "count classes from 0, in the order of the model's outputs"
    ),
    Mistake(
        "wrong-label-order",
        "labels",
        "labels are in another order than the model's outputs",
        "map class names to the model's own order of outputs",
    ),
    Mistake(
        "stale-gradient",
        "conduct",
        "a gradient of an earlier call is used",
        "take a new gradient in each call: torch.autograd.grad, or zero .grad before backward",
    ),
    Mistake(
        "accumulated-epsilon",
        "conduct",
        "each call starts from the adversarial images of the call before, so that budgets add up",
        "start every budget from the clean images, and never change them in place",
    ),
    Mistake(
        "double-softmax",
        "loss",
        "the loss applies softmax to probabilities",
        "pass logits to cross_entropy, or log-probabilities to nll_loss",
    ),
    Mistake(
        "nll-on-logits",
        "loss",
        "nll_loss receives logits or probabilities instead of log-probabilities",
        "use cross_entropy on logits, or nll_loss on log_softmax",
    ),
    Mistake(
        "sum-of-logits",
        "loss",
        "the outputs are back-propagated without a loss of the label",
        "back-propagate cross_entropy(logits, y, reduction='sum')",
    ),
    Mistake(
        "other-loss",
        "loss",
        "the attack climbs a loss other than cross-entropy",
        "use cross_entropy(logits, y), without smoothing or temperature",
    ),
    Mistake(
        "raw-gradient",
        "direction",
        "the gradient itself is added instead of its sign",
        "take gradient.sign(): every pixel moves by epsilon",
    ),
    Mistake(
        "wrong-norm",
        "direction",
        "the step is scaled by a norm other than L-infinity",
        "take gradient.sign() for the L-infinity budget",
    ),
    Mistake(
        "sign-of-zero",
        "direction",
        "pixels whose gradient is zero are moved",
        "use torch.sign, which is 0 at 0, and not where(gradient >= 0, 1, -1)",
    ),
    Mistake(
        "batch-coupled",
        "conduct",
        "the result of an image depends on the other images of its batch",
        "sum the loss over the batch, and neither scale nor average over images",
    ),
    Mistake(
        "per-channel-grey",
        "direction",
        "all channels of a pixel move in one direction",
        "keep the gradient of each channel; do not average over channels",
    ),
    Mistake(
        "channel-order",
        "output",
        "channels are in reversed order, RGB for BGR",
        "give the network the channels in the order of its training",
    ),
    Mistake(
        "axis-scramble",
        "output",
        "pixels change places, for example by reshape instead of permute",
        "use permute, never reshape, to change the order of axes",
    ),
    Mistake("iterated", "steps", "several steps are taken", "take one step: one gradient, at the clean image"),
    Mistake(
        "random-start",
        "randomness",
        "the gradient is taken at a random point near the image",
        "take the gradient at the image itself; a random start is another attack (FGSM-RS, R+FGSM)",
    ),
    Mistake(
        "quantised-8bit",
        "output",
        "the result is rounded to 8 bits",
        "return float images; round only to save them, and within epsilon",
    ),
    Mistake(
        "truncated-8bit",
        "output",
        "the result is truncated to 8 bits",
        "return float images; round instead of casting to uint8 when you save them",
    ),
    Mistake("half-precision", "output", "images or gradients are in half precision", "keep images, gradient and step in float32"),
    Mistake(
        "resized-or-jpeg",
        "output",
        "the result is resized or compressed",
        "return the images unchanged; JPEG and resizing undo the attack",
    ),
    Mistake(
        "skips-misclassified",
        "size",
        "images that are misclassified before the attack are left clean",
        "attack every image; the success rate decides which images count",
    ),
    Mistake(
        "returns-clean-on-failure",
        "size",
        "images on which the attack fails, or on which it succeeds, come back clean",
        "return the perturbed image whether or not it fools the network",
    ),
    Mistake(
        "misaligned-images",
        "output",
        "images come back in another order, or some are missing",
        "keep the order of the batch, and keep the last images if a batch is not full",
    ),
    Mistake(
        "other-weights",
        "conduct",
        "a network other than the given network is attacked",
        "take the gradient of the given model, with its own weights",
    ),
    Mistake(
        "backward-hook",
        "conduct",
        "a hook changes the gradient in the backward pass, as guided backpropagation does at each ReLU",
        "remove backward hooks, and use a plain copy of the network",
    ),
    Mistake("mutates-input", "conduct", "the given images or labels are changed in place", "work on a copy: x.detach().clone()"),
    Mistake("changes-model", "conduct", "the network is changed", "leave parameters, buffers, modules and hooks unchanged"),
    Mistake(
        "mode-left-changed",
        "conduct",
        "the train or eval flags of the network are not restored",
        "store module.training of every module, and restore it, also after an exception",
    ),
    Mistake(
        "parameter-gradients-left",
        "conduct",
        "gradients are left in the parameters",
        "use torch.autograd.grad(loss, x), which leaves parameters unchanged",
        harmless=True,
    ),
    Mistake(
        "global-rng", "conduct", "a global random generator is used", "draw from your own generator, or do not draw", harmless=True
    ),
    Mistake("graph-attached", "conduct", "the result is still attached to the graph", "return x_adv.detach()", harmless=True),
    Mistake(
        "nan-hidden",
        "conduct",
        "a gradient that is not finite is ignored without a warning",
        "count or report images whose gradient is not finite: they were not attacked",
        harmless=True,
    ),
    Mistake(
        "mean-underflow",
        "direction",
        "a loss averaged over the batch makes tiny gradients underflow to zero",
        "sum the loss over the batch: cross_entropy(logits, y, reduction='sum')",
        harmless=True,
    ),
    Mistake(
        "saturation-cancellation",
        "loss",
        "float32 cross-entropy gives wrong signs on saturated images",
        "climb the logsumexp of the wrong logits minus the label's logit, as robustbench_fgsm does with stable=True",
        harmless=True,
    ),
    Mistake(
        "changes-global-state",
        "conduct",
        "a global setting of the process is changed, such as the default dtype or the grad mode",
        "use torch.enable_grad() as a context, and leave defaults unchanged",
    ),
    Mistake(
        "reseeds-generator",
        "conduct",
        "a global random generator is seeded, so that the caller draws the same numbers after every call",
        "draw from your own generator: torch.Generator().manual_seed(0)",
    ),
    Mistake(
        "centred-gradient",
        "direction",
        "the mean gradient of an image is subtracted",
        "take gradient.sign() of the gradient as it is",
    ),
    Mistake("least-likely-label", "labels", "the step goes towards the least likely class", "take the loss with the given labels"),
    Mistake(
        "other-labels", "labels", "the loss is taken with labels other than the given ones", "take the loss with the given labels"
    ),
    Mistake("added-regulariser", "loss", "a term beside the loss moves pixels", "take the gradient of the loss alone"),
    Mistake(
        "gradient-threshold",
        "direction",
        "pixels with a small gradient are not moved",
        "take gradient.sign() without a threshold: the sign does not depend on the magnitude",
    ),
    Mistake(
        "gradient-floor",
        "direction",
        "steps of small gradients are shorter, by a constant in the norm that divides the gradient",
        "divide the gradient of the summed loss by its norm with no constant, or by its largest magnitude first",
    ),
    Mistake(
        "nan-for-zero-gradient",
        "direction",
        "an image whose gradient is 0 comes back as NaN, which counts as a success of the attack",
        "keep the divisor from 0: divide by norm.clamp_min(1e-12)",
    ),
    Mistake(
        "nan-for-zero-epsilon",
        "size",
        "images come back as NaN at epsilon = 0, with which a sweep may begin",
        "keep the divisor of the projection from 0: divide by norm.clamp_min(1e-12)",
        harmless=True,
    ),
    Mistake("soft-sign", "direction", "a smooth function of the gradient stands in for its sign", "take gradient.sign()"),
    Mistake("masked-pixels", "direction", "only some of the pixels are moved", "move every pixel by epsilon"),
    Mistake(
        "blurred-gradient",
        "direction",
        "the gradient of a pixel is mixed with that of its neighbours",
        "use the gradient of each pixel as it is",
    ),
    Mistake(
        "norm-per-channel",
        "direction",
        "each channel is scaled by a norm of its own",
        "take gradient.sign() for the L-infinity budget",
    ),
    Mistake(
        "wrong-std",
        "size",
        "epsilon is scaled by a std that is not that of its channel",
        "divide epsilon by the std of each channel of this model, or step in pixel space",
    ),
    Mistake("random-budget", "randomness", "the size of the step is drawn at random", "take one step of size epsilon"),
    Mistake(
        "bounds-per-image",
        "clip",
        "each image is clipped to its own smallest and largest pixel",
        "clip to the bounds of pixel space: clamp(0, 1)",
    ),
    Mistake("normalised-output", "output", "normalised images are returned", "undo the normalisation before you return the images"),
    Mistake("scaled-output", "output", "images in [0, 255] are returned", "divide the images by 255 before you return them"),
    Mistake(
        "iterates-on-first-gradient",
        "steps",
        "every step follows the gradient at the first point",
        "take a new gradient at each iterate, inside the loop",
    ),
    Mistake(
        "projects-to-last-iterate",
        "steps",
        "the ball is around the last iterate, or there is none, so that the budget grows with the steps",
        "project x_adv - x to the ball, with x the given images",
    ),
    Mistake(
        "projects-around-zero",
        "steps",
        "the images themselves are projected to the ball, not their perturbation",
        "project x_adv - x to the ball, and add x again",
    ),
    Mistake(
        "wrong-ball",
        "steps",
        "the ball of the projection is not that of radius epsilon, or there is none",
        "project x_adv - x to the ball of radius epsilon in the norm of the attack",
    ),
    Mistake(
        "step-from-clean-image",
        "steps",
        "the gradient is taken at an iterate, but the step starts at the given image",
        "add the step to the point at which its gradient was taken",
    ),
    Mistake(
        "wrong-step-count",
        "steps",
        "the number of steps is not the stated one",
        "count the updates of the loop; of an attack with restarts, verify one restart",
    ),
    Mistake(
        "wrong-momentum",
        "steps",
        "the direction is that of another sum of gradients than the stated one",
        "for mi-fgsm, add each gradient over its L1 norm with a decay of 1; for the other methods, take the last gradient alone",
    ),
    Mistake(
        "momentum-not-normalised",
        "steps",
        "the gradient enters the momentum without division by its L1 norm",
        "divide each image's gradient by the sum of its magnitudes before it is added",
    ),
    Mistake(
        "sign-before-momentum",
        "steps",
        "the momentum adds up signs, not gradients",
        "add the normalised gradient to the momentum, and take the sign of the momentum",
    ),
    Mistake(
        "momentum-carried-over", "conduct", "the momentum of one batch is kept for the next", "start each call with a momentum of 0"
    ),
    Mistake(
        "wrong-step-size",
        "size",
        "the size of a step is not the stated one",
        "use the stated step size in the units of the images, and do not round it",
    ),
    Mistake(
        "clips-result-only",
        "clip",
        "only the result is clipped, so that gradients are taken at images outside their range",
        "clip each iterate to the bounds",
    ),
    Mistake(
        "random-start-unused",
        "randomness",
        "the attack starts at the given images, although a random start is stated",
        "add the drawn perturbation to the images before the first gradient",
    ),
    Mistake(
        "start-in-wrong-ball",
        "randomness",
        "the random start is drawn from another set than the ball of the attack",
        "draw uniformly from the ball of radius epsilon in the norm of the attack",
    ),
    Mistake(
        "start-on-sphere",
        "randomness",
        "the random start is on the surface of the ball, never inside",
        "draw from the ball, or accept it with --expect start-on-sphere if this is documented",
    ),
    Mistake(
        "best-of-batch",
        "output",
        "one iterate is chosen for the whole batch",
        "choose the best iterate of each image, or return the last one",
    ),
    Mistake(
        "wrong-iterate",
        "output",
        "images come back as an iterate that does not fool the network, although another one does",
        "return the last iterate, or an iterate of each image that fools the network",
    ),
    Mistake(
        "perturbation-twice",
        "output",
        "the perturbation is added once more to images that hold it",
        "return the last iterate as it is",
    ),
    Mistake(
        "stops-with-first-image",
        "conduct",
        "the whole batch stops when some of its images are fooled",
        "stop each image on its own, or run all steps",
    ),
)

MISTAKE_BY_ID = {mistake.id: mistake for mistake in MISTAKES}
HARMLESS_IDS = frozenset(mistake.id for mistake in MISTAKES if mistake.harmless)


@dataclass(frozen=True)
class Finding:
    """One thing that is wrong with a candidate; also: other mistakes that explain the images equally well.

    The cause is the id of a known mistake, or `raises`, `time-limit`, `wrong-result` or `unknown`.
    """

    cause: str
    evidence: str
    remedy: str
    also: tuple[str, ...] = ()

    def to_dict(self) -> dict[str, Any]:
        """Return the JSON object of the finding."""
        return asdict(self) | {"also": list(self.also)}
