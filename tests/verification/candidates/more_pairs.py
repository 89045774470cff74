"""More pairs of faults in two stages.

Written by another hand than `pairs.py`, with other code and constants.
"""

# ruff: noqa
# mypy: ignore-errors

import random, itertools, torch, torch.nn.functional as F, numpy as np
from tests.verification.candidates.more_building_blocks import Rec, G, R, hot, own, ms

w = Rec()
CASES, OPTIONAL, ALL_WRONG = w.cases, w.optional, True


def k(model, x):
    return model(x[:1]).shape[1]


def t_next(m, x, y):
    return (y + 2) % k(m, x)


def second(m, x, y):
    return m(x).detach().topk(2, 1).indices[:, 1]


V = {
    "loss": [
        ("temp4", lambda z, y: F.cross_entropy(z / 4, y)),
        ("smooth02", lambda z, y: F.cross_entropy(z, y, label_smoothing=0.2)),
        ("msep", lambda z, y: F.mse_loss(z.softmax(1), hot(z, y))),
        ("bce", lambda z, y: F.binary_cross_entropy_with_logits(z, hot(z, y))),
    ],
    "labels": [("plus2", t_next), ("second", second), ("zero", lambda m, x, y: torch.zeros_like(y))],
    "direction": [
        ("thr1e5", lambda g: g.sign() * (g.abs() > 1e-5)),
        ("floor", lambda g: g / (g.abs() + 1e-4)),
        ("linf", lambda g: g / R(g.abs().flatten(1).amax(1)).clamp_min(1e-30)),
        ("blur", lambda g: F.avg_pool2d(g, 5, 1, 2).sign()),
    ],
    "size": [
        ("x1.5", lambda e, x, m: 1.5 * e),
        ("cap02", lambda e, x, m: min(e, 0.2)),
        ("std", lambda e, x, m: e * ms(m, x)[1]),
        ("e+0.005", lambda e, x, m: e + 0.005),
    ],
    "clip": [("none", lambda a: a), ("hi095", lambda a: a.clamp(0, 0.95)), ("-1..1", lambda a: a.clamp(-1, 1))],
    "output": [
        ("trunc8", lambda a: torch.floor(a * 255) / 255),
        ("half", lambda a: a.half()),
        ("round2", lambda a: (a * 100).round() / 100),
    ],
    "steps": [("two", 2), ("five", 5)],
    "randomness": [("postnoise", 0.003), ("start", "start")],
    "conduct": [
        ("seed", lambda m, x: torch.manual_seed(5)),
        ("npseed", lambda m, x: np.random.seed(5)),
        ("dtype", lambda m, x: torch.set_default_dtype(torch.float64)),
        ("train", lambda m, x: m.train()),
    ],
}


def build(f):
    loss = f.get("loss", F.cross_entropy)

    def attack(model, x, y, epsilon):
        x0 = x.clone()
        if "conduct" in f:
            f["conduct"](model, x)
        t = f["labels"](model, x, y) if "labels" in f else y
        e = f["size"](epsilon, x, model) if "size" in f else epsilon
        n = f.get("steps", 1)
        a = x0
        r = f.get("randomness")
        if r == "start":
            a = (a + epsilon * (2 * torch.rand(a.shape, dtype=a.dtype) - 1)).clamp(0, 1)
        for _ in range(n):
            g = G(model, a, t, lambda z, q: loss(z, q) * len(q))
            a = a + e / n * f.get("direction", torch.sign)(g)
            if n > 1:
                a = f.get("clip", lambda v: v.clamp(0, 1))(a)
        if r == "start":
            a = x0 + (a - x0).clamp(-1, 1) if "size" in f else torch.max(torch.min(a, x0 + epsilon), x0 - epsilon)
        a = f.get("clip", lambda v: v.clamp(0, 1))(a)
        if isinstance(r, float):
            a = f.get("clip", lambda v: v.clamp(0, 1))(a + r * torch.rand(a.shape, dtype=a.dtype))
        return f.get("output", lambda v: v)(a)

    return attack


EXTRA = {
    "start": "steps size loss direction",
    "postnoise": "output size",
    "linf": "size",
    "floor": "",
    "blur": "",
    "train": "randomness loss direction",
    "half": "",
    "msep": "",
    "round2": "",
}
rng = random.Random(20261130)
while len(CASES) < 26:
    a, b = sorted(rng.sample(sorted(V), 2))
    (na, fa), (nb, fb) = rng.choice(V[a]), rng.choice(V[b])
    name = f"{a}:{na}+{b}:{nb}"
    if name in CASES:
        continue
    w(f"{a} {b}", f"{EXTRA.get(na, '')} {EXTRA.get(nb, '')}".strip())(build({a: fa, b: fb}), name)
