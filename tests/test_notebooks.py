"""The library in a notebook: interruptions, cells that run twice, event loops, worker processes, and what is shown."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

nbformat = pytest.importorskip("nbformat")
pytest.importorskip("nbclient")
pytest.importorskip("ipykernel")

IMPORTS = """
import time
import torch
import robustbench_fgsm as rf
classifier = rf.load_classifier("mlp300", device="cpu")
images = rf.load_data("fashion-mnist", limit=64)
"""
SLOW = """
class Slow(torch.nn.Module):
    def __init__(self):
        super().__init__()
        self.layer = torch.nn.Linear(784, 10)
    def forward(self, x):
        time.sleep(0.2)
        return self.layer(x.flatten(1))
module = Slow().train()
print("started")
rf.evaluate(rf.wrap(module, num_classes=10), rf.load_data("fashion-mnist", limit=10_000), batch_size=4, progress=False)
"""
AFTER_INTERRUPTION = """
print(module.training, module.layer.weight.requires_grad, module.layer.weight.grad, torch.is_grad_enabled())
print(rf.evaluate(classifier, images).n)
"""
LOADER = """
x, y = torch.rand(40, 1, 28, 28), torch.arange(40) % 10
loader = torch.utils.data.DataLoader(torch.utils.data.TensorDataset(x, y), batch_size=8, num_workers=2)
print(rf.evaluate(classifier, loader, progress=False).n)
"""
OWN_DATASET = """
class Own(torch.utils.data.Dataset):
    def __len__(self):
        return 40
    def __getitem__(self, index):
        return x[index], int(y[index])
print(rf.evaluate(classifier, torch.utils.data.DataLoader(Own(), batch_size=8, num_workers=2), progress=False).n)
"""
SAVED = """
place = rf.evaluate(classifier, images, progress=False).save("run")
print(rf.gate(place, "run").passed)
"""
VERIFIED = """
def attack(model, x, y, epsilon):
    return rf.fgsm(model, x, y, epsilon)
rf.verify(attack, progress=False)
"""
CELLS = {
    "imports": IMPORTS,
    "interrupted": SLOW,
    "after": AFTER_INTERRUPTION,
    "html": "rf.evaluate(classifier, images, progress=False)",
    "bar": "evaluation = rf.evaluate(classifier, images)",
    "figure": 'evaluation.plot("curve")',
    "loop": "import asyncio\nawait asyncio.sleep(0)\nprint(rf.evaluate(classifier, images, progress=False).n)",
    "loader": LOADER,
    "own dataset": OWN_DATASET,
    "saved": SAVED,
    "saved again": SAVED,
    "script": "%run script.py",
    "verified": VERIFIED,
    "list": "[rf.verify(attack, progress=False)]",
    "error": "rf.evaluate(classifier, images, epsilon=8)",
}
SCRIPT = """
import robustbench_fgsm as rf
if __name__ == "__main__":
    print(rf.evaluate(rf.load_classifier("mlp300"), rf.load_data("fashion-mnist", limit=32), progress=False).n)
"""


@pytest.fixture(scope="module")
def outputs(tmp_path_factory: pytest.TempPathFactory) -> dict[str, list[Any]]:
    """What each cell shows in one kernel."""
    folder = tmp_path_factory.mktemp("notebook")
    (folder / "script.py").write_text(SCRIPT, encoding="utf-8")
    cells = {name: nbformat.v4.new_code_cell(text.strip()) for name, text in CELLS.items()}
    cells["interrupted"].metadata["interrupt_after"] = 8
    nbformat.write(nbformat.v4.new_notebook(cells=list(cells.values())), folder / "in.ipynb")
    command = [sys.executable, str(Path(__file__).parent / "run_notebook.py"), str(folder / "in.ipynb"), str(folder / "out.ipynb")]
    done = subprocess.run(command, check=False, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    found = nbformat.read(folder / "out.ipynb", as_version=4).cells
    return {name: cell.outputs for name, cell in zip(cells, found, strict=True)}


def printed(outputs: list[Any], name: str = "stdout") -> str:
    assert not [one.evalue for one in outputs if one.output_type == "error"]
    return "".join(one.text for one in outputs if one.get("name") == name).strip()


def test_an_interruption_comes_through(outputs: dict[str, list[Any]]) -> None:
    assert [one.text.strip() for one in outputs["interrupted"] if one.get("name") == "stdout"] == ["started"]
    assert [one.ename for one in outputs["interrupted"] if one.output_type == "error"] == ["KeyboardInterrupt"]


def test_an_interruption_leaves_no_trace(outputs: dict[str, list[Any]]) -> None:
    assert printed(outputs["after"]) == "True True None True\n64"


def test_a_result_is_shown_as_html(outputs: dict[str, list[Any]]) -> None:
    (shown,) = outputs["html"]
    assert set(shown.data) == {"text/html", "text/plain"}
    assert "rfgsm-result" in shown.data["text/html"]


def test_a_bar_is_shown_and_nothing_else(outputs: dict[str, list[Any]]) -> None:
    assert printed(outputs["bar"]) == ""
    assert "evaluate" in printed(outputs["bar"], "stderr") + str([one.get("data") for one in outputs["bar"]])
    assert "Warning" not in printed(outputs["bar"], "stderr")


def test_a_figure_is_a_picture(outputs: dict[str, list[Any]]) -> None:
    (shown,) = outputs["figure"]
    assert "image/png" in shown.data


@pytest.mark.parametrize(
    ("cell", "text"),
    [("loop", "64"), ("loader", "40"), ("own dataset", "40"), ("saved", "True"), ("saved again", "True"), ("script", "32")],
)
def test_cells_work_and_print_nothing_more(outputs: dict[str, list[Any]], cell: str, text: str) -> None:
    assert printed(outputs[cell]) == text
    assert printed(outputs[cell], "stderr") == ""


def test_a_verification_is_short_also_in_a_list(outputs: dict[str, list[Any]]) -> None:
    for cell in ("verified", "list"):
        (shown,) = outputs[cell]
        assert "RIGHT" in shown.data["text/plain"]
        assert len(shown.data["text/plain"]) < 600


def test_an_error_says_what_was_expected(outputs: dict[str, list[Any]]) -> None:
    (error,) = outputs["error"]
    assert error.ename == "SettingError"
    assert "did you mean 8/255?" in error.evalue
