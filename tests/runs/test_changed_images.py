"""Test that a run neither returns nor continues a result of other images, another run or a lying ledger."""

from __future__ import annotations

import hashlib
import json
import os
import shutil
import tarfile
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image
from torch import nn

import robustbench_fgsm as rf
from robustbench_fgsm.data.dataset import BadSample
from robustbench_fgsm.data.images import ImageDataset
from robustbench_fgsm.data.torch_dataset import TorchImageSource
from robustbench_fgsm.engine.plan import Plan
from robustbench_fgsm.evaluation.transfer import make_transfer_models
from robustbench_fgsm.options import TransferOptions
from robustbench_fgsm.runs.evaluate import evaluate_in_directory
from robustbench_fgsm.runs.evaluation_run import EvaluationRun
from robustbench_fgsm.runs.ledger import Ledger, ledger_name
from robustbench_fgsm.runs.piece_format import HASH_LENGTH, RECORD_PREFIX, encode_piece
from robustbench_fgsm.runs.transfer import TransferRun, transfer_in_directory
from robustbench_fgsm.spec import AttackSpec

CLASSES = ("a", "b", "c")
COUNT, SIZE, CHANGED = 120, 8, 50
"""Images, images of a piece, and the image that is changed; it is none of the 32 that are spread evenly."""

Run = Callable[[rf.Dataset, Path], dict[str, Any]]


class StoppedError(Exception):
    """Stands for whatever ends a process."""


class OwnDataset:
    """A data set of another package, whose fingerprint says nothing of its images."""

    name, fingerprint = "own", "0" * 64
    classes: tuple[str, ...] = CLASSES

    def __init__(self, images: torch.Tensor) -> None:
        self.images = images

    def __len__(self) -> int:
        return len(self.images)

    def batches(self, start: int, stop: int, size: int) -> Any:
        for low in range(start, min(stop, len(self)), size):
            ids = torch.arange(low, min(low + size, stop, len(self)))
            yield rf.Batch(self.images[ids], ids % 3, ids)

    def __iter__(self) -> Any:
        return self.batches(0, len(self), 128)


def draw() -> torch.Tensor:
    return torch.from_numpy(np.random.default_rng(0).integers(0, 256, (COUNT, 3, 6, 5), np.uint8))


def files(place: Path, images: torch.Tensor) -> rf.Dataset:
    """Write image files, keep their times, and return them as a data set."""
    for number, image in enumerate(images):
        file = place / "images" / CLASSES[number % 3] / f"{number:03}.bmp"
        file.parent.mkdir(parents=True, exist_ok=True)
        Image.fromarray(image.permute(1, 2, 0).numpy()).save(file)
        os.utime(file, ns=(0, 0))
    return rf.load_data(f"folder:{place / 'images'}", workers=0)


def shard(place: Path, images: torch.Tensor) -> rf.Dataset:
    """Write a shard of the image files."""
    files(place, images)
    with tarfile.open(place / "images.tar", "w") as archive:
        for number in range(len(images)):
            archive.add(place / "images" / CLASSES[number % 3] / f"{number:03}.bmp", f"{number:03}.bmp")
            (place / "label").write_text(str(number % 3))
            archive.add(place / "label", f"{number:03}.cls")
    return rf.load_data(f"wds:{place / 'images.tar'}", workers=0)


def arrays(place: Path, images: torch.Tensor) -> rf.Dataset:
    np.savez(place / "images.npz", images=images.numpy(), labels=np.arange(len(images)) % 3, classes=np.array(CLASSES))
    return rf.load_data(f"npz:{place / 'images.npz'}")


def torch_data(place: Path, images: torch.Tensor) -> rf.Dataset:
    pairs = [(image, number % 3) for number, image in enumerate(images)]
    return ImageDataset("torch", TorchImageSource(pairs, "torch"), CLASSES)


def own(place: Path, images: torch.Tensor) -> rf.Dataset:
    return OwnDataset(images.float() / 255)


SOURCES = (files, shard, arrays, torch_data, own)


def run_of(command: str, classifier: rf.TorchClassifier, spec: AttackSpec) -> Run:
    def evaluated(data: rf.Dataset, out: Path, progress: Any = None) -> dict[str, Any]:
        kind: Any = command
        run = EvaluationRun(kind, classifier, data, (spec,), Plan(batch_size=SIZE, threads=1))
        return evaluate_in_directory(run, out, progress=progress)

    def transferred(data: rf.Dataset, out: Path, progress: Any = None) -> dict[str, Any]:
        models = make_transfer_models([classifier], [classifier])
        return transfer_in_directory(TransferRun(models, data, spec, TransferOptions(), SIZE), out, progress=progress)

    return transferred if command == "transfer" else evaluated


@pytest.fixture
def network() -> rf.TorchClassifier:
    with torch.random.fork_rng():
        torch.manual_seed(0)
        return rf.wrap(nn.Sequential(nn.Flatten(), nn.Linear(90, 3)), 3)


@pytest.fixture(params=["evaluate", "sweep", "transfer"])
def command(request: pytest.FixtureRequest, network: rf.TorchClassifier) -> Callable[..., Run]:
    """A command, with another budget if one is given."""
    return lambda epsilon=0.1: run_of(request.param, network, AttackSpec((epsilon,)))


@pytest.mark.parametrize("finished", [True, False], ids=["finished", "stopped"])
@pytest.mark.parametrize("source", SOURCES)
def test_one_changed_image_is_noticed(command: Callable[..., Run], source: Any, finished: bool, tmp_path: Path) -> None:
    run, images, out = command(), draw(), tmp_path / "run"

    def stop(done: int, _: int) -> None:
        if done > COUNT - 2 * SIZE and not finished:
            raise StoppedError

    if finished:
        run(source(tmp_path, images), out)
    else:
        with pytest.raises(StoppedError):
            run(source(tmp_path, images), out, progress=stop)  # type: ignore[call-arg]
    before = {file.name: file.read_bytes() for file in out.iterdir()}
    changed = images.clone()
    changed[CHANGED] = 255 - changed[CHANGED]
    with pytest.raises(rf.RunError, match=r"must (be those that the run measured, got 1 other|hold a run with the same settings)"):
        run(source(tmp_path, changed), out)
    assert {file.name: file.read_bytes() for file in out.iterdir()} == before
    again = run(source(tmp_path, images), out)  # what the message advises
    assert _counts(again) == _counts(run(source(tmp_path, images), tmp_path / "other"))


def _counts(document: dict[str, Any]) -> dict[str, Any]:
    found = {key: value for key, value in document.items() if key not in ("seconds", "environment")}
    return found | ({"evaluations": [_counts(part) for part in found["evaluations"]]} if "evaluations" in found else {})


@pytest.mark.parametrize(("before", "after"), [(b"damaged", b"wrecked"), (b"damaged", b""), (b"damaged", None), (None, b"damaged")])
def test_unreadable_images_are_those_of_before(
    network: rf.TorchClassifier, before: bytes | None, after: bytes | None, tmp_path: Path
) -> None:
    run, images, file = run_of("evaluate", network, AttackSpec((0.1,))), draw(), tmp_path / "images" / "c" / f"{CHANGED:03}.bmp"

    def load(content: bytes | None) -> rf.Dataset:
        files(tmp_path, images)
        whole = file.read_bytes()
        file.write_bytes(whole if content is None else content.ljust(len(whole), b"\0") if content else content)
        return rf.load_data(f"folder:{tmp_path / 'images'}", workers=0)

    found = run(load(before), tmp_path / "run")
    assert found["bad"]["count"] == (before is not None)
    assert run(load(before), tmp_path / "run") == found
    with pytest.raises(rf.RunError, match=r"images must be those .*, first \S+050.bmp|with data.fingerprint"):
        run(load(after), tmp_path / "run")


def test_ledger_of_another_run_is_refused(command: Callable[..., Run], tmp_path: Path) -> None:
    data = arrays(tmp_path, draw())
    for epsilon in (0.1, 0.3):
        command(epsilon)(data, tmp_path / str(epsilon))
    out, moved = tmp_path / "0.1", tmp_path / "moved"
    right = _counts(json.loads((out / "result.json").read_text()))
    (out / "result.json").unlink()
    (out / ledger_name(0)).unlink()
    shutil.copy(tmp_path / "0.3" / ledger_name(0), out / ledger_name(1))
    with pytest.raises(rf.RunError, match="must hold records of this run alone, got one of a run with other settings: move the"):
        command()(data, out)
    (out / ledger_name(1)).rename(moved)  # what the message advises
    assert _counts(command()(data, out)) == right


def test_ledger_of_an_older_version_is_refused(network: rf.TorchClassifier, tmp_path: Path) -> None:
    run, data, out = run_of("evaluate", network, AttackSpec((0.1,))), arrays(tmp_path, draw()), tmp_path / "run"
    run(data, out)
    parts = []
    for record in Ledger.of_directory(out).records():
        rest = encode_piece(record, "x")[len(RECORD_PREFIX) + HASH_LENGTH :].replace(b'"run":"x",', b"")
        parts.append(RECORD_PREFIX + hashlib.sha256(rest).hexdigest().encode() + rest)
    (out / ledger_name(0)).write_bytes(b"".join(parts))
    with pytest.raises(rf.RunError, match="got one of an older version: choose another directory"):
        run(data, out)


def test_lying_records_are_measured_again(command: Callable[..., Run], tmp_path: Path) -> None:
    run, data, out = command(), arrays(tmp_path, draw()), tmp_path / "run"
    right = _counts(run(data, out))
    ledger = Ledger.of_directory(out)
    records = list(ledger.records())
    wrong = np.full(SIZE, 7)
    records[0] = replace(records[0], outcomes=tuple(replace(part, before=wrong) for part in records[0].outcomes))
    records[1] = replace(records[1], seconds=-5.0)
    (out / ledger_name(0)).write_bytes(b"".join(encode_piece(record, ledger.schema.run) for record in records))
    for with_result in (True, False):
        if not with_result:
            (out / "result.json").unlink()
            (out / ledger_name(0)).write_bytes(b"".join(encode_piece(record, ledger.schema.run) for record in records))
        assert _counts(run(data, out)) == right
        assert Ledger.of_directory(out).is_complete


def test_ids_and_labels_are_those_of_the_data(network: rf.TorchClassifier, tmp_path: Path) -> None:
    run, data, out = run_of("evaluate", network, AttackSpec((0.1,))), arrays(tmp_path, draw()), tmp_path / "run"
    run(data, out)
    ledger = Ledger.of_directory(out)
    changes: list[dict[str, Any]] = [{"labels": np.zeros(SIZE, np.int64)}, {"ids": np.arange(SIZE) + 3}]
    for change in changes:
        records = list(ledger.records())
        records[0] = replace(records[0], outcomes=tuple(replace(part, **change) for part in records[0].outcomes))
        (out / ledger_name(0)).write_bytes(b"".join(encode_piece(record, ledger.schema.run) for record in records))
        with pytest.raises(rf.RunError, match="records of the run must have the ids and labels of npz:"):
            run(data, out)


@pytest.mark.parametrize("source", SOURCES)
def test_gate_pairs_equal_images_alone(network: rf.TorchClassifier, source: Any, tmp_path: Path) -> None:
    run, images = run_of("evaluate", network, AttackSpec((0.1,))), draw()
    run(source(tmp_path, images), tmp_path / "one")
    run(source(tmp_path, images), tmp_path / "two")
    assert rf.gate(tmp_path / "one", tmp_path / "two").passed
    images[CHANGED] = 255 - images[CHANGED]
    run(source(tmp_path, images), tmp_path / "three")
    with pytest.raises(rf.RunError, match=r"run and baseline must be on the same images, got .* classes"):
        rf.gate(tmp_path / "three", tmp_path / "one")


def test_hashes_of_unreadable_samples_are_no_difference() -> None:
    assert BadSample("a", "b", 1) == BadSample("a", "b")
