"""Whatever is not as the manifest says is found, and named."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from jsonschema import Draft202012Validator
from safetensors.torch import load_file, save_file

import robustbench_fgsm as rf
from robustbench_fgsm.files.regular_files import hash_file
from robustbench_fgsm.report.schemas import load_schema
from robustbench_fgsm.runs.attack.replay import ReplayCounts
from robustbench_fgsm.runs.attack.result import checksum
from tests.runs.attack.small_attacks import save

FIRST = {"safetensors": "adversarial-00000.safetensors", "npz": "adversarial-00000.npz", "png": "adversarial-00000/00000003.png"}

formats = pytest.mark.parametrize("form", FIRST)
Check = Callable[..., rf.AttackCheck]


@pytest.fixture
def check(tmp_path: Path, classifier: rf.TorchClassifier, data: rf.ArrayDataset) -> Check:
    def run(limit: int | None = None) -> rf.AttackCheck:
        found = rf.check_adversarial(tmp_path, classifier, data, limit=limit)
        Draft202012Validator(load_schema("attack-check")).validate(json.loads(json.dumps(found.to_dict(), allow_nan=False)))
        return found

    return run


def where(found: rf.AttackCheck) -> list[str]:
    assert found.to_dict()["exit_code"] == (1 if found.mismatches else 0)
    return [mismatch.where for mismatch in found.mismatches]


def change(out: Path, edit: Callable[[dict[str, Any]], object], *, sign: bool = False) -> None:
    """Edit the manifest; sign: as somebody would who knows of its checksum and of the result beside it."""
    document = json.loads((out / "manifest.json").read_text())
    edit(document)
    if sign:
        document["checksum"] = checksum(document)
        (out / "result.json").write_text(json.dumps(document))
    (out / "manifest.json").write_text(json.dumps(document))


@formats
@pytest.mark.parametrize("norm", ["inf", "2"])
@pytest.mark.parametrize("targeted", ["none", "least-likely"])
def test_verifies_saved_images(
    tmp_path: Path, classifier: rf.TorchClassifier, data: rf.ArrayDataset, check: Check, form: str, norm: str, targeted: str
) -> None:
    save(tmp_path, classifier, data, format=form, norm=norm, targeted=targeted, restarts=1, seed=2)
    found = check()
    assert found.verified
    assert found.replay == ReplayCounts(25, 25, 750, 0, 0.0, 25)
    assert not found.warnings


@pytest.mark.parametrize(("limit", "n"), [(1, 4), (4, 4), (5, 8), (9, 10), (10, 10), (11, 14), (25, 25), (99, 25)])
def test_a_limit_replays_whole_batches(
    tmp_path: Path, classifier: rf.TorchClassifier, data: rf.ArrayDataset, check: Check, limit: int, n: int
) -> None:
    save(tmp_path, classifier, data)
    found = check(limit)
    assert found.verified
    assert found.replay.n == found.replay.images_equal == n


def test_rejects_a_limit_below_one(tmp_path: Path, classifier: rf.TorchClassifier, data: rf.ArrayDataset, check: Check) -> None:
    save(tmp_path, classifier, data)
    with pytest.raises(rf.SettingError, match="limit must be at least 1, got 0"):
        check(0)


@formats
@pytest.mark.parametrize("damage", ["flip", "truncate", "delete"])
def test_replays_all_but_a_damaged_file(
    tmp_path: Path, classifier: rf.TorchClassifier, data: rf.ArrayDataset, check: Check, form: str, damage: str
) -> None:
    save(tmp_path, classifier, data, format=form)
    file = tmp_path / FIRST[form]
    content = bytearray(file.read_bytes())
    content[len(content) // 2] ^= 1
    if damage == "delete":
        file.unlink()
    else:
        file.write_bytes(content if damage == "flip" else content[:-9])
    found = check()
    assert where(found) == [FIRST[form]]
    expected, got = found.mismatches[0].expected, found.mismatches[0].found
    if damage == "delete":
        assert (expected, got) == ("a file", "none")
    elif damage == "truncate" and form != "png":
        assert got == f"{len(content) - 9} bytes"
    else:
        assert expected.startswith("sha256 ")
        assert got == f"sha256 {hash_file(file)}"
    assert found.to_dict()["shards"] == {"count": 3, "intact": 2}
    assert found.replay == ReplayCounts(15, 15, 450, 0, 0.0, 15)


def test_a_damaged_index_is_named(tmp_path: Path, classifier: rf.TorchClassifier, data: rf.ArrayDataset, check: Check) -> None:
    save(tmp_path, classifier, data, format="png")
    index = tmp_path / "adversarial-00001/index.csv"
    index.write_text(index.read_text().replace("false", "true", 1))
    assert where(check()) == ["adversarial-00001/index.csv"]


def test_names_extra_files(tmp_path: Path, classifier: rf.TorchClassifier, data: rf.ArrayDataset, check: Check) -> None:
    save(tmp_path, classifier, data, format="png")
    (tmp_path / "adversarial-00003").mkdir()
    shutil.copyfile(tmp_path / "adversarial-00000/00000000.png", tmp_path / "adversarial-00001/00000099.png")
    assert sorted(where(check())) == ["adversarial-00001/00000099.png", "adversarial-00003"]


@pytest.mark.parametrize("name", ["../secret", "/etc/passwd"])
def test_rejects_paths_in_an_index(
    tmp_path: Path, classifier: rf.TorchClassifier, data: rf.ArrayDataset, check: Check, name: str
) -> None:
    save(tmp_path, classifier, data, format="png")
    index = tmp_path / "adversarial-00000/index.csv"
    index.write_text(index.read_text().replace("00000003.png", name))

    def forge(document: dict[str, Any]) -> None:
        document["files"][0] |= {"sha256": hash_file(index), "bytes": index.stat().st_size}

    change(tmp_path, forge, sign=True)
    found = check()
    assert found.mismatches[0] == ("adversarial-00000/index.csv", "plain file names", name)
    assert found.replay.n == 15


@pytest.mark.parametrize(
    "edit",
    [
        lambda document: document.update(n=24),
        lambda document: document["environment"].update(torch="0.1"),
        lambda document: document["adversarial"]["robust_accuracy"].update(count=0),
        lambda document: document["seconds"].update(total=0.5),
        lambda document: document["warnings"].append("all is well"),
    ],
)
def test_a_changed_manifest_is_named(
    tmp_path: Path, classifier: rf.TorchClassifier, data: rf.ArrayDataset, check: Check, edit: Callable[[dict[str, Any]], object]
) -> None:
    save(tmp_path, classifier, data)
    change(tmp_path, edit)
    found = check()
    assert where(found)[:2] == ["manifest.json", "result.json"]
    assert found.mismatches[0].expected.startswith("checksum ")


@pytest.mark.parametrize(
    ("key", "edit"),
    [
        ("n", lambda document: document.update(n=24)),
        ("adversarial.robust_accuracy.count", lambda doc: doc["adversarial"]["robust_accuracy"].update(count=99)),
        ("clean.confusion", lambda document: document["clean"]["confusion"][0].reverse()),
        ("invalid_reasons", lambda document: document["invalid_reasons"].append("why")),
    ],
)
def test_names_wrong_counts(
    tmp_path: Path,
    classifier: rf.TorchClassifier,
    data: rf.ArrayDataset,
    check: Check,
    key: str,
    edit: Callable[[dict[str, Any]], object],
) -> None:
    save(tmp_path, classifier, data)
    change(tmp_path, edit, sign=True)
    assert where(check()) == [f"manifest.json: {key}"]


@pytest.mark.parametrize("setting", [{"epsilon": 0.5}, {"norm": "2"}, {"targeted": "next"}, {"stable": True}])
def test_changed_settings_give_other_images(
    tmp_path: Path, classifier: rf.TorchClassifier, data: rf.ArrayDataset, check: Check, setting: dict[str, Any]
) -> None:
    save(tmp_path, classifier, data, epsilon=0.3)
    change(tmp_path, lambda document: document["attack"].update(setting), sign=True)
    found = check()
    if setting == {"stable": True}:
        assert found.verified  # the same direction, where nothing is saturated
    else:
        assert not found.verified
        assert any("images" in name or "targets" in name or "shards" in name for name in where(found))


def test_finds_exchanged_images_with_valid_hashes(
    tmp_path: Path, classifier: rf.TorchClassifier, data: rf.ArrayDataset, check: Check
) -> None:
    save(tmp_path, classifier, data)
    file = tmp_path / FIRST["safetensors"]
    tensors = load_file(file)
    tensors["images"][0, 0, 0, 0] = 0.123
    save_file(tensors, file)
    change(tmp_path, lambda document: document["files"][0].update(sha256=hash_file(file)), sign=True)
    found = check()
    assert where(found) == ["adversarial-00000.safetensors: images"]
    assert found.mismatches[0].found.startswith("1 of 300 pixels differ by more than 1e-06, at most by 0.")
    assert (found.replay.pixels_differing, found.replay.images_equal) == (1, 24)


def test_last_bits_alone_are_a_warning(tmp_path: Path, classifier: rf.TorchClassifier, data: rf.ArrayDataset, check: Check) -> None:
    save(tmp_path, classifier, data)
    file = tmp_path / FIRST["safetensors"]
    tensors = load_file(file)
    tensors["images"][2, 0, 3, 3] += 1e-7
    save_file(tensors, file)

    def mend(document: dict[str, Any]) -> None:
        document["files"][0]["sha256"] = hash_file(file)
        document["environment"]["torch"] = "1.13"

    change(tmp_path, mend, sign=True)
    found = check()
    assert found.verified
    assert found.replay.images_equal == 24
    assert "last bits may differ in another environment: torch was 1.13" in found.warnings[0]
    assert "1 of 25 images differ in their last bits" in found.warnings[1]


@pytest.mark.parametrize(
    "spoil",
    [
        lambda tensors: tensors.update(images=tensors["images"][:, :, 1:].contiguous()),
        lambda tensors: tensors.update(images=tensors["images"].double()),
        lambda tensors: tensors["images"].fill_(torch.nan),
        lambda tensors: tensors["predictions_after"].fill_(1),
        lambda tensors: tensors["ids"].add_(1),
        lambda tensors: tensors.pop("labels"),
        lambda tensors: tensors["labels"].fill_(99),
    ],
)
def test_finds_malformed_shards(
    tmp_path: Path,
    classifier: rf.TorchClassifier,
    data: rf.ArrayDataset,
    check: Check,
    spoil: Callable[[dict[str, torch.Tensor]], object],
) -> None:
    save(tmp_path, classifier, data)
    file = tmp_path / FIRST["safetensors"]
    tensors = load_file(file)
    spoil(tensors)
    save_file(tensors, file)

    def mend(document: dict[str, Any]) -> None:
        document["files"][0] |= {"sha256": hash_file(file), "bytes": file.stat().st_size}

    change(tmp_path, mend, sign=True)
    assert where(check())


def test_names_other_weights(
    tmp_path: Path, classifier: rf.TorchClassifier, data: rf.ArrayDataset, make_classifier: Callable[..., rf.TorchClassifier]
) -> None:
    save(tmp_path, classifier, data)
    found = rf.check_adversarial(tmp_path, make_classifier(seed=1), data)
    assert where(found) == ["weights"]
    assert found.mismatches[0].expected == f"sha256 {classifier.info.sha256}"
    assert found.replay == ReplayCounts()


def test_names_other_data(
    tmp_path: Path, classifier: rf.TorchClassifier, data: rf.ArrayDataset, make_data: Callable[..., rf.ArrayDataset]
) -> None:
    save(tmp_path, classifier, data)
    found = rf.check_adversarial(tmp_path, classifier, make_data(n=24))
    assert where(found) == ["data"]
    assert found.replay == ReplayCounts()


def test_an_unfinished_run_is_not_verified(
    tmp_path: Path, classifier: rf.TorchClassifier, data: rf.ArrayDataset, check: Check
) -> None:
    def stop(done: int, total: int) -> None:
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        save(tmp_path, classifier, data, progress=stop)
    found = check()
    assert found.mismatches == (("manifest.json", "status complete", "status incomplete: the same command continues it"),)
    assert found.replay.n == 10


def test_rejects_other_directories(tmp_path: Path, classifier: rf.TorchClassifier, data: rf.ArrayDataset, check: Check) -> None:
    with pytest.raises(rf.RunError, match=r"got .* without manifest\.json: check the path"):
        check()
    for text, match in [
        ("{}", "must have schema rfgsm.attack/1, got None"),
        ("[1]", "must hold a JSON object, got list"),
        ("{", "must be JSON"),
        ('{"schema": "rfgsm.attack/1"}', "must be as `rfgsm attack` wrote it"),
    ]:
        (tmp_path / "manifest.json").write_text(text)
        with pytest.raises(rf.InputError, match=match):
            check()


@pytest.mark.parametrize("key", ["attack", "output", "data", "model", "files", "status", "environment", "checksum"])
def test_rejects_an_incomplete_manifest(
    tmp_path: Path, classifier: rf.TorchClassifier, data: rf.ArrayDataset, check: Check, key: str
) -> None:
    save(tmp_path, classifier, data)
    change(tmp_path, lambda document: document.pop(key))
    if key == "checksum":
        assert where(check())[0] == "manifest.json"
    else:
        with pytest.raises(rf.RunError, match="must be as `rfgsm attack` wrote it"):
            check()


def test_a_wrapped_classifier_must_be_passed(tmp_path: Path, classifier: rf.TorchClassifier, data: rf.ArrayDataset) -> None:
    save(tmp_path, classifier, data)
    with pytest.raises(rf.ModelError, match="check needs the classifier, got none for Sequential"):
        rf.check_adversarial(tmp_path, data=data)
    with pytest.raises(rf.DataError, match="check needs the data, got 'small', which cannot be loaded"):
        rf.check_adversarial(tmp_path, classifier)


def test_replays_add() -> None:
    one, other = ReplayCounts(1, 1, 30, 0, 0.5, 1), ReplayCounts(2, 1, 60, 3, 0.25, 2)
    assert one + other == ReplayCounts(3, 2, 90, 3, 0.5, 3)
    assert ReplayCounts(1, max_abs_difference=np.inf).to_dict()["max_abs_difference"] is None
