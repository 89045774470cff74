"""Each file format gives back the shards that were written."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image
from safetensors.torch import load_file

import robustbench_fgsm as rf
from robustbench_fgsm.attack.quantization import levels_to_pixels
from robustbench_fgsm.engine.plan import Plan
from robustbench_fgsm.evaluation.craft_shards import AdversarialShard, craft_shards
from robustbench_fgsm.runs.attack.formats import get_shard_format
from robustbench_fgsm.spec import AttackSpec, TargetRule
from tests.runs.attack.small_attacks import MakeClassifier, MakeData, each_format, save


def crafted(classifier: rf.TorchClassifier, data: rf.ArrayDataset, target: str = "none") -> AdversarialShard:
    spec = AttackSpec(target=TargetRule.parse(target))
    return next(craft_shards(classifier, data, spec, [range(10)], plan=Plan(batch_size=4)))


def test_safetensors_hold_the_results(tmp_path: Path, classifier: rf.TorchClassifier, data: rf.ArrayDataset) -> None:
    save(tmp_path, classifier, data, targeted="next")
    stored, expected = load_file(tmp_path / "adversarial-00000.safetensors"), crafted(classifier, data, "next")
    assert torch.equal(stored.pop("images"), expected.images)
    columns = expected.record.to_columns()
    assert stored.keys() == columns.keys() >= {"ids", "labels", "targets", "predictions_before", "predictions_after"}
    assert all((stored[name].numpy() == column).all() for name, column in columns.items())


def test_npz_holds_the_results(tmp_path: Path, classifier: rf.TorchClassifier, data: rf.ArrayDataset) -> None:
    save(tmp_path, classifier, data, format="npz")
    expected = crafted(classifier, data)
    with np.load(tmp_path / "adversarial-00000.npz", allow_pickle=False) as stored:
        assert stored["images"].dtype == np.float32
        np.testing.assert_array_equal(stored["images"], expected.images.numpy())
        np.testing.assert_array_equal(stored["predictions_after"], expected.record.outcomes.after[:, 0])


@pytest.mark.parametrize("channels", [1, 3])
def test_png_holds_levels_and_an_index(tmp_path: Path, channels: int, make_classifier: MakeClassifier, make_data: MakeData) -> None:
    classifier, data = make_classifier(channels), make_data(channels)
    found = save(tmp_path, classifier, data, format="png")
    kind = get_shard_format("png")
    levels = torch.cat([kind.read_images(tmp_path / kind.shard_name(number)) for number in range(3)])
    batch = next(data.batches(0, 25, 25))
    steps = (levels.int() - (batch.images * 255).round().int()).abs()
    assert steps.max() == 8  # clean images are k/255 and epsilon is 8/255: rounding is exact
    after = classifier.predict(levels_to_pixels(levels)).argmax(1)
    assert found.rounded is not None
    assert found.rounded.robust_accuracy.count == int((after == batch.labels).sum())
    with Image.open(tmp_path / "adversarial-00002/00000024.png") as image:
        assert (image.mode, image.size) == ("L" if channels == 1 else "RGB", (5, 6))
    header, first, *_ = (tmp_path / "adversarial-00000/index.csv").read_text().splitlines()
    assert header.startswith("file,sha256,ids,labels,predictions_before,predictions_after")
    assert first.startswith("00000000.png,")


@each_format
def test_reads_the_written_columns(tmp_path: Path, classifier: rf.TorchClassifier, data: rf.ArrayDataset, form: str) -> None:
    kind = get_shard_format(form)
    shard = next(craft_shards(classifier, data, AttackSpec(), [range(10)], plan=Plan(batch_size=4), eight_bit=kind.eight_bit))
    place = tmp_path / kind.shard_name(0)
    kind.write(place, shard)
    columns = kind.read_columns(place)
    assert torch.equal(kind.read_images(place), shard.images)
    assert list(columns.keys() ^ shard.record.to_columns().keys()) == []
    for name, column in shard.record.to_columns().items():
        np.testing.assert_array_equal(columns[name], column)
        assert columns[name].dtype == column.dtype


def test_png_of_two_channels_is_refused(tmp_path: Path, make_classifier: MakeClassifier, make_data: MakeData) -> None:
    with pytest.raises(rf.DataError, match=r"1 or 3 channels, got \(2, 6, 5\)"):
        save(tmp_path / "new", make_classifier(2), make_data(2), format="png")
    assert not (tmp_path / "new").exists()
