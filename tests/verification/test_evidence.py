"""Signs and sizes are read off displacements."""

from __future__ import annotations

from dataclasses import replace

import pytest
import torch

from robustbench_fgsm.verification.bench_calls import BenchSettings, build_calls
from robustbench_fgsm.verification.check_pixels import Response, check_pixels
from robustbench_fgsm.verification.evidence import Evidence, channel_sizes, image_signs, is_free
from robustbench_fgsm.verification.sandbox import ObservedCall

UNSEEN = ObservedCall(None, "", "", {}, (), warned=False)


@pytest.fixture(scope="module")
def right_response() -> Response:
    bench_call = next(call for call in build_calls(BenchSettings(), targeted=False) if call.name == "size")
    expected = check_pixels(bench_call, UNSEEN, bench_call.call.x).expected
    return check_pixels(bench_call, UNSEEN, expected)


def test_reads_signs_and_sizes(right_response: Response) -> None:
    signs, shares = image_signs(right_response, 1e-6)
    assert set(signs.tolist()) == {-1.0, 1.0}
    assert float(shares.min()) == 1.0
    values, shares = channel_sizes(right_response)
    torch.testing.assert_close(values, torch.ones_like(values), rtol=0, atol=1e-4)
    assert float(shares.min()) > 0.99


def test_an_image_that_does_not_move_has_size_0(right_response: Response) -> None:
    assert right_response.images is not None
    images = right_response.images.clone()
    images[1] = right_response.call.x[1]
    images[2, 0] = right_response.call.x[2, 0]
    values, _ = channel_sizes(replace(right_response, images=images))
    assert values[1].tolist() == [0.0, 0.0, 0.0]
    assert values[2].isnan().tolist() == [True, False, False]


def test_pixels_at_a_shared_extreme_are_not_free(right_response: Response) -> None:
    assert right_response.images is not None
    clipped = right_response.images.clamp(max=0.53)
    free = is_free(replace(right_response, images=clipped))
    assert not bool(free[clipped == 0.53].any())
    assert bool(free[..., :-4][clipped[..., :-4] < 0.52].float().mean() > 0.9)


def test_evidence_keeps_images_and_undoes_the_output(right_response: Response) -> None:
    failed = replace(right_response, images=None, bench_call=replace(right_response.bench_call, name="failed"))
    evidence = Evidence.of([failed, right_response])
    assert list(evidence.responses) == ["size"]
    evidence.undo(lambda images, call: images + call.epsilon)
    found = evidence.get("size")
    assert found is not None
    assert found.images is not None
    assert right_response.images is not None
    torch.testing.assert_close(found.images, right_response.images + 0.0437)
    evidence.resolution = 0.01
    assert evidence.width == 0.02
