"""Run a notebook in a kernel: `python run_notebook.py IN OUT`. The tests' own process may open no socket."""

from __future__ import annotations

import sys
from pathlib import Path

import nbformat
from nbclient import NotebookClient

TIMEOUT = 300
"""Seconds after which a cell is interrupted, unless its metadata has another number under `interrupt_after`."""


def run(source: Path, target: Path) -> None:
    """Run every cell, also after an error, in the folder of the result."""
    notebook = nbformat.read(source, as_version=4)
    client = NotebookClient(
        notebook,
        kernel_name="python3",
        allow_errors=True,
        interrupt_on_timeout=True,
        timeout_func=lambda cell: cell.metadata.get("interrupt_after", TIMEOUT),
        record_timing=False,
        resources={"metadata": {"path": str(target.parent)}},
    )
    client.execute()
    nbformat.write(notebook, target)


if __name__ == "__main__":
    run(*map(Path, sys.argv[1:]))
