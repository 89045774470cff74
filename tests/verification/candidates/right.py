"""Right FGSM implementations in the styles of public code, written anew.

CASES maps a name to the candidate and the stages that are wrong (none). OPTIONAL names stages that a judge may still call wrong.
"""

# ruff: noqa: N812
# mypy: disable-error-code="no-untyped-call, no-any-return, union-attr, operator, index, arg-type, attr-defined, assignment, misc"

from __future__ import annotations

import copy
from functools import partial
from typing import Any

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torch.autograd import Variable

from tests.verification.candidates.building_blocks import Candidate, Loss, Record, gradient, mean_and_std, one_hot, sign_step

right = Record()
CASES = right.cases
OPTIONAL = right.optional


# --- how the gradient is taken


@right()
def clone_and_backward(model: Any, x: Tensor, y: Tensor, epsilon: float) -> Tensor:
    """Call backward on the mean loss of a detached copy."""
    x_adv = x.clone().detach().requires_grad_(True)
    loss = nn.CrossEntropyLoss()(model(x_adv), y)
    model.zero_grad()
    loss.backward()
    return torch.clamp(x_adv + epsilon * x_adv.grad.data.sign(), 0, 1).detach()


@right()
def grad_of_summed_loss(model: Any, x: Tensor, y: Tensor, epsilon: float, *, targeted: bool = False) -> Tensor:
    """Take the input gradient only, of the summed loss, with optional targets."""
    images = x.detach().clone()
    images.requires_grad_()
    loss = F.cross_entropy(model(images), y, reduction="sum")
    (grad,) = torch.autograd.grad(loss, images)
    step = epsilon * grad.sign()
    adversarial = images - step if targeted else images + step
    return adversarial.clamp(0.0, 1.0).detach()


@right(optional="conduct")
def leaf_is_the_argument(model: Any, x: Tensor, y: Tensor, epsilon: float) -> Tensor:
    """Make the caller's tensor a leaf, clear its old gradient first, and leave the new one on it."""
    x.requires_grad = True
    if x.grad is not None:
        x.grad.zero_()
    F.cross_entropy(model(x), y).backward()
    return torch.clamp(x + epsilon * x.grad.sign(), min=0, max=1).detach()


@right(optional="conduct")
def tutorial_on_the_argument(model: Any, x: Tensor, y: Tensor, epsilon: float) -> Tensor:
    """Leave the gradient on the caller's tensor: right for a fresh tensor, wrong for a tensor used again with other labels."""
    x.requires_grad = True
    output = model(x)
    loss = F.nll_loss(F.log_softmax(output, dim=1), y)
    model.zero_grad()
    loss.backward()
    sign_data_grad = x.grad.data.sign()
    perturbed_image = x + epsilon * sign_data_grad
    return torch.clamp(perturbed_image, 0, 1)


@right()
def variable(model: Any, x: Tensor, y: Tensor, epsilon: float) -> Tensor:
    """Wrap copied data in a Variable, as code for PyTorch 0.3 does."""
    x_var = Variable(x.data.clone(), requires_grad=True)
    y_var = Variable(y, requires_grad=False)
    h = model(x_var)
    cost = F.cross_entropy(h, y_var)
    model.zero_grad()
    cost.backward()
    x_var.grad.sign_()
    return torch.clamp(x_var.data + epsilon * x_var.grad, 0, 1)


@right()
def negative_cost(model: Any, x: Tensor, y: Tensor, epsilon: float, targeted: bool = False) -> Tensor:
    """Descend on the negative loss; descend on the loss itself if targeted."""
    x_adv = Variable(x.data.clone(), requires_grad=True)
    cost = F.cross_entropy(model(x_adv), y)
    if not targeted:
        cost = -cost
    cost.backward()
    x_adv = x_adv - epsilon * x_adv.grad.sign()
    return torch.clamp(x_adv, 0, 1).detach()


@right()
def delta_as_leaf(model: Any, x: Tensor, y: Tensor, epsilon: float) -> Tensor:
    """Differentiate with respect to a perturbation of zeros."""
    delta = torch.zeros_like(x, requires_grad=True)
    nn.CrossEntropyLoss()(model(x + delta), y).backward()
    return (x + epsilon * delta.grad.detach().sign()).clamp(0, 1)


@right()
def delta_clamped_to_the_box(model: Any, x: Tensor, y: Tensor, epsilon: float) -> Tensor:
    """Clamp the perturbation between -x and 1 - x instead of the image."""
    delta = torch.zeros_like(x).requires_grad_()
    loss = F.cross_entropy(model(x + delta), y, reduction="sum")
    loss.backward()
    delta.data = epsilon * delta.grad.sign()
    delta.data = torch.max(torch.min(delta.data, 1 - x), 0 - x)
    return x + delta.detach()


@right()
def retain_graph(model: Any, x: Tensor, y: Tensor, epsilon: float) -> Tensor:
    """Keep the graph without a need, and return an attached tensor."""
    images = x.detach().clone().requires_grad_()
    loss = F.cross_entropy(model(images), y)
    loss.backward(retain_graph=True)
    return torch.clamp(images + images.grad.sign() * epsilon, 0, 1)


@right()
def create_graph(model: Any, x: Tensor, y: Tensor, epsilon: float) -> Tensor:
    """Build the graph of the gradient too."""
    z = x.clone().requires_grad_()
    g = torch.autograd.grad(F.cross_entropy(model(z), y), [z], create_graph=True)[0]
    return (z + epsilon * torch.sign(g)).clamp(0, 1).data


@right()
def retain_grad_of_non_leaf(model: Any, x: Tensor, y: Tensor, epsilon: float) -> Tensor:
    """Retain the gradient of a tensor that is no leaf."""
    image = x.detach().requires_grad_() * 1.0
    image.retain_grad()
    F.nll_loss(F.log_softmax(model(image), dim=1), y).backward()
    return torch.clamp(image.detach() + epsilon * image.grad.sign(), 0, 1)


@right()
def tensor_hook(model: Any, x: Tensor, y: Tensor, epsilon: float) -> Tensor:
    """Catch the gradient by a hook on the input."""
    caught: list[Tensor] = []
    z = x.detach().clone().requires_grad_()
    handle = z.register_hook(caught.append)
    F.cross_entropy(model(z), y).backward()
    handle.remove()
    return (x + epsilon * caught[0].sign()).clamp(0, 1)


@right()
def module_hook(model: Any, x: Tensor, y: Tensor, epsilon: float) -> Tensor:
    """Catch the gradient by a backward hook on an identity module before the network."""
    caught: dict[str, Tensor] = {}
    gate = nn.Identity()
    handle = gate.register_full_backward_hook(lambda module, inputs, outputs: caught.update(grad=inputs[0]))
    z = x.detach().clone().requires_grad_()
    F.cross_entropy(nn.Sequential(gate, model)(z), y).backward()
    handle.remove()
    return (x + epsilon * caught["grad"].sign()).clamp(0, 1)


@right()
def func_grad(model: Any, x: Tensor, y: Tensor, epsilon: float) -> Tensor:
    """Use torch.func.grad of the batch's loss."""

    def loss(images: Tensor) -> Tensor:
        return F.cross_entropy(model(images), y, reduction="sum")

    return torch.clip(x + epsilon * torch.sign(torch.func.grad(loss)(x)), 0, 1)


@right()
def func_vmap_per_image(model: Any, x: Tensor, y: Tensor, epsilon: float) -> Tensor:
    """Map the gradient of one image over the batch."""

    def loss(image: Tensor, label: Tensor) -> Tensor:
        return F.cross_entropy(model(image.unsqueeze(0)), label.unsqueeze(0))

    grads = torch.func.vmap(torch.func.grad(loss))(x, y)
    return (x + epsilon * grads.sign()).clamp(0, 1)


@right()
def functional_call(model: Any, x: Tensor, y: Tensor, epsilon: float) -> Tensor:
    """Call the network as a function of detached parameters and buffers."""
    state = {name: value.detach() for name, value in [*model.named_parameters(), *model.named_buffers()]}

    def loss(images: Tensor) -> Tensor:
        return F.cross_entropy(torch.func.functional_call(model, state, (images,)), y)

    return (x + epsilon * torch.func.grad(loss)(x).sign()).clamp(0, 1)


@right()
def func_vjp(model: Any, x: Tensor, y: Tensor, epsilon: float) -> Tensor:
    """Pull the loss's cotangent back by torch.func.vjp."""
    _, pull_back = torch.func.vjp(lambda images: F.cross_entropy(model(images), y), x)
    (grad,) = pull_back(torch.ones((), dtype=x.dtype))
    return (x + epsilon * grad.sign()).clamp(0, 1)


@right()
def autograd_functional(model: Any, x: Tensor, y: Tensor, epsilon: float) -> Tensor:
    """Use the older torch.autograd.functional.vjp."""
    _, grad = torch.autograd.functional.vjp(lambda images: F.cross_entropy(model(images), y), x)
    return torch.clamp(x + epsilon * grad.sign(), 0, 1)


@right()
def logit_cotangent(model: Any, x: Tensor, y: Tensor, epsilon: float) -> Tensor:
    """Start the backward pass at the logits with softmax - onehot."""
    z = x.detach().clone().requires_grad_()
    logits = model(z)
    with torch.no_grad():
        cotangent = logits.softmax(dim=1)
        cotangent[torch.arange(len(y)), y] -= 1
    logits.backward(gradient=cotangent)
    return (x + epsilon * z.grad.sign()).clamp(0, 1)


@right()
def losses_with_ones(model: Any, x: Tensor, y: Tensor, epsilon: float) -> Tensor:
    """Call backward on unreduced losses with a vector of ones."""
    z = x.detach().clone().requires_grad_()
    losses = F.cross_entropy(model(z), y, reduction="none")
    losses.backward(torch.ones_like(losses))
    return (x + epsilon * z.grad.sign()).clamp(0, 1)


@right()
@torch.no_grad()
def enable_grad_inside_no_grad(model: Any, x: Tensor, y: Tensor, epsilon: float) -> Tensor:
    """Switch gradients on for the loss only."""
    with torch.enable_grad():
        z = x.detach().clone().requires_grad_()
        loss = F.cross_entropy(model(z), y)
        grad = torch.autograd.grad(loss, z)[0]
    return x.add(grad.sign(), alpha=epsilon).clamp_(0, 1)


@right()
def copied_network(model: Any, x: Tensor, y: Tensor, epsilon: float) -> Tensor:
    """Attack a fresh deep copy in eval mode at each call."""
    network = copy.deepcopy(model).eval()
    return sign_step(network, x, y, epsilon)


@right()
def mode_saved_and_restored(model: Any, x: Tensor, y: Tensor, epsilon: float) -> Tensor:
    """Switch to eval mode, and restore the mode afterwards."""
    was_training = model.training
    model.eval()
    x_adv = sign_step(model, x, y, epsilon)
    model.train(was_training)
    return x_adv


@right()
def parameters_frozen_meanwhile(model: Any, x: Tensor, y: Tensor, epsilon: float) -> Tensor:
    """Freeze the parameters during the attack, and restore each flag."""
    flags = [p.requires_grad for p in model.parameters()]
    for p in model.parameters():
        p.requires_grad_(False)
    z = x.detach().clone().requires_grad_()
    F.cross_entropy(model(z), y).backward()
    for p, flag in zip(model.parameters(), flags, strict=True):
        p.requires_grad_(flag)
    return torch.clamp(x + epsilon * z.grad.sign(), 0, 1)


@right()
def activations_on_cpu(model: Any, x: Tensor, y: Tensor, epsilon: float) -> Tensor:
    """Keep the activations in CPU memory until the backward pass."""
    z = x.detach().clone().requires_grad_()
    with torch.autograd.graph.save_on_cpu():
        loss = F.cross_entropy(model(z), y)
    grad = torch.autograd.grad(loss, z)[0]
    return (x + epsilon * grad.sign()).clamp(0, 1)


# --- how the batch is walked


@right()
def image_by_image(model: Any, x: Tensor, y: Tensor, epsilon: float) -> Tensor:
    """Attack one image at a time."""
    adv = []
    for image, label in zip(x, y, strict=True):
        data = image.unsqueeze(0).clone().requires_grad_()
        F.cross_entropy(model(data), label.unsqueeze(0)).backward()
        adv.append(torch.clamp(data + epsilon * data.grad.sign(), 0, 1).detach())
    return torch.cat(adv)


@right()
def loop_to_numpy(model: Any, x: Tensor, y: Tensor, epsilon: float) -> Any:
    """Attack one image at a time, and stack NumPy arrays."""
    out = np.empty(x.shape, dtype=np.float32)
    for i in range(x.shape[0]):
        image = x[i : i + 1].detach().clone().requires_grad_(True)
        grad = torch.autograd.grad(F.cross_entropy(model(image), y[i : i + 1]), image)[0]
        out[i] = np.clip(x[i].detach().numpy() + np.float32(epsilon) * np.sign(grad[0].numpy()), 0, 1)
    return out


@right()
def chunks_of_eight(model: Any, x: Tensor, y: Tensor, epsilon: float) -> Tensor:
    """Attack eight images at a time, the last chunk included."""
    return torch.cat([sign_step(model, a, b, epsilon) for a, b in zip(x.split(8), y.split(8), strict=True)], dim=0)


@right()
def sorted_by_label(model: Any, x: Tensor, y: Tensor, epsilon: float) -> Tensor:
    """Attack the images in the order of their labels, and restore the order."""
    order = y.argsort()
    return sign_step(model, x[order], y[order], epsilon)[order.argsort()]


# --- NumPy, memory layouts, precisions


@right()
def numpy_step(model: Any, x: Tensor, y: Tensor, epsilon: float) -> Any:
    """Step and clip in NumPy."""
    grad = gradient(model, x, y).numpy()
    return np.clip(x.detach().numpy() + epsilon * np.sign(grad), 0.0, 1.0).astype(np.float32)


@right()
def channels_last_array(model: Any, x: Tensor, y: Tensor, epsilon: float) -> Any:
    """Keep images as (N, H, W, C) arrays between the input and the output."""
    images = np.moveaxis(x.detach().numpy(), 1, -1).copy()
    tensor = torch.tensor(images, requires_grad=True)
    F.cross_entropy(model(tensor.permute(0, 3, 1, 2)), y).backward()
    images += np.float32(epsilon) * np.sign(tensor.grad.numpy())
    return np.moveaxis(np.minimum(np.maximum(images, 0), 1), -1, 1)


@right()
def channels_last_memory(model: Any, x: Tensor, y: Tensor, epsilon: float) -> Tensor:
    """Use the channels-last memory format."""
    return sign_step(model, x.contiguous(memory_format=torch.channels_last), y, epsilon)


@right()
def double_network(model: Any, x: Tensor, y: Tensor, epsilon: float) -> Tensor:
    """Compute in double precision, and return float32."""
    return sign_step(copy.deepcopy(model).double(), x.double(), y, epsilon).float()


@right()
def double_step(model: Any, x: Tensor, y: Tensor, epsilon: float) -> Tensor:
    """Take the step in double precision, and return it so."""
    return (x.double() + epsilon * gradient(model, x, y).double().sign()).clamp(0, 1)


# --- how the sign, the step and the clip are written


@right()
def sign_by_comparison(model: Any, x: Tensor, y: Tensor, epsilon: float) -> Tensor:
    """Subtract two comparisons with zero."""
    g = gradient(model, x, y)
    return (x + epsilon * ((g > 0).float() - (g < 0).float())).clamp(0, 1)


@right()
def sign_by_where(model: Any, x: Tensor, y: Tensor, epsilon: float) -> Tensor:
    """Choose between epsilon, zero and -epsilon."""
    g = gradient(model, x, y)
    step = torch.where(g > 0, epsilon, torch.where(g < 0, -epsilon, 0.0))
    return torch.clamp(x + step, 0, 1)


@right()
def sign_by_division(model: Any, x: Tensor, y: Tensor, epsilon: float) -> Tensor:
    """Divide the gradient by its magnitude where it is not zero."""
    g = gradient(model, x, y)
    return (x + epsilon * torch.nan_to_num(g / g.abs(), nan=0.0)).clamp(0, 1)


@right()
def sign_by_masks(model: Any, x: Tensor, y: Tensor, epsilon: float) -> Tensor:
    """Add and subtract under masks in place on a copy."""
    g = gradient(model, x, y)
    x_adv = x.detach().clone()
    x_adv[g > 0] += epsilon
    x_adv[g < 0] -= epsilon
    x_adv[x_adv > 1] = 1
    x_adv[x_adv < 0] = 0
    return x_adv


@right()
def sign_of_copied_magnitude(model: Any, x: Tensor, y: Tensor, epsilon: float) -> Tensor:
    """Copy the gradient's sign to epsilon, and silence zeros."""
    g = gradient(model, x, y)
    step = torch.copysign(torch.full_like(g, epsilon), g) * (g != 0)
    return (x + step).clamp(0, 1)


@right()
def in_place_on_a_copy(model: Any, x: Tensor, y: Tensor, epsilon: float) -> Tensor:
    """Write the step into a copy in place."""
    z = x.detach().clone().requires_grad_()
    F.cross_entropy(model(z), y).backward()
    with torch.no_grad():
        z.grad.sign_().mul_(epsilon)
        z.add_(z.grad).clamp_(0.0, 1.0)
    return z.detach()


@right()
def min_and_max(model: Any, x: Tensor, y: Tensor, epsilon: float) -> Tensor:
    """Clip by tensors of bounds, to the box and to the epsilon ball."""
    x_adv = x + epsilon * gradient(model, x, y).sign()
    low, high = torch.zeros_like(x), torch.ones_like(x)
    x_adv = torch.max(torch.min(x_adv, x + epsilon), x - epsilon)
    return torch.max(torch.min(x_adv, high), low)


@right()
def hard_tanh(model: Any, x: Tensor, y: Tensor, epsilon: float) -> Tensor:
    """Clip by an activation function."""
    return F.hardtanh(x + epsilon * gradient(model, x, y).sign(), 0.0, 1.0)


@right()
def epsilon_as_images(model: Any, x: Tensor, y: Tensor, epsilon: float) -> Tensor:
    """Expand epsilon to the shape of the images first."""
    budget = torch.full_like(x, epsilon)
    return torch.addcmul(x, budget, gradient(model, x, y).sign()).clamp(0, 1)


@right()
def a_ten_millionth_less(model: Any, x: Tensor, y: Tensor, epsilon: float) -> Tensor:
    """Reduce epsilon by a ten-millionth of itself against rounding."""
    return (x + epsilon * (1 - 1e-7) * gradient(model, x, y).sign()).clamp(0, 1)


# --- normalisation


@right()
def step_in_normalised_space(model: Any, x: Tensor, y: Tensor, epsilon: float) -> Tensor:
    """Step by epsilon / std in normalised space, clip to each channel's bounds, and undo the normalisation."""
    mean, std = mean_and_std(model)
    z = ((x - mean) / std).detach().requires_grad_()
    loss = F.cross_entropy(model.network(z), y)
    grad = torch.autograd.grad(loss, z)[0]
    z_adv = z.detach() + epsilon / std * grad.sign()
    z_adv = torch.max(torch.min(z_adv, (1 - mean) / std), (0 - mean) / std)
    return (z_adv * std + mean).clamp(0, 1)


@right()
def gradient_in_normalised_space(model: Any, x: Tensor, y: Tensor, epsilon: float) -> Tensor:
    """Take the gradient at normalised images, and step in pixel space."""
    mean, std = mean_and_std(model)
    z = (x - mean) / std
    return torch.clamp(x + epsilon * gradient(model.network, z, y).sign(), 0, 1)


@right()
def tutorial_with_denorm(model: Any, x: Tensor, y: Tensor, epsilon: float) -> Tensor:
    """Undo the normalisation of the data before the step, as PyTorch's tutorial does since 2023."""
    mean, std = mean_and_std(model)
    data = ((x - mean) / std).detach().requires_grad_()
    F.nll_loss(F.log_softmax(model.network(data), dim=1), y).backward()
    data_denorm = data.detach() * std + mean
    return torch.clamp(data_denorm + epsilon * data.grad.data.sign(), 0, 1)


# --- losses that have the signs of cross-entropy


def loss_candidate(loss: Loss) -> Candidate:
    """Return the right step with another loss."""

    def candidate(model: Any, x: Tensor, y: Tensor, epsilon: float) -> Tensor:
        return sign_step(model, x, y, epsilon, loss)

    return candidate


def own(values: Tensor, y: Tensor) -> Tensor:
    """Return each row's entry at its label."""
    return values.gather(1, y.unsqueeze(1)).squeeze(1)


# (1 - p_y)^2 (-log p_y): a positive multiple of cross-entropy's gradient
right.add("focal", loss_candidate(lambda z, y: -((1 - own(z.softmax(1), y)) ** 2 * own(z.log_softmax(1), y)).sum()))
# -p_y, called nll_loss of probabilities
right.add("negative_probability", loss_candidate(lambda z, y: F.nll_loss(z.softmax(1), y)))
# cross-entropy of log-probabilities: log-softmax twice is log-softmax
right.add("log_softmax_twice", loss_candidate(lambda z, y: F.cross_entropy(F.log_softmax(z, dim=1), y)))
# logsumexp - z_y
right.add("logsumexp", loss_candidate(lambda z, y: (z.logsumexp(1) - own(z, y)).sum()))
# cross-entropy of one-hot labels
right.add("one_hot_labels", loss_candidate(lambda z, y: F.cross_entropy(z, one_hot(z, y))))
# one-hot labels times log-softmax, summed by hand
right.add("one_hot_product", loss_candidate(lambda z, y: -(one_hot(z, y) * z.log_softmax(1)).sum(1).mean()))
# PolyLoss: cross-entropy + 1 - p_y
right.add("poly_loss", loss_candidate(lambda z, y: F.cross_entropy(z, y, reduction="sum") + (1 - own(z.softmax(1), y)).sum()))
# L1 distance of probabilities to one-hot labels, which is 2 (1 - p_y)
right.add("l1_of_probabilities", loss_candidate(lambda z, y: own(1 - z.softmax(1), y).sum() * 2))
# a weight for each class scales an image's loss only
right.add(
    "class_weights", loss_candidate(lambda z, y: F.cross_entropy(z, y, weight=torch.linspace(0.5, 2.0, z.shape[1], dtype=z.dtype)))
)
# a thousand times the loss
right.add("scaled_loss", loss_candidate(lambda z, y: 1e3 * F.cross_entropy(z, y, reduction="sum")))
# logits shifted by their maximum first
right.add("shifted_logits", loss_candidate(lambda z, y: F.cross_entropy(z - z.amax(1, keepdim=True).detach(), y)))


# --- classes and closures


class FGSM:
    """Attack object with a criterion and clip bounds."""

    def __init__(self, clip_min: float = 0.0, clip_max: float = 1.0) -> None:
        self.criterion = nn.CrossEntropyLoss(reduction="sum")
        self.clip_min, self.clip_max = clip_min, clip_max

    def __call__(self, model: Any, x: Tensor, y: Tensor, epsilon: float) -> Tensor:
        images = x.clone().detach()
        labels = y.clone().detach()
        images.requires_grad = True
        cost = self.criterion(model(images), labels)
        grad = torch.autograd.grad(cost, images, retain_graph=False, create_graph=False)[0]
        return torch.clamp(images + epsilon * grad.sign(), min=self.clip_min, max=self.clip_max).detach()


class FGSMModule(nn.Module):
    """Attack as a module whose forward returns adversarial images."""

    def forward(self, model: Any, x: Tensor, y: Tensor, epsilon: float) -> Tensor:
        return sign_step(model, x, y, epsilon)


def configurable(
    model: Any,
    x: Tensor,
    y: Tensor,
    epsilon: float,
    *,
    loss: Loss,
    bounds: tuple[float, float] | None = None,
    targeted: bool = False,
) -> Tensor:
    """Return the step of a configurable attack."""
    leaf = x.detach().clone().requires_grad_(True)
    value = loss(model(leaf), y)
    (grad,) = torch.autograd.grad(-value if targeted else value, leaf)
    adversarial = leaf.detach() + epsilon * grad.sign()
    return adversarial if bounds is None else adversarial.clamp(*bounds)


def with_counter() -> Candidate:
    """Return an attack that counts its calls and does not use the count."""
    calls = 0

    def candidate(model: Any, x: Tensor, y: Tensor, epsilon: float) -> Tensor:
        nonlocal calls
        calls += 1
        return sign_step(model, x, y, epsilon)

    return candidate


def with_buffer() -> Candidate:
    """Return an attack that keeps one leaf for each shape, and clears its gradient before each use."""
    leaves: dict[torch.Size, Tensor] = {}

    def candidate(model: Any, x: Tensor, y: Tensor, epsilon: float) -> Tensor:
        leaf = leaves.setdefault(x.shape, torch.empty_like(x).requires_grad_())
        leaf.data.copy_(x)
        leaf.grad = None
        F.cross_entropy(model(leaf), y).backward()
        return (x + epsilon * leaf.grad.sign()).clamp(0, 1)

    return candidate


# a class with __call__
right.add("class_with_call", FGSM())
# a module with forward
right.add("module_with_forward", FGSMModule())
# settings bound by functools.partial
right.add("partial", partial(configurable, loss=F.cross_entropy, bounds=(0.0, 1.0)))
# a closure with a counter
right.add("closure_with_counter", with_counter())
# a closure with a buffer that is cleared
right.add("closure_with_buffer", with_buffer())
