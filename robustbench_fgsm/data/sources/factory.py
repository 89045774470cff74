"""`factory:pkg.mod:fn` or `factory:file.py:fn`: a user's own function that returns a data set."""

from __future__ import annotations

from contextlib import suppress
from typing import Any, cast

from robustbench_fgsm.data.dataset import Dataset
from robustbench_fgsm.data.python_objects import object_to_dataset
from robustbench_fgsm.data.registry import DataOptions
from robustbench_fgsm.errors import DataError
from robustbench_fgsm.user_code import call_factory


def load(spec: str, options: DataOptions) -> Dataset:
    """Return what the function returns: a Dataset, or anything that `load_data` takes in Python.

    Raises DataError if there is no such function, or it returns something else.
    """
    options.reject_split("factory")
    made, code = call_factory(spec, "a Dataset or a torch data set of (image, label)", DataError)
    found: Any = object_to_dataset(made, options, name=f"factory:{spec}")
    with suppress(AttributeError):  # of a class with slots
        found.code_sha256 = code
    return cast("Dataset", found)
