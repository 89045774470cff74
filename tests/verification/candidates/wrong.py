"""Wrong FGSM implementations with the mistakes of public code, written anew.

CASES maps a name to the candidate and the stages that are wrong. OPTIONAL names stages that a judge may call wrong or right. If
CASES names no stage, one fault can be described at several stages: at least one of the optional stages must be called wrong.
ALL_WRONG says so to the judge.
"""

# ruff: noqa: N812
# mypy: disable-error-code="no-untyped-call, no-any-return, union-attr, operator, index, arg-type, attr-defined, assignment, misc"

from __future__ import annotations

import copy
import io
import random
from typing import Any

import numpy as np
import torch
import torch.nn.functional as F
from PIL import Image
from torch import Tensor, nn
from torch.autograd import Variable

from tests.verification.candidates.building_blocks import Loss, Record, gradient, mean_and_std, one_hot, rows, sign_step

wrong = Record()
CASES = wrong.cases
OPTIONAL = wrong.optional
ALL_WRONG = True


# --- loss


def with_loss(name: str, loss: Loss, stages: str = "loss", optional: str = "") -> None:
    """Add the right step with another loss."""

    def candidate(model: Any, x: Tensor, y: Tensor, epsilon: float) -> Tensor:
        return sign_step(model, x, y, epsilon, loss)

    wrong.add(name, candidate, stages, optional)


def own(z: Tensor, y: Tensor) -> Tensor:
    """Return each row's entry at its label."""
    return z.gather(1, y.unsqueeze(1)).squeeze(1)


def best_other(z: Tensor, y: Tensor) -> Tensor:
    """Return each row's largest entry away from its label."""
    return z.masked_fill(one_hot(z, y).bool(), -torch.inf).amax(1)


def kl_to_uniform(z: Tensor, y: Tensor) -> Tensor:
    return F.kl_div(z.log_softmax(1), torch.full_like(z, 1 / z.shape[1]), reduction="sum")


# cross-entropy of probabilities: softmax twice
with_loss("softmax_twice", lambda z, y: F.cross_entropy(F.softmax(z, dim=1), y))
# negative log-likelihood of raw logits: the label's logit goes down, the others stay
with_loss("nll_of_logits", F.nll_loss)
# the label's logit goes down through a sigmoid
with_loss("sigmoid_of_own_logit", lambda z, y: -own(z, y).sigmoid().sum())
# the label's logit goes up
with_loss("up_the_label", lambda z, y: own(z, y).sum(), optional="direction")
# the label's probability goes up: the negative of the right direction
with_loss("up_the_probability", lambda z, y: own(z.log_softmax(1), y).sum(), "", "loss direction labels size")
# sum of all logits, without labels
with_loss("sum_of_logits", lambda z, y: z.sum(), optional="labels")
# mean of squared logits, without labels
with_loss("norm_of_logits", lambda z, y: z.pow(2).mean(), optional="labels")
# largest logit, without labels
with_loss("largest_logit", lambda z, y: z.max(1).values.sum(), optional="labels")
# best other logit goes up, the label's stays
with_loss("other_logit_only", lambda z, y: best_other(z, y).sum())
# margin between best other logit and the label's
with_loss("margin", lambda z, y: (best_other(z, y) - own(z, y)).sum())
# margin that stops at a confidence of 0: images that are already wrong stay clean
with_loss("margin_with_confidence", lambda z, y: -(own(z, y) - best_other(z, y)).clamp(min=0).sum())
# hinge with a floor: images with a margin above 1 stay clean
with_loss("hinge", lambda z, y: (1 - own(z, y) + best_other(z, y)).clamp(min=0).sum())
# hinge of every other class
with_loss("multi_margin", F.multi_margin_loss)
# squared error of logits to one-hot labels
with_loss("mse_of_logits", lambda z, y: F.mse_loss(z, one_hot(z, y)))
# squared error of probabilities to one-hot labels
with_loss("mse_of_probabilities", lambda z, y: (z.softmax(1) - one_hot(z, y)).pow(2).sum())
# Huber loss of logits to one-hot labels
with_loss("smooth_l1_of_logits", lambda z, y: F.smooth_l1_loss(z, one_hot(z, y), reduction="sum"))
# binary cross-entropy of each class's logit
with_loss("bce_with_logits", lambda z, y: F.binary_cross_entropy_with_logits(z, one_hot(z, y)))
# binary cross-entropy of probabilities
with_loss("bce_of_probabilities", lambda z, y: F.binary_cross_entropy(z.softmax(1), one_hot(z, y)))
# multi-label soft margin
with_loss("multi_label_soft_margin", lambda z, y: F.multilabel_soft_margin_loss(z, one_hot(z, y)))
# label smoothing 0.1
with_loss("label_smoothing", lambda z, y: F.cross_entropy(z, y, label_smoothing=0.1))
# label smoothing 0.3 by hand
with_loss("label_smoothing_by_hand", lambda z, y: -((0.7 * one_hot(z, y) + 0.3 / z.shape[1]) * z.log_softmax(1)).sum())
# temperature 10
with_loss("temperature", lambda z, y: F.cross_entropy(z / 10, y))
# temperature 0.5
with_loss("sharpened", lambda z, y: F.cross_entropy(z * 2, y))
# logits bounded by tanh
with_loss("tanh_of_logits", lambda z, y: F.cross_entropy(z.tanh(), y))
# logits scaled to length 1
with_loss("logits_of_length_1", lambda z, y: F.cross_entropy(F.normalize(z, dim=1), y))
# cross-entropy plus entropy of the prediction
with_loss("plus_entropy", lambda z, y: F.cross_entropy(z, y) - (z.softmax(1) * z.log_softmax(1)).sum(1).mean())
# confidence goes down: minus entropy's negative, without labels
with_loss("minus_entropy", lambda z, y: (z.softmax(1) * z.log_softmax(1)).sum(), optional="labels")
# divergence from the uniform distribution, without labels
with_loss("kl_to_uniform", kl_to_uniform, optional="labels")
# difference to the least likely class's logit
with_loss("margin_to_least_likely", lambda z, y: (z.amin(1) - own(z, y)).sum(), optional="labels")
# ReLU of the logits first: negative logits are forgotten
with_loss("relu_of_logits", lambda z, y: F.cross_entropy(z.relu(), y))
# logits of the mean over the batch
with_loss("mean_logits_of_batch", lambda z, y: F.cross_entropy(z.mean(0, keepdim=True).expand_as(z), y), "", "loss conduct labels")


# cross-entropy plus the squared norm of the image
@wrong("loss", optional="direction")
def plus_squared_norm(model: Any, x: Tensor, y: Tensor, epsilon: float) -> Tensor:
    data = x.clone().detach().requires_grad_(True)
    cost = nn.CrossEntropyLoss(reduction="sum")(model(data), y) + data.square().sum()
    cost.backward()
    return torch.clamp(data + epsilon * data.grad.sign(), 0, 1).detach()


# cross-entropy minus the distance to mid-grey
@wrong("loss", optional="direction")
def minus_distance_to_grey(model: Any, x: Tensor, y: Tensor, epsilon: float) -> Tensor:
    z = x.clone().requires_grad_()
    loss = F.cross_entropy(model(z), y) - 0.05 * (z - 0.5).abs().mean()
    return (x + epsilon * torch.autograd.grad(loss, z)[0].sign()).clamp(0, 1)


# mean loss of the network and of a random linear one
@wrong("loss", optional="conduct direction")
def ensemble_with_random_network(model: Any, x: Tensor, y: Tensor, epsilon: float) -> Tensor:
    z = x.clone().requires_grad_()
    logits = model(z)
    generator = torch.Generator().manual_seed(1)
    weight = torch.randn(logits.shape[1], x[0].numel(), generator=generator, dtype=x.dtype)
    loss = F.cross_entropy(logits, y) + F.cross_entropy(z.flatten(1) @ weight.T, y)
    loss.backward()
    return (x + epsilon * z.grad.sign()).clamp(0, 1)


# divergence from the clean prediction at a noisy image
@wrong("loss", optional="labels randomness direction steps")
def kl_from_clean_prediction(model: Any, x: Tensor, y: Tensor, epsilon: float) -> Tensor:
    with torch.no_grad():
        clean = model(x).softmax(1)
    z = (x + 0.001 * torch.randn_like(x)).requires_grad_()
    F.kl_div(model(z).log_softmax(1), clean, reduction="sum").backward()
    return torch.clamp(x + epsilon * z.grad.sign(), 0, 1)


# --- labels


# own predictions instead of the given labels
@wrong("labels")
def own_predictions(model: Any, x: Tensor, y: Tensor, epsilon: float) -> Tensor:
    image = x.clone().detach().requires_grad_()
    output = model(image)
    loss = F.cross_entropy(output, output.max(1)[1].detach())
    loss.backward()
    return torch.clamp(image + epsilon * image.grad.sign(), 0, 1).detach()


# own predictions from a forward pass before, one image at a time
@wrong("labels")
def own_predictions_image_by_image(model: Any, x: Tensor, y: Tensor, epsilon: float) -> Tensor:
    return torch.stack([sign_step(model, im[None], model(im[None]).argmax(dim=1), epsilon)[0] for im in x])


# away from the least likely class
@wrong("labels")
def away_from_least_likely(model: Any, x: Tensor, y: Tensor, epsilon: float) -> Tensor:
    return sign_step(model, x, model(x).argmin(1), epsilon)


# towards the second likely class
@wrong("labels")
def towards_second_likely(model: Any, x: Tensor, y: Tensor, epsilon: float) -> Tensor:
    target = model(x).topk(2, dim=1).indices[:, 1]
    return (x - epsilon * gradient(model, x, target).sign()).clamp(0, 1)


# random labels
@wrong("labels randomness")
def random_labels(model: Any, x: Tensor, y: Tensor, epsilon: float) -> Tensor:
    return sign_step(model, x, torch.randint_like(y, model(x[:1]).shape[1]), epsilon)


# towards a random wrong class, drawn by NumPy
@wrong("labels randomness")
def towards_random_class(model: Any, x: Tensor, y: Tensor, epsilon: float) -> Tensor:
    k = model(x[:1]).shape[1]
    target = (y + torch.from_numpy(np.random.randint(1, k, size=len(y)))) % k
    return (x - epsilon * gradient(model, x, target).sign()).clamp(0, 1)


# towards class 0 for all images
@wrong("labels")
def towards_class_0(model: Any, x: Tensor, y: Tensor, epsilon: float) -> Tensor:
    return torch.clamp(x - epsilon * gradient(model, x, torch.zeros_like(y)).sign(), 0, 1)


# away from class 1 for all images
@wrong("labels")
def away_from_class_1(model: Any, x: Tensor, y: Tensor, epsilon: float) -> Tensor:
    return sign_step(model, x, torch.ones_like(y), epsilon)


# towards the next class, although the call is untargeted
@wrong("labels")
def towards_next_class(model: Any, x: Tensor, y: Tensor, epsilon: float) -> Tensor:
    z = Variable(x.data, requires_grad=True)
    logits = model(z)
    F.cross_entropy(logits, (y + 1) % logits.size(1)).backward()
    return torch.clamp(z.data - epsilon * z.grad.sign(), 0, 1)


# labels counted from 1
@wrong("labels")
def labels_from_one(model: Any, x: Tensor, y: Tensor, epsilon: float) -> Tensor:
    return sign_step(model, x, (y - 1).clamp(min=0), epsilon)


# labels in reverse order of the batch
@wrong("labels", optional="conduct")
def reversed_labels(model: Any, x: Tensor, y: Tensor, epsilon: float) -> Tensor:
    return sign_step(model, x, y.flip(0), epsilon)


# the first image's label for all images
@wrong("labels", optional="conduct")
def label_of_first_image(model: Any, x: Tensor, y: Tensor, epsilon: float) -> Tensor:
    return sign_step(model, x, y[:1].expand(len(y)), epsilon)


# the most frequent label of the batch for all images
@wrong("labels", optional="conduct")
def most_frequent_label(model: Any, x: Tensor, y: Tensor, epsilon: float) -> Tensor:
    return sign_step(model, x, torch.full_like(y, int(y.mode().values)), epsilon)


# images that are already wrong come back clean
@wrong("", optional="loss labels direction size conduct")
def skips_wrong_images(model: Any, x: Tensor, y: Tensor, epsilon: float) -> Tensor:
    out = []
    for data, target in zip(x, y, strict=True):
        data, target = data[None].clone().requires_grad_(), target[None]  # noqa: PLW2901
        output = model(data)
        if output.argmax(1).item() != target.item():
            out.append(data.detach())
            continue
        F.cross_entropy(output, target).backward()
        out.append(torch.clamp(data + epsilon * data.grad.sign(), 0, 1).detach())
    return torch.cat(out)


# cross-entropy of the model's own probabilities: its gradient is zero but for rounding
@wrong("", optional="loss labels direction size conduct")
def own_probabilities(model: Any, x: Tensor, y: Tensor, epsilon: float) -> Tensor:
    with torch.no_grad():
        soft = model(x).softmax(1)
    return sign_step(model, x, soft, epsilon)


# --- direction


# the raw gradient of the mean loss
@wrong("direction", optional="size conduct")
def raw_gradient(model: Any, x: Tensor, y: Tensor, epsilon: float) -> Tensor:
    image = x.detach().clone().requires_grad_()
    loss = F.cross_entropy(model(image), y)
    loss.backward()
    return torch.clamp(image + epsilon * image.grad, 0, 1).detach()


# the raw gradient of the summed loss
@wrong("direction", optional="size")
def raw_gradient_of_sum(model: Any, x: Tensor, y: Tensor, epsilon: float) -> Tensor:
    g = gradient(model, x, y, lambda z, t: F.cross_entropy(z, t, reduction="sum"))
    return (x + epsilon * g).clamp(0, 1)


# L2 norm of each image
@wrong("direction", optional="size")
def l2_per_image(model: Any, x: Tensor, y: Tensor, epsilon: float) -> Tensor:
    g = gradient(model, x, y)
    return (x + epsilon * g / (rows(g.flatten(1).norm(p=2, dim=1)) + 1e-12)).clamp(0, 1)


# L1 norm of each image
@wrong("direction", optional="size")
def l1_per_image(model: Any, x: Tensor, y: Tensor, epsilon: float) -> Tensor:
    g = gradient(model, x, y)
    return (x + epsilon * F.normalize(g.flatten(1), p=1, dim=1).view_as(g)).clamp(0, 1)


# largest magnitude of each image
@wrong("direction", optional="size")
def max_per_image(model: Any, x: Tensor, y: Tensor, epsilon: float) -> Any:
    g = gradient(model, x, y).numpy()
    scale = np.abs(g).reshape(len(g), -1).max(axis=1).reshape(-1, 1, 1, 1)
    return np.clip(x.numpy() + epsilon * g / np.where(scale > 0, scale, 1), 0, 1)


# largest magnitude of each channel
@wrong("direction", optional="size")
def max_per_channel(model: Any, x: Tensor, y: Tensor, epsilon: float) -> Tensor:
    g = gradient(model, x, y)
    return (x + epsilon * g / g.abs().amax(dim=(2, 3), keepdim=True).clamp_min(1e-30)).clamp(0, 1)


# L2 norm of each pixel over its channels
@wrong("direction", optional="size")
def l2_per_pixel(model: Any, x: Tensor, y: Tensor, epsilon: float) -> Tensor:
    return (x + epsilon * F.normalize(gradient(model, x, y), p=2, dim=1)).clamp(0, 1)


# L2 norm of each row of pixels: norm(dim=-1)
@wrong("direction", optional="size")
def l2_per_row(model: Any, x: Tensor, y: Tensor, epsilon: float) -> Tensor:
    g = gradient(model, x, y)
    return (x + epsilon * g / g.norm(dim=-1, keepdim=True).clamp_min(1e-20)).clamp(0, 1)


# L2 norm of the whole batch
@wrong("direction", optional="size conduct")
def l2_of_batch(model: Any, x: Tensor, y: Tensor, epsilon: float) -> Tensor:
    g = gradient(model, x, y)
    return torch.clamp(x + epsilon * g / torch.norm(g).clamp_min(1e-30), 0, 1)


# largest magnitude of the batch
@wrong("direction", optional="size conduct")
def max_of_batch(model: Any, x: Tensor, y: Tensor, epsilon: float) -> Tensor:
    g = gradient(model, x, y)
    return torch.clamp(x + epsilon * g / g.abs().max().clamp_min(1e-30), 0, 1)


# steepest direction of the L4 norm
@wrong("direction", optional="size")
def l4_per_image(model: Any, x: Tensor, y: Tensor, epsilon: float) -> Tensor:
    g = gradient(model, x, y)
    g = g / rows(g.abs().flatten(1).amax(1)).clamp_min(1e-30)
    d = g.sign() * g.abs().pow(1 / 3)
    return (x + epsilon * d / rows(d.flatten(1).norm(p=4, dim=1)).clamp_min(1e-30)).clamp(0, 1)


# only the largest entry of each image moves: L1 steepest direction
@wrong("direction")
def single_pixel(model: Any, x: Tensor, y: Tensor, epsilon: float) -> Tensor:
    g = gradient(model, x, y).flatten(1)
    step = torch.zeros_like(g)
    index = g.abs().argmax(1, keepdim=True)
    step.scatter_(1, index, g.gather(1, index).sign())
    return (x + epsilon * step.view_as(x)).clamp(0, 1)


# only the largest tenth of each image's magnitudes moves
@wrong("direction", optional="size")
def top_tenth(model: Any, x: Tensor, y: Tensor, epsilon: float) -> Tensor:
    g = gradient(model, x, y)
    bound = g.abs().flatten(1).quantile(0.9, dim=1)
    return (x + epsilon * g.sign() * (g.abs() >= rows(bound))).clamp(0, 1)


# pixels with |gradient| <= 1e-6 stay
@wrong("direction", optional="conduct")
def threshold_1e6(model: Any, x: Tensor, y: Tensor, epsilon: float) -> Tensor:
    g = gradient(model, x, y)
    zeros, inputs = torch.zeros_like(g), x.detach()
    inputs = torch.where(g > 1e-6, inputs + epsilon, inputs)
    inputs = torch.where(g < -1e-6, inputs - epsilon, inputs)
    return torch.where(g.abs() > 1e-6, inputs, x + zeros).clamp(0, 1)


# gradients below 1e-8 are set to zero
@wrong("direction")
def threshold_1e8(model: Any, x: Tensor, y: Tensor, epsilon: float) -> Tensor:
    g = gradient(model, x, y, lambda z, t: F.cross_entropy(z, t, reduction="sum"))
    g[g.abs() < 1e-8] = 0
    return (x + epsilon * g.sign()).clamp(0, 1)


# the gradient is rounded to four decimals
@wrong("direction", optional="conduct")
def rounded_gradient(model: Any, x: Tensor, y: Tensor, epsilon: float) -> Tensor:
    return (x + epsilon * (gradient(model, x, y) * 1e4).round().sign()).clamp(0, 1)


# the gradient is kept in half precision: small values become zero
@wrong("direction", optional="conduct")
def half_gradient(model: Any, x: Tensor, y: Tensor, epsilon: float) -> Tensor:
    return (x + epsilon * gradient(model, x, y).half().float().sign()).clamp(0, 1)


# g / (|g| + 1e-8)
@wrong("direction", optional="conduct")
def floor_1e8(model: Any, x: Tensor, y: Tensor, epsilon: float) -> Tensor:
    g = gradient(model, x, y)
    return (x + epsilon * g / (g.abs() + 1e-8)).clamp(0, 1)


# tanh instead of sign
@wrong("direction", optional="size conduct")
def tanh_direction(model: Any, x: Tensor, y: Tensor, epsilon: float) -> Tensor:
    return (x + epsilon * torch.tanh(1e3 * gradient(model, x, y))).clamp(0, 1)


# the gradient clamped to [-1, 1]
@wrong("direction", optional="size conduct")
def clamped_gradient(model: Any, x: Tensor, y: Tensor, epsilon: float) -> Tensor:
    return (x + epsilon * gradient(model, x, y).clamp(-1, 1)).clamp(0, 1)


# the gradient is centred for each image first
@wrong("direction")
def centred_gradient(model: Any, x: Tensor, y: Tensor, epsilon: float) -> Tensor:
    g = gradient(model, x, y)
    return (x + epsilon * (g - g.mean(dim=(1, 2, 3), keepdim=True)).sign()).clamp(0, 1)


# standardised gradient without a sign
@wrong("direction", optional="size")
def standardised_gradient(model: Any, x: Tensor, y: Tensor, epsilon: float) -> Tensor:
    g = gradient(model, x, y).flatten(1)
    g = (g - g.mean(1, keepdim=True)) / g.std(1, keepdim=True).clamp_min(1e-30)
    return (x + epsilon * g.view_as(x)).clamp(0, 1)


# pixels without gradient move up
@wrong("direction")
def zeros_move_up(model: Any, x: Tensor, y: Tensor, epsilon: float) -> Tensor:
    return (x + epsilon * torch.where(gradient(model, x, y) >= 0, 1.0, -1.0)).clamp(0, 1)


# pixels without gradient move down
@wrong("direction")
def zeros_move_down(model: Any, x: Tensor, y: Tensor, epsilon: float) -> Tensor:
    positive = (gradient(model, x, y) > 0).float()
    return (x + epsilon * (2 * positive - 1)).clamp(0, 1)


# only increases: the perturbation is clipped to [0, 1]
@wrong("direction", optional="clip")
def clipped_perturbation(model: Any, x: Tensor, y: Tensor, epsilon: float) -> Tensor:
    return torch.clamp(x + torch.clamp(epsilon * gradient(model, x, y).sign(), 0, 1), 0, 1)


# the sign of the magnitude: every pixel with gradient moves up
@wrong("direction")
def sign_of_magnitude(model: Any, x: Tensor, y: Tensor, epsilon: float) -> Tensor:
    return (x + epsilon * gradient(model, x, y).abs().sign()).clamp(0, 1)


# a step against the gradient
@wrong("", optional="direction loss size labels")
def downhill(model: Any, x: Tensor, y: Tensor, epsilon: float) -> Tensor:
    z = x.detach().clone().requires_grad_()
    F.cross_entropy(model(z), y).backward()
    return (z.detach() - epsilon * z.grad.sign()).clamp(0, 1)


# one sign for all channels of a pixel
@wrong("direction")
def mean_over_channels(model: Any, x: Tensor, y: Tensor, epsilon: float) -> Tensor:
    return (x + epsilon * gradient(model, x, y).mean(dim=1, keepdim=True).sign().expand_as(x)).clamp(0, 1)


# the gradient is mirrored
@wrong("direction")
def mirrored_gradient(model: Any, x: Tensor, y: Tensor, epsilon: float) -> Tensor:
    return (x + epsilon * gradient(model, x, y).flip(-1).sign()).clamp(0, 1)


# the gradient's channels are reversed
@wrong("direction")
def reversed_channels_of_gradient(model: Any, x: Tensor, y: Tensor, epsilon: float) -> Tensor:
    return (x + epsilon * gradient(model, x, y).flip(1).sign()).clamp(0, 1)


# the gradient is smoothed by a 3x3 mean
@wrong("direction")
def smoothed_gradient(model: Any, x: Tensor, y: Tensor, epsilon: float) -> Tensor:
    g = F.avg_pool2d(gradient(model, x, y), 3, stride=1, padding=1)
    return (x + epsilon * g.sign()).clamp(0, 1)


# the gradient is smoothed by a 5x5 Gaussian kernel, as translation-invariant attacks do
@wrong("direction")
def translation_invariant(model: Any, x: Tensor, y: Tensor, epsilon: float) -> Tensor:
    c = x.shape[1]
    line = torch.exp(-torch.arange(-2, 3, dtype=x.dtype).square() / 2)
    kernel = torch.outer(line, line).expand(c, 1, 5, 5)
    g = F.conv2d(gradient(model, x, y), kernel, padding=2, groups=c)
    return torch.clamp(x + epsilon * g.sign(), 0, 1)


# the border of two pixels stays
@wrong("direction")
def masked_border(model: Any, x: Tensor, y: Tensor, epsilon: float) -> Tensor:
    mask = torch.zeros_like(x)
    mask[:, :, 2:-2, 2:-2] = 1
    return (x + epsilon * gradient(model, x, y).sign() * mask).clamp(0, 1)


# only the first channel moves
@wrong("direction", optional="size")
def first_channel_only(model: Any, x: Tensor, y: Tensor, epsilon: float) -> Tensor:
    x_adv = x.detach().clone()
    x_adv[:, 0] += epsilon * gradient(model, x, y)[:, 0].sign()
    return x_adv.clamp(0, 1)


# black pixels stay: the background is masked
@wrong("", optional="direction clip size")
def black_pixels_stay(model: Any, x: Tensor, y: Tensor, epsilon: float) -> Tensor:
    return (x + epsilon * gradient(model, x, y).sign() * (x > 0)).clamp(0, 1)


# --- size


def with_size(name: str, size: Any, stages: str = "size", optional: str = "") -> None:
    """Add the right step with another budget, a function of epsilon and the images."""

    def candidate(model: Any, x: Tensor, y: Tensor, epsilon: float) -> Tensor:
        return (x + size(epsilon, x.detach()) * gradient(model, x, y).sign()).clamp(0, 1)

    wrong.add(name, candidate, stages, optional)


# epsilon in pixel levels: divided by 255 again
with_size("divided_by_255", lambda epsilon, x: epsilon / 255)
# twice epsilon, as for images in [-1, 1]
with_size("doubled", lambda epsilon, x: 2 * epsilon)
# half of epsilon
with_size("halved", lambda epsilon, x: epsilon / 2)
# the step size of FGSM training, 1.25 epsilon
with_size("step_size_1_25", lambda epsilon, x: 1.25 * epsilon)
# 8/255 for every epsilon
with_size("fixed_budget", lambda epsilon, x: 8 / 255)
# 0.3 for every epsilon above 0
with_size("default_budget", lambda epsilon, x: 0.3 if epsilon else 0.0)
# at most 0.1
with_size("capped_at_a_tenth", lambda epsilon, x: min(epsilon, 0.1))
# at most 0.3
with_size("capped_at_0_3", lambda epsilon, x: min(epsilon, 0.3))
# at least one pixel level
with_size("at_least_one_level", lambda epsilon, x: max(epsilon, 1 / 255))
# one pixel level more
with_size("one_level_more", lambda epsilon, x: epsilon + 1 / 255)
# rounded to two decimals
with_size("two_decimals", lambda epsilon, x: round(epsilon, 2))
# truncated to whole pixel levels
with_size("whole_levels", lambda epsilon, x: int(epsilon * 255) / 255)
# truncated to an integer: zero below 1
with_size("integer_budget", lambda epsilon, x: int(epsilon))
# squared
with_size("squared", lambda epsilon, x: epsilon**2)
# times the square root of the number of pixels
with_size("times_root_of_pixels", lambda epsilon, x: epsilon * x[0].numel() ** 0.5)
# divided by the square root of the number of pixels
with_size("over_root_of_pixels", lambda epsilon, x: epsilon / x[0].numel() ** 0.5)
# divided by the batch size
with_size("over_batch_size", lambda epsilon, x: epsilon / len(x), optional="conduct")
# times the batch's largest pixel
with_size("times_largest_pixel", lambda epsilon, x: epsilon * x.max(), optional="conduct")
# times each image's range
with_size(
    "times_range_of_image", lambda epsilon, x: epsilon * (x.amax((1, 2, 3), True) - x.amin((1, 2, 3), True)), optional="conduct"
)
# times the pixel itself
with_size("times_pixel", lambda epsilon, x: epsilon * x, optional="clip direction")
# grows with the position in the batch
with_size("grows_over_batch", lambda epsilon, x: epsilon * rows(torch.linspace(0.2, 1, len(x), dtype=x.dtype)), optional="conduct")
# a random share of epsilon for each pixel
with_size("random_share_per_pixel", lambda epsilon, x: epsilon * torch.rand_like(x), "size randomness", "direction")
# a random share of epsilon for each call
with_size("random_share_per_call", lambda epsilon, x: epsilon * random.random(), "size randomness", "conduct")
# ImageNet's standard deviation of the first channel
with_size("times_imagenet_std", lambda epsilon, x: epsilon * 0.229)


# epsilon / std in pixel space
@wrong("size")
def over_std_in_pixel_space(model: Any, x: Tensor, y: Tensor, epsilon: float) -> Tensor:
    _, std = mean_and_std(model)
    return torch.clamp(x + epsilon / std * gradient(model, x, y).sign(), 0, 1)


# epsilon in normalised space: too small by the factor std
@wrong("size")
def epsilon_of_normalised_space(model: Any, x: Tensor, y: Tensor, epsilon: float) -> Tensor:
    mean, std = mean_and_std(model)
    z = ((x - mean) / std).detach().requires_grad_()
    F.cross_entropy(model.network(z), y).backward()
    return ((z.detach() + epsilon * z.grad.sign()) * std + mean).clamp(0, 1)


# epsilon / mean of the standard deviations for all channels
@wrong("size")
def over_mean_std(model: Any, x: Tensor, y: Tensor, epsilon: float) -> Tensor:
    mean, std = mean_and_std(model)
    z = (x - mean) / std
    z_adv = z + epsilon / std.mean() * gradient(model.network, z, y).sign()
    return (z_adv * std + mean).clamp(0, 1)


# epsilon / variance: std squared once too often
@wrong("size")
def over_variance(model: Any, x: Tensor, y: Tensor, epsilon: float) -> Tensor:
    mean, std = mean_and_std(model)
    z = (x - mean) / std
    return ((z + epsilon / std**2 * gradient(model.network, z, y).sign()) * std + mean).clamp(0, 1)


# statistics of the channels in reverse order
@wrong("size")
def reversed_std(model: Any, x: Tensor, y: Tensor, epsilon: float) -> Tensor:
    mean, std = mean_and_std(model)
    z = (x - mean) / std
    return ((z + epsilon / std.flip(1) * gradient(model.network, z, y).sign()) * std + mean).clamp(0, 1)


# sign, then scaled to an L2 norm of epsilon
@wrong("size", optional="direction")
def sign_of_l2_length(model: Any, x: Tensor, y: Tensor, epsilon: float) -> Tensor:
    d = gradient(model, x, y).sign()
    return (x + epsilon * d / rows(d.flatten(1).norm(dim=1)).clamp_min(1e-12)).clamp(0, 1)


# a smaller budget at each call
class Decaying:
    def __init__(self) -> None:
        self.factor = 1.0

    def __call__(self, model: Any, x: Tensor, y: Tensor, epsilon: float) -> Tensor:
        x_adv = sign_step(model, x, y, self.factor * epsilon)
        self.factor *= 0.9
        return x_adv


wrong.add("decays_over_calls", Decaying(), "", "size conduct randomness")


# the smallest of ten budgets that changes the prediction
@wrong("", optional="size steps labels conduct")
def smallest_successful_budget(model: Any, x: Tensor, y: Tensor, epsilon: float) -> Tensor:
    direction = gradient(model, x, y).sign()
    x_adv = x.detach().clone()
    for share in torch.linspace(0.1, 1, 10).tolist():
        with torch.no_grad():
            still_right = model(x_adv).argmax(1) == y
        x_adv[still_right] = (x + share * epsilon * direction).clamp(0, 1)[still_right]
    return x_adv


# --- clip


def with_clip(name: str, clip: Any, stages: str = "clip", optional: str = "") -> None:
    """Add the right step with another clip, a function of the moved images and the images."""

    def candidate(model: Any, x: Tensor, y: Tensor, epsilon: float) -> Tensor:
        return clip(x + epsilon * gradient(model, x, y).sign(), x.detach())

    wrong.add(name, candidate, stages, optional)


def stretched(x_adv: Tensor) -> Tensor:
    """Stretch each image to [0, 1]."""
    low, high = x_adv.amin((1, 2, 3), True), x_adv.amax((1, 2, 3), True)
    return (x_adv - low) / (high - low).clamp_min(1e-12)


def discarded_clamp(x_adv: Tensor, x: Tensor) -> Tensor:
    """Clamp, and forget the result."""
    torch.clamp(x_adv, 0, 1)
    return x_adv


# no clip
with_clip("no_clip", lambda x_adv, x: x_adv)
# the clamped tensor is not used
with_clip("discarded_clamp", discarded_clamp)
# the input is clipped, not the output
with_clip("clip_before_step", lambda x_adv, x: x.clamp(0, 1) + (x_adv - x))
# bounds of images in [-1, 1]
with_clip("bounds_minus_1_to_1", lambda x_adv, x: x_adv.clamp(-1, 1))
# bounds of images in [0, 255]
with_clip("bounds_0_to_255", lambda x_adv, x: x_adv.clamp(0, 255))
# no upper bound
with_clip("low_bound_only", lambda x_adv, x: x_adv.clamp(min=0))
# no lower bound
with_clip("high_bound_only", lambda x_adv, x: torch.minimum(x_adv, torch.ones_like(x)))
# the smallest and largest pixel of the batch
with_clip("bounds_of_batch", lambda x_adv, x: x_adv.clamp(x.min(), x.max()), optional="conduct")
# the smallest and largest pixel of each image
with_clip("bounds_of_image", lambda x_adv, x: x_adv.clamp(x.amin((1, 2, 3), True), x.amax((1, 2, 3), True)))
# the smallest and largest pixel of each channel of each image
with_clip("bounds_of_channel", lambda x_adv, x: x_adv.clamp(x.amin((2, 3), True), x.amax((2, 3), True)))
# an upper bound of 255/256
with_clip("bound_255_of_256", lambda x_adv, x: x_adv.clamp(0, 255 / 256))
# a margin of one percent at each bound
with_clip("bounds_with_margin", lambda x_adv, x: x_adv.clamp(0.01, 0.99))
# values outside wrap around
with_clip("wraps_around", lambda x_adv, x: torch.where((x_adv < 0) | (x_adv > 1), x_adv % 1, x_adv))
# values outside are reflected
with_clip("reflects", lambda x_adv, x: 1 - (1 - x_adv.abs()).abs())
# pixels that would leave the box stay as they were
with_clip("pixels_at_bounds_stay", lambda x_adv, x: torch.where((x_adv < 0) | (x_adv > 1), x, x_adv))
# each image is stretched to [0, 1]
with_clip("stretched", lambda x_adv, x: stretched(x_adv), optional="size output")
# the batch is stretched to [0, 1]
with_clip(
    "batch_stretched",
    lambda x_adv, x: (x_adv - x_adv.min()) / (x_adv.max() - x_adv.min()).clamp_min(1e-12),
    optional="size output conduct",
)
# divided by the largest value
with_clip(
    "divided_by_maximum", lambda x_adv, x: x_adv.clamp(min=0) / x_adv.amax((1, 2, 3), True).clamp_min(1e-12), optional="size output"
)


# normalised images are clipped to [0, 1]
@wrong("clip")
def pixel_bounds_in_normalised_space(model: Any, x: Tensor, y: Tensor, epsilon: float) -> Tensor:
    mean, std = mean_and_std(model)
    z = (x - mean) / std
    return (z + epsilon / std * gradient(model.network, z, y).sign()).clamp(0, 1) * std + mean


# normalised images are clipped to the bounds of ImageNet's statistics
@wrong("clip")
def imagenet_bounds(model: Any, x: Tensor, y: Tensor, epsilon: float) -> Tensor:
    mean, std = mean_and_std(model)
    z = (x - mean) / std
    return torch.clamp(z + epsilon / std * gradient(model.network, z, y).sign(), -2.1179, 2.64) * std + mean


# bounds of the first channel for all channels
@wrong("clip")
def bounds_of_first_channel(model: Any, x: Tensor, y: Tensor, epsilon: float) -> Tensor:
    mean, std = mean_and_std(model)
    z = (x - mean) / std
    low, high = ((0 - mean) / std)[0, 0].item(), ((1 - mean) / std)[0, 0].item()
    return (z + epsilon / std * gradient(model.network, z, y).sign()).clamp(low, high) * std + mean


# --- output


def with_output(name: str, output: Any, stages: str = "output", optional: str = "") -> None:
    """Add the right step with another output, a function of the adversarial images."""

    def candidate(model: Any, x: Tensor, y: Tensor, epsilon: float) -> Any:
        return output(sign_step(model, x, y, epsilon))

    wrong.add(name, candidate, stages, optional)


def jpeg(x_adv: Tensor, quality: int = 75) -> Tensor:
    """Save each channel as a JPEG image and load it."""
    out = torch.empty_like(x_adv)
    levels = (x_adv * 255).round().byte().numpy()
    for i, image in enumerate(levels):
        for c, channel in enumerate(image):
            file = io.BytesIO()
            Image.fromarray(channel).save(file, "JPEG", quality=quality)
            out[i, c] = torch.from_numpy(np.array(Image.open(file))) / 255
    return out


# rounded to pixel levels
with_output("rounded_to_levels", lambda x_adv: (x_adv * 255).round() / 255)
# truncated to pixel levels
with_output("truncated_to_levels", lambda x_adv: (x_adv * 255).to(torch.uint8).float() / 255)
# rounded up to pixel levels in NumPy
with_output("rounded_up_to_levels", lambda x_adv: np.ceil(x_adv.numpy() * 255).astype(np.float32) / 255)
# pixel levels as integers
with_output("integers", lambda x_adv: (x_adv * 255).round().to(torch.uint8), optional="size clip")
# divided by 256 after rounding to levels
with_output("divided_by_256", lambda x_adv: (x_adv * 255).round() / 256, optional="clip size")
# sixteen levels
with_output("sixteen_levels", lambda x_adv: (x_adv * 15).round() / 15, optional="size")
# saved as JPEG
with_output("jpeg", jpeg, optional="size clip direction conduct")
# rounded to half precision
with_output("half_precision", lambda x_adv: x_adv.half().float())
# rounded to bfloat16
with_output("bfloat16", lambda x_adv: x_adv.bfloat16().float())
# two decimals
with_output("two_decimals_of_output", lambda x_adv: np.round(x_adv.numpy(), 2), optional="size")
# channels last
with_output("channels_last", lambda x_adv: x_adv.permute(0, 2, 3, 1))
# channels in reverse order: OpenCV's BGR
with_output("bgr", lambda x_adv: x_adv.flip(1), optional="direction size clip")
# height and width exchanged
with_output("transposed", lambda x_adv: x_adv.transpose(2, 3), optional="direction size clip")
# one row for each image
with_output("flattened", lambda x_adv: x_adv.flatten(1))
# axes of length 1 are dropped
with_output("squeezed", lambda x_adv: x_adv.squeeze())
# images in [-1, 1]
with_output("minus_1_to_1", lambda x_adv: 2 * x_adv - 1, optional="size clip")
# images in [0, 255]
with_output("0_to_255", lambda x_adv: 255 * x_adv, optional="size clip")
# grey images
with_output("grey", lambda x_adv: x_adv.mean(1, keepdim=True).expand_as(x_adv), optional="direction size clip")
# smoothed images
with_output("smoothed", lambda x_adv: F.avg_pool2d(x_adv, 3, 1, 1, count_include_pad=False), optional="direction size clip conduct")


# the perturbation instead of the image
@wrong("output", optional="size clip direction")
def perturbation_only(model: Any, x: Tensor, y: Tensor, epsilon: float) -> Tensor:
    return sign_step(model, x, y, epsilon) - x


# normalised images
@wrong("output", optional="size clip")
def normalised_output(model: Any, x: Tensor, y: Tensor, epsilon: float) -> Tensor:
    mean, std = mean_and_std(model)
    return (sign_step(model, x, y, epsilon) - mean) / std


# the input is rounded to pixel levels first
@wrong("output", optional="size")
def rounded_input(model: Any, x: Tensor, y: Tensor, epsilon: float) -> Tensor:
    levels = torch.round(x.detach() * 255) / 255
    return (levels + epsilon * gradient(model, levels, y).sign()).clamp(0, 1)


# the clean image, without an attack
@wrong("", optional=" ".join(("loss", "labels", "direction", "size", "output", "conduct", "clip", "steps")))
def no_attack(model: Any, x: Tensor, y: Tensor, epsilon: float) -> Tensor:
    F.cross_entropy(model(x), y)
    return x.clone()


# --- steps


# two half steps
@wrong("steps")
def two_half_steps(model: Any, x: Tensor, y: Tensor, epsilon: float) -> Tensor:
    for _ in range(2):
        x = sign_step(model, x, y, epsilon / 2)
    return x


# ten steps of a tenth
@wrong("steps")
def ten_small_steps(model: Any, x: Tensor, y: Tensor, epsilon: float) -> Tensor:
    x_adv = x.detach()
    for _ in range(10):
        x_adv = (x_adv + epsilon / 10 * gradient(model, x_adv, y).sign()).clamp(0, 1)
    return x_adv


# seven steps of a quarter, projected to the ball
@wrong("steps")
def projected_steps(model: Any, x: Tensor, y: Tensor, epsilon: float) -> Tensor:
    x_adv = x.clone().detach()
    for _ in range(7):
        x_adv = x_adv.detach() + epsilon / 4 * gradient(model, x_adv, y).sign()
        delta = torch.clamp(x_adv - x, min=-epsilon, max=epsilon)
        x_adv = torch.clamp(x + delta, 0, 1).detach()
    return x_adv


# three full steps, projected to the ball
@wrong("steps")
def full_steps_projected(model: Any, x: Tensor, y: Tensor, epsilon: float) -> Tensor:
    x_adv = x.detach().clone()
    for _ in range(3):
        x_adv = sign_step(model, x_adv, y, epsilon)
        x_adv = torch.max(torch.min(x_adv, x + epsilon), x - epsilon)
    return x_adv


# two full steps without projection: twice the budget
@wrong("steps", optional="size")
def two_full_steps(model: Any, x: Tensor, y: Tensor, epsilon: float) -> Tensor:
    x_adv = sign_step(model, x, y, epsilon)
    return sign_step(model, x_adv, y, epsilon)


# five steps with momentum 1
@wrong("steps", optional="direction")
def momentum(model: Any, x: Tensor, y: Tensor, epsilon: float) -> Tensor:
    velocity, x_adv = torch.zeros_like(x), x.detach().clone()
    for _ in range(5):
        g = gradient(model, x_adv, y)
        velocity = velocity + g / g.abs().mean(dim=(1, 2, 3), keepdim=True).clamp_min(1e-30)
        x_adv = (x_adv + epsilon / 5 * velocity.sign()).clamp(0, 1)
    return x_adv


# the gradient at the end of a first step, used from the start
@wrong("steps", optional="loss direction")
def gradient_after_first_step(model: Any, x: Tensor, y: Tensor, epsilon: float) -> Tensor:
    ahead = sign_step(model, x, y, epsilon)
    return (x + epsilon * gradient(model, ahead, y).sign()).clamp(0, 1)


# steps of a fixed size, as many as fit into epsilon
@wrong("steps", optional="size")
def fixed_step_size(model: Any, x: Tensor, y: Tensor, epsilon: float) -> Tensor:
    x_adv, alpha = x.detach(), 1 / 255
    for _ in range(max(1, round(epsilon / alpha))):
        x_adv = (x_adv + min(alpha, epsilon) * gradient(model, x_adv, y).sign()).clamp(0, 1)
    return x_adv


# the gradient averaged over scaled copies of the image
@wrong("", optional="steps loss direction conduct")
def scale_invariant(model: Any, x: Tensor, y: Tensor, epsilon: float) -> Tensor:
    g = sum(gradient(model, x / 2**i, y) for i in range(1, 4))
    return (x + epsilon * torch.as_tensor(g).sign()).clamp(0, 1)


# images whose prediction does not change come back clean
@wrong("", optional="steps size direction loss labels conduct")
def unsuccessful_images_stay(model: Any, x: Tensor, y: Tensor, epsilon: float) -> Tensor:
    x_adv = sign_step(model, x, y, epsilon)
    with torch.no_grad():
        fooled = model(x_adv).argmax(1) != y
    return torch.where(rows(fooled), x_adv, x)


# --- randomness


# uniform start in the ball, a step of 1.25 epsilon, projected
@wrong("randomness", optional="steps size loss direction")
def random_start(model: Any, x: Tensor, y: Tensor, epsilon: float) -> Tensor:
    delta = torch.empty_like(x).uniform_(-epsilon, epsilon)
    delta.requires_grad = True
    F.cross_entropy(model(x + delta), y).backward()
    delta.data = torch.clamp(delta + 1.25 * epsilon * delta.grad.sign(), -epsilon, epsilon)
    return torch.clamp(x + delta.detach(), 0, 1)


# a random sign step of half of epsilon first
@wrong("randomness", optional="steps size loss direction")
def random_sign_start(model: Any, x: Tensor, y: Tensor, epsilon: float) -> Tensor:
    start = (x + epsilon / 2 * torch.randn_like(x).sign()).clamp(0, 1)
    return (start + epsilon / 2 * gradient(model, start, y).sign()).clamp(0, 1)


# the gradient is taken at a noisy image, and the step starts at the image
@wrong("randomness", optional="steps loss direction")
def noisy_gradient_point(model: Any, x: Tensor, y: Tensor, epsilon: float) -> Tensor:
    return (x + epsilon * gradient(model, x + 0.1 * torch.randn_like(x), y).sign()).clamp(0, 1)


# Gaussian noise on the output
@wrong("randomness", optional="output size direction")
def noisy_output(model: Any, x: Tensor, y: Tensor, epsilon: float) -> Tensor:
    return (x + epsilon * gradient(model, x, y).sign() + 0.01 * torch.randn_like(x)).clamp(0, 1)


# one sign in twenty is turned
@wrong("randomness", optional="direction loss")
def turned_signs(model: Any, x: Tensor, y: Tensor, epsilon: float) -> Tensor:
    turned = torch.where(torch.rand_like(x) < 0.05, -1.0, 1.0)
    return (x + epsilon * gradient(model, x, y).sign() * turned).clamp(0, 1)


# half of the pixels, drawn anew, stay
@wrong("randomness", optional="direction size")
def random_mask(model: Any, x: Tensor, y: Tensor, epsilon: float) -> Tensor:
    kept = F.dropout(torch.ones_like(x), 0.5) > 0
    return (x + epsilon * gradient(model, x, y).sign() * kept).clamp(0, 1)


# images are attacked with probability one half
@wrong("randomness", optional="size conduct direction")
def attacks_half_of_the_images(model: Any, x: Tensor, y: Tensor, epsilon: float) -> Tensor:
    chosen = torch.rand(len(x)) < 0.5
    return torch.where(rows(chosen), sign_step(model, x, y, epsilon), x)


# pixels without gradient move at random
@wrong("", optional="direction randomness")
def random_ties(model: Any, x: Tensor, y: Tensor, epsilon: float) -> Tensor:
    g = gradient(model, x, y)
    return (x + epsilon * torch.where(g == 0, torch.randn_like(g), g).sign()).clamp(0, 1)


# random shift of the image before the gradient
@wrong("randomness", optional="direction loss steps conduct")
def input_diversity(model: Any, x: Tensor, y: Tensor, epsilon: float) -> Tensor:
    z = x.detach().clone().requires_grad_()
    moved = torch.roll(z, (random.randint(-2, 2), random.randint(-2, 2)), dims=(2, 3))
    F.cross_entropy(model(moved), y).backward()
    return (x + epsilon * z.grad.sign()).clamp(0, 1)


# --- conduct


# the network is in train mode during the attack
@wrong("conduct", optional="randomness loss direction")
def train_mode_meanwhile(model: Any, x: Tensor, y: Tensor, epsilon: float) -> Tensor:
    model.train()
    x_adv = sign_step(model, x, y, epsilon)
    model.eval()
    return x_adv


# the network is left in train mode
@wrong("conduct", optional="randomness loss direction")
def train_mode_left(model: Any, x: Tensor, y: Tensor, epsilon: float) -> Tensor:
    model.eval()
    x_adv = sign_step(model, x, y, epsilon)
    model.train()
    return x_adv


# batch norm alone is in train mode
@wrong("conduct", optional="loss direction")
def batch_norm_in_train_mode(model: Any, x: Tensor, y: Tensor, epsilon: float) -> Tensor:
    norms = [m for m in model.modules() if isinstance(m, nn.BatchNorm1d | nn.BatchNorm2d)]
    for norm in norms:
        norm.train()
    x_adv = sign_step(model, x, y, epsilon)
    for norm in norms:
        norm.eval()
    return x_adv


# dropout alone is in train mode
@wrong("conduct", optional="randomness loss direction")
def dropout_in_train_mode(model: Any, x: Tensor, y: Tensor, epsilon: float) -> Tensor:
    for m in model.modules():
        if isinstance(m, nn.Dropout):
            m.train()
    x_adv = sign_step(model, x, y, epsilon)
    model.eval()
    return x_adv


# the caller's images are changed in place and returned
@wrong("conduct", optional="output")
def changes_images(model: Any, x: Tensor, y: Tensor, epsilon: float) -> Tensor:
    g = gradient(model, x, y)
    return x.add_(epsilon * g.sign()).clamp_(0, 1)


# the caller's images are changed through .data
@wrong("conduct", optional="output")
def changes_images_through_data(model: Any, x: Tensor, y: Tensor, epsilon: float) -> Tensor:
    x.requires_grad_(True)
    (grad,) = torch.autograd.grad(F.cross_entropy(model(x), y), x)
    x.requires_grad_(False)
    x.data = torch.clamp(x.data + epsilon * grad.sign(), 0, 1)
    return x.detach().clone()


# the caller's images are changed through their NumPy view
@wrong("conduct", optional="output")
def changes_images_through_numpy(model: Any, x: Tensor, y: Tensor, epsilon: float) -> Any:
    grad = gradient(model, x, y).numpy()
    images = x.detach().numpy()
    images += epsilon * np.sign(grad)
    return np.clip(images, 0, 1, out=images).copy()


# the caller's labels are overwritten by the predictions after the attack
@wrong("conduct")
def changes_labels(model: Any, x: Tensor, y: Tensor, epsilon: float) -> Tensor:
    x_adv = sign_step(model, x, y, epsilon)
    y.copy_(model(x_adv).argmax(1))
    return x_adv


# the global random state is set
@wrong("conduct", optional="randomness")
def seeds_torch(model: Any, x: Tensor, y: Tensor, epsilon: float) -> Tensor:
    torch.manual_seed(0)
    return sign_step(model, x, y, epsilon)


# the random states of NumPy and Python are set
@wrong("conduct", optional="randomness")
def seeds_numpy_and_python(model: Any, x: Tensor, y: Tensor, epsilon: float) -> Tensor:
    np.random.seed(0)
    random.seed(0)
    return sign_step(model, x, y, epsilon)


# the default type of numbers is changed
@wrong("conduct")
def changes_default_dtype(model: Any, x: Tensor, y: Tensor, epsilon: float) -> Tensor:
    torch.set_default_dtype(torch.float64)
    return sign_step(model, x, y, epsilon)


# gradients are switched off for the caller
@wrong("conduct")
def switches_gradients_off(model: Any, x: Tensor, y: Tensor, epsilon: float) -> Tensor:
    torch.set_grad_enabled(True)
    g = gradient(model, x, y)
    torch.set_grad_enabled(False)
    return (x + epsilon * g.sign()).clamp(0, 1)


# deterministic algorithms are switched on for the caller
@wrong("conduct")
def switches_deterministic_on(model: Any, x: Tensor, y: Tensor, epsilon: float) -> Tensor:
    torch.use_deterministic_algorithms(True, warn_only=True)
    return sign_step(model, x, y, epsilon)


# the parameters are frozen for good
@wrong("conduct")
def freezes_parameters(model: Any, x: Tensor, y: Tensor, epsilon: float) -> Tensor:
    for p in model.parameters():
        p.requires_grad = False
    return sign_step(model, x, y, epsilon)


# a step of training is taken on the caller's network
@wrong("conduct")
def trains_the_network(model: Any, x: Tensor, y: Tensor, epsilon: float) -> Tensor:
    x_adv = sign_step(model, x, y, epsilon)
    parameters = [p for p in model.parameters() if p.requires_grad]
    grads = torch.autograd.grad(F.cross_entropy(model(x_adv), y), parameters, allow_unused=True) if parameters else []
    with torch.no_grad():
        for p, grad in zip(parameters, grads, strict=True):
            p.sub_(0.0 if grad is None else 0.01 * grad)
    return x_adv


# the network is left in double precision
@wrong("conduct")
def leaves_network_in_double(model: Any, x: Tensor, y: Tensor, epsilon: float) -> Tensor:
    return sign_step(model.double(), x.double(), y, epsilon).float()


# only the first 32 images
@wrong("", optional="conduct size direction")
def first_32_images(model: Any, x: Tensor, y: Tensor, epsilon: float) -> Tensor:
    return torch.cat([sign_step(model, x[:32], y[:32], epsilon), x[32:]])


# the last image is forgotten
@wrong("", optional="conduct size direction")
def last_image_forgotten(model: Any, x: Tensor, y: Tensor, epsilon: float) -> Tensor:
    x_adv = x.detach().clone()
    for i in range(len(x) - 1):
        x_adv[i] = sign_step(model, x[i : i + 1], y[i : i + 1], epsilon)[0]
    return x_adv


# an incomplete last chunk of 16 is forgotten
@wrong("", optional="conduct size direction")
def last_chunk_forgotten(model: Any, x: Tensor, y: Tensor, epsilon: float) -> Tensor:
    x_adv = x.detach().clone()
    for i in range(len(x) // 16):
        chunk = slice(16 * i, 16 * (i + 1))
        x_adv[chunk] = sign_step(model, x[chunk], y[chunk], epsilon)
    return x_adv


# the first image's gradient for all images
@wrong("conduct", optional="direction loss labels")
def gradient_of_first_image(model: Any, x: Tensor, y: Tensor, epsilon: float) -> Tensor:
    return (x + epsilon * gradient(model, x, y)[0].sign()).clamp(0, 1)


# one perturbation for the batch: the mean of the gradients
@wrong("conduct", optional="direction loss labels")
def mean_gradient_of_batch(model: Any, x: Tensor, y: Tensor, epsilon: float) -> Tensor:
    return (x + epsilon * gradient(model, x, y).mean(0, keepdim=True).sign()).clamp(0, 1)


# the gradient accumulates over the images of the loop
@wrong("conduct", optional="direction loss labels")
def accumulates_over_images(model: Any, x: Tensor, y: Tensor, epsilon: float) -> Tensor:
    leaf = torch.zeros_like(x[:1]).requires_grad_()
    out = []
    for i in range(len(x)):
        leaf.data.copy_(x[i : i + 1])
        F.cross_entropy(model(leaf), y[i : i + 1]).backward()
        out.append(torch.clamp(leaf.detach() + epsilon * leaf.grad.sign(), 0, 1))
    return torch.cat(out)


class StaleLeaf:
    """Attack that keeps a leaf for each shape, and never clears its gradient."""

    def __init__(self) -> None:
        self.leaves: dict[torch.Size, Tensor] = {}

    def __call__(self, model: Any, x: Tensor, y: Tensor, epsilon: float) -> Tensor:
        if x.shape not in self.leaves:
            self.leaves[x.shape] = x.detach().clone().requires_grad_()
        leaf = self.leaves[x.shape]
        leaf.data.copy_(x)
        F.cross_entropy(model(leaf), y).backward()
        return (x + epsilon * leaf.grad.sign()).clamp(0, 1)


class RememberedGradient:
    """Attack that takes the gradient once for each shape."""

    def __init__(self) -> None:
        self.gradients: dict[torch.Size, Tensor] = {}

    def __call__(self, model: Any, x: Tensor, y: Tensor, epsilon: float) -> Tensor:
        if x.shape not in self.gradients:
            self.gradients[x.shape] = gradient(model, x, y)
        return (x + epsilon * self.gradients[x.shape].sign()).clamp(0, 1)


class RememberedByImages:
    """Attack that remembers gradients by the images alone, whatever the labels and the network are."""

    def __init__(self) -> None:
        self.gradients: dict[bytes, Tensor] = {}

    def __call__(self, model: Any, x: Tensor, y: Tensor, epsilon: float) -> Tensor:
        key = x.detach().numpy().tobytes() + str(tuple(x.shape)).encode()
        if key not in self.gradients:
            self.gradients[key] = gradient(model, x, y)
        return (x + epsilon * self.gradients[key].sign()).clamp(0, 1)


class FirstNetwork:
    """Attack that copies the first network of each kind of input and output, and attacks the copy from then on."""

    def __init__(self) -> None:
        self.networks: dict[tuple[int, ...], Any] = {}

    def __call__(self, model: Any, x: Tensor, y: Tensor, epsilon: float) -> Tensor:
        with torch.no_grad():
            key = (*x.shape[1:], model(x[:1]).shape[1])
        if key not in self.networks:
            self.networks[key] = copy.deepcopy(model).eval()
        return sign_step(self.networks[key], x, y, epsilon)


class PreviousLabels:
    """Attack that uses the labels of the call before if the number of images is the same."""

    def __init__(self) -> None:
        self.labels: Tensor | None = None

    def __call__(self, model: Any, x: Tensor, y: Tensor, epsilon: float) -> Tensor:
        last, self.labels = self.labels, y.clone()
        k = model(x[:1]).shape[1]
        stale = last is not None and last.shape == y.shape and int(last.max()) < k
        return sign_step(model, x, last if stale and last is not None else y, epsilon)


class EverySecondCall:
    """Attack that returns the clean images at every second call."""

    def __init__(self) -> None:
        self.calls = 0

    def __call__(self, model: Any, x: Tensor, y: Tensor, epsilon: float) -> Tensor:
        self.calls += 1
        return sign_step(model, x, y, epsilon) if self.calls % 2 else x.clone()


# the gradient of calls with the same shape adds up
wrong.add("gradient_adds_up", StaleLeaf(), "conduct", "loss labels direction randomness")
# the first gradient of each shape is used again
wrong.add("gradient_of_first_call", RememberedGradient(), "conduct", "loss labels direction steps size")
# gradients are remembered by the images alone
wrong.add("gradient_by_images", RememberedByImages(), "conduct", "loss labels direction")
# the first network of each shape is attacked from then on
wrong.add("network_of_first_call", FirstNetwork(), "conduct", "loss labels direction steps size")
# the labels of the previous call are used
wrong.add("labels_of_previous_call", PreviousLabels(), "", "conduct labels loss")
# clean images at every second call
wrong.add("every_second_call", EverySecondCall(), "", "conduct size randomness direction loss labels clip output steps")


# --- two independent faults


# own predictions; no clip
@wrong("labels clip")
def two_own_predictions_no_clip(model: Any, x: Tensor, y: Tensor, epsilon: float) -> Tensor:
    return x + epsilon * gradient(model, x, model(x).argmax(1)).sign()


# softmax twice; epsilon / 255
@wrong("loss size")
def two_softmax_twice_over_255(model: Any, x: Tensor, y: Tensor, epsilon: float) -> Tensor:
    return sign_step(model, x, y, epsilon / 255, lambda z, t: F.cross_entropy(z.softmax(1), t))


# squared error of logits; truncated to pixel levels
@wrong("loss output")
def two_mse_truncated(model: Any, x: Tensor, y: Tensor, epsilon: float) -> Tensor:
    x_adv = sign_step(model, x, y, epsilon, lambda z, t: F.mse_loss(z, one_hot(z, t)))
    return (x_adv * 255).byte().float() / 255


# L2 norm of each image; no clip
@wrong("direction clip", optional="size")
def two_l2_no_clip(model: Any, x: Tensor, y: Tensor, epsilon: float) -> Tensor:
    g = gradient(model, x, y)
    return x + epsilon * g / rows(g.flatten(1).norm(dim=1)).clamp_min(1e-12)


# ten steps; bounds of [-1, 1]
@wrong("steps clip")
def two_ten_steps_wide_bounds(model: Any, x: Tensor, y: Tensor, epsilon: float) -> Tensor:
    for _ in range(10):
        x = (x + epsilon / 10 * gradient(model, x, y).sign()).clamp(-1, 1)
    return x


# uniform start; own predictions
@wrong("randomness labels", optional="loss steps size direction")
def two_random_start_own_predictions(model: Any, x: Tensor, y: Tensor, epsilon: float) -> Tensor:
    start = (x + torch.empty_like(x).uniform_(-epsilon, epsilon)).clamp(0, 1)
    x_adv = start + epsilon * gradient(model, start, model(x).argmax(1)).sign()
    return torch.max(torch.min(x_adv, x + epsilon), x - epsilon).clamp(0, 1)


# towards the next class; at most 0.1
@wrong("labels size")
def two_next_class_capped(model: Any, x: Tensor, y: Tensor, epsilon: float) -> Tensor:
    target = (y + 1) % model(x[:1]).shape[1]
    return (x - min(epsilon, 0.1) * gradient(model, x, target).sign()).clamp(0, 1)


# label smoothing; half precision output
@wrong("loss output")
def two_smoothing_half(model: Any, x: Tensor, y: Tensor, epsilon: float) -> Tensor:
    return sign_step(model, x, y, epsilon, lambda z, t: F.cross_entropy(z, t, label_smoothing=0.2)).half()


# threshold 1e-6; bounds of the batch
@wrong("direction clip", optional="conduct")
def two_threshold_bounds_of_batch(model: Any, x: Tensor, y: Tensor, epsilon: float) -> Tensor:
    g = gradient(model, x, y)
    return torch.clamp(x + epsilon * torch.where(g.abs() > 1e-6, g.sign(), 0.0), x.min().item(), x.max().item())


# pixels without gradient move up; twice epsilon
@wrong("direction size")
def two_zeros_up_doubled(model: Any, x: Tensor, y: Tensor, epsilon: float) -> Tensor:
    return (x + 2 * epsilon * ((gradient(model, x, y) >= 0).float() * 2 - 1)).clamp(0, 1)


# train mode; no upper bound
@wrong("conduct clip", optional="randomness loss direction")
def two_train_mode_low_bound(model: Any, x: Tensor, y: Tensor, epsilon: float) -> Tensor:
    model.train()
    x_adv = F.relu(x + epsilon * gradient(model, x, y).sign())
    model.eval()
    return x_adv


# images changed in place; 0.03 for every epsilon
@wrong("conduct size", optional="output")
def two_in_place_fixed_budget(model: Any, x: Tensor, y: Tensor, epsilon: float) -> Tensor:
    g = gradient(model, x, y)
    x += 0.03 * g.sign()
    return x.clamp_(0, 1).clone()


# global seed; margin
@wrong("conduct loss", optional="randomness")
def two_seed_margin(model: Any, x: Tensor, y: Tensor, epsilon: float) -> Tensor:
    torch.manual_seed(42)
    return sign_step(model, x, y, epsilon, lambda z, t: (best_other(z, t) - own(z, t)).sum())


# smoothed gradient; rounded to pixel levels
@wrong("direction output")
def two_smoothed_rounded(model: Any, x: Tensor, y: Tensor, epsilon: float) -> Tensor:
    g = F.avg_pool2d(gradient(model, x, y), 3, 1, 1)
    return ((x + epsilon * g.sign()).clamp(0, 1) * 255).round() / 255


# squared error of probabilities; a random budget for each image
@wrong("loss size randomness")
def two_mse_random_budget(model: Any, x: Tensor, y: Tensor, epsilon: float) -> Tensor:
    g = gradient(model, x, y, lambda z, t: F.mse_loss(z.softmax(1), one_hot(z, t)))
    return (x + epsilon * rows(torch.rand(len(x), dtype=x.dtype)) * g.sign()).clamp(0, 1)


# entropy; at most 0.1
@wrong("loss size", optional="labels")
def two_entropy_capped(model: Any, x: Tensor, y: Tensor, epsilon: float) -> Tensor:
    return sign_step(model, x, y, min(0.1, epsilon), lambda z, t: -(z.softmax(1) * z.log_softmax(1)).sum())


# least likely class; epsilon of normalised space
@wrong("labels size")
def two_least_likely_normalised(model: Any, x: Tensor, y: Tensor, epsilon: float) -> Tensor:
    mean, std = mean_and_std(model)
    z = (x - mean) / std
    with torch.no_grad():
        target = model.network(z).argmin(1)
    return ((z - epsilon * gradient(model.network, z, target).sign()) * std + mean).clamp(0, 1)


# own predictions; two half steps
@wrong("labels steps")
def two_own_predictions_half_steps(model: Any, x: Tensor, y: Tensor, epsilon: float) -> Tensor:
    labels = model(x).argmax(1)
    x = sign_step(model, x, labels, epsilon / 2)
    return sign_step(model, x, labels, epsilon / 2)


# largest magnitude of each image; truncated to pixel levels
@wrong("direction output", optional="size")
def two_max_truncated(model: Any, x: Tensor, y: Tensor, epsilon: float) -> Any:
    g = gradient(model, x, y)
    g = g / rows(g.abs().flatten(1).amax(1)).clamp_min(1e-30)
    return ((x + epsilon * g).clamp(0, 1) * 255).numpy().astype(np.uint8) / np.float32(255)


# own predictions; the default type of numbers is changed
@wrong("labels conduct")
def two_own_predictions_default_dtype(model: Any, x: Tensor, y: Tensor, epsilon: float) -> Tensor:
    torch.set_default_dtype(torch.float64)
    return sign_step(model, x, model(x).argmax(dim=1), epsilon)
