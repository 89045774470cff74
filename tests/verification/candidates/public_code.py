"""FGSM as it is found in public code, written anew: 12 wrong and 8 right. CASES: name -> (candidate, stages that are wrong)."""

# ruff: noqa: N812
# mypy: ignore-errors

import copy

import numpy as np
import torch
import torch.nn.functional as F


def grad_of(model, x, y, loss=F.cross_entropy):
    """Return the gradient of the loss at x; x and the parameters stay as they are."""
    z = x.detach().clone().requires_grad_()
    return torch.autograd.grad(loss(model(z), y), z)[0]


def rows(v):
    return v.view(-1, 1, 1, 1)


def statistics(x):
    """Means and standard deviations of another data set: CIFAR-10's for colour, MNIST's for grey."""
    m, s = (
        ((0.4914, 0.4822, 0.4465), (0.2470, 0.2435, 0.2616))
        if x.shape[1] == 3
        else ((0.1307,) * x.shape[1], (0.3081,) * x.shape[1])
    )
    return torch.tensor(m).view(1, -1, 1, 1), torch.tensor(s).view(1, -1, 1, 1)


# step and bounds in normalised space with another data set's statistics
def copied_statistics(model, x, y, epsilon):
    m, s = statistics(x)
    z = (x - m) / s + epsilon * grad_of(model, x, y).sign()
    return torch.max(torch.min(z, (1 - m) / s), (0 - m) / s) * s + m


# epsilon / std[0] for all channels
def std_of_first_channel(model, x, y, epsilon):
    m, s = model.mean, model.std
    z = (x - m) / s
    return ((z + epsilon / torch.as_tensor(s).flatten()[0] * grad_of(model.network, z, y).sign()) * s + m).clamp(0, 1)


# L2 norm of each channel instead of the image
def l2_per_channel(model, x, y, epsilon):
    g = grad_of(model, x, y)
    return torch.clamp(x + epsilon * g / g.norm(dim=(2, 3), keepdim=True), 0, 1)


# the signed step is projected to an L2 ball of radius epsilon
def sign_then_l2_ball(model, x, y, epsilon):
    d = epsilon * grad_of(model, x, y).sign()
    n = rows(d.flatten(1).norm(dim=1))
    return torch.clamp(x + d * torch.clamp(epsilon / n.clamp_min(1e-12), max=1), 0, 1)


# the step is right; one pair of bounds, the widest in normalised space, serves all channels
def one_bound_for_all_channels(model, x, y, epsilon):
    m, s = model.mean, model.std
    z = (x - m) / s
    g = grad_of(model.network, z, y)
    low, high = ((0 - m) / s).min(), ((1 - m) / s).max()
    return (z + epsilon / s * g.sign()).clamp(low, high) * s + m


# difference of logits ratio instead of cross-entropy
def dlr(model, x, y, epsilon):
    def loss(z, t):
        s, own = z.sort(1).values, z.gather(1, t[:, None])[:, 0]
        top = z.argmax(1) == t
        return -((own - torch.where(top, s[:, -2], s[:, -1])) / (s[:, -1] - s[:, -3] + 1e-12)).sum()

    return (x + epsilon * grad_of(model, x, y, loss).sign()).clamp(0, 1)


# entropy of the prediction; no label
def entropy(model, x, y, epsilon):
    return (x + epsilon * grad_of(model, x, y, lambda z, t: -(z.softmax(1) * z.log_softmax(1)).sum()).sign()).clamp(0, 1)


# one step towards the least likely class
def least_likely(model, x, y, epsilon):
    with torch.no_grad():
        t = model(x).argmin(1)
    return (x - epsilon * grad_of(model, x, t).sign()).clamp(0, 1)


# g / (|g| + c) instead of the sign
def sign_with_a_floor(model, x, y, epsilon):
    g = grad_of(model, x, y)
    return (x + epsilon * g / (g.abs() + 1e-3)).clamp(0, 1)


# a random budget for each image
def random_budget(model, x, y, epsilon):
    return (x + rows(torch.rand(len(x)) * epsilon) * grad_of(model, x, y).sign()).clamp(0, 1)


# total variation of the image added to the loss
def plus_total_variation(model, x, y, epsilon):
    z = x.detach().clone().requires_grad_()
    tv = (z[..., 1:, :] - z[..., :-1, :]).pow(2).sum() + (z[..., 1:] - z[..., :-1]).pow(2).sum()
    (g,) = torch.autograd.grad(F.cross_entropy(model(z), y, reduction="sum") + 0.5 * tv, z)
    return (x + epsilon * g.sign()).clamp(0, 1)


# a bound of 0 is falsy, so the batch's minimum is the bound
def falsy_zero_bound(model, x, y, epsilon, clip_low=0.0, clip_high=1.0):
    return torch.clamp(x + epsilon * grad_of(model, x, y).sign(), clip_low or x.min(), clip_high or x.max())


def right_harry(model, x, y, epsilon):
    x.requires_grad = True
    model.zero_grad()
    F.cross_entropy(model(x), y).backward()
    return torch.clamp(x + epsilon * x.grad.sign(), 0, 1)


def right_konny(model, x, y, epsilon, targeted=False):
    a = torch.autograd.Variable(x.data, requires_grad=True)
    c = F.cross_entropy(model(a), y)
    (c if targeted else -c).backward()
    a.grad.sign_()
    return torch.clamp(a - epsilon * a.grad, 0, 1).detach()


def right_func_vmap(model, x, y, epsilon):
    g = torch.func.vmap(torch.func.grad(lambda v, t: F.cross_entropy(model(v[None]), t[None])))(x, y)
    return (x + epsilon * g.sign()).clamp(0, 1)


def right_double(model, x, y, epsilon):
    return (x.double() + epsilon * grad_of(copy.deepcopy(model).double(), x.double(), y).sign()).clamp(0, 1)


def right_nhwc(model, x, y, epsilon):
    a = np.ascontiguousarray(x.numpy().transpose(0, 2, 3, 1))
    t = torch.from_numpy(a).requires_grad_()
    F.cross_entropy(model(t.permute(0, 3, 1, 2)), y).backward()
    return np.clip(a + epsilon * np.sign(t.grad.numpy()), 0, 1).transpose(0, 3, 1, 2)


def right_focal(model, x, y, epsilon):
    def loss(z, t):
        lp = z.log_softmax(1).gather(1, t[:, None])
        return -((1 - lp.exp()) ** 2 * lp).sum()

    return (x + epsilon * grad_of(model, x, y, loss).sign()).clamp(0, 1)


@torch.compile(backend="eager")
def step_compiled(x, g, epsilon):
    return torch.clamp(x + epsilon * torch.sign(g), 0.0, 1.0)


def right_compiled(model, x, y, epsilon):
    return step_compiled(x, grad_of(model, x, y), epsilon)


def right_less_1e7(model, x, y, epsilon):
    return torch.clamp(x + (epsilon - 1e-7) * grad_of(model, x, y).sign(), 0, 1)


CASES = {
    "copied_statistics": (copied_statistics, ["size"]),
    "std_of_first_channel": (std_of_first_channel, ["size"]),
    "l2_per_channel": (l2_per_channel, ["direction"]),
    "sign_then_l2_ball": (sign_then_l2_ball, ["size"]),
    "one_bound_for_all_channels": (one_bound_for_all_channels, ["clip"]),
    "dlr": (dlr, ["loss"]),
    "entropy": (entropy, ["loss", "labels"]),
    "least_likely": (least_likely, ["labels"]),
    "sign_with_a_floor": (sign_with_a_floor, ["direction"]),
    "random_budget": (random_budget, ["size", "randomness"]),
    "plus_total_variation": (plus_total_variation, ["loss"]),
    "falsy_zero_bound": (falsy_zero_bound, ["clip"]),
    "right_harry": (right_harry, []),
    "right_konny": (right_konny, []),
    "right_func_vmap": (right_func_vmap, []),
    "right_double": (right_double, []),
    "right_nhwc": (right_nhwc, []),
    "right_focal": (right_focal, []),
    "right_compiled": (right_compiled, []),
    "right_less_1e7": (right_less_1e7, []),
}
