"""Each example of a candidate agrees in its style, and the wrong examples do not."""

from __future__ import annotations

import importlib.util
import re
from pathlib import Path
from typing import Any

import pytest

import robustbench_fgsm as rf
from robustbench_fgsm.references.candidate_styles import STYLES

FOLDER = Path(__file__).parents[2] / "examples" / "candidates"
COMMAND = re.compile(
    r"^rfgsm (?:compare --model \S+ --candidate|verify) examples/candidates/(\S+)(?: --style (\S+))?$", re.MULTILINE
)
FAMILY: dict[str, tuple[dict[str, Any], str]] = {
    "pgd.py": ({"method": "pgd", "step_size": "2/255", "random_start": True}, ""),
    "pgd_last_iterate.py": ({"method": "pgd"}, "projects-to-last-iterate"),
}
"""Attacks of several steps, with their settings and their mistake; they do not agree with FGSM."""

FILES = sorted(file for file in FOLDER.glob("*.py") if file.name not in FAMILY)
WRONG = {"wrong_units.py": ["normalised-epsilon"], "notebook.py": ["double-softmax", "no-clip"]}
"""Wrong examples and their mistakes."""


def shown_in(file: Path) -> tuple[str, str]:
    """Return candidate and style of the command in the docstring."""
    (found,) = COMMAND.findall(file.read_text(encoding="utf-8"))
    candidate, style = found
    return f"{FOLDER / candidate}", style or "plain"


def test_each_style_has_an_example() -> None:
    assert {shown_in(file)[1] for file in FILES if file.name not in WRONG} == set(STYLES)


@pytest.mark.reference
@pytest.mark.parametrize("model", ["smallcnn", "mlp300"])
@pytest.mark.parametrize("file", [file for file in FILES if file.name not in WRONG], ids=lambda file: file.stem)
def test_agrees(file: Path, model: str, images: rf.ArrayDataset) -> None:
    candidate, style = shown_in(file)
    if style == "foolbox" and importlib.util.find_spec("foolbox") is None:
        pytest.skip("foolbox is not installed")
    loaded = rf.load_candidate(candidate, style)
    for targeted in ("none", "next") if loaded.targets else ("none",):
        found = rf.compare(rf.load_classifier(model), images.head(64), targeted=targeted, references=[], candidate=loaded)
        assert found.verdict == "agree"
    assert "robustbench_fgsm" not in file.read_text(encoding="utf-8")


@pytest.mark.parametrize("model", ["smallcnn", "resnet18"])
@pytest.mark.parametrize("name", WRONG)
def test_names_mistakes(name: str, model: str, images: rf.ArrayDataset) -> None:
    candidate, style = shown_in(FOLDER / name)
    found = rf.compare(rf.load_classifier(model), images.head(32), references=[], candidate=candidate, style=style)
    assert (found.verdict, found.exit_code) == ("disagree", 1)
    verification = rf.verify(candidate, style=style)
    assert [stage.cause for stage in verification.wrong_stages] == WRONG[name]


@pytest.mark.parametrize("name", FAMILY)
def test_attacks_of_several_steps(name: str) -> None:
    settings, mistake = FAMILY[name]
    found = rf.verify(f"{FOLDER / name}:pgd", time_limit=600.0, **settings)
    assert [stage.cause for stage in found.wrong_stages] == ([mistake] if mistake else []), found.summary


def test_normalised_agrees_on_repeated_grey(images: rf.ArrayDataset) -> None:
    candidate = f"{FOLDER / 'normalised.py'}:fgsm"
    classifier = rf.load_classifier("resnet18")
    assert rf.compare(classifier, images.head(32), references=[], candidate=candidate, style="normalised").verdict == "agree"
