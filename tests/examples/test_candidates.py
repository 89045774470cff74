"""Every example of a candidate agrees, in the style and by the command that it shows, and the wrong one does not."""

from __future__ import annotations

import importlib.util
import re
from pathlib import Path

import pytest

import robustbench_fgsm as rf
from robustbench_fgsm.reference.adapters import STYLES

FOLDER = Path(__file__).parents[2] / "examples" / "candidates"
COMMAND = re.compile(
    r"^rfgsm compare --model (\S+) --candidate examples/candidates/(\S+)(?: --style (\S+))?$", re.MULTILINE
)
FILES = sorted(FOLDER.glob("*.py"))
WRONG = "wrong_units.py"


def shown_in(file: Path) -> tuple[str, str, str]:
    """Model, candidate and style of the command in its first lines."""
    (found,) = COMMAND.findall(file.read_text(encoding="utf-8"))
    model, candidate, style = found
    return model, f"{FOLDER / candidate}", style or "plain"


def test_there_is_one_for_each_style() -> None:
    assert {shown_in(file)[2] for file in FILES if file.name != WRONG} == set(STYLES)


@pytest.mark.reference
@pytest.mark.parametrize("model", ["smallcnn", "mlp300"])
@pytest.mark.parametrize("file", [file for file in FILES if file.name != WRONG], ids=lambda file: file.stem)
def test_an_example_agrees(file: Path, model: str, images: rf.ArrayDataset) -> None:
    _, candidate, style = shown_in(file)
    if style == "foolbox" and importlib.util.find_spec("foolbox") is None:
        pytest.skip("foolbox is not installed")
    loaded = rf.load_candidate(candidate, style)
    for targeted in ("none", "next") if loaded.targets else ("none",):
        found = rf.compare(
            rf.load_classifier(model), images.head(64), targeted=targeted, references=[], candidate=loaded
        )
        assert found.verdict == "agree"
    assert "robustbench_fgsm" not in file.read_text(encoding="utf-8")


@pytest.mark.parametrize("model", ["smallcnn", "resnet18"])
def test_the_wrong_one_disagrees(model: str, images: rf.ArrayDataset) -> None:
    _, candidate, style = shown_in(FOLDER / WRONG)
    found = rf.compare(rf.load_classifier(model), images.head(32), references=[], candidate=candidate, style=style)
    assert (found.verdict, found.exit_code) == ("disagree", 1)


def test_normalised_images_of_a_network_that_repeats_grey(images: rf.ArrayDataset) -> None:
    candidate = f"{FOLDER / 'normalised.py'}:fgsm"
    classifier = rf.load_classifier("resnet18")
    assert (
        rf.compare(classifier, images.head(32), references=[], candidate=candidate, style="normalised").verdict
        == "agree"
    )
