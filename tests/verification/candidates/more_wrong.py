"""More wrong FGSM implementations.

Written by another hand than `wrong.py`, with other code and constants.
"""

# ruff: noqa
# mypy: ignore-errors

import numpy as np, torch, torch.nn as nn, torch.nn.functional as F, random, copy, math
from tests.verification.candidates.more_building_blocks import Rec, G, S, R, hot, own, ms

w = Rec()
CASES, OPTIONAL, ALL_WRONG = w.cases, w.optional, True


def L(name, loss, wrong="loss", optional=""):
    w(wrong, optional)(lambda model, x, y, epsilon: S(model, x, y, epsilon, loss), name)


A = "loss labels direction size conduct steps"
# ---- loss
L("ce_of_sigmoid", lambda z, y: F.cross_entropy(torch.sigmoid(z), y))
L("logsigmoid_of_label", lambda z, y: -F.logsigmoid(own(z, y)).sum())
L(
    "cw_kappa5",
    lambda z, y: -torch.clamp(own(z, y) - (z - 1e4 * hot(z, y)).max(1)[0], min=-5).sum(),
    optional="size direction labels",
)
L("multi_margin_p2", lambda z, y: F.multi_margin_loss(z, y, p=2, margin=0.5), optional="size direction")
L("smoothing_005", lambda z, y: nn.CrossEntropyLoss(label_smoothing=0.05)(z, y))
L("temperature_3", lambda z, y: F.nll_loss(F.log_softmax(z / 3.0, 1), y))
L("mse_to_ten_onehot", lambda z, y: nn.MSELoss()(z, 10 * hot(z, y)))
L("cosine_to_onehot", lambda z, y: (1 - F.cosine_similarity(z, hot(z, y))).mean())
L("clamped_logits", lambda z, y: F.cross_entropy(z.clamp(-1, 1), y), optional="size direction labels")
L("logsumexp_only", lambda z, y: z.logsumexp(1).sum(), optional="labels")
L("second_minus_own", lambda z, y: (z.topk(2, 1).values[:, 1] - own(z, y)).sum(), optional="labels")
L("own_confidence_down", lambda z, y: -z.softmax(1).max(1).values.sum(), "labels", "loss")
L("gini", lambda z, y: (1 - z.softmax(1).pow(2).sum(1)).mean(), optional="labels")
L(
    "zero_weight_of_class0",
    lambda z, y: F.cross_entropy(z, y, weight=torch.tensor([0.0] + [1.0] * (z.shape[1] - 1), dtype=z.dtype), reduction="sum"),
    "",
    A,
)
L("ignore_index_3", lambda z, y: F.cross_entropy(z, y, ignore_index=3, reduction="sum"), "", A)
L("log_of_clamped_p", lambda z, y: -torch.log(own(z.softmax(1), y).clamp(min=0.05)).sum(), "", A)
L("poisson_nll", lambda z, y: F.poisson_nll_loss(z, hot(z, y)))
L("mse_of_sigmoid", lambda z, y: (torch.sigmoid(z) - hot(z, y)).square().mean())
L("mean_minus_own", lambda z, y: (z.mean(1) - own(z, y)).sum())
L(
    "soft_label_half_prediction",
    lambda z, y: -((0.5 * hot(z, y) + 0.5 * z.softmax(1).detach()) * z.log_softmax(1)).sum() - 0.3 * z.mean(1).sum(),
    optional="labels",
)
L("ce_plus_margin", lambda z, y: F.cross_entropy(z, y, reduction="sum") + ((z - 1e3 * hot(z, y)).amax(1) - own(z, y)).sum())
L("hinge_all", lambda z, y: F.relu(1.0 + z - own(z, y)[:, None]).sum())
L("ce_sum_squared_logits", lambda z, y: F.cross_entropy(z, y) + 0.01 * z.pow(2).sum(1).mean())


@w("loss", "direction")
def l1_image_penalty(model, x, y, epsilon):
    v = x.detach().clone().requires_grad_()
    (F.cross_entropy(model(v), y, reduction="sum") - 0.02 * v.abs().sum()).backward()
    return (x + epsilon * v.grad.sign()).clamp(0, 1)


@w("", A)
def flip_ensemble(model, x, y, epsilon):
    v = x.detach().clone().requires_grad_()
    z = (model(v) + model(v.flip(-1))) / 2
    F.cross_entropy(z, y).backward()
    return (x + epsilon * v.grad.sign()).clamp(0, 1)


# ---- labels
@w("labels", "conduct")
def labels_rolled(model, x, y, epsilon):
    return S(model, x, y.roll(1), epsilon)


@w("labels")
def away_from_second(model, x, y, epsilon):
    with torch.no_grad():
        t = model(x).argsort(1)[:, -2]
    return S(model, x, t, epsilon)


@w("labels")
def prediction_plus_3(model, x, y, epsilon):
    z = model(x)
    t = (z.argmax(1) + 3) % z.size(1)
    return (x - epsilon * G(model, x, t).sign()).clamp(0, 1)


@w("labels", "conduct randomness")
def seeded_random_labels(model, x, y, epsilon):
    k = model(x[:1]).shape[1]
    g = torch.Generator().manual_seed(3)
    return S(model, x, torch.randint(k, y.shape, generator=g), epsilon)


@w("labels")
def labels_capped_at_4(model, x, y, epsilon):
    return S(model, x, y.clamp(max=4), epsilon)


@w("labels")
def reversed_classes(model, x, y, epsilon):
    return S(model, x, model(x[:1]).shape[1] - 1 - y, epsilon)


@w("labels")
def binary_labels(model, x, y, epsilon):
    return S(model, x, (y > 0).long(), epsilon)


@w("labels")
def prediction_if_wrong(model, x, y, epsilon):
    p = model(x).argmax(1)
    return S(model, x, torch.where(p == y, y, p), epsilon)


@w("labels")
def least_likely_if_right(model, x, y, epsilon):
    z = model(x).detach()
    ok = z.argmax(1) == y
    g1 = G(model, x, y)
    g2 = -G(model, x, z.argmin(1))
    return (x + epsilon * torch.where(R(ok), g2, g1).sign()).clamp(0, 1)


# ---- direction
def D(name, f, wrong="direction", optional="size"):
    w(wrong, optional)(
        lambda model, x, y, epsilon: (x + epsilon * f(G(model, x, y, lambda z, t: F.cross_entropy(z, t, reduction="sum")))).clamp(
            0, 1
        ),
        name,
    )


D("threshold_1e4", lambda g: g.sign() * (g.abs() >= 1e-4))
D("above_median", lambda g: g.sign() * (g.abs() > R(g.abs().flatten(1).median(1).values)))
D("tanh_1000", lambda g: torch.tanh(1000 * g))
D("mean_abs_clipped", lambda g: (g / R(g.abs().flatten(1).mean(1)).clamp_min(1e-30)).clamp(-1, 1))
D("l2_times_sqrt_n", lambda g: g / R(g.flatten(1).norm(dim=1)).clamp_min(1e-12) * math.sqrt(g[0].numel()))
D("channel_mean_sign", lambda g: g.mean(1, keepdim=True).sign().expand_as(g))
D(
    "binomial_blur",
    lambda g: F.conv2d(
        g,
        (torch.outer(torch.tensor([1.0, 4, 6, 4, 1]), torch.tensor([1.0, 4, 6, 4, 1])) / 256)
        .to(g.dtype)
        .expand(g.shape[1], 1, 5, 5),
        padding=2,
        groups=g.shape[1],
    ).sign(),
)


def first_channel(g):
    m = torch.zeros_like(g)
    m[:, 0] = 1
    return m * g.sign()


D("first_channel_only", first_channel)


def centre(g):
    m = torch.zeros_like(g)
    m[..., 2:-2, 2:-2] = 1
    return m * g.sign()


D("centre_only", centre)
D("zeros_down", lambda g: torch.where(g > 0, 1.0, -1.0).to(g.dtype))
D("root_of_square_floor", lambda g: g / torch.sqrt(g * g + 1e-10))
D("rounded_share_of_max", lambda g: torch.round(g / R(g.abs().flatten(1).amax(1)).clamp_min(1e-30)))
D("half_precision_gradient", lambda g: g.half().sign().to(g.dtype))
D("upward_only", lambda g: g.sign().clamp(min=0))


def topten(g):
    a = g.abs().flatten(1)
    k = max(1, a.shape[1] // 10)
    t = a.topk(k, 1).values[:, -1]
    return g.sign() * (g.abs() >= R(t))


D("top_tenth", topten)
D("descends", lambda g: -g.sign(), "", A)
D("mirrored_gradient", lambda g: g.flip(-1).sign())
D("steep_clamp", lambda g: (g * 1e4).clamp(-1, 1))
D("square_root_magnitude", lambda g: g.sign() * (g.abs() / R(g.abs().flatten(1).amax(1)).clamp_min(1e-30)).sqrt())
D("minus_mean_of_gradient", lambda g: (g - g.mean(dim=(1, 2, 3), keepdim=True)).sign())
D("atan_smooth", lambda g: torch.atan(g * 1e6) * 2 / math.pi)
D("nan_to_small_round", lambda g: torch.round(g, decimals=8).sign())


@w("", "direction clip size loss conduct")
def sign_of_gradient_times_input(model, x, y, epsilon):
    return torch.clamp(x + epsilon * (G(model, x, y) * x).sign(), 0, 1)


@w("direction", "size conduct randomness")
def pixels_with_dark_values_skipped(model, x, y, epsilon):
    return torch.where(x > 0.02, S(model, x, y, epsilon), x)


# ---- size
def Z(name, f, wrong="size", optional=""):
    w(wrong, optional)(lambda model, x, y, epsilon: S(model, x, y, f(epsilon, x, model)), name)


Z("one_percent_more", lambda e, x, m: e * 1.01)
Z("a_thousandth_more", lambda e, x, m: e + 0.001)
Z("capped_at_03", lambda e, x, m: min(e, 0.3))
Z("at_least_2_levels", lambda e, x, m: max(e, 2 / 255))
Z("squared_epsilon", lambda e, x, m: e * e)
Z("times_image_std", lambda e, x, m: e * R(x.flatten(1).std(1)))
Z("times_mean_std", lambda e, x, m: e * ms(m, x)[1].mean())
Z("rounded_epsilon", lambda e, x, m: round(float(e) * 255) / 255)
Z("truncated_epsilon", lambda e, x, m: int(float(e) * 100) / 100)
Z("always_8_levels", lambda e, x, m: 8 / 255)
Z("over_batch_length", lambda e, x, m: e / len(x), optional="conduct")
Z("times_image_range", lambda e, x, m: e * R(x.flatten(1).amax(1) - x.flatten(1).amin(1)), optional="conduct")
Z("imagenet_std", lambda e, x, m: e * (torch.tensor([0.229, 0.224, 0.225]).reshape(1, 3, 1, 1) if x.shape[1] == 3 else 0.226))
Z("epsilon_for_minus1_to_1", lambda e, x, m: 2 * e)
Z("l2_budget_over_root", lambda e, x, m: e / math.sqrt(x[0].numel()))


@w("size", "direction")
def half_downward(model, x, y, epsilon):
    s = G(model, x, y).sign()
    return (x + torch.where(s > 0, epsilon * s, 0.5 * epsilon * s)).clamp(0, 1)


@w("size", "loss labels conduct")
def times_confidence(model, x, y, epsilon):
    p = model(x).softmax(1).gather(1, y[:, None]).detach()
    return S(model, x, y, epsilon * R(p))


class Decaying:
    def __init__(self):
        self.n = 0

    def __call__(self, model, x, y, epsilon):
        self.n += 1
        return S(model, x, y, epsilon * 0.9**self.n)


w("", "size conduct randomness")(Decaying(), "decaying_budget")


@w("", "size conduct output labels")
def last_image_forgotten(model, x, y, epsilon):
    out = x.clone()
    for i in range(len(x) - 1):
        out[i : i + 1] = S(model, x[i : i + 1], y[i : i + 1], epsilon)
    return out


@w("", "size conduct output labels")
def first_64_images(model, x, y, epsilon):
    out = x.clone()
    out[:64] = S(model, x[:64], y[:64], epsilon)
    return out


@w("size", "conduct loss labels steps")
def smallest_budget_that_flips(model, x, y, epsilon):
    s = G(model, x, y).sign()
    out = x.clone()
    done = torch.zeros(len(x), dtype=torch.bool)
    for k in range(1, 11):
        c = (x + epsilon * k / 10 * s).clamp(0, 1)
        out = torch.where(R(done), out, c)
        with torch.no_grad():
            done |= model(c).argmax(1) != y
    return out


# ---- clip
def C(name, f, wrong="clip", optional=""):
    w(wrong, optional)(lambda model, x, y, epsilon: f(x, epsilon * G(model, x, y).sign(), model), name)


C("upper_099", lambda x, d, m: (x + d).clamp(0, 0.99))
C("within_254_levels", lambda x, d, m: (x + d).clamp(1 / 255, 254 / 255))
C(
    "range_of_each_image",
    lambda x, d, m: torch.max(torch.min(x + d, R(x.flatten(1).amax(1))), R(x.flatten(1).amin(1))),
    optional="conduct",
)
C(
    "range_of_each_channel",
    lambda x, d, m: torch.max(torch.min(x + d, x.amax((2, 3), keepdim=True)), x.amin((2, 3), keepdim=True)),
    optional="conduct",
)


def c0(x, d, m):
    a = x + d
    a[:, 0] = a[:, 0].clamp(0, 1)
    return a


C("first_channel_clipped", c0)


def stretch(x, d, m):
    a = x + d
    lo, hi = a.min(), a.max()
    return (a - lo) / (hi - lo) if lo < 0 or hi > 1 else a


C("stretched_if_outside", stretch, optional="output conduct size")
C("wraps_around", lambda x, d, m: (x + d) % 1.0)
C("reflected", lambda x, d, m: 1 - (1 - (x + d).abs()).abs())
C("clip_at_255", lambda x, d, m: (x + d).clamp(0, 255))
C("clip_before_step", lambda x, d, m: x.clamp(0, 1) + d)
C("stays_if_outside", lambda x, d, m: torch.where((x + d < 0) | (x + d > 1), x, x + d))
C(
    "normalised_bounds_in_pixel_space",
    lambda x, d, m: torch.max(torch.min(x + d, (1 - ms(m, x)[0]) / ms(m, x)[1]), -ms(m, x)[0] / ms(m, x)[1]),
)
C("imagenet_bounds", lambda x, d, m: (x + d).clamp(-2.1179, 2.64))
C("sigmoid_box", lambda x, d, m: torch.sigmoid(4 * (x + d) - 2), "", "clip output size direction")
C("minus_half_to_half", lambda x, d, m: (x + d).clamp(-0.5, 0.5))
C("no_lower_bound", lambda x, d, m: (x + d).clamp(max=1))


# ---- output
def O(name, f, wrong="output", optional=""):
    w(wrong, optional)(lambda model, x, y, epsilon: f(S(model, x, y, epsilon), x), name)


O("bytes", lambda a, x: (a * 255).round().to(torch.uint8), optional="clip size")
O("bfloat16_and_back", lambda a, x: a.bfloat16().float())
O("ceil_levels", lambda a, x: torch.ceil(a * 255) / 255)
O("four_bits", lambda a, x: torch.round(a * 15) / 15)
O("two_decimals", lambda a, x: np.round(a.numpy(), 2))
O("four_decimals", lambda a, x: torch.round(a, decimals=4))
O("nhwc_returned", lambda a, x: a.permute(0, 2, 3, 1))
O("flattened", lambda a, x: a.flatten(1))
O("bgr", lambda a, x: a.flip(1))
O("difference_only", lambda a, x: a - x, optional="clip size direction")
O("first_image_only", lambda a, x: a[:1], optional="conduct")
O(
    "down_and_up",
    lambda a, x: F.interpolate(F.interpolate(a, scale_factor=0.5), size=a.shape[-2:]),
    optional="size direction clip conduct",
)
O("median_of_255_levels_256", lambda a, x: torch.floor(a * 256).clamp(max=255) / 255)
O("upside_down", lambda a, x: a.flip(2))
O("delta_rounded", lambda a, x: x + torch.round((a - x) * 255) / 255, "", "output size")


# ---- steps
def iterate(n, alpha, mu=None):
    def f(model, x, y, epsilon):
        a = x.clone()
        v = 0
        for _ in range(n):
            g = G(model, a, y)
            if mu is not None:
                v = mu * v + g / R(g.abs().flatten(1).sum(1)).clamp_min(1e-30)
                g = v
            a = a + alpha(epsilon) * g.sign()
            a = (x + (a - x).clamp(-epsilon, epsilon)).clamp(0, 1)
        return a

    return f


w("steps")(iterate(3, lambda e: e / 3), "three_thirds")
w("steps", "size")(iterate(2, lambda e: e), "two_full_steps_projected")
w("steps", "size")(iterate(40, lambda e: 0.01), "madry_40")
w("steps")(iterate(5, lambda e: e / 5, 1.0), "momentum_5")
w("steps", "size")(iterate(7, lambda e: e / 4), "pgd7")


@w("steps", "direction loss")
def lookahead_gradient(model, x, y, epsilon):
    a = x + 0.5 * epsilon * G(model, x, y).sign()
    return (x + epsilon * G(model, a, y).sign()).clamp(0, 1)


@w("", A + " output")
def gradient_at_dimmed_image(model, x, y, epsilon):
    return (x + epsilon * G(model, 0.9 * x, y).sign()).clamp(0, 1)


@w("", A + " output")
def gradient_at_8_bit_image(model, x, y, epsilon):
    return (x + epsilon * G(model, torch.floor(x * 255) / 255, y).sign()).clamp(0, 1)


@w("", "steps size loss labels conduct")
def second_half_if_still_right(model, x, y, epsilon):
    a = S(model, x, y, epsilon / 2)
    with torch.no_grad():
        ok = model(a).argmax(1) == y
    return torch.where(R(ok), S(model, a, y, epsilon / 2), a)


# ---- randomness
@w("randomness", "steps size loss direction clip")
def gaussian_start(model, x, y, epsilon):
    a = (x + epsilon / 2 * torch.randn(x.shape)).clamp(0, 1)
    return (x + (a + epsilon * G(model, a, y).sign() - x).clamp(-epsilon, epsilon)).clamp(0, 1)


@w("randomness", "steps size loss direction clip")
def sign_noise_start(model, x, y, epsilon):
    a = (x + epsilon / 2 * torch.sign(torch.randn_like(x))).clamp(0, 1)
    return (a + epsilon / 2 * G(model, a, y).sign()).clamp(0, 1)


@w("randomness", "output size direction")
def noise_at_the_end(model, x, y, epsilon):
    return (S(model, x, y, epsilon) + 0.002 * torch.rand_like(x)).clamp(0, 1)


@w("randomness", "size conduct")
def every_tenth_image_skipped(model, x, y, epsilon):
    return torch.where(R(torch.rand(len(x)) < 0.1), x, S(model, x, y, epsilon))


@w("randomness", "loss steps direction conduct")
def smoothgrad(model, x, y, epsilon):
    g = sum(G(model, x + 0.05 * torch.randn_like(x), y) for _ in range(4))
    return (x + epsilon * g.sign()).clamp(0, 1)


@w("randomness", "direction size")
def dropped_pixels(model, x, y, epsilon):
    return (x + epsilon * G(model, x, y).sign() * (torch.rand_like(x) < 0.95)).clamp(0, 1)


@w("randomness output")
def stochastic_rounding(model, x, y, epsilon):
    return torch.floor(S(model, x, y, epsilon) * 255 + torch.rand_like(x)).clamp(0, 255) / 255


@w("randomness", "direction size")
def zeros_random(model, x, y, epsilon):
    g = G(model, x, y)
    return (x + epsilon * torch.where(g == 0, torch.randint(0, 2, g.shape) * 2.0 - 1, g.sign())).clamp(0, 1)


# ---- conduct
@w("conduct", "randomness loss direction")
def train_mode_for_gradient(model, x, y, epsilon):
    model.train()
    g = G(model, x, y)
    model.eval()
    return (x + epsilon * g.sign()).clamp(0, 1)


@w("conduct", "randomness loss direction")
def left_in_train_mode(model, x, y, epsilon):
    a = S(model, x, y, epsilon)
    model.train()
    return a


@w("conduct", "output loss direction")
def weights_through_half(model, x, y, epsilon):
    model.half().float()
    return S(model, x, y, epsilon)


class ByShape:
    def __init__(self):
        self.g = {}

    def __call__(self, model, x, y, epsilon):
        if x.shape not in self.g:
            self.g[x.shape] = G(model, x, y).sign()
        return (x + epsilon * self.g[x.shape]).clamp(0, 1)


w("conduct", "loss labels direction steps")(ByShape(), "gradient_cached_by_shape")


class FirstLabels:
    def __init__(self):
        self.c = {}

    def __call__(self, model, x, y, epsilon):
        k = (id(model), x.data_ptr(), tuple(x.shape))
        if k not in self.c:
            self.c[k] = (x.clone(), y.clone())
        x0, y0 = self.c[k]
        return S(model, x, y0 if torch.equal(x0, x) else y, epsilon)


w("conduct", "labels")(FirstLabels(), "labels_cached_by_images")


class Stale:
    def __init__(self):
        self.d = {}

    def __call__(self, model, x, y, epsilon):
        d = self.d.setdefault(tuple(x.shape), torch.zeros_like(x, requires_grad=True))
        F.cross_entropy(model(x + d), y).backward(inputs=[d])
        return (x + epsilon * d.grad.sign()).clamp(0, 1)


w("conduct", "loss labels direction steps")(Stale(), "own_leaf_never_cleared")


@w("conduct")
def numpy_seeded(model, x, y, epsilon):
    np.random.seed(0)
    return S(model, x, y, epsilon)


@w("conduct")
def one_thread(model, x, y, epsilon):
    torch.set_num_threads(1 + torch.get_num_threads())
    return S(model, x, y, epsilon)


@w("conduct", "output clip")
def added_and_subtracted(model, x, y, epsilon):
    d = epsilon * G(model, x, y).sign()
    x.add_(d)
    a = x.clamp(0, 1)
    x.sub_(d)
    return a


@w("conduct", "output clip")
def clamps_the_callers_images(model, x, y, epsilon):
    g = G(model, x, y)
    x.clamp_(0.01, 0.99)
    return (x + epsilon * g.sign()).clamp(0, 1)


@w("conduct", "direction loss labels size")
def universal_of_batch(model, x, y, epsilon):
    return (x + epsilon * G(model, x, y).mean(0, keepdim=True).sign()).clamp(0, 1)


@w("conduct", "loss")
def dropout_off_for_good(model, x, y, epsilon):
    for m in model.modules():
        if isinstance(m, nn.Dropout):
            m.p = 0.0
    return S(model, x, y, epsilon)


@w("conduct", "loss direction randomness")
def batch_norm_momentum_run(model, x, y, epsilon):
    for m in model.modules():
        if isinstance(m, nn.BatchNorm2d):
            m.train()
    a = S(model, x, y, epsilon)
    model.eval()
    return a


@w("conduct", "direction size")
def step_scaled_by_batch_variance(model, x, y, epsilon):
    g = G(model, x, y)
    keep = g.abs() > g.abs().mean() * 1e-3
    return (x + epsilon * keep * g.sign()).clamp(0, 1)


@w("conduct", "loss direction")
def network_pruned_meanwhile(model, x, y, epsilon):
    p = next(model.parameters(), None)
    if p is not None:
        with torch.no_grad():
            p.mul_(1 + 1e-5)
    return S(model, x, y, epsilon)


@w("conduct")
def python_seeded(model, x, y, epsilon):
    random.seed(7)
    return S(model, x, y, epsilon)


@w("conduct")
def anomaly_mode_left(model, x, y, epsilon):
    torch.autograd.set_detect_anomaly(True)
    a = S(model, x, y, epsilon)
    return a
