"""Every case is equal each time it is made."""

from __future__ import annotations

import pytest
import torch

import robustbench_fgsm as rf
from robustbench_fgsm.verification.cases import CASES, check_case_names, link_calls_across_cases


@pytest.mark.parametrize("name", CASES)
def test_case_is_reproducible(name: str) -> None:
    state = torch.get_rng_state()
    one, other = CASES[name](), CASES[name]()
    assert torch.equal(torch.get_rng_state(), state)
    for mine, theirs in zip(one.calls, other.calls, strict=True):
        assert torch.equal(mine.x, theirs.x)
        assert torch.equal(mine.y, theirs.y)
        assert torch.equal(mine.model(mine.x), theirs.model(theirs.x))


def test_calls_know_the_calls_before_them() -> None:
    first, second = link_calls_across_cases([CASES["grey"](), CASES["sweep"]()])
    assert [len(call.earlier_calls) for call in (*first.calls, *second.calls)] == list(range(7))
    assert second.calls[0].earlier_calls == first.calls


def test_case_names() -> None:
    assert check_case_names([]) == list(CASES)
    assert check_case_names(["sweep", "grey", "sweep"]) == ["sweep", "grey"]
    with pytest.raises(rf.SettingError, match="did you mean grey"):
        check_case_names(["gray"])
