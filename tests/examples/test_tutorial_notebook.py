"""The tutorial as a notebook gives the committed outputs."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

nbformat = pytest.importorskip("nbformat")
pytest.importorskip("nbclient")
pytest.importorskip("ipykernel")

ROOT = Path(__file__).parents[2]
NOTEBOOK = ROOT / "examples" / "tutorial.ipynb"
NUMBER = re.compile(r"\d+(?:\.\d+)?")


@pytest.fixture(scope="module")
def committed() -> Any:
    return nbformat.read(NOTEBOOK, as_version=4)


@pytest.fixture(scope="module")
def executed(tmp_path_factory: pytest.TempPathFactory) -> Any:
    target = tmp_path_factory.mktemp("tutorial") / "tutorial.ipynb"
    command = [sys.executable, str(ROOT / "tests" / "run_notebook.py"), str(NOTEBOOK), str(target)]
    done = subprocess.run(command, check=False, capture_output=True, text=True, env=os.environ | {"TQDM_DISABLE": "1"})
    assert done.returncode == 0, done.stderr
    assert (target.parent / "report.html").is_file()
    return nbformat.read(target, as_version=4)


def shown(notebook: Any) -> list[list[dict[str, Any]]]:
    """What each cell of code shows, without pictures, which are drawn otherwise by other versions of matplotlib."""
    found = []
    for cell in notebook.cells:
        if cell.cell_type == "code":
            outputs = [{"text": one.text} if "text" in one else dict(one.get("data", {"error": one})) for one in cell.outputs]
            found.append([{kind: text for kind, text in one.items() if kind != "image/png"} for one in outputs])
    return found


def test_the_outputs_are_those_that_are_committed(committed: Any, executed: Any) -> None:
    assert shown(executed) == shown(committed)


def test_the_outputs_have_numbers_and_pictures(committed: Any) -> None:
    text = str(shown(committed))
    assert len(NUMBER.findall(text)) > 200
    assert "WRONG: loss, clip" in text
    assert sum("image/png" in one.get("data", {}) for cell in committed.cells for one in cell.get("outputs", [])) == 2


def test_it_was_run_once_from_top_to_bottom_without_errors(committed: Any) -> None:
    cells = [cell for cell in committed.cells if cell.cell_type == "code"]
    assert [cell.execution_count for cell in cells] == list(range(1, len(cells) + 1))
    assert {one.output_type for cell in cells for one in cell.outputs} <= {"execute_result", "stream"}
    assert not [one for cell in cells for one in cell.outputs if one.get("name") == "stderr"]


def test_it_names_no_place_of_a_machine() -> None:
    text = NOTEBOOK.read_text(encoding="utf-8")
    assert not re.search(r"/(tmp|home|root|Users|usr)/|file://", text)
    assert NOTEBOOK.stat().st_size < 2**18
