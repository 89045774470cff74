"""Parts of the candidates in `more_wrong.py`, `more_right.py` and `more_pairs.py`."""

# ruff: noqa
# mypy: ignore-errors

import torch, torch.nn.functional as F


class Rec:
    def __init__(s):
        s.cases, s.optional = {}, {}

    def __call__(s, wrong="", optional=""):
        def add(f, name=None):
            n = name or getattr(f, "__name__", None)
            assert n not in s.cases, n
            s.cases[n] = (f, wrong.split())
            if optional:
                s.optional[n] = tuple(optional.split())
            return f

        return add


def G(model, x, y, loss=F.cross_entropy):
    v = torch.empty_like(x).copy_(x).requires_grad_(True)
    out = loss(model(v), y)
    out.backward(inputs=[v])
    return v.grad


def S(model, x, y, e, loss=F.cross_entropy):
    return torch.clamp(x + e * G(model, x, y, loss).sign(), 0, 1)


def R(v):
    return v.reshape(-1, 1, 1, 1)


def hot(z, y):
    return torch.eye(z.shape[1], dtype=z.dtype)[y]


def own(z, y):
    return z[torch.arange(len(z)), y]


def ms(model, x):
    return tuple(torch.as_tensor(v, dtype=x.dtype).reshape(1, -1, 1, 1) for v in (model.mean, model.std))
