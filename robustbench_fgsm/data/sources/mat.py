"""`mat:FILE`: arrays of a MATLAB file up to version 7, as SVHN's files have them: `X` of images and `y` of labels."""

from __future__ import annotations

import zlib
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from robustbench_fgsm.data.dataset import Dataset
from robustbench_fgsm.data.memory import check_memory
from robustbench_fgsm.data.registry import DataOptions
from robustbench_fgsm.data.sources.arrays import arrays_to_dataset, find_array_keys, reading
from robustbench_fgsm.errors import DataError
from robustbench_fgsm.files.regular_files import check_regular_file

BYTES_BY_CLASS = {"uint8": 1, "int8": 1, "logical": 1, "uint16": 2, "int16": 2, "single": 4, "int32": 4, "uint32": 4}
"""Bytes of one value by MATLAB's class; 8 for the others."""

SVHN_SHAPE = (32, 32, 3)
SVHN_ZERO = 10
SVHN_NOTE = "labels 10 are class 0, the digit zero, as in the files of SVHN"


def load(argument: str, options: DataOptions) -> Dataset:
    """Return the images and labels of the file; the axis of N may be the last one.

    In files of SVHN, label 10 is digit 0 and becomes class 0, as in torchvision. Raises DataError if the file cannot be read, or
    does not hold images and labels.
    """
    options.reject_split("mat")
    file = Path(argument)
    images, labels = (np.asarray(array) for array in _read_arrays(file, options))
    if labels.ndim == 2 and labels.shape[0] == 1:  # MATLAB has no arrays of one axis
        labels = labels.T
    if images.ndim > 2 and images.shape[0] != len(labels) == images.shape[-1]:
        images = np.moveaxis(images, -1, 0)
    is_svhn = images.shape[1:] == SVHN_SHAPE and labels.size > 0 and labels.min() >= 1 and labels.max() == SVHN_ZERO
    data = arrays_to_dataset(f"mat:{file}", images, labels % SVHN_ZERO if is_svhn else labels, options, None)
    data.notes = (SVHN_NOTE,) if is_svhn else ()
    return data


def _read_arrays(file: Path, options: DataOptions) -> list[NDArray[Any]]:
    """Return images and labels as stored; sizes are checked before anything is read."""
    from scipy import io
    from scipy.io.matlab import MatReadError

    malformed = (ValueError, TypeError, LookupError, EOFError, OverflowError, MemoryError, NameError, zlib.error, MatReadError)
    with reading(f"mat {file}", "be a MATLAB file", malformed):
        check_regular_file(file)
        try:
            listed = {name: (shape, kind) for name, shape, kind in io.whosmat(str(file), appendmat=False)}
        except NotImplementedError as error:
            raise DataError(
                f"mat {file} must be of version 7 or older, got version 7.3, which is HDF5: save it with `save -v7` in MATLAB, "
                "or read it with h5py and save it as npz:FILE"
            ) from error
        keys = find_array_keys({name: shape for name, (shape, _) in listed.items()}, options, str(file))
        for key in keys:
            shape, kind = listed[key]
            if kind in ("cell", "struct", "object", "function", "opaque", "sparse"):
                raise DataError(f"mat {file} must hold arrays of numbers, got {key}, a {kind}: save it as a plain array")
            check_memory(int(np.prod(shape, dtype=object)) * BYTES_BY_CLASS.get(kind, 8), str(file), "save it as npz:FILE")
        stored = io.loadmat(str(file), variable_names=keys, appendmat=False)
        return [stored[key] for key in keys]
