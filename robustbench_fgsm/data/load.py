"""A data spec to a data set."""

from __future__ import annotations

from collections.abc import Callable

from robustbench_fgsm.data.dataset import ArrayDataset
from robustbench_fgsm.data.fashion_mnist import load_fashion_mnist
from robustbench_fgsm.errors import DataError, did_you_mean

SOURCES: dict[str, Callable[[], ArrayDataset]] = {"fashion-mnist": load_fashion_mnist}


def load_data(data: str, *, limit: int | None = None) -> ArrayDataset:
    """The data set that a spec names. limit: only so many images, from the first.

    Raises DataError for an unknown name and SettingError for a limit below 1.
    """
    if data not in SOURCES:
        raise DataError(f"data must be a name of `rfgsm list data`, got {data!r}: {did_you_mean(data, SOURCES)}")
    return SOURCES[data]().head(limit)
