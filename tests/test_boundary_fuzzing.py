"""Damaged files of every format that the package reads: a result, or one line with exit code 2, 4 or 5, and nothing else.

Hypothesis changes one valid file of each format: bytes, and, inside their checksums, values of the JSON, headers and messages that
the file holds. The environment's `FUZZ_EXAMPLES` and `FUZZ_SEED` make a longer run.
"""

from __future__ import annotations

import csv
import gzip
import hashlib
import io
import json
import os
import resource
import shutil
import struct
import tarfile
import warnings
import zlib
from collections.abc import Callable, Container
from contextlib import chdir, redirect_stderr, redirect_stdout, suppress
from dataclasses import dataclass
from functools import cache
from pathlib import Path, PurePosixPath
from tempfile import TemporaryDirectory
from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import HealthCheck, given, seed, settings
from hypothesis import strategies as st
from PIL import Image
from safetensors.torch import save_file
from torch import nn

import robustbench_fgsm as rf
from robustbench_fgsm.cli.feature_files import parse_bounds
from robustbench_fgsm.cli.main import main
from robustbench_fgsm.data.sources.folder import IMAGE_SUFFIXES, UNSUPPORTED_IMAGE_SUFFIXES
from robustbench_fgsm.data.training_images import training_image_warnings
from robustbench_fgsm.engine.plan import Plan
from robustbench_fgsm.errors import RfgsmError
from robustbench_fgsm.models.cards import WEIGHTS_FILE
from robustbench_fgsm.models.classifier import ModelInfo
from robustbench_fgsm.models.saved_weights import CARD_FILE, weights_bytes
from robustbench_fgsm.report.loaded_run import REPORTED_SCHEMAS, load_run
from robustbench_fgsm.report.pages.page import build_page
from robustbench_fgsm.runs.attack.integrity import check_files, check_manifest, read_attack_manifest
from robustbench_fgsm.runs.evaluate import evaluate_in_directory
from robustbench_fgsm.runs.evaluation_run import EvaluationRun
from robustbench_fgsm.runs.lock import lock
from robustbench_fgsm.runs.lock_file import read_lock
from robustbench_fgsm.runs.manifest import translate_document_errors
from robustbench_fgsm.runs.read import read_saved_run, summarize_run
from robustbench_fgsm.spec import AttackSpec, TargetRule
from tests.changed_files import (
    Rewrite,
    change_arrow,
    change_bytes,
    change_gzip,
    change_hdf5,
    change_json,
    change_ledger,
    change_lines,
    change_lock,
    change_matlab,
    change_members,
    change_npy,
    change_numbers,
    change_onnx,
    change_pickled,
    change_png,
    change_safetensors,
    change_table,
    change_tar,
    change_zip,
)

EXAMPLES = int(os.environ.get("FUZZ_EXAMPLES", "0"))
MAX_MEMORY = 1.5 * 2**30

fuzzed = settings(
    max_examples=EXAMPLES or 15,
    deadline=None,
    database=None,
    print_blob=False,
    suppress_health_check=[HealthCheck.too_slow, HealthCheck.data_too_large, HealthCheck.function_scoped_fixture],
)
seeded = seed(int(os.environ.get("FUZZ_SEED", "0")))


@dataclass(frozen=True)
class Boundary:
    """A file of a folder, how it is changed, and what reads it.

    present: numbers of images that changed content may hold, by a reader of its own; `read` then returns n + bad.
    """

    make: Callable[[], Path]
    file: str
    rewrites: tuple[Rewrite, ...]
    read: Callable[[Path], object]
    present: Callable[[bytes], Container[int]] | None = None


@cache
def scratch() -> Path:
    """Return a folder of valid files for the life of the process."""
    holder = TemporaryDirectory()
    scratch.holder = holder  # type: ignore[attr-defined]
    return Path(holder.name)


def once(make: Callable[[Path], None]) -> Callable[[], Path]:
    """Return a function that makes a folder at its first call."""

    @cache
    def made() -> Path:
        folder = scratch() / make.__name__
        folder.mkdir()
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            make(folder)
        return folder

    return made


def pixels(n: int = 6, side: int = 6) -> torch.Tensor:
    return torch.randint(0, 256, (n, 1, side, side), generator=torch.Generator().manual_seed(0), dtype=torch.uint8)


def network() -> nn.Module:
    torch.manual_seed(0)
    return nn.Sequential(nn.Flatten(), nn.Linear(36, 5), nn.ReLU(), nn.Linear(5, 3))


@once
def weights(folder: Path) -> None:
    torch.manual_seed(0)
    state = {"hidden.weight": torch.randn(300, 4), "hidden.bias": torch.randn(300), "output.weight": torch.randn(2, 300)}
    description = {"num_classes": 2, "classes": ["a", "b"], "mean": [0.5], "std": [0.5], "bounds": [0.0, 1.0], "shape": [1, 2, 2]}
    state["output.bias"] = torch.randn(2)
    (folder / "net.safetensors").write_bytes(weights_bytes(state, description))
    torch.save({"state_dict": state, "epoch": 3}, folder / "net.pt")


@once
def hugging_face(folder: Path) -> None:
    transformers = pytest.importorskip("transformers")
    shape = {"hidden_size": 4, "num_hidden_layers": 1, "num_attention_heads": 1, "intermediate_size": 4, "image_size": 6}
    config = transformers.ViTConfig(patch_size=3, num_channels=1, num_labels=3, **shape)
    transformers.ViTForImageClassification(config).save_pretrained(folder)
    stored = {"do_resize": True, "size": {"height": 6, "width": 6}, "resample": 3, "do_rescale": True, "rescale_factor": 1 / 255}
    stored |= {"do_normalize": True, "image_mean": [0.5], "image_std": [0.25], "do_center_crop": True, "crop_size": 5}
    (folder / "preprocessor_config.json").write_text(json.dumps(stored))


@once
def onnx_model(folder: Path) -> None:
    onnx = pytest.importorskip("onnx")
    pytest.importorskip("onnx2torch")
    make, info, arrays = onnx.helper.make_node, onnx.helper.make_tensor_value_info, onnx.numpy_helper.from_array
    net = network()
    first, last = net[1], net[3]  # type: ignore[index]
    named = {"w": first.weight, "b": first.bias, "v": last.weight, "c": last.bias}
    nodes = [
        make("Flatten", ["x"], ["f"], axis=1),
        make("Gemm", ["f", "w", "b"], ["h"], transB=1),
        make("Relu", ["h"], ["r"]),
        make("Gemm", ["r", "v", "c"], ["y"], transB=1),
    ]
    tensors = [arrays(value.detach().numpy(), name) for name, value in named.items()]
    kind = onnx.TensorProto.FLOAT
    graph = onnx.helper.make_graph(nodes, "g", [info("x", kind, ["n", 1, 6, 6])], [info("y", kind, ["n", 3])], tensors)
    model = onnx.helper.make_model(graph, opset_imports=[onnx.helper.make_opsetid("", 17)], ir_version=9)
    onnx.save(model, folder / "net.onnx")
    onnx.save_model(model, folder / "far.onnx", save_as_external_data=True, location="far.data", size_threshold=0)


@once
def arrays(folder: Path) -> None:
    images, labels = pixels(), torch.arange(6) % 3
    named = {"images": images.numpy(), "labels": labels.numpy(), "classes": np.array(["a", "b", "c"])}
    np.savez(folder / "data.npz", **named)  # type: ignore[arg-type]
    np.save(folder / "images.npy", images.numpy())
    np.save(folder / "labels.npy", labels.numpy())
    save_file({"images": images, "labels": labels}, folder / "data.safetensors", {"classes": '["a", "b", "c"]'})
    rows = ["label," + ",".join(f"pixel{place}" for place in range(9))]
    rows += [f"{row % 3}," + ",".join(str((row * place * 7) % 256) for place in range(9)) for row in range(6)]
    (folder / "data.csv").write_text("\n".join(rows))
    from scipy import io as matlab

    matlab.savemat(folder / "data.mat", {"X": images.numpy(), "y": labels.numpy()})
    (folder / "names.json").write_text('["b", "a", "c"]')
    (folder / "map.json").write_text('{"a": 1, "b": 0, "c": 2}')
    (folder / "pairs.json").write_text('{"0": ["b", "dog"], "1": ["a", "cat"], "2": ["c", "cow"]}')


PICTURES = ("png", "jpg", "bmp", "tif", "webp", "ppm")


@once
def pictures(folder: Path) -> None:
    drawn = Image.fromarray(pixels(1, 20)[0, 0].numpy()).convert("RGB")
    for suffix in PICTURES:
        for name in "ab":
            (folder / suffix / name).mkdir(parents=True, exist_ok=True)
            drawn.save(folder / suffix / name / f"x.{suffix}")
    with tarfile.open(folder / "data.tar", "w") as archive:
        for number in range(3):
            for name, content in ((f"{number}.png", (folder / "png/a/x.png").read_bytes()), (f"{number}.cls", b"%d" % number)):
                member = tarfile.TarInfo(name)
                member.size = len(content)
                archive.addfile(member, io.BytesIO(content))


@once
def run(folder: Path) -> None:
    images = rf.ArrayDataset("small", pixels(12), torch.arange(12) % 3, ("a", "b", "c"))
    specs = tuple(AttackSpec((0.1, 0.2), target=TargetRule.parse(rule)) for rule in ("none", "next"))
    sweep = EvaluationRun("sweep", rf.wrap(network(), 3), images, specs, Plan(batch_size=4, threads=1))
    evaluate_in_directory(sweep, folder / "run", max_example_images=4)
    lock(folder / "run", folder / "robustness.lock")


@once
def attack(folder: Path) -> None:
    images = rf.ArrayDataset("small", pixels(12), torch.arange(12) % 3, ("a", "b", "c"))
    for form in ("safetensors", "npz", "png"):
        classifier = rf.wrap(network(), 3)
        rf.save_adversarial(classifier, images, folder / form, epsilon=0.1, batch_size=4, format=form)


@once
def training(folder: Path) -> None:
    """A training that was stopped after its first check."""

    def stop(check: object) -> None:
        raise KeyboardInterrupt

    with suppress(KeyboardInterrupt):
        train_in(folder, report=stop)


def train_in(folder: Path, **options: Any) -> object:
    images = rf.ArrayDataset("small", pixels(12), torch.arange(12) % 3, ("a", "b", "c"))
    found = rf.train(network(), images, out=folder / "run", batch_size=4, held_out=0, **options)
    return found.checks, summarize_run(folder / "run")


@once
def trained(folder: Path) -> None:
    torch.manual_seed(0)
    images = rf.ArrayDataset("small", torch.rand(8, 1, 28, 28), torch.arange(8) % 2, ("a", "b"))
    classifier: Any = rf.load_classifier("mlp300", weights="none", num_classes=2, device="cpu")
    rf.train(classifier, images, out=folder / "run", epochs=1, batch_size=4, held_out=0)


@once
def exported(folder: Path) -> None:
    dynamic = {"input": {0: torch.export.Dim("n")}}
    program = torch.export.export(network().eval(), (torch.rand(2, 1, 6, 6),), dynamic_shapes=dynamic)
    torch.export.save(program, folder / "net.pt2")
    torch.jit.trace(network().eval(), torch.rand(2, 1, 6, 6)).save(folder / "net.pt")  # type: ignore[no-untyped-call]


@once
def tables(folder: Path) -> None:
    """Directories of the `datasets` library: Parquet, what `save_to_disk` writes, and images with a list."""
    datasets = pytest.importorskip("datasets")
    arrow = pytest.importorskip("pyarrow.parquet")
    drawn = [Image.fromarray(image[0].numpy()) for image in pixels(4, 8)]
    features = datasets.Features({"image": datasets.Image(), "label": datasets.ClassLabel(names=["a", "b"])})
    table = datasets.Dataset.from_dict({"image": drawn, "label": [0, 1, 0, 1]}, features=features)
    (folder / "parquet").mkdir()
    table.to_parquet(folder / "parquet/test.parquet")
    datasets.DatasetDict({"test": table}).save_to_disk(folder / "saved")
    assert arrow.read_table(folder / "parquet/test.parquet").num_rows == 4


@once
def idx_files(folder: Path) -> None:
    """MNIST as torchvision keeps it."""
    place = folder / "MNIST/raw"
    place.mkdir(parents=True)
    images, labels = pixels(6, 28)[:, 0].numpy(), np.arange(6, dtype=np.uint8)
    for split in ("t10k", "train"):
        (place / f"{split}-images-idx3-ubyte").write_bytes(struct.pack(">4i", 2051, *images.shape) + images.tobytes())
        (place / f"{split}-labels-idx1-ubyte").write_bytes(struct.pack(">2i", 2049, 6) + labels.tobytes())


@once
def feature_files(folder: Path) -> None:
    (folder / "bounds.csv").write_text("name,low,high\na,0,1\nb,-1,1\nc,0,255\n")
    np.savez(folder / "bounds.npz", low=np.zeros(3, np.float32), high=np.ones(3, np.float32))


DOCUMENTS = {
    "evaluate": "evaluate mlp300 --limit 8 --device cpu",
    "sweep": "sweep mlp300 --limit 8 --device cpu --eps 1,8/255 --targeted none --targeted next",
    "compare": "compare mlp300 --limit 8 --device cpu --references art --candidate net.py:attack",
    "transfer": "transfer --source mlp300 --target smallcnn --limit 8 --device cpu",
    "train": "train --model mlp300 --limit 24 --held-out 8 --epochs 1 --batch-size 8 --device cpu",
    "attack": "attack mlp300 --limit 8 --device cpu",
    "verify": "verify net.py:attack",
    "benchmark": "benchmark mlp300 --limit 8 --device cpu --references none --levels none --rounds 2",
}


@once
def documents(folder: Path) -> None:
    with chdir(folder):
        Path("net.py").write_text("import torch\n\ndef attack(model, x, y, epsilon):\n    return x\n")
        for name, words in DOCUMENTS.items():
            run_program(*words.split(), *(("--out", name) if name not in ("verify", "benchmark") else ()), into=f"{name}.json")


def run_program(*words: str, into: str = "") -> str:
    """Run the program; return what it printed. Exit codes of an answer, and of bad input, are right."""
    out, err = io.StringIO(), io.StringIO()
    with redirect_stdout(out), redirect_stderr(err), pytest.raises(SystemExit) as done:
        main([*words, *(["--json", "--quiet"] if into else [])])
    assert done.value.code in ((0, 1) if into else (0, 1, 2, 4, 5)), (words, err.getvalue())
    if done.value.code not in (0, 1):
        assert err.getvalue().strip().count("\n") == 0, err.getvalue()
    if into:
        Path(into).write_text(out.getvalue())
    return out.getvalue()


def read_document(name: str) -> Callable[[Path], object]:
    """Return what shows a document in one of the ways, or compares it with the right one."""
    file = f"{name}.json"
    commands = [f"report {file} --output page.html", f"report {file} {file} --format latex"]
    commands += [f"plot {file} --output figure.png", f"gate {name} --baseline {file}"]

    def read(folder: Path) -> object:
        with chdir(folder):
            return run_program(*commands[zlib.crc32(Path(file).read_bytes()) % len(commands)].split())

    return read


@once
def labelled_shards(folder: Path) -> None:
    source = pictures() / "data.tar"
    shutil.copy(source, folder / "data.tar")
    (folder / "data.tar.gz").write_bytes(gzip.compress(source.read_bytes(), 1))


@once
def skops_model(folder: Path) -> None:
    skops = pytest.importorskip("skops.io")
    from sklearn.linear_model import LogisticRegression

    model = LogisticRegression().fit(pixels().flatten(1).numpy(), np.arange(6) % 3)
    skops.dump(model, folder / "net.skops")


@once
def keras_model(folder: Path) -> None:
    from robustbench_fgsm.models.sources.keras import import_keras

    try:
        keras = import_keras()
    except ImportError:
        pytest.skip("needs keras")
    keras.Sequential([keras.Input((36,)), keras.layers.Dense(3, activation="softmax")]).save(folder / "net.keras")


def always(count: int) -> Callable[[bytes], Container[int]]:
    """Return the number of images that a change of this file cannot alter."""
    return lambda content: (count,)


def rows_of_table(content: bytes) -> Container[int]:
    """Return the number of rows of a table: one of them may be its header."""
    rows = sum(bool(row) for row in csv.reader(io.StringIO(content.decode("utf-8-sig"), newline="")))
    return rows - 1, rows


def images_in_tar(content: bytes) -> Container[int]:
    """Return the number of images in an archive, and of keys with a label alone."""
    with tarfile.open(fileobj=io.BytesIO(content), ignore_zeros=True) as archive:
        paths = [PurePosixPath(one.name) for one in archive if one.isfile()]
    names = [(path.parent / path.name.partition(".")[0], path.name.lower().partition(".")[2]) for path in paths]
    images = [key for key, suffix in names if key.name and f".{suffix}" in IMAGE_SUFFIXES | UNSUPPORTED_IMAGE_SUFFIXES]
    return range(len(images), len(images) + len({key for key, _ in names} - {*images}) + 1)


def rows_of_parquet(content: bytes) -> Container[int]:
    rows: int = pytest.importorskip("pyarrow.parquet").ParquetFile(io.BytesIO(content)).metadata.num_rows
    return (rows,)


def read_images(spec: str, **options: Any) -> int:
    data = rf.load_data(spec, workers=0, **options)
    return sum(len(batch) + len(batch.bad) for batch in data)


def read_model(spec: str, **options: Any) -> object:
    return rf.load_classifier(spec, device="cpu", **options).predict(torch.rand(2, 1, 6, 6)).shape


def read_run(folder: Path) -> object:
    saved = read_saved_run(folder / "run")
    return sum(len(record) for record in saved.records()), summarize_run(folder / "run")


def read_report(folder: Path) -> object:
    with translate_document_errors(folder / "run"):  # as the command does
        return build_page([load_run(folder / "run", REPORTED_SCHEMAS)])


def check_attack(form: str) -> Callable[[Path], object]:
    """Return what checks saved images whose manifest has the hashes of the files that are there."""

    def check(folder: Path) -> object:
        manifest = folder / form / "manifest.json"
        with suppress(ValueError, LookupError, TypeError, OSError, RecursionError):
            document = json.loads(manifest.read_text())
            for record in document["shards"]:
                content = (folder / form / record["name"]).read_bytes()
                record |= {"sha256": hashlib.sha256(content).hexdigest(), "bytes": len(content)}
            manifest.write_text(json.dumps(document))
        found = read_attack_manifest(folder / form)
        damaged, _ = check_files(found)
        return list(check_manifest(found, damaged))

    return check


def saved_images(folder: Path) -> object:
    from robustbench_fgsm.references.saved_images import load_saved_images

    return load_saved_images(folder / "data.npz", (1, 6, 6))


def tiny_weights(file: str) -> Callable[[Path], object]:
    options = {"num_classes": 2, "mean": 0.5, "std": 0.5} if file.endswith(".pt") else {}
    return lambda folder: rf.load_classifier("mlp300", weights=str(folder / file), device="cpu", **options)  # type: ignore[arg-type]


def picture(suffix: str) -> Boundary:
    rewrites = (change_bytes, change_png if suffix == "png" else change_numbers)
    return Boundary(
        pictures, f"{suffix}/a/x.{suffix}", rewrites, lambda folder: read_images(f"folder:{folder / suffix}"), always(2)
    )


def class_map(name: str) -> Boundary:
    return Boundary(
        arrays,
        name,
        (change_json, change_bytes),
        lambda folder: read_images(f"npz:{folder / 'data.npz'}", class_map=folder / name),
        always(6),
    )


def onnx_reader(name: str) -> Callable[[Path], object]:
    return lambda folder: read_model(str(folder / name))


BOUNDARIES = {
    "weights.safetensors": Boundary(
        weights, "net.safetensors", (change_safetensors, change_bytes), tiny_weights("net.safetensors")
    ),
    "weights.pt": Boundary(weights, "net.pt", (change_bytes, change_zip(change_bytes, "")), tiny_weights("net.pt")),
    "config.json": Boundary(hugging_face, "config.json", (change_json,), lambda folder: read_model(f"hf:{folder}")),
    "preprocessor": Boundary(hugging_face, "preprocessor_config.json", (change_json,), lambda folder: read_model(f"hf:{folder}")),
    "hf.safetensors": Boundary(
        hugging_face, "model.safetensors", (change_safetensors, change_bytes), lambda folder: read_model(f"hf:{folder}")
    ),
    "onnx": Boundary(onnx_model, "net.onnx", (change_onnx, change_onnx, change_bytes), onnx_reader("net.onnx")),
    "onnx external": Boundary(onnx_model, "far.onnx", (change_onnx, change_bytes), onnx_reader("far.onnx")),
    "onnx data": Boundary(onnx_model, "far.data", (change_bytes,), onnx_reader("far.onnx")),
    "npz": Boundary(
        arrays,
        "data.npz",
        (change_bytes, change_zip(change_npy, ".npy")),
        lambda folder: read_images(f"npz:{folder / 'data.npz'}"),
        always(6),
    ),
    "saved images": Boundary(arrays, "data.npz", (change_bytes, change_zip(change_npy, ".npy")), saved_images),
    "npy": Boundary(
        arrays,
        "images.npy",
        (change_npy,),
        lambda folder: read_images(f"npy:{folder / 'images.npy'},{folder / 'labels.npy'}"),
        always(6),
    ),
    "data.safetensors": Boundary(
        arrays,
        "data.safetensors",
        (change_safetensors, change_bytes),
        lambda folder: read_images(f"safetensors:{folder / 'data.safetensors'}"),
        always(6),
    ),
    "csv": Boundary(
        arrays, "data.csv", (change_table, change_bytes), lambda folder: read_images(f"csv:{folder / 'data.csv'}"), rows_of_table
    ),
    "mat": Boundary(
        arrays, "data.mat", (change_matlab, change_bytes), lambda folder: read_images(f"mat:{folder / 'data.mat'}"), always(6)
    ),
    "class names": class_map("names.json"),
    "class map": class_map("map.json"),
    "class pairs": class_map("pairs.json"),
    "tar": Boundary(
        pictures, "data.tar", (change_bytes, change_tar), lambda folder: read_images(f"wds:{folder / 'data.tar'}"), images_in_tar
    ),
    **{suffix: picture(suffix) for suffix in PICTURES},
    "manifest": Boundary(run, "run/manifest.json", (change_json, change_json, change_bytes), read_run),
    "result": Boundary(run, "run/result.json", (change_json, change_json, change_bytes), read_report),
    "manifest of a report": Boundary(run, "run/manifest.json", (change_json,), read_report),
    "example images": Boundary(run, "run/images.safetensors", (change_safetensors, change_bytes), read_report),
    "ledger": Boundary(run, "run/ledger-00000.bin", (change_ledger, change_ledger, change_bytes), read_run),
    "lock": Boundary(
        run, "robustness.lock", (change_lock, change_lock, change_bytes), lambda folder: read_lock(folder / "robustness.lock")
    ),
    "attack manifest": Boundary(attack, "npz/manifest.json", (change_json, change_bytes), check_attack("npz")),
    "saved safetensors": Boundary(
        attack, "safetensors/adversarial-00000.safetensors", (change_safetensors, change_bytes), check_attack("safetensors")
    ),
    "saved npz": Boundary(attack, "npz/adversarial-00000.npz", (change_zip(change_npy, ".npy"), change_bytes), check_attack("npz")),
    "saved list": Boundary(attack, "png/adversarial-00000/index.csv", (change_table, change_bytes), check_attack("png")),
    "training state": Boundary(
        training, "run/checkpoint.pt", (change_pickled, change_pickled, change_zip(change_bytes, ""), change_bytes), train_in
    ),
    "training log": Boundary(training, "run/log.jsonl", (change_lines, change_bytes), lambda folder: summarize_run(folder / "run")),
    "card of trained weights": Boundary(
        trained,
        f"run/{CARD_FILE}",
        (change_json, change_bytes),
        lambda folder: list(
            training_image_warnings(ModelInfo("mlp300", str(folder / "run" / WEIGHTS_FILE)), rf.load_data("fashion-mnist", limit=2))
        ),
    ),
    "exported program": Boundary(
        exported,
        "net.pt2",
        (change_zip(change_json, ".json"), change_zip(change_bytes, ""), change_bytes),
        lambda folder: read_model(str(folder / "net.pt2"), trust_model_code=True),
    ),
    "TorchScript": Boundary(exported, "net.pt", (change_bytes,), lambda folder: read_model(str(folder / "net.pt"))),
    "parquet": Boundary(
        tables,
        "parquet/test.parquet",
        (change_arrow, change_arrow, change_bytes),
        lambda folder: read_images(f"hf-data:{folder / 'parquet'}"),
        rows_of_parquet,
    ),
    "saved table": Boundary(
        tables, "saved/test/dataset_info.json", (change_json,), lambda folder: read_images(f"hf-data:{folder / 'saved'}"), always(4)
    ),
    "state of a table": Boundary(
        tables, "saved/test/state.json", (change_json,), lambda folder: read_images(f"hf-data:{folder / 'saved'}"), always(4)
    ),
    "arrow": Boundary(
        tables,
        "saved/test/data-00000-of-00001.arrow",
        (change_bytes,),
        lambda folder: read_images(f"hf-data:{folder / 'saved'}"),
        always(4),
    ),
    "idx images": Boundary(
        idx_files,
        "MNIST/raw/t10k-images-idx3-ubyte",
        (change_numbers, change_bytes),
        lambda folder: read_images("mnist", root=folder),
        always(6),
    ),
    "idx labels": Boundary(
        idx_files,
        "MNIST/raw/t10k-labels-idx1-ubyte",
        (change_numbers, change_bytes),
        lambda folder: read_images("mnist", root=folder),
        always(6),
    ),
    "bounds.csv": Boundary(
        feature_files, "bounds.csv", (change_table, change_bytes), lambda folder: parse_bounds(str(folder / "bounds.csv"))
    ),
    "bounds.npz": Boundary(
        feature_files,
        "bounds.npz",
        (change_zip(change_npy, ".npy"), change_bytes),
        lambda folder: parse_bounds(str(folder / "bounds.npz")),
    ),
    "shard": Boundary(
        labelled_shards, "data.tar", (change_members,), lambda folder: read_images(f"wds:{folder / 'data.tar'}"), images_in_tar
    ),
    "shard.gz": Boundary(
        labelled_shards,
        "data.tar.gz",
        (change_gzip(change_bytes), change_gzip(change_members), change_bytes),
        lambda folder: read_images(f"wds:{folder / 'data.tar.gz'}"),
        lambda content: images_in_tar(gzip.decompress(content)),
    ),
    **{f"document of {name}": Boundary(documents, f"{name}.json", (change_json,), read_document(name)) for name in DOCUMENTS},
    "skops": Boundary(
        skops_model,
        "net.skops",
        (change_zip(change_json, "schema.json"), change_zip(change_npy, ".npy"), change_bytes),
        lambda folder: read_model(f"sklearn:{folder / 'net.skops'}"),
    ),
    "keras": Boundary(
        keras_model,
        "net.keras",
        (change_zip(change_json, "config.json"), change_zip(change_hdf5, ".h5"), change_zip(change_bytes, ".h5"), change_bytes),
        lambda folder: read_model(f"keras:{folder / 'net.keras'}"),
    ),
}


def read_changed(boundary: Boundary, data: st.DataObject) -> RfgsmError | None:
    """Read a changed file, and return the error of this package, if any. No image that the content holds may vanish."""
    source = boundary.make()
    rewrite = data.draw(st.sampled_from(boundary.rewrites), label="rewrite")
    content = rewrite(data, (source / boundary.file).read_bytes())
    with TemporaryDirectory() as place, warnings.catch_warnings():
        warnings.simplefilter("ignore")  # of the libraries that decode
        folder = Path(place) / "changed"
        shutil.copytree(source, folder)
        (folder / boundary.file).write_bytes(content)
        try:
            found = boundary.read(folder)
        except RfgsmError as error:
            return error
    if boundary.present is not None:
        assert found in boundary.present(content)
    return None


@pytest.mark.timeout(3600)  # 72 s were seen beside other work
@pytest.mark.parametrize("name", BOUNDARIES)
@fuzzed
@seeded
@given(data=st.data())
def test_a_changed_file_is_a_result_or_one_line(name: str, data: st.DataObject, one_thread: None) -> None:
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024
    error = read_changed(BOUNDARIES[name], data)
    if error is not None:
        assert error.exit_code in (2, 4, 5), error
        assert "\n" not in str(error), error
        assert len(str(error)) < 1000, error
    assert resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024 - before < MAX_MEMORY
