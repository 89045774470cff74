"""Each option that names a file that a run reads: after a change of the file no old result is returned or continued."""

from __future__ import annotations

import gzip
import io
import json
import os
import re
import tarfile
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from numpy.typing import NDArray
from PIL import Image

import robustbench_fgsm as rf
from robustbench_fgsm.files.array_files import write_safetensors
from tests.cli.test_changed_inputs import contents
from tests.cli.test_options import PROGRAMS
from tests.runs.test_system_calls import without_times

Run = Callable[..., tuple[int, str, str]]

FEATURES, SAMPLES = 784, 12
NETWORK = """
import torch
from torch import nn

def make():
    torch.manual_seed(0)
    return nn.Linear(784, 3)
"""


def samples(changed: int) -> tuple[NDArray[Any], NDArray[Any]]:
    """Return images and labels, of which one pixel is changed."""
    images = np.random.default_rng(0).integers(0, 256, (SAMPLES, 28, 28), np.uint8)
    images[7, 3, 3] += changed
    return images, np.arange(SAMPLES) % 3


def write_table(changed: int) -> None:
    images, labels = samples(changed)
    rows = [f"{label}," + ",".join(f"{value:03}" for value in image.ravel()) for image, label in zip(images, labels, strict=True)]
    header = "label," + ",".join(f"f{number}" for number in range(FEATURES))
    Path("table.csv").write_text("\n".join([header, *rows]) + "\n")


def write_features(name: str, *columns: str) -> Callable[[int], object]:
    """Return the writer of a file with columns of numbers, one for each feature."""

    def write(changed: int) -> None:
        values = {column: [0.0 if column == "low" else 255.0] * FEATURES for column in columns}
        values[columns[-1]][5] += 9 * changed
        if name.endswith(".npz"):
            arrays: Any = {column: np.array(numbers) for column, numbers in values.items()}
            np.savez(name, **arrays)
        else:
            rows = zip(*values.values(), strict=True)
            Path(name).write_text("\n".join([",".join(columns), *(",".join(f"{cell:g}" for cell in row) for row in rows)]))

    return write


def write_weights(name: str) -> Callable[[int], object]:
    def write(changed: int) -> None:
        from robustbench_fgsm.models.load import load_classifier

        classifier: Any = load_classifier("mlp300", data="fashion-mnist", device="cpu")
        weights = classifier.copy_network().network.state_dict()
        next(iter(weights.values()))[0] += changed
        torch.save(weights, name) if name.endswith(".pt") else write_safetensors(Path(name), weights)

    return write


def write_onnx(changed: int) -> None:
    onnx = pytest.importorskip("onnx")
    helper, numpy_helper = onnx.helper, onnx.numpy_helper
    weights = np.random.default_rng(0).normal(size=(FEATURES, 3)).astype(np.float32)
    weights[4, 1] += changed
    nodes = [helper.make_node("Flatten", ["x"], ["flat"]), helper.make_node("MatMul", ["flat", "w"], ["y"])]
    shapes = [helper.make_tensor_value_info(name, 1, shape) for name, shape in (("x", ["n", 1, 28, 28]), ("y", ["n", 3]))]
    graph = helper.make_graph(nodes, "net", shapes[:1], shapes[1:], [numpy_helper.from_array(weights, "w")])
    onnx.save(helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8), "net.onnx")


def write_skops(changed: int) -> None:
    skops = pytest.importorskip("skops.io")
    linear_model = pytest.importorskip("sklearn.linear_model")
    images, labels = samples(0)
    model = linear_model.LogisticRegression(max_iter=1000).fit(images.reshape(SAMPLES, -1) / 255.0, labels)
    model.coef_[0, 0] += changed
    skops.dump(model, "net.skops")


def write_program(changed: int) -> None:
    weights = torch.nn.Linear(FEATURES, 3)
    for value in weights.parameters():
        value.data.fill_(0.01).view(-1)[1] += changed
    program = torch.export.export(
        torch.nn.Sequential(torch.nn.Flatten(), weights), (torch.zeros(2, 1, 28, 28),), dynamic_shapes=({0: torch.export.Dim("n")},)
    )
    torch.export.save(program, "net.pt2")


def write_mnist(changed: int) -> None:
    images, labels = samples(changed)
    place = Path("root/MNIST/raw")
    place.mkdir(parents=True, exist_ok=True)
    for part in ("train", "t10k"):
        shape = b"".join(size.to_bytes(4, "big") for size in images.shape)
        (place / f"{part}-images-idx3-ubyte").write_bytes(b"\0\0\x08\x03" + shape + images.tobytes())
        (place / f"{part}-labels-idx1-ubyte").write_bytes(
            b"\0\0\x08\x01" + SAMPLES.to_bytes(4, "big") + labels.astype(np.uint8).tobytes()
        )


def write_mat(changed: int) -> None:
    scipy = pytest.importorskip("scipy.io")
    images, labels = samples(changed)
    scipy.savemat("data.mat", {"X": np.moveaxis(images, 0, -1)[:, :, None], "y": labels})


def write_adversarial(name: str) -> Callable[[int], object]:
    def write(changed: int) -> None:
        tensors = {"images": torch.from_numpy(samples(changed)[0] / np.float32(255))[:, None]}
        np.savez(name, images=tensors["images"].numpy()) if name.endswith(".npz") else write_safetensors(Path(name), tensors)

    return write


def write_keras(changed: int) -> None:
    from robustbench_fgsm.models.sources.keras import import_keras

    try:
        keras = import_keras()
    except rf.RfgsmError:
        pytest.skip("needs keras")
    kept = Path(f"kept-{changed}.keras")
    if not kept.exists():  # the file holds the time of its writing
        model = keras.Sequential([keras.Input((28, 28, 1)), keras.layers.Flatten(), keras.layers.Dense(3)])
        model.layers[-1].set_weights([np.full((FEATURES, 3), 0.01 + changed), np.arange(3.0)])
        model.save(kept)
    Path("net.keras").write_bytes(kept.read_bytes())


def write_huggingface(changed: int) -> None:
    transformers = pytest.importorskip("transformers")
    torch.manual_seed(0)
    small = {"embedding_size": 4, "hidden_sizes": [4], "depths": [1], "layer_type": "basic", "num_channels": 1, "num_labels": 3}
    network = transformers.ResNetForImageClassification(transformers.ResNetConfig(**small))
    network.classifier[-1].bias.data[0] += changed
    network.save_pretrained("net")
    processor = {"do_resize": False, "do_rescale": True, "rescale_factor": 1 / 255, "do_normalize": False}
    Path("net/preprocessor_config.json").write_text(json.dumps(processor))


def write_processor(changed: int) -> None:
    write_huggingface(0)
    file = Path("net/preprocessor_config.json")
    normalisation = {"do_normalize": True, "image_mean": [0.5], "image_std": [0.5 + changed / 10]}
    file.write_text(json.dumps(json.loads(file.read_text()) | normalisation))


def encoded(changed: int) -> list[bytes]:
    """Return the images as BMP files, whose sizes do not depend on their pixels."""
    files = [io.BytesIO() for _ in range(SAMPLES)]
    for image, file in zip(samples(changed)[0], files, strict=True):
        Image.fromarray(image).save(file, "BMP")
    return [file.getvalue() for file in files]


def shards(changed: int) -> list[bytes]:
    """Return the images as two archives."""
    found, images = [], encoded(changed)
    for numbers in (range(6), range(6, SAMPLES)):
        stream = io.BytesIO()
        with tarfile.open(fileobj=stream, mode="w") as archive:
            for number in numbers:
                for suffix, content in (("bmp", images[number]), ("cls", b"%d" % (number % 3))):
                    member = tarfile.TarInfo(f"{number:02}.{suffix}")
                    member.size = len(content)
                    archive.addfile(member, io.BytesIO(content))
        found.append(stream.getvalue())
    return found


def write_shards(changed: int) -> None:
    for number, content in enumerate(shards(changed)):
        Path(f"part-{number}.tar").write_bytes(content)
        Path(f"part-{number}.tar.gz").write_bytes(gzip.compress(content, 0, mtime=0))


def write_bucket(changed: int) -> None:
    storage = pytest.importorskip("fsspec").filesystem("memory")
    for number, content in enumerate(shards(changed)):
        storage.pipe_file(f"/changed/part-{number}.tar", content)


def table_writer(name: str) -> Callable[[int], object]:
    """Return the writer of a table with images as bytes, saved or in parquet, or with the paths of image files."""

    def write(changed: int) -> None:
        datasets = pytest.importorskip("datasets")
        datasets.disable_progress_bars()
        images = encoded(changed)
        if name == "paths":
            for number, content in enumerate(images):
                place = Path("table", "abc"[number % 3])
                place.mkdir(parents=True, exist_ok=True)
                (place / f"{number:02}.bmp").write_bytes(content)
            return
        rows = [{"bytes": content, "path": f"{number}.bmp"} for number, content in enumerate(images)]
        kinds = datasets.Features({"image": datasets.Image(), "label": datasets.ClassLabel(names=["a", "b", "c"])})
        columns = {"image": rows, "label": [number % 3 for number in range(SAMPLES)]}
        table = datasets.Dataset.from_dict(columns, kinds)
        Path("table").mkdir(exist_ok=True)
        table.save_to_disk("table") if name == "rows" else table.to_parquet("table/test.parquet")

    return write


def write_class_map(changed: int) -> None:
    Path("map.json").write_text(json.dumps(["1", "0", "2"] if changed else ["0", "1", "2"]))


def data_writer(name: str) -> Callable[[int], object]:
    def write(changed: int) -> None:
        images, labels = samples(changed)
        if name == "npz":
            np.savez("data.npz", images=images, labels=labels)
        elif name == "safetensors":
            write_safetensors(Path("data.safetensors"), {"images": torch.from_numpy(images), "labels": torch.from_numpy(labels)})
        else:
            np.save("images.npy", images if name == "images" else samples(0)[0])
            np.save("labels.npy", np.roll(labels, changed if name == "labels" else 0))

    return write


FLAT = "--model factory:flat.py:make --num-classes 3"
TABLE = "--model factory:net.py:make --num-classes 3 --data csv:table.csv"
NPZ = "--model mlp300 --data npz:data.npz"
STANDARD = "--model mlp300 --weights standard"
MLP = f"{STANDARD} --data npz:data.npz"
OURS, ONE_ROUND = "--references none --candidate robustbench_fgsm:fgsm", "--references none --levels none --rounds 1 --no-memory"
INPUTS: Mapping[str, tuple[str, Callable[[int], object]]] = {
    "bounds": (f"evaluate {TABLE} --bounds bounds.csv --eps 8", write_features("bounds.csv", "low", "high")),
    "bounds in npz": (f"evaluate {TABLE} --bounds bounds.npz --eps 8", write_features("bounds.npz", "low", "high")),
    "scale": (f"sweep {TABLE} --bounds 0,255 --eps-scale scale.csv --eps 0.1", write_features("scale.csv", "scale")),
    "class map": (f"evaluate {TABLE} --bounds 0,255 --eps 8 --class-map map.json", write_class_map),
    "csv": (f"evaluate {TABLE} --bounds 0,255 --eps 8", write_table),
    "npz": (f"attack {MLP}", data_writer("npz")),
    "images": (f"evaluate {STANDARD} --data npy:images.npy,labels.npy", data_writer("images")),
    "labels": (f"compare {STANDARD} --data npy:images.npy,labels.npy {OURS}", data_writer("labels")),
    "safetensors": (f"explain 0.3 {STANDARD} --data safetensors:data.safetensors", data_writer("safetensors")),
    "mat": (f"evaluate {STANDARD} --data mat:data.mat", write_mat),
    "root": (f"evaluate {STANDARD} --data mnist --data-root root", write_mnist),
    "weights": (f"evaluate {NPZ} --weights weights.pt", write_weights("weights.pt")),
    "safe weights": (f"benchmark {NPZ} --weights weights.safetensors {ONE_ROUND}", write_weights("weights.safetensors")),
    "onnx": ("evaluate --model net.onnx --data npz:data.npz", write_onnx),
    "skops": ("evaluate --model sklearn:net.skops --data npz:data.npz", write_skops),
    "program": ("evaluate --model net.pt2 --data npz:data.npz --trust-model-code", write_program),
    "keras": ("evaluate --model keras:net.keras --data npz:data.npz", write_keras),
    "hugging face": ("evaluate --model hf:net --data npz:data.npz", write_huggingface),
    "processor": ("sweep --model hf:net --data npz:data.npz", write_processor),
    "shards": (f"evaluate {FLAT} --data wds:part-{{0..1}}.tar", write_shards),
    "compressed shards": (f"attack {FLAT} --data wds:part-{{0..1}}.tar.gz", write_shards),
    "object storage": (f"evaluate {FLAT} --data wds:memory://changed/part-{{0..1}}.tar", write_bucket),
    "rows": (f"compare {FLAT} --data hf-data:table {OURS}", table_writer("rows")),
    "parquet": (f"evaluate {FLAT} --data hf-data:table", table_writer("parquet")),
    "paths": (f"evaluate {FLAT} --data hf-data:table", table_writer("paths")),
    "source": ("transfer --source net.onnx --data npz:data.npz", write_onnx),
    "target": ("transfer --source factory:flat.py:make --num-classes 3 --target net.onnx --data npz:data.npz", write_onnx),
    "candidate": (f"compare {MLP} --references none --candidate saved.npz", write_adversarial("saved.npz")),
    "safe candidate": (f"compare {MLP} --references none --candidate saved.safetensors", write_adversarial("saved.safetensors")),
}  # fmt: skip
"""A command that reads a file, and the function that writes the file, changed or not. Code is in `test_changed_inputs.py`."""

DATA = ("csv", "images", "mat", "root", "shards", "object storage", "parquet", "paths", "class map", "bounds", "bounds in npz")
"""Evaluations of other data after the change, which no gate compares. Another model may be compared with the first one."""

OTHERS = {
    **dict.fromkeys(["--out", "--plot", "--csv", "--html", "--junit", "--log-dir"], "an output"),
    **dict.fromkeys(["--trust-model-code", "--follow-links", "--image-size"], "no file"),
    "--check": "names a run, whose files it hashes",
}
NO_FILE_OF_A_RUN = ("value",)


def test_every_option_that_names_a_file_is_in_the_table() -> None:
    words = {word for line, _ in INPUTS.values() for word in line.split()}
    for name, command in PROGRAMS.items():
        if not any("--out" in part.opts for part in command.params):
            continue
        for part in command.params:
            names_a_file = re.search("FILE|DIR|PATH|RUN|SPEC|MODEL|DATA", str(part.metavar)) or re.search(
                r"\bfile|director", part.help
            )
            if names_a_file and part.name not in NO_FILE_OF_A_RUN:
                assert {*part.opts} & (words | OTHERS.keys()), (name, part.opts)


@pytest.mark.filterwarnings("ignore::DeprecationWarning:keras")
@pytest.mark.parametrize("name", INPUTS)
def test_a_changed_file_is_another_run(
    run: Run, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], one_thread: None, name: str
) -> None:
    monkeypatch.chdir(tmp_path)
    if "hf-data:" in INPUTS[name][0]:
        monkeypatch.setattr("datasets.config.HF_DATASETS_CACHE", tmp_path / "cache")
    Path("net.py").write_text(NETWORK)
    Path("flat.py").write_text(NETWORK.replace("nn.Linear(784, 3)", "nn.Sequential(nn.Flatten(), nn.Linear(784, 3))"))
    write_table(0)
    data_writer("npz")(0)
    line, write = INPUTS[name]
    write(0)
    capsys.readouterr()  # bars of other libraries
    words = [*line.split(), "--batch-size", "4", "--device", "cpu", "--out", "run", "--quiet", "--json"]
    code, first, err = run(*words)
    assert code in (0, 1), err
    before, times = contents(), {file: file.stat() for file in tmp_path.rglob("*") if file.is_file()}
    write(1)
    capsys.readouterr()
    for file, status in times.items():
        if file.exists():
            os.utime(file, ns=(status.st_atime_ns, status.st_mtime_ns))
    for state in ("finished", "unfinished"):
        if state == "unfinished":
            before = {file: content for file, content in before.items() if file != "run/result.json"}
            Path("run/result.json").unlink()
        code, out, err = run(*words)
        assert (code, out, err.count("\n")) == (2, "", 1), (state, err)
        assert re.search("same settings|that the run measured|recorded", err), err
        assert contents() == before
    code, out, err = run("runs", "resume", "run", "--quiet", "--json", "--trust-model-code")
    assert code in (0, 1, 2), err
    if code == 2:
        assert contents() == before
    write(0)
    capsys.readouterr()
    code, again, err = run(*words)
    assert code in (0, 1), err
    assert without_times(json.loads(again)) == without_times(json.loads(first))
    if line.startswith("evaluate"):
        write(1)
        assert run(*words[:-3], "other", *words[-2:])[0] in (0, 1)
        code, out, err = run("gate", "other", "--baseline", "run", "--json")
        assert (code == 2) == (name in DATA), err
