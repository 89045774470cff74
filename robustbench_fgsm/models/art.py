"""The Adversarial Robustness Toolbox, imported late and without its side effects."""

from __future__ import annotations

import atexit
import logging
import logging.config
import os
import shutil
import sys
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager


def import_art() -> None:
    """Import ART so that nothing of the caller's changes.

    ART writes `~/.art/config.json` and reconfigures logging, which closes every handler opened before: its home is a
    temporary directory until this process ends, and its logging call does nothing but leave its own logger silent.
    """
    if "art" in sys.modules:
        return
    home = tempfile.mkdtemp(prefix="rfgsm-art-")
    atexit.register(shutil.rmtree, home, ignore_errors=True)
    with _environment("HOME", home), _environment("USERPROFILE", home), _logging_untouched():
        import art  # noqa: F401
    logging.getLogger("art").addHandler(logging.NullHandler())


@contextmanager
def _environment(name: str, value: str) -> Iterator[None]:
    before = os.environ.get(name)
    os.environ[name] = value
    try:
        yield
    finally:
        if before is None:
            del os.environ[name]
        else:
            os.environ[name] = before


def _ignore(_: object) -> None:
    pass


@contextmanager
def _logging_untouched() -> Iterator[None]:
    configure = logging.config.dictConfig
    logging.config.dictConfig = _ignore  # type: ignore[assignment]
    try:
        yield
    finally:
        logging.config.dictConfig = configure
