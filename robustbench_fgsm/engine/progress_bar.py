"""Progress bar of a library function: in notebooks and on terminals, not in pipes."""

from __future__ import annotations

import os
import sys
import warnings
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import wraps
from typing import Any, ParamSpec, TypeVar, cast

from robustbench_fgsm.engine.progress import Progress

Parameters = ParamSpec("Parameters")
Returned = TypeVar("Returned")
ProgressSetting = Progress | bool | None
"""Function of the caller; False for no bar, True for a bar, None for a bar where somebody sees it."""


def with_progress_bar(function: Callable[Parameters, Returned]) -> Callable[Parameters, Returned]:
    """Return the function that shows a progress bar if its keyword `progress` is None, and shows none if it is False."""

    @wraps(function)
    def inner(*args: Any, progress: ProgressSetting = None, **kwargs: Any) -> Any:
        with progress_bar(function.__name__, progress) as report:
            return cast("Callable[..., Returned]", function)(*args, progress=report, **kwargs)

    return cast("Callable[Parameters, Returned]", inner)


def as_function(progress: ProgressSetting) -> Progress | None:
    """Return the function to which `with_progress_bar` reports."""
    return None if isinstance(progress, bool) else progress


@contextmanager
def progress_bar(title: str, progress: ProgressSetting = None) -> Iterator[Progress | None]:
    """Yield the function to which progress is reported, and remove its bar at the end; None if nothing is shown.

    The bar is tqdm's, so that `TQDM_DISABLE=1` in the environment switches it off.

    Args:
        title: text before the bar.
        progress: the setting of the caller.
    """
    if callable(progress):
        yield progress
        return
    if progress is False or (progress is None and not is_interactive()):
        yield None
        return
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # without ipywidgets, tqdm warns and shows text
        from tqdm.auto import tqdm

    bars: list[tqdm[Any]] = []  # made at the first report, so that a refused call shows no bar

    def report(done: int, total: int) -> None:
        if not bars:
            bars.append(tqdm(desc=title, total=total, initial=done, leave=False, dynamic_ncols=True))
        if bars[0].total != total or done < bars[0].n:
            bars[0].reset(total)  # the next part of the work
        bars[0].update(done - bars[0].n)

    try:
        yield report
    finally:
        for bar in bars:
            bar.close()


def is_interactive() -> bool:
    """Return True in a notebook, and in a main process whose standard error is a terminal."""
    if os.environ.get("RANK", "0") != "0":
        return False
    shell = sys.modules["IPython"].get_ipython() if "IPython" in sys.modules else None
    return hasattr(shell, "kernel") or (sys.stderr is not None and sys.stderr.isatty())
