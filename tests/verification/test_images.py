"""Images alone show size, clip, output, loss and labels of the attack that made them."""

from __future__ import annotations

from collections.abc import Callable

import pytest
import torch
from torch import Tensor, nn
from torch.nn import functional

from robustbench_fgsm.variants.attack_call import AttackCall
from robustbench_fgsm.verification.bench_calls import BenchCall
from robustbench_fgsm.verification.check_pixels import Response, check_pixels
from robustbench_fgsm.verification.images import read_images
from robustbench_fgsm.verification.sandbox import ObservedCall
from tests.verification.conftest import attack, right


def respond_with(candidate: Callable[..., Tensor]) -> Response:
    torch.manual_seed(0)
    model = nn.Sequential(nn.Conv2d(3, 6, 3), nn.Tanh(), nn.Flatten(), nn.Linear(6 * 100, 5)).eval()
    x, y = torch.rand(8, 3, 12, 12), torch.arange(8) % 5
    images = candidate(model, x, y, 0.05)
    call = BenchCall("saved", AttackCall(model, x, y, 0.05))
    return check_pixels(call, ObservedCall(None, "", "", {}, (), warned=False), images.detach())


@pytest.mark.parametrize(
    ("candidate", "cause"),
    [
        (attack(size=lambda epsilon: epsilon / 2), "wrong-epsilon"),
        (attack(size=lambda epsilon: 0.0), "no-op"),
        (attack(clip=lambda moved, x: moved), "no-clip"),
        (attack(direction=lambda g: -g.sign()), "wrong-sign"),
        (attack(labels=lambda model, x, y: model(x).argmax(1)), "predicted-labels"),
        (attack(loss=lambda z, y: functional.cross_entropy(z.softmax(1), y)), "double-softmax"),
        (attack(output=lambda images: (images * 255).round() / 255), "quantised-8bit"),
        (attack(direction=lambda g: g / g.flatten(1).norm(dim=1).view(-1, 1, 1, 1)), "wrong-norm"),
    ],
)
def test_names_what_images_show(candidate: Callable[..., Tensor], cause: str) -> None:
    assert cause in {one.cause for one in read_images(respond_with(candidate)) if one.verdict == "wrong"}


def test_right_images_have_no_wrong_stage() -> None:
    assert [one.cause for one in read_images(respond_with(right)) if one.verdict == "wrong"] == []
