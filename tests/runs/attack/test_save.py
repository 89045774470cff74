"""Adversarial images on disk: what was computed comes back, a stopped run continues, a full disk harms nothing."""

from __future__ import annotations

import gc
import hashlib
import json
import os
import shutil
import signal
import subprocess
import sys
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from jsonschema import Draft202012Validator

import robustbench_fgsm as rf
from robustbench_fgsm.attack.quantization import levels_to_pixels
from robustbench_fgsm.evaluation.craft_shards import AdversarialShard
from robustbench_fgsm.files.directory_lock import lock_directory
from robustbench_fgsm.report.loaded_run import load_run
from robustbench_fgsm.report.schemas import load_schema
from robustbench_fgsm.runs.attack import save as save_module
from robustbench_fgsm.runs.attack.formats import get_shard_format
from tests.runs.attack.small_attacks import SMALL, MakeClassifier, each_format, save


def contents(out: Path) -> dict[str, str]:
    """Hashes of all images and tables by name."""
    files = sorted(file for file in out.rglob("adversarial-*/*") if file.is_file())
    files += sorted(file for file in out.glob("adversarial-*") if file.is_file())
    return {str(file.relative_to(out)): hashlib.sha256(file.read_bytes()).hexdigest() for file in files}


def manifest(out: Path) -> dict[str, Any]:
    document: dict[str, Any] = json.loads((out / "manifest.json").read_text())
    return document


@each_format
def test_manifest_fits_its_schema(tmp_path: Path, classifier: rf.TorchClassifier, data: rf.ArrayDataset, form: str) -> None:
    found = save(tmp_path, classifier, data, format=form, targeted="next")
    document = manifest(tmp_path)
    Draft202012Validator(load_schema("attack")).validate(document)
    assert document == json.loads(json.dumps(found.to_dict(), allow_nan=False))
    assert document == json.loads((tmp_path / "result.json").read_text())
    assert (document["status"], document["exit_code"], document["n"]) == ("complete", 0, 25)
    assert [file["n"] for file in document["files"]] == [10, 10, 5]
    assert (document["rounded"] is not None) == (form == "png")
    for file in document["files"]:
        assert hashlib.sha256((tmp_path / file["name"]).read_bytes()).hexdigest() == file["sha256"]


def test_rates_are_those_of_evaluate(tmp_path: Path, classifier: rf.TorchClassifier, data: rf.ArrayDataset) -> None:
    saved = save(tmp_path, classifier, data, targeted="random", seed=3, restarts=2)
    (expected,) = rf.evaluate(classifier, data, targeted="random", seed=3, restarts=2, batch_size=7).tallies
    np.testing.assert_array_equal(saved.tally.transition, expected.transition)
    assert saved.tally.target_hits == expected.target_hits


@each_format
def test_equal_settings_write_no_file(tmp_path: Path, classifier: rf.TorchClassifier, data: rf.ArrayDataset, form: str) -> None:
    first = save(tmp_path, classifier, data, format=form)
    before = {file: file.stat().st_mtime_ns for file in tmp_path.rglob("*") if file.name != ".lock"}
    again = save(tmp_path, classifier, data, format=form)
    assert again.to_dict() == first.to_dict()
    assert {file: file.stat().st_mtime_ns for file in tmp_path.rglob("*") if file.name != ".lock"} == before


@each_format
def test_keeps_example_images(tmp_path: Path, classifier: rf.TorchClassifier, data: rf.ArrayDataset, form: str) -> None:
    saved = save(tmp_path, classifier, data, format=form, targeted="next")
    kept = load_run(tmp_path).example_images
    confusion = saved.to_dict()["adversarial"]["confusion"]
    cells = Counter((image.label, image.prediction_after) for image in kept)
    assert cells == {
        (row, column): min(4, count) for row, line in enumerate(confusion) for column, count in enumerate(line) if count
    }
    whole = next(data.batches(0, len(data), len(data)))
    assert all(np.array_equal(image.clean, whole.images[image.id]) and image.targeted == "next" for image in kept)
    if form == "npz":
        shards = [np.load(file) for file in sorted(tmp_path.glob("adversarial-*"))]
        stored = {int(id_): image for shard in shards for id_, image in zip(shard["ids"], shard["images"], strict=True)}
        assert all(np.array_equal(image.adversarial, stored[image.id]) for image in kept)
    assert rf.check_adversarial(tmp_path, classifier, data).to_dict()["verdict"] == "verified"


@each_format
@pytest.mark.parametrize("shards_done", [1, 2])
def test_continues_an_interrupted_run(
    tmp_path: Path, classifier: rf.TorchClassifier, data: rf.ArrayDataset, form: str, shards_done: int
) -> None:
    def stop(done: int, total: int) -> None:
        if done == 10 * shards_done:
            raise KeyboardInterrupt

    whole, out = tmp_path / "whole", tmp_path / "stopped"
    save(whole, classifier, data, format=form)
    with pytest.raises(KeyboardInterrupt):
        save(out, classifier, data, format=form, progress=stop)
    document = manifest(out)
    assert (document["status"], document["exit_code"], document["n"]) == ("incomplete", 3, 10 * shards_done)
    Draft202012Validator(load_schema("attack")).validate(document)
    kept = contents(out)
    assert kept.items() < contents(whole).items()
    made: list[int] = []
    save(out, classifier, data, format=form, progress=lambda done, total: made.append(done))
    assert made == [20, 25][shards_done - 1 :]
    assert contents(out) == contents(whole)
    assert timeless(manifest(out)) == timeless(manifest(whole))


@pytest.mark.parametrize("listed", ["another run", "no run", "wrong types"])
def test_lists_of_shards_belong_to_the_run(
    tmp_path: Path, classifier: rf.TorchClassifier, data: rf.ArrayDataset, listed: str
) -> None:
    """Shards at another epsilon, which other processes listed for another run."""
    whole, other, out = tmp_path / "whole", tmp_path / "other", tmp_path / "out"
    save(whole, classifier, data)
    save(other, classifier, data, epsilon=0.3)
    entry = manifest(other)["files"][1]
    entry |= {"another run": {"run": "0" * 64}, "no run": {}, "wrong types": {"name": [], "bad": 5}}[listed]
    shutil.copytree(whole, out)
    document = manifest(out)
    del document["files"][1]
    (out / "manifest.json").write_text(json.dumps(document))
    (out / "result.json").unlink()
    shutil.copy(other / manifest(other)["files"][1]["name"], out)
    (out / ".shards-00001.jsonl").write_text(f"{json.dumps(entry)}\n")
    save(out, classifier, data)
    assert contents(out) == contents(whole)
    assert timeless(manifest(out)) == timeless(manifest(whole))


@pytest.mark.parametrize("lie", [{"n": 9}, {"n": 0}, {"bad": [{"path": "a.png", "reason": "no", "hash": None}]}], ids=str)
def test_a_shard_holds_what_its_entry_says(
    tmp_path: Path, classifier: rf.TorchClassifier, data: rf.ArrayDataset, lie: dict[str, Any]
) -> None:
    save(tmp_path, classifier, data)
    whole = manifest(tmp_path)
    changed = manifest(tmp_path)
    changed["files"][1] |= lie
    (tmp_path / "manifest.json").write_text(json.dumps(changed))
    save(tmp_path, classifier, data)
    assert timeless(manifest(tmp_path)) == timeless(whole)


@pytest.mark.parametrize("bad", [5, None, [5], [{"path": 1, "reason": "no"}], [{"path": "a", "reason": "b", "more": 1}]], ids=str)
def test_unreadable_samples_of_an_entry_are_one_line(
    tmp_path: Path, classifier: rf.TorchClassifier, data: rf.ArrayDataset, bad: object
) -> None:
    save(tmp_path, classifier, data)
    changed = manifest(tmp_path)
    changed["files"][1]["bad"] = bad
    (tmp_path / "manifest.json").write_text(json.dumps(changed))
    with pytest.raises(rf.RunError, match=r"must have a valid files\.1\.bad"):
        save(tmp_path, classifier, data)


def timeless(document: dict[str, Any]) -> dict[str, Any]:
    return {key: value for key, value in document.items() if key not in ("seconds", "checksum")}


KILLED = """
import os, runpy, signal, sys
import torch
import robustbench_fgsm as rf

def die(*_):
    os.kill(os.getpid(), signal.SIGKILL)

out, moment, conftest = sys.argv[1:]
torch.set_num_threads(1)
small = runpy.run_path(conftest)
if moment == "write":  # the second shard is in its temporary place
    hashed = os.fsync
    count = iter(range(100))
    os.fsync = lambda handle: hashed(handle) if next(count) < 6 else die()
rf.save_adversarial(small["small_classifier"](), small["small_data"](), out, shard_size=10, batch_size=4,
                    progress=die if moment == "between" else None)
"""


@pytest.mark.skipif(os.name != "posix", reason="needs SIGKILL")
@pytest.mark.parametrize("moment", ["between", "write"])
def test_continues_after_a_kill(tmp_path: Path, classifier: rf.TorchClassifier, data: rf.ArrayDataset, moment: str) -> None:
    whole, out = tmp_path / "whole", tmp_path / "killed"
    save(whole, classifier, data)
    done = subprocess.run([sys.executable, "-c", KILLED, str(out), moment, str(SMALL)], check=False, timeout=300)
    assert done.returncode == -signal.SIGKILL
    assert contents(out).items() < contents(whole).items()
    assert manifest(out)["n"] == 10
    save(out, classifier, data)
    assert contents(out) == contents(whole)
    assert [place.name for place in out.glob(".*")] == [".lock"]


@pytest.mark.parametrize("damage", ["flip", "truncate", "delete"])
@each_format
def test_a_damaged_shard_is_made_again(
    tmp_path: Path, classifier: rf.TorchClassifier, data: rf.ArrayDataset, form: str, damage: str
) -> None:
    save(tmp_path, classifier, data, format=form)
    before = contents(tmp_path)
    file = tmp_path / max(before)
    spoil(file, damage)
    made: list[int] = []
    save(tmp_path, classifier, data, format=form, progress=lambda done, total: made.append(done))
    assert len(made) == 1
    assert contents(tmp_path) == before
    assert rf.check_adversarial(tmp_path, classifier, data).verified


def spoil(file: Path, damage: str) -> None:
    content = bytearray(file.read_bytes())
    content[-3] ^= 1
    if damage == "delete":
        file.unlink()
    else:
        file.write_bytes(content if damage == "flip" else content[:-5])


def test_rejects_other_settings(
    tmp_path: Path, classifier: rf.TorchClassifier, data: rf.ArrayDataset, make_classifier: MakeClassifier
) -> None:
    save(tmp_path, classifier, data)
    before = contents(tmp_path), manifest(tmp_path)
    changes: list[tuple[dict[str, Any], str]] = [
        ({"epsilon": 4 / 255}, "attack.epsilon 8/255 there, 4/255 now"),
        ({"norm": 2}, 'attack.norm "inf" there, "2" now'),
        ({"shard_size": 5}, "output.shard_size 10 there, 5 now"),
        ({"format": "npz"}, 'output.format "safetensors" there, "npz" now'),
        ({"batch_size": 5}, "output.batch_size 4 there, 5 now"),
    ]
    for settings, difference in changes:
        with pytest.raises(rf.RunError, match=difference):
            save(tmp_path, classifier, data, **settings)
    with pytest.raises(rf.RunError, match=r"model\.sha256"):
        save(tmp_path, make_classifier(seed=1), data)
    with pytest.raises(rf.RunError, match=r"data\.fingerprint"):
        save(tmp_path, classifier, data.head(20))
    assert (contents(tmp_path), manifest(tmp_path)) == before


@pytest.mark.parametrize(("key", "other"), [("package", "other"), ("torch", "other"), ("device", "mps")])
def test_rejects_another_environment(
    tmp_path: Path, classifier: rf.TorchClassifier, data: rf.ArrayDataset, key: str, other: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    save(tmp_path, classifier, data)
    changed = manifest(tmp_path)["environment"] | {key: other}
    monkeypatch.setattr(save_module, "describe_environment", lambda device: changed)
    with pytest.raises(rf.RunError, match=f'{key} ".*" there, "{other}" now'):
        save(tmp_path, classifier, data)


def test_rejects_another_max_bad(tmp_path: Path, classifier: rf.TorchClassifier, data: rf.ArrayDataset) -> None:
    save(tmp_path, classifier, data)
    with pytest.raises(rf.RunError, match="max_bad 0 there, 1 now"):
        save(tmp_path, classifier, data, max_bad=1)


def test_continues_on_another_gpu(
    tmp_path: Path, classifier: rf.TorchClassifier, data: rf.ArrayDataset, monkeypatch: pytest.MonkeyPatch
) -> None:
    environment = {"package": "0.1", "torch": "2", "device": "NVIDIA A100"}
    monkeypatch.setattr(save_module, "describe_environment", lambda device: environment)
    save(tmp_path, classifier, data)
    monkeypatch.setattr(save_module, "describe_environment", lambda device: environment | {"device": "NVIDIA H100"})
    assert save(tmp_path, classifier, data).tally.n == len(data)


def test_rejects_a_directory_with_other_files(tmp_path: Path, classifier: rf.TorchClassifier, data: rf.ArrayDataset) -> None:
    (tmp_path / "thesis.tex").write_text("precious")
    with pytest.raises(rf.RunError, match="must be new, empty or a run"):
        save(tmp_path, classifier, data)
    (tmp_path / "manifest.json").write_text('{"command": "compare"}')
    with pytest.raises(rf.RunError, match=rf"must hold a run of `rfgsm attack`, got {tmp_path} of compare: choose another"):
        save(tmp_path, classifier, data)
    with pytest.raises(rf.RunError, match="which is a file"):
        save(tmp_path / "thesis.tex", classifier, data)
    assert sorted(place.name for place in tmp_path.iterdir()) == ["manifest.json", "thesis.tex"]


def test_bad_settings_make_no_directory(tmp_path: Path, classifier: rf.TorchClassifier, data: rf.ArrayDataset) -> None:
    out = tmp_path / "new"
    mistakes: list[tuple[dict[str, Any], str]] = [
        ({"format": "jpeg"}, "format must be one of safetensors, npz, png, got 'jpeg'"),
        ({"shard_size": 0}, "shard size must be a positive integer"),
        ({"epsilon": "1,2/255"}, "takes one epsilon"),
        ({"loss": "nosuch"}, "loss must be one of"),
        ({"loss": "margin", "stable": True}, "stable needs loss ce"),
        ({"targeted": "class:z"}, "targeted class must be one of the model's"),
    ]
    for settings, match in mistakes:
        with pytest.raises(rf.SettingError, match=match):
            save(out, classifier, data, **settings)
    assert not out.exists()


@each_format
def test_holds_one_shard_in_memory(
    tmp_path: Path, classifier: rf.TorchClassifier, data: rf.ArrayDataset, form: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    def alive() -> int:
        gc.collect()
        return sum(type(found) is AdversarialShard for found in gc.get_objects())

    before, seen = alive(), []
    keep = save_module.save_shard

    def kept(*args: Any) -> Any:
        seen.append(alive() - before)
        return keep(*args)

    monkeypatch.setattr(save_module, "save_shard", kept)
    save(tmp_path, classifier, data, format=form, shard_size=5, progress=lambda *_: seen.append(alive() - before))
    assert seen == [1, 0] * 5


def test_a_second_process_is_kept_out(tmp_path: Path, classifier: rf.TorchClassifier, data: rf.ArrayDataset) -> None:
    with lock_directory(tmp_path), pytest.raises(rf.ResourceError, match="one process at a time"):
        save(tmp_path, classifier, data)
    assert save(tmp_path, classifier, data).complete


@contextmanager
def small_disk(place: Path, size: str) -> Iterator[Path]:
    place.mkdir()
    mounted = subprocess.run(["mount", "-t", "tmpfs", "-o", f"size={size}", "tmpfs", str(place)], capture_output=True, check=False)
    if mounted.returncode:
        pytest.skip("mounting a small file system needs root")
    try:
        yield place
    finally:
        subprocess.run(["umount", str(place)], check=True)


@pytest.mark.skipif(sys.platform != "linux", reason="needs tmpfs")
@pytest.mark.parametrize("size", ["40k", "48k", "56k", "64k"])
@each_format
def test_full_disk_keeps_earlier_shards(
    tmp_path: Path, classifier: rf.TorchClassifier, data: rf.ArrayDataset, form: str, size: str
) -> None:
    if os.geteuid():
        pytest.skip("mounting a small file system needs root")
    whole = tmp_path / "whole"
    save(whole, classifier, data, format=form, shard_size=2)
    with small_disk(tmp_path / "disk", size) as out:
        with pytest.raises(rf.ResourceError, match=r"must be writable, got .*No space left"):
            save(out, classifier, data, format=form, shard_size=2)
        assert rf.ResourceError.exit_code == 5
        assert contents(out).items() <= contents(whole).items()
        assert [place.name for place in out.glob(".*")] == [".lock"]
        document = manifest(out)
        assert document["status"] == "incomplete"
        assert {file["name"] for file in document["files"]} <= contents(out).keys()


@pytest.mark.parametrize("write", [1, 2, 3, 5, 8])
@each_format
def test_failed_write_keeps_earlier_files(
    tmp_path: Path, classifier: rf.TorchClassifier, data: rf.ArrayDataset, form: str, write: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    whole, out, real, count = tmp_path / "whole", tmp_path / "full", os.fsync, iter(range(1, 10_000))
    save(whole, classifier, data, format=form)

    def full(handle: int) -> None:
        if next(count) == write:
            raise OSError(28, "No space left on device")
        real(handle)

    monkeypatch.setattr(os, "fsync", full)
    with pytest.raises(rf.ResourceError, match="No space left on device"):
        save(out, classifier, data, format=form)
    assert contents(out).items() <= contents(whole).items()
    save(out, classifier, data, format=form)
    assert contents(out) == contents(whole)


class NotFinite(torch.nn.Module):
    def forward(self, x: torch.Tensor) -> torch.Tensor:
        total = x.flatten(1).sum(1)
        return torch.stack([total, total * 0, (total - total.detach()).sqrt()], 1)


@each_format
def test_nonfinite_gradients_invalidate_the_run(tmp_path: Path, data: rf.ArrayDataset, form: str) -> None:
    found = save(tmp_path, rf.wrap(NotFinite(), 3), data, format=form)
    assert (found.exit_code, manifest(tmp_path)["status"]) == (1, "invalid")
    assert "25 of 25 images have a gradient that is not finite" in found.invalid_reasons[0]
    kind = get_shard_format(form)
    stored = kind.read_images(tmp_path / kind.shard_name(0))
    clean = next(data.batches(0, 10, 10)).images
    assert torch.equal(levels_to_pixels(stored) if kind.eight_bit else stored, clean)


def test_counts_pixels_rounded_outside_the_ball(tmp_path: Path, classifier: rf.TorchClassifier) -> None:
    images = (torch.arange(3 * 30).view(3, 1, 6, 5) + 0.4) / 255
    found = save(
        tmp_path,
        classifier,
        rf.ArrayDataset("between", images, torch.tensor([0, 1, 2]), ("a", "b", "c")),
        format="png",
        epsilon=0.1 / 255,
    )
    document = found.to_dict()
    assert document["rounded"]["pixels_outside"] == document["rounded"]["pixels"] == 90
    assert "90 of 90 pixels have no 8-bit value within the budget" in " ".join(document["warnings"])
