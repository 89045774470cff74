"""Memory that data which are read as a whole may take."""

from __future__ import annotations

import pytest

from robustbench_fgsm.data.memory import check_memory, free_memory
from robustbench_fgsm.errors import ResourceError


def test_refuses_what_does_not_fit() -> None:
    assert free_memory() > 0
    check_memory(1, "some", "cut it")
    with pytest.raises(ResourceError, match=r"some must fit into memory as a whole, got [\d,]+ MiB or more: cut it"):
        check_memory(free_memory(), "some", "cut it")
