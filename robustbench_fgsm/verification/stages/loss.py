"""Which loss is climbed, with which labels: read off the signs on a network with random rows, and off what the network heard."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass

import torch
from torch import Tensor

from robustbench_fgsm.attack.losses import cross_entropy
from robustbench_fgsm.short_repr import short_repr
from robustbench_fgsm.variants.losses import LOSSES, NamedLoss, logit_gradient
from robustbench_fgsm.verification.bench_calls import STILL_COLUMNS, UNSEEN_COLUMNS, linear_layer_of
from robustbench_fgsm.verification.check_pixels import Response
from robustbench_fgsm.verification.evidence import Evidence, is_free, overrules_small_gradients
from robustbench_fgsm.verification.stage_result import StageResult, numbers_text, ok, rounded, unmeasured, wrong

EXPECTED_LOSS = "cross-entropy, or a loss with its signs"
EXPECTED_LABELS = "the given labels"
MAX_WRONG = 0.02
"""Share of wrong signs below which a loss is recognised."""

RIGHT_WRONG = 1e-3
"""Share of wrong signs that rounding may give the right loss."""

HEARD_WRONG = 1e-3
"""Distance, 1 - cosine, from the gradient at the logits below which a loss is recognised."""

FREE_RULE = "another class for each image"
MAX_FREE_CLASSES = 20
"""Largest number of classes for which a label is looked for image by image."""

NEARLY_EQUAL = 5e-4
"""Losses whose shares of wrong signs differ by less explain the images equally well."""


LABEL_ORDERS: dict[str, Callable[[int], list[int]]] = {
    "reversed order of the classes": lambda classes: list(range(classes))[::-1],
    "order by name of classes 1, 2, ...": lambda classes: sorted(range(classes), key=lambda label: str(label + 1)),
}
"""Wrong orders of the classes: the class of each label, for a number of classes."""


@dataclass(frozen=True)
class Hypothesis:
    """A loss, a rule for its labels, and whether it is climbed, with the share of signs that it gets wrong."""

    loss: str
    rule: str
    up: bool
    wrong_share: float

    __repr__ = short_repr

    @property
    def rank(self) -> int:
        """Return the number of deviations from the right attack."""
        free = 2 * self.rule.startswith(FREE_RULE)
        return (self.loss != "ce") + (self.rule != "given" and self.named_loss.uses_labels) + (not self.up) + free

    @property
    def named_loss(self) -> NamedLoss:
        """Return the loss of that name."""
        return LOSSES[self.loss]


@dataclass(frozen=True)
class LossReading:
    """Readings of loss and labels, and whether the loss is descended."""

    loss: StageResult
    labels: StageResult
    descends: bool = False


def read_loss(evidence: Evidence) -> LossReading:
    """Identify loss and labels on the networks with random rows."""
    response = next((found for name in ("rows", "rows, other images") if (found := evidence.get(name)) is not None), None)
    if response is None:
        return LossReading(unmeasured("loss", "no images came back"), unmeasured("labels", "no images came back"))
    return read_loss_of(evidence, response)


def read_loss_of(evidence: Evidence, response: Response) -> LossReading:
    """Identify loss and labels of one response."""
    regulariser = _regulariser(evidence, response)
    shown = best_hypothesis(_sign_shares(evidence, response))
    heard = best_hypothesis(_heard_shares(response))
    total = int(_signs(evidence, response)[1].sum())
    found, text = shown, ""
    if shown is None or shown.wrong_share > MAX_WRONG:
        found = heard if heard is not None and heard.wrong_share < HEARD_WRONG else None
        text = "as heard at the logits"
    elif shown.rank and heard is not None and heard.rank == 0 and heard.wrong_share < 1e-4 and shown.wrong_share > RIGHT_WRONG:
        found, text = heard, "as heard at the logits"
    if found is None and not regulariser and (unnamed := _unnamed(evidence, response, shown)) is not None:
        return unnamed
    if found is None:
        nearest = (
            "" if shown is None else f"; nearest: {shown.named_loss.about}, {100 * shown.wrong_share:.0f} % of the signs wrong"
        )
        labels = unmeasured("labels", "the loss is not known")
        if shown is not None and shown.wrong_share < 0.3 and shown.rule == "given" and not regulariser:
            labels = ok("labels", "given", EXPECTED_LABELS)
        loss = regulariser or unmeasured("loss", f"not recognised{nearest}")
        return LossReading(loss, labels)
    text = text or f"{round(found.wrong_share * total):,} of {total:,} signs wrong"
    return LossReading(regulariser or _loss(found, text), _labels(found), not found.up and not _is_target(found))


def read_heard_loss(response: Response) -> LossReading | None:
    """Identify loss and labels by the gradient that was heard at the logits alone; None if it has no name."""
    found = best_hypothesis(_heard_shares(response))
    if found is None or found.wrong_share > HEARD_WRONG:
        return None
    return LossReading(_loss(found, "as heard at the logits"), _labels(found), not found.up and not _is_target(found))


def _unnamed(evidence: Evidence, response: Response, nearest: Hypothesis | None) -> LossReading | None:
    """Describe a loss by the gradient that was heard at the logits, if the images follow it."""
    heard = response.gradient_rounds[0].logit_gradient if response.gradient_rounds else None
    if heard is None or len(heard) != len(response.call.x) or not bool(heard.any()):
        return None
    signs, counts = _signs(evidence, response)
    jacobian = _jacobian(response)
    if jacobian.shape[1] != heard.shape[1]:
        return None
    differ = float(((heard.float().unsqueeze(1) @ jacobian).squeeze(1).sign() != signs)[counts].float().mean())
    share = min(differ, 1 - differ)
    if share > (0.3 if evidence.is_random else MAX_WRONG):
        return None
    own = heard.gather(1, response.call.y.unsqueeze(1)).squeeze(1)
    extreme = (own == heard.amin(1)) | (own == heard.amax(1))
    strength = (heard / heard.abs().amax(1, keepdim=True).clamp_min(1e-30)).mean(0)
    near = "" if nearest is None else f"; nearest: {nearest.named_loss.about}, {100 * nearest.wrong_share:.1f} % of the signs wrong"
    loss = wrong(
        "loss",
        "other-loss",
        f"none that has a name: its gradient at the logits is {numbers_text(strength[:4])}, ... in the mean{near}",
        EXPECTED_LOSS,
        logit_gradient=rounded(strength),
        wrong_share=rounded(share),
    )
    if float(extreme.float().mean()) > 0.9:
        return LossReading(loss, ok("labels", "given", EXPECTED_LABELS, rule="given"))
    return LossReading(loss, unmeasured("labels", "the loss is not known"))


def best_hypothesis(found: Iterator[Hypothesis]) -> Hypothesis | None:
    """Return the simplest of the hypotheses that explain the signs best; None without signs."""
    hypotheses = list(found)
    if not hypotheses:
        return None
    least = min(one.wrong_share for one in hypotheses)
    return min((one for one in hypotheses if one.wrong_share <= least + NEARLY_EQUAL), key=lambda one: (one.rank, one.wrong_share))


def _is_target(found: Hypothesis) -> bool:
    """Return True if the attack descends the loss of a class that was not given, or a loss without labels."""
    return not found.up and (found.rule not in ("given", "predicted") or not found.named_loss.uses_labels)


def _loss(found: Hypothesis, text: str) -> StageResult:
    numbers = {"name": found.loss, "wrong_share": rounded(found.wrong_share)}
    if found.loss == "ce":
        labels = "the given labels" if found.rule == "given" else "other labels"
        return ok("loss", f"cross-entropy of {labels} ({text})", EXPECTED_LOSS, **numbers)
    minus = "" if found.up or found.named_loss.uses_labels else "minus "
    return wrong("loss", found.named_loss.cause, f"{minus}{found.named_loss.about} ({text})", EXPECTED_LOSS, **numbers)


def _labels(found: Hypothesis) -> StageResult:
    if not found.named_loss.uses_labels:
        return wrong(
            "labels",
            None,
            "none: the loss does not depend on the labels",
            EXPECTED_LABELS,
            "take cross-entropy of the given labels",
            rule="none",
        )
    if found.rule == "given":
        return ok("labels", "given", EXPECTED_LABELS, rule="given")
    cause = {"predicted": "predicted-labels", "least likely": "least-likely-label", "second most likely": "other-labels"}.get(
        found.rule
    )
    if found.rule.startswith("shifted"):
        cause = "label-offset"
    if found.rule in LABEL_ORDERS:
        cause = "wrong-label-order"
    way = "towards the class" if _is_target(found) else "the loss of the class"
    return wrong("labels", cause or "other-labels", f"{way}: {found.rule}", EXPECTED_LABELS, rule=found.rule)


def label_rules(logits: Tensor, labels: Tensor) -> dict[str, Tensor]:
    """Return the labels (N,) that each rule gives."""
    classes = logits.shape[1]
    order = logits.argsort(1, descending=True)
    rules = {"given": labels, "predicted": order[:, 0], "least likely": order[:, -1]}
    if classes > 2:
        rules["second most likely"] = order[:, 1]
        rules |= {f"shifted by {k}": (labels + k) % classes for k in (1, -1, 2, -2) if abs(k) < classes - 1}
        is_top = order[:, 0] == labels
        rules["most likely wrong class"] = torch.where(is_top, order[:, 1], order[:, 0])
        rules |= {rule: torch.tensor(order(classes))[labels] for rule, order in LABEL_ORDERS.items()}
    if classes <= 20:
        rules |= {f"class {k} for all images": torch.full_like(labels, k) for k in range(classes)}
    return rules


def _signs(evidence: Evidence, response: Response) -> tuple[Tensor, Tensor]:
    """Return the signs (N, P) of the displacement, and which of them count: pixels that are seen, moved, and at no bound."""
    assert response.images is not None  # noqa: S101  (readers only see calls that returned images)
    moved = response.images - response.starting_points
    images = response.images
    at_bound = (images == images.amax((0, 2, 3), keepdim=True)) | (images == images.amin((0, 2, 3), keepdim=True))
    counts = (moved.abs() > evidence.resolution) & (moved != 0) & ~at_bound
    if linear_layer_of(response.call.model) is not None:
        counts[..., -UNSEEN_COLUMNS:] = False
    if bool((counts & response.decidable).any()):
        counts &= response.decidable
    return moved.flatten(1).sign(), counts.flatten(1)


def _jacobian(response: Response) -> Tensor:
    """Return the gradient of each logit: (1, K, P) for a network with random rows, (N, K, P) for others."""
    layer = linear_layer_of(response.call.model)
    if layer is not None:
        std = response.call.std if response.call.std.ndim else response.call.std.view(1, 1, 1)
        return (layer.weight.detach() / std).flatten(1).unsqueeze(0)
    leaf = response.call.x.detach().clone().requires_grad_()
    with torch.enable_grad():
        totals = response.call.model(leaf).sum(0)
        rows = [torch.autograd.grad(total, leaf, retain_graph=True)[0].flatten(1) for total in totals]
    return torch.stack(rows, 1)


def _hypotheses(logits: Tensor, given: Tensor) -> Iterator[tuple[str, str, Tensor]]:
    """Yield losses and rules for the given labels (N,), with the gradient (N, K) that they give at the logits (N, K)."""
    for name, loss in LOSSES.items():
        rules = label_rules(logits, given) if loss.uses_labels else {"given": given}
        for rule, labels in rules.items():
            yield name, rule, logit_gradient(loss.function, logits, labels)


def _sign_shares(evidence: Evidence, response: Response) -> Iterator[Hypothesis]:
    """Yield the hypotheses with the share of the signs of the displacement that they get wrong."""
    signs, counts = _signs(evidence, response)
    jacobian, n = _jacobian(response), counts.sum(1)
    usable = n > 0
    if not bool(usable.any()):
        return
    down = response.call.targeted
    with torch.no_grad():
        logits = response.call.model(response.call.x).double()
    hypotheses = [*_hypotheses(logits, response.call.y), *_free_labels(logits, jacobian, signs, counts)]
    for name, rule, at_logits in hypotheses:
        given = at_logits.abs().amax(1) > 1e-9 * max(float(at_logits.abs().max()), 1e-30)
        predicted = (at_logits.float().unsqueeze(1) @ jacobian).squeeze(1).sign()
        differ = ((predicted != signs) & counts).sum(1) / n.clamp_min(1)
        for up in (True, False):
            share = differ if up != down else 1 - differ
            share = torch.where(usable & given, share, torch.where(usable == given, 0.0, 1.0))
            share = share if name.startswith("clamped") else share[usable]
            yield Hypothesis(name, rule, up, float(share.mean()))


def _free_labels(logits: Tensor, jacobian: Tensor, signs: Tensor, counts: Tensor) -> Iterator[tuple[str, str, Tensor]]:
    """Yield cross-entropy with the label of each image that fits its signs best, climbed and descended."""
    classes = logits.shape[1]
    if classes > MAX_FREE_CLASSES:
        return
    each = [logit_gradient(cross_entropy, logits, torch.full((len(logits),), k)) for k in range(classes)]
    agree = torch.stack([(((one.float().unsqueeze(1) @ jacobian).squeeze(1).sign() == signs) & counts).sum(1) for one in each], 1)
    gradients, places = torch.stack(each, 1), torch.arange(len(logits))
    climbed, descended = agree.argmax(1), agree.argmin(1)
    yield "ce", FREE_RULE, gradients[places, climbed]
    yield "ce", f"{FREE_RULE}, as a target", gradients[places, descended]
    up = (agree[places, climbed] >= counts.sum(1) - agree[places, descended]).unsqueeze(1)
    yield "ce", f"{FREE_RULE}, for some as a target", torch.where(up, gradients[places, climbed], -gradients[places, descended])


def _heard_shares(response: Response) -> Iterator[Hypothesis]:
    """Yield the hypotheses with their distance, 1 - cosine, from the gradient that was heard at the logits."""
    first = response.gradient_rounds[0] if response.gradient_rounds else None
    heard, logits = (None, None) if first is None else (first.logit_gradient, first.logits)
    if heard is None or logits is None or len(heard) != len(response.call.x) or not bool(heard.any()):
        return
    given = response.call.y
    single = {FREE_RULE: heard.argmin(1), f"{FREE_RULE}, as a target": heard.argmax(1)}
    free = ((rule, logit_gradient(cross_entropy, logits.double(), labels)) for rule, labels in single.items())
    for name, rule, at_logits in (*_hypotheses(logits.double(), given), *(("ce", rule, value) for rule, value in free)):
        distance = 1 - torch.nn.functional.cosine_similarity(heard.double(), at_logits, dim=1)
        # a gradient that descends may be heard with either sign: the loss may be negated before it is propagated
        yield Hypothesis(name, rule, True, float(distance.mean()))
        yield Hypothesis(name, rule, False, float((2 - distance).mean()))


def _regulariser(evidence: Evidence, response: Response) -> StageResult | None:
    """Find pixels that the network does not see, but that move by a rule of their own."""
    if linear_layer_of(response.call.model) is None:
        return None
    unseen = response.moved[..., STILL_COLUMNS]
    is_moved = (unseen.abs() > max(evidence.width, 0.1 * response.call.epsilon)) & is_free(response)[..., STILL_COLUMNS]
    share = float(is_moved.float().mean())
    starts_elsewhere = bool((response.starting_points != response.call.x).any())
    if evidence.is_random or evidence.is_mixed or starts_elsewhere or share < 0.3:
        return None
    up = ((unseen > 0) & is_moved).flatten(1).sum(1) / is_moved.flatten(1).sum(1).clamp_min(1)
    one_way = bool(((up < 0.02) | (up > 0.98)).float().mean() > 0.9)
    same_way = bool((up > 0.5).all() | (up < 0.5).all())
    at_bounds = float(response.moved[..., -2:].abs().max())
    if one_way and not same_way:
        return None  # a gradient that is centred in each image
    if one_way and at_bounds > evidence.width and not overrules_small_gradients(evidence):
        return None  # pixels at 0 and 1 move too: a sign that is not 0 at 0
    text = f"another term beside the loss: {100 * share:.0f} % of the pixels that the network does not see move, each its own way"
    return wrong("loss", "added-regulariser", text, EXPECTED_LOSS, unseen_moved=rounded(share))
