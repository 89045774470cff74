"""Every public object has a short text in a notebook, made at once, however large the object is."""

from __future__ import annotations

import dataclasses
import time
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

import robustbench_fgsm as rf
from robustbench_fgsm.data.bad_sample import BadSample
from robustbench_fgsm.engine.plan import Plan
from robustbench_fgsm.runs.evaluate import evaluate_in_directory
from robustbench_fgsm.runs.evaluation_run import EvaluationRun
from robustbench_fgsm.short_repr import MAX_LENGTH, short_repr
from robustbench_fgsm.spec import AttackSpec

LONGEST = 600
SECONDS = 2.0
"""Processor time that a text may take; the texts of large tensors took minutes."""

PROTOCOLS = {rf.Classifier, rf.Dataset}
EXAMPLES = 20
"""Entries of a sequence whose texts are checked."""


def attack(model: Any, x: torch.Tensor, y: torch.Tensor, epsilon: float) -> torch.Tensor:
    return rf.fgsm(model, x, y, epsilon)


@pytest.fixture(scope="module")
def shown(classifier: rf.TorchClassifier, images: rf.ArrayDataset, tmp_path_factory: pytest.TempPathFactory) -> list[object]:
    """One object of each public class, as a user gets it."""
    folder, some = tmp_path_factory.mktemp("shown"), images.head(32)
    spec, pixels = AttackSpec((8 / 255,)), next(iter(some))
    evaluate_in_directory(EvaluationRun("evaluate", classifier, some, (spec,), Plan()), folder / "run")
    saved = rf.save_adversarial(classifier, some, folder / "saved")
    return [
        classifier,
        some,
        pixels,
        rf.load_data(str(image_folder(folder / "images"))),
        BadSample("a.png", "cut short"),
        rf.Preprocessing.square(32),
        rf.load_candidate(f"{Path(__file__)}:attack"),
        rf.minimal_epsilon(classifier, pixels.images, pixels.labels),
        rf.evaluate(classifier, some),
        rf.sweep(classifier, some, targeted=["none", "next"]),
        rf.distances(classifier, some, stable=True),
        rf.transfer([classifier], [classifier], some),
        rf.compare(classifier, some, references=[], candidate=attack),
        rf.benchmark(classifier, some, "8/255", rounds=1, references=[], memory=False),
        rf.explain(classifier, some, 0.5),
        rf.verify(attack),
        rf.train(classifier, some, epochs=1, held_out=0, out=folder / "trained"),
        saved,
        rf.check_adversarial(folder / "saved", classifier, some),
        rf.gate(folder / "run", folder / "run"),
        rf.plan_gate(folder / "run"),
        rf.lock(folder / "run", folder / "robustness.lock"),
        rf.load_run(folder / "run"),
    ]


def image_folder(root: Path) -> Path:
    from PIL import Image

    for name in ("cats", "dogs"):
        (root / name).mkdir(parents=True)
        Image.fromarray(np.zeros((8, 8), np.uint8)).save(root / name / "one.png")
    return root


def parts(thing: object, seen: dict[int, object]) -> Iterator[object]:
    """An object of the package, and all of the package's objects that its public attributes hold."""
    if thing is None or id(thing) in seen:
        return
    seen[id(thing)] = thing
    if isinstance(thing, list | tuple):
        for entry in thing[:EXAMPLES]:
            yield from parts(entry, seen)
    if isinstance(thing, dict):
        for entry in list(thing.items())[:EXAMPLES]:
            yield from parts(entry, seen)
    kind = type(thing)
    if not kind.__module__.startswith(("robustbench_fgsm", "tests")):
        return
    yield thing
    names = [field.name for field in dataclasses.fields(thing)] if dataclasses.is_dataclass(thing) else []
    names += [name for name in dir(kind) if isinstance(getattr(kind, name), property)]
    for name in names:
        if not name.startswith("_"):
            with suppress(Exception):  # properties that hold for other networks only
                yield from parts(getattr(thing, name), seen)


def test_every_public_class_is_shown(shown: list[object]) -> None:
    public = {found for name in rf.__all__ if isinstance(found := getattr(rf, name), type)}
    found = {type(part) for thing in shown for part in parts(thing, {})}
    assert {kind.__name__ for kind in public - PROTOCOLS - found if not issubclass(kind, Exception)} == set()


def test_texts_are_short_and_made_at_once(shown: list[object]) -> None:
    seen: dict[int, object] = {}
    long = {}
    for thing in shown:
        for part in parts(thing, seen):
            began = time.process_time()
            text = repr(part)
            nameless = type(part).__name__ in rf.__all__ and " object at 0x" in text
            if len(text) > LONGEST or nameless or time.process_time() - began > SECONDS:
                long[type(part).__name__] = len(text), time.process_time() - began
    assert long == {}


def test_results_say_what_was_measured_and_the_answer(shown: list[object]) -> None:
    texts = {type(thing).__name__: repr(thing) for thing in shown}
    assert "mlp300" in texts["Evaluation"]
    assert "robust accuracy" in texts["Evaluation"]
    assert "AGREE" in texts["Comparison"]
    assert "RIGHT" in texts["Verification"]
    assert "PASSED" in texts["Gate"]
    assert "n=32" in texts["ArrayDataset"]
    assert all(len(text.splitlines()) <= 5 for text in texts.values())


def test_results_are_shown_as_html(shown: list[object]) -> None:
    for thing in shown:
        if hasattr(thing, "to_dict") and not isinstance(thing, rf.Rate | rf.Candidate):
            text = thing._repr_html_()  # type: ignore[attr-defined]
            assert text.startswith('<div class="rfgsm-result">'), type(thing)
            assert "prefers-color-scheme: dark" in text
            assert "<script" not in text


@dataclasses.dataclass
class Thing:
    name: str
    values: object = ()
    count: int = 0

    __repr__ = short_repr


@pytest.mark.parametrize(
    ("thing", "text"),
    [
        (Thing("a"), "Thing(name='a')"),
        (Thing("a", torch.zeros(3, 2)), "Thing(name='a', values=float32 (3, 2))"),
        (Thing("a", np.zeros(3), 2), "Thing(name='a', values=float64 (3,), count=2)"),
        (Thing("a", list(range(1000))), "Thing(name='a', values=<1,000 entries>)"),
        (Thing("a", len), "Thing(name='a', values=len)"),
        (Thing("a", [Thing("b", torch.zeros(1))]), "Thing(name='a', values=[Thing(name='b', values=float32 (1,))])"),
    ],
    ids=lambda value: None if isinstance(value, str) else "thing",
)
def test_fields_that_differ_from_their_default(thing: Thing, text: str) -> None:
    assert repr(thing) == text


def test_the_text_is_cut() -> None:
    text = short_repr(Thing("a"), **{f"fact_{number}": "x" * 50 for number in range(20)})
    assert len(text) <= MAX_LENGTH
    assert text.endswith("…)")


def test_facts_take_the_place_of_fields() -> None:
    assert short_repr(Thing("a"), n=3) == "Thing(n=3)"
