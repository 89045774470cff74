"""What a candidate returns is checked before it is compared."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from torch import Tensor, nn

import robustbench_fgsm as rf
from robustbench_fgsm.references.candidate import candidate_from_callable
from robustbench_fgsm.references.candidate_reference import check_returned_images, make_candidate_reference
from robustbench_fgsm.spec import AttackSpec, TargetRule

WRONG = {
    "nothing": (lambda x: None, "a tensor or an array, got NoneType"),
    "a tuple": (lambda x: (x, x), "got a tuple of 2"),
    "another shape": (lambda x: x[:, 0], r"images \(3, 1, 2, 2\) as it was given, got \(3, 2, 2\)"),
    "bytes": (lambda x: (x * 255).byte(), "floating point in pixel space, got torch.uint8"),
    "integers": (lambda x: x.numpy().astype(int), "floating point in pixel space, got int64"),
    "sparse": (lambda x: x.to_sparse(), "a dense tensor, got a tensor of layout torch.sparse_coo on cpu: return the images as one"),
    "meta": (lambda x: x.to("meta"), "a dense tensor, got a tensor of layout torch.strided on meta"),
    "nested": (lambda x: torch.nested.as_nested_tensor(list(x), layout=torch.jagged), "a dense tensor, got a nested tensor"),
    "NaN": (lambda x: torch.where(x > x.flatten(1).median(1).values[:, None, None, None], torch.nan, x), "in 3 of 3"),
}


@pytest.mark.parametrize(("change", "message"), WRONG.values(), ids=WRONG.keys())
def test_rejects_invalid_results(change: object, message: str) -> None:
    x = torch.rand(3, 1, 2, 2)
    assert callable(change)
    with pytest.raises(rf.CandidateError, match=message) as raised:
        check_returned_images("mine", change(x), x)
    assert issubclass(rf.CandidateError, rf.InputError)
    assert str(raised.value).startswith("candidate mine must return ")


@pytest.mark.parametrize(
    "found",
    [
        torch.rand(2, 1, 2, 2, requires_grad=True).double(),
        torch.rand(2, 1, 2, 2).half(),
        torch.rand(2, 1, 2, 2).as_subclass(nn.Buffer),
        np.random.default_rng(0).random((2, 1, 2, 2))[::-1],
        np.random.default_rng(0).random((2, 1, 2, 2)).astype(">f4"),
    ],
)
def test_results_become_plain_float32(found: Tensor) -> None:
    images = check_returned_images("mine", found, torch.rand(2, 1, 2, 2))
    assert (type(images), images.dtype, images.requires_grad, images.shape) == (Tensor, torch.float32, False, (2, 1, 2, 2))


def test_a_candidate_works_on_copies(classifier: rf.TorchClassifier, images: rf.ArrayDataset) -> None:
    modes, sizes = [], []

    def rude(model: nn.Module, x: Tensor, y: Tensor, epsilon: float) -> Tensor:
        modes.append(model.training)
        sizes.append(len(x))
        assert torch.is_grad_enabled()
        assert all(parameter.requires_grad for parameter in model.parameters())
        model.train()
        with torch.no_grad():
            next(model.parameters()).zero_()
        y.zero_()
        return x.zero_()

    batch = next(images.batches(0, 10, 10))
    reference = make_candidate_reference(candidate_from_callable(rude), classifier, AttackSpec(), 4)
    x, y = batch.images.clone(), batch.labels.clone()
    before = reference.predict(x)
    with torch.no_grad():
        assert not reference.fgsm(x, y, 0.1).any()
    assert (modes, sizes) == ([False] * 3, [4, 4, 2])
    assert torch.equal(x, batch.images)
    assert torch.equal(y, batch.labels)
    torch.testing.assert_close(reference.predict(x), before, rtol=0, atol=0)


def test_rejects_other_models_and_targets(classifier: rf.TorchClassifier) -> None:
    class Other:
        num_classes = 10

    with pytest.raises(rf.ModelError, match="needs a PyTorch network, got Other"):
        make_candidate_reference(candidate_from_callable(lambda model, x, y, epsilon: x), Other(), AttackSpec(), 4)  # type: ignore[arg-type]
    with pytest.raises(rf.SettingError, match=r"a parameter named targeted .* --targeted next"):
        make_candidate_reference(
            candidate_from_callable(lambda model, x, y, epsilon: x), classifier, AttackSpec(target=TargetRule("shift", 1)), 4
        )
