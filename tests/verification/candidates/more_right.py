"""More right FGSM implementations.

Written by another hand than `right.py`, with other code and constants.
"""

# ruff: noqa
# mypy: ignore-errors

import numpy as np, torch, torch.nn as nn, torch.nn.functional as F, copy, threading, functools
from concurrent.futures import ThreadPoolExecutor
from torch.autograd import Variable
from tests.verification.candidates.more_building_blocks import Rec, ms, hot, own

r = Rec()
CASES, OPTIONAL = r.cases, r.optional


def g0(model, x, y, loss=lambda z, t: F.cross_entropy(z, t, reduction="sum")):
    v = x.detach().clone().requires_grad_(True)
    return torch.autograd.grad(loss(model(v), y), v)[0]


def Lr(name, loss, optional=""):
    r("", optional)(lambda model, x, y, epsilon: (x + epsilon * g0(model, x, y, loss).sign()).clamp(0, 1), name)


Lr("mean_ce", F.cross_entropy)
Lr("none_then_sum", lambda z, y: F.cross_entropy(z, y, reduction="none").sum())
Lr("none_then_mean", lambda z, y: nn.CrossEntropyLoss(reduction="none")(z, y).mean())
Lr("log_softmax_nll", lambda z, y: nn.NLLLoss()(nn.LogSoftmax(dim=1)(z), y))
Lr("onehot_ce_by_hand", lambda z, y: -(hot(z, y) * z.log_softmax(1)).sum())
Lr("onehot_argmax", lambda z, y: F.cross_entropy(z, hot(z, y).argmax(1)))
Lr("soft_target_ce", lambda z, y: F.cross_entropy(z, hot(z, y)))
Lr("scaled_1e4", lambda z, y: 1e4 * F.cross_entropy(z, y))
Lr("scaled_1em4", lambda z, y: 1e-4 * F.cross_entropy(z, y, reduction="sum"))
Lr("logsumexp_minus_own", lambda z, y: (z.logsumexp(1) - own(z, y)).sum())
Lr("minus_probability", lambda z, y: -own(z.softmax(1), y).sum(), "loss direction")
Lr("class_weights", lambda z, y: F.cross_entropy(z, y, weight=torch.linspace(0.5, 2, z.shape[1], dtype=z.dtype)))
Lr("poly1", lambda z, y: (F.cross_entropy(z, y, reduction="none") + 2 * (1 - own(z.softmax(1), y))).sum())
Lr("logits_shifted", lambda z, y: F.cross_entropy(z - z.amax(1, keepdim=True), y))
Lr("l1_of_probabilities", lambda z, y: (z.softmax(1) - hot(z, y)).abs().sum(), "loss direction")
Lr("focal_gamma_1", lambda z, y: ((1 - own(z.softmax(1), y)) * F.cross_entropy(z, y, reduction="none")).sum(), "loss direction")
Lr("ce_ignoring_minus_100", lambda z, y: nn.CrossEntropyLoss(ignore_index=-100)(z, y))
Lr("exp_of_ce", lambda z, y: F.cross_entropy(z.double(), y, reduction="none").exp().sum(), "loss direction")


@r()
def numpy_round_trip(model, x, y, epsilon):
    a = x.detach().cpu().numpy()
    t = torch.tensor(a, requires_grad=True)
    F.cross_entropy(model(t), torch.from_numpy(y.numpy())).backward()
    return np.clip(a + np.float32(epsilon) * np.sign(t.grad.numpy()), 0.0, 1.0).astype(np.float32)


@r()
def numpy_float64_out(model, x, y, epsilon):
    return np.minimum(np.maximum(x.numpy().astype(np.float64) + epsilon * np.sign(g0(model, x, y).numpy()), 0), 1)


@r()
def func_grad_and_value(model, x, y, epsilon):
    g, (l, z) = torch.func.grad_and_value(
        lambda v: (lambda z: (F.cross_entropy(z, y, reduction="sum"), z))(model(v)), has_aux=True
    )(x)
    return (x + epsilon * g.sign()).clamp(0, 1)


@r()
def func_jacrev(model, x, y, epsilon):
    f = lambda v: F.cross_entropy(model(v), y)
    return (x + epsilon * torch.func.jacrev(f)(x).sign()).clamp(0, 1)


@r()
def vmap_chunks(model, x, y, epsilon):
    def one(v, t):
        return F.cross_entropy(model(v.unsqueeze(0)), t.unsqueeze(0))

    return torch.clamp(x + epsilon * torch.func.vmap(torch.func.grad(one), chunk_size=8)(x, y).sign(), 0, 1)


@r()
def double_vjp_jvp(model, x, y, epsilon):
    _, pull = torch.func.vjp(model, x)
    z = model(x).detach()
    return (x + epsilon * pull(z.softmax(1) - F.one_hot(y, z.shape[1]))[0].sign()).clamp(0, 1).detach()


@r()
def register_hook_capture(model, x, y, epsilon):
    seen = []
    v = x.clone().requires_grad_()
    h = v * 1.0
    h.register_hook(lambda g: seen.append(g.detach()))
    F.cross_entropy(model(h), y).backward()
    return (x + epsilon * seen[0].sign()).clamp(0, 1)


class Attack:
    """torchattacks-like"""

    def __init__(self, eps=8 / 255):
        self.eps, self.device = eps, torch.device("cpu")

    def forward(self, model, images, labels):
        images, labels = images.clone().detach().to(self.device), labels.clone().detach().to(self.device)
        loss = nn.CrossEntropyLoss()
        images.requires_grad = True
        cost = loss(model(images), labels)
        grad = torch.autograd.grad(cost, images, retain_graph=False, create_graph=False)[0]
        return torch.clamp(images + self.eps * grad.sign(), min=0, max=1).detach()


@r()
def class_made_each_time(model, x, y, epsilon):
    return Attack(epsilon).forward(model, x, y)


def make():
    ce = nn.CrossEntropyLoss()

    def attack(model, x, y, epsilon):
        v = x.detach().clone()
        v.requires_grad_()
        ce(model(v), y).backward()
        v = v.detach() + epsilon * v.grad.detach().sign()
        return v.clamp_(0, 1)

    return attack


r()(make(), "closure")


@r()
def per_image_loop(model, x, y, epsilon):
    out = []
    for i in range(x.size(0)):
        im = x[i : i + 1].clone()
        im.requires_grad = True
        F.cross_entropy(model(im), y[i : i + 1]).backward()
        out.append((im + epsilon * im.grad.sign()).clamp(0, 1).detach())
    return torch.cat(out, 0)


@r()
def autocast_off(model, x, y, epsilon):
    with torch.autocast("cpu", enabled=False):
        g = g0(model, x, y)
    return (x + epsilon * g.sign()).clamp(0, 1)


@r()
def double_copy(model, x, y, epsilon):
    m = copy.deepcopy(model).double().eval()
    return (x + epsilon * g0(m, x.double(), y).sign().to(x.dtype)).clamp(0, 1)


@r()
def channels_last(model, x, y, epsilon):
    return (x + epsilon * g0(model, x.to(memory_format=torch.channels_last), y).sign()).clamp(0, 1).contiguous()


@r()
def checkpointed(model, x, y, epsilon):
    from torch.utils.checkpoint import checkpoint

    v = x.clone().requires_grad_()
    (g,) = torch.autograd.grad(F.cross_entropy(checkpoint(model, v, use_reentrant=False), y), v)
    return torch.clamp(x + g.sign() * epsilon, 0, 1)


@torch.compile(backend="eager", dynamic=True)
def compiled_sign(x, g, e):
    return (x + e * g.sign()).clamp(0.0, 1.0)


@r()
def compile_eager(model, x, y, epsilon):
    return compiled_sign(x, g0(model, x, y), epsilon)


@r()
def in_place(model, x, y, epsilon):
    v = x.detach().clone().requires_grad_()
    F.cross_entropy(model(v), y).backward()
    with torch.no_grad():
        v.add_(v.grad.sign_().mul_(epsilon)).clamp_(0, 1)
    return v.detach()


@r()
def old_variable(model, x, y, epsilon):
    v = Variable(x.clone(), requires_grad=True)
    out = model(v)
    loss = nn.CrossEntropyLoss()(out, Variable(y))
    model.zero_grad()
    loss.backward()
    return torch.clamp(v.data + epsilon * torch.sign(v.grad.data), 0, 1)


@r()
def foolbox_like(model, x, y, epsilon):
    x0 = x.detach()
    v = x0.clone().requires_grad_()
    loss = F.cross_entropy(model(v), y, reduction="none").sum()
    loss.backward()
    return (x0 + epsilon * v.grad.sign()).clip(0, 1)


@r()
def cleverhans_like(model, x, y, eps):
    x = x.clone().detach().to(torch.float).requires_grad_(True)
    loss = nn.CrossEntropyLoss()(model(x), y)
    loss.backward()
    return torch.clamp(x + eps * torch.sign(x.grad), 0, 1)


@r()
def art_like(model, x, y, epsilon):
    a, lab = x.numpy().copy(), np.eye(model(x[:1]).shape[1], dtype=np.float32)[y.numpy()]
    out = a.copy()
    for i in range(0, len(a), 32):
        t = torch.from_numpy(a[i : i + 32]).requires_grad_()
        F.cross_entropy(model(t), torch.from_numpy(lab[i : i + 32]).argmax(1)).backward()
        out[i : i + 32] = np.clip(a[i : i + 32] + np.sign(t.grad.numpy()) * epsilon, 0, 1)
    return out


def fgsm_attack(image, epsilon, data_grad):
    return torch.clamp(image + epsilon * data_grad.sign(), 0, 1)


@r()
def tutorial(model, x, y, epsilon):
    data = x.clone()
    data.requires_grad = True
    loss = F.nll_loss(F.log_softmax(model(data), 1), y)
    model.zero_grad()
    loss.backward()
    return fgsm_attack(data, epsilon, data.grad.data)


@r()
def chunks(model, x, y, epsilon):
    return torch.cat([(a + epsilon * g0(model, a, b).sign()).clamp(0, 1) for a, b in zip(x.split(5), y.split(5))])


@r()
def data_loader(model, x, y, epsilon):
    dl = torch.utils.data.DataLoader(torch.utils.data.TensorDataset(x, y), batch_size=16)
    return torch.cat([(a + epsilon * g0(model, a, b).sign()).clamp(0, 1) for a, b in dl])


@r()
def threads(model, x, y, epsilon):
    def one(i):
        with torch.enable_grad():
            return (x[i::2] + epsilon * g0(model, x[i::2], y[i::2]).sign()).clamp(0, 1)

    out = torch.empty_like(x)
    with ThreadPoolExecutor(2) as p:
        parts = list(p.map(one, [0, 1]) if len(x) > 1 else [one(0)])
    for i, part in enumerate(parts):
        out[i::2] = part
    return out


@r()
def eval_called(model, x, y, epsilon):
    model.eval()
    return (x + epsilon * g0(model, x, y).sign()).clamp(0, 1)


@r()
def mode_and_flags_restored(model, x, y, epsilon):
    was, flags = model.training, [p.requires_grad for p in model.parameters()]
    model.eval()
    for p in model.parameters():
        p.requires_grad_(False)
    try:
        return (x + epsilon * g0(model, x, y).sign()).clamp(0, 1)
    finally:
        model.train(was)
        for p, f in zip(model.parameters(), flags):
            p.requires_grad_(f)


@r()
def over_max_before_sign(model, x, y, epsilon):
    g = g0(model, x, y)
    return (x + epsilon * (g / g.abs().amax((1, 2, 3), keepdim=True).clamp_min(torch.finfo(g.dtype).tiny)).sign()).clamp(0, 1)


@r()
def epsilon_tensor(model, x, y, epsilon):
    e = torch.full((len(x), 1, 1, 1), float(epsilon), dtype=x.dtype)
    return torch.clamp(x + e * g0(model, x, y).sign(), torch.tensor(0.0, dtype=x.dtype), torch.tensor(1.0, dtype=x.dtype))


@r()
def bounds_as_images(model, x, y, epsilon):
    return torch.minimum(torch.maximum(x + epsilon * g0(model, x, y).sign(), torch.zeros_like(x)), torch.ones_like(x))


@r()
def clip_by_where(model, x, y, epsilon):
    a = x + epsilon * g0(model, x, y).sign()
    a = torch.where(a < 0, torch.zeros_like(a), a)
    return torch.where(a > 1, torch.ones_like(a), a)


@r()
def add_alpha(model, x, y, epsilon):
    return torch.add(x, g0(model, x, y).sign(), alpha=float(epsilon)).clamp(0, 1)


@r()
def where_with_zero(model, x, y, epsilon):
    g = g0(model, x, y)
    return (x + torch.where(g > 0, epsilon, torch.where(g < 0, -epsilon, 0.0))).clamp(0, 1).to(x.dtype)


@r()
def masked_assign(model, x, y, epsilon):
    g = g0(model, x, y)
    a = x.clone()
    a[g > 0] += epsilon
    a[g < 0] -= epsilon
    a[a < 0] = 0
    a[a > 1] = 1
    return a


@r()
def box_of_epsilon_and_range(model, x, y, epsilon):
    lo, hi = (x - epsilon).clamp(min=0), (x + epsilon).clamp(max=1)
    s = g0(model, x, y).sign()
    return torch.where(s > 0, hi, torch.where(s < 0, lo, x))


@r()
def minus_gradient_of_log_likelihood(model, x, y, epsilon, targeted=False):
    g = g0(model, x, y, lambda z, t: z.log_softmax(1).gather(1, t[:, None]).sum())
    return (x + (1 if targeted else -1) * epsilon * g.sign()).clamp(0, 1)


@r()
def normalised_space(model, x, y, epsilon):
    m, s = ms(model, x)
    z = (x - m) / s
    g = g0(model.network, z, y)
    a = z + epsilon / s * g.sign()
    return (torch.max(torch.min(a, (1 - m) / s), -m / s) * s + m).clamp(0, 1)


@r()
def state_dict_copy(model, x, y, epsilon):
    before = {k: v.clone() for k, v in model.state_dict().items()}
    a = (x + epsilon * g0(model, x, y).sign()).clamp(0, 1)
    model.load_state_dict(before)
    return a


@r()
def backward_on_frozen_copy(model, x, y, epsilon):
    m = copy.deepcopy(model).requires_grad_(False)
    v = x.clone().requires_grad_()
    F.cross_entropy(m(v), y).backward()
    return (v + epsilon * v.grad.sign()).clamp(0, 1)


@r()
def delta_parameter(model, x, y, epsilon):
    d = nn.Parameter(torch.zeros_like(x))
    F.cross_entropy(model(x + d), y, reduction="sum").backward()
    return (x + (epsilon * d.grad.sign()).clamp(-epsilon, epsilon)).clamp(0, 1).detach()


@r()
def sgd_step(model, x, y, epsilon):
    v = nn.Parameter(x.clone())
    opt = torch.optim.SGD([v], lr=float(epsilon))
    loss = -F.cross_entropy(model(v), y)
    opt.zero_grad()
    loss.backward()
    v.grad.sign_()
    opt.step()
    return v.detach().clamp(0, 1)


class Fn(torch.autograd.Function):
    @staticmethod
    def forward(ctx, v):
        return v.view_as(v)

    @staticmethod
    def backward(ctx, g):
        return g.sign()


@r()
def sign_in_backward(model, x, y, epsilon):
    v = x.clone().requires_grad_()
    F.cross_entropy(model(Fn.apply(v)), y).backward()
    return (x + epsilon * v.grad).clamp(0, 1)


@r()
def loss_scaler(model, x, y, epsilon):
    v = x.clone().requires_grad_()
    (F.cross_entropy(model(v), y, reduction="sum") * 65536.0).backward()
    return (x + epsilon * (v.grad / 65536.0).sign()).clamp(0, 1)


@r("", "output")
def python_lists(model, x, y, epsilon):
    return torch.tensor(
        np.clip(np.array(x.tolist()) + float(epsilon) * np.sign(np.array(g0(model, x, y).tolist())), 0, 1).tolist(),
        dtype=torch.float32,
    )


@r()
def padded_to_32(model, x, y, epsilon):
    n = -len(x) % 32
    a, b = torch.cat([x, x[:1].expand(n, *x.shape[1:])]), torch.cat([y, y[:1].expand(n)])
    return (a + epsilon * g0(model, a, b).sign()).clamp(0, 1)[: len(x)]


@r()
def shuffled_and_back(model, x, y, epsilon):
    p = torch.randperm(len(x), generator=torch.Generator().manual_seed(0))
    out = torch.empty_like(x)
    out[p] = (x[p] + epsilon * g0(model, x[p], y[p]).sign()).clamp(0, 1)
    return out


@r()
def no_clip_beyond_epsilon(model, x, y, epsilon):
    a = x + epsilon * g0(model, x, y).sign()
    return x + (a.clamp(0, 1) - x).clamp(-epsilon, epsilon)


@r()
def subtract_from_255(model, x, y, epsilon):
    return ((x * 255 + 255 * epsilon * g0(model, x, y).sign()).clamp(0, 255)) / 255
