"""Damaged files of every format that the package reads: a result, or one line with exit code 2, 4 or 5, and nothing else.

Hypothesis changes one valid file of each format: bytes, and, inside their checksums, values of the JSON, headers and messages that
the file holds. The environment's `FUZZ_EXAMPLES` and `FUZZ_SEED` make a longer run.
"""

from __future__ import annotations

import copy
import hashlib
import io
import json
import os
import resource
import shutil
import struct
import tarfile
import warnings
import zipfile
from collections.abc import Callable, Iterator
from contextlib import suppress
from dataclasses import dataclass
from functools import cache
from pathlib import Path
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
from robustbench_fgsm.engine.plan import Plan
from robustbench_fgsm.errors import RfgsmError
from robustbench_fgsm.models.saved_weights import weights_bytes
from robustbench_fgsm.report.loaded_run import REPORTED_SCHEMAS, load_run
from robustbench_fgsm.report.pages.page import build_page
from robustbench_fgsm.runs.attack.integrity import check_files, read_attack_manifest
from robustbench_fgsm.runs.evaluate import evaluate_in_directory
from robustbench_fgsm.runs.evaluation_run import EvaluationRun
from robustbench_fgsm.runs.lock import lock
from robustbench_fgsm.runs.lock_file import read_lock
from robustbench_fgsm.runs.manifest import translate_document_errors
from robustbench_fgsm.runs.piece_format import HASH_LENGTH, RECORD_PREFIX, scan_records
from robustbench_fgsm.runs.read import read_saved_run, summarize_run
from robustbench_fgsm.spec import AttackSpec, TargetRule

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

Rewrite = Callable[[st.DataObject, bytes], bytes]


DEEP = "to be nested"

WRONG_VALUES: list[Any] = [
    *(None, True, False, -1, 0, 1, 2, 7, 255, 10**6, 2**31, 2**63, -(2**63), 2**70, 10**400),
    *(0.5, -0.5, 1e-320, 1e308, float("inf"), float("-inf"), float("nan")),
    *(
        "",
        "x",
        "0",
        "-1",
        "1e9",
        "nan",
        "\udc80",
        "a\nb\x1b[31m",
        "../../etc/passwd",
        "/dev/zero",
        "http://127.0.0.1/x",
        "x" * 5000,
    ),
    *([], [[]], [None], [0], [-1, "x"], ["a", "b"], [1] * 300, {}, {"": {}}, {"0": 0}, DEEP),
]


def paths_in(value: Any, path: tuple[Any, ...] = ()) -> Iterator[tuple[Any, ...]]:
    yield path
    items = value.items() if isinstance(value, dict) else enumerate(value[:20]) if isinstance(value, list) else ()
    for key, part in items:
        yield from paths_in(part, (*path, key))


def change_json(data: st.DataObject, content: bytes) -> bytes:
    """Return a JSON document with one or two wrong values, keys, or another encoding."""
    document: Any = {"": json.loads(content)}
    for _ in range(data.draw(st.integers(1, 2), label="changes")):
        path = data.draw(st.sampled_from([path for path in paths_in(document) if path]), label="path")
        place = document
        for key in path[:-1]:
            place = place[key]
        action = data.draw(st.sampled_from(["value", "value", "value", "remove", "rename", "double", "other"]), label="action")
        if action == "remove":
            del place[path[-1]]
        elif action == "rename" and isinstance(place, dict):
            place[data.draw(st.text(max_size=5), label="name")] = place.pop(path[-1])
        elif action == "double" and isinstance(place[path[-1]], list):
            place[path[-1]] = place[path[-1]] * 2
        elif action == "other":
            donor = data.draw(st.sampled_from(list(paths_in(document))), label="donor")
            found = document
            for key in donor:
                found = found[key]
            place[path[-1]] = copy.deepcopy(found)
        else:
            place[path[-1]] = copy.deepcopy(data.draw(st.sampled_from(WRONG_VALUES), label="value"))
        if "" not in document:
            return b""
    text = dump(document[""])
    encoding = data.draw(st.sampled_from(["utf-8"] * 9 + ["utf-16", "utf-32"]), label="encoding")
    return text.encode(encoding, "surrogatepass")


def dump(value: Any) -> str:
    return json.dumps(value, ensure_ascii=False).replace(f'"{DEEP}"', "[" * 3000 + "]" * 3000)


def change_bytes(data: st.DataObject, content: bytes) -> bytes:
    """Return the bytes with up to three flips, cuts, copies or zeros."""
    changed = bytearray(content)
    for _ in range(data.draw(st.integers(1, 3), label="changes")):
        at = data.draw(st.integers(0, max(0, len(changed) - 1)), label="at")
        if data.draw(st.booleans(), label="in the head"):
            at %= 600
        size = data.draw(st.sampled_from([1, 2, 4, 8, 64, 512, 5000]), label="size")
        action = data.draw(st.sampled_from(["flip", "set", "cut", "end", "zero", "copy", "insert"]), label="action")
        if action == "flip" and at < len(changed):
            changed[at] ^= 1 << data.draw(st.integers(0, 7), label="bit")
        elif action == "set":
            changed[at : at + size] = data.draw(st.sampled_from([b"\xff", b"\x7f", b"\x80", b"0", b"\x01"]), label="byte") * size
        elif action == "cut":
            del changed[at : at + size]
        elif action == "end":
            del changed[at:]
        elif action == "zero":
            changed[at : at + size] = bytes(size)
        else:
            source = data.draw(st.integers(0, max(0, len(changed) - 1)), label="from")
            part = changed[source : source + size]
            changed[at : at + (len(part) if action == "copy" else 0)] = part
    return bytes(changed)


def change_safetensors(data: st.DataObject, content: bytes) -> bytes:
    """Return a safetensors file with a changed header of the right length; JSON in its metadata is changed too."""
    length = int.from_bytes(content[:8], "little")
    header, rest = json.loads(content[8 : 8 + length]), content[8 + length :]
    metadata = header.get("__metadata__", {})
    if metadata and data.draw(st.integers(0, 3), label="metadata"):
        key = data.draw(st.sampled_from(sorted(metadata)), label="key")
        plain = metadata[key][0] not in "[{"
        metadata[key] = "x" if plain else change_json(data, metadata[key].encode()).decode("utf-8", "replace")
        text = json.dumps(header).encode()
    else:
        text = change_json(data, json.dumps(header).encode())
    return len(text).to_bytes(8, "little") + text + rest


def change_zip(rewrite: Rewrite, suffix: str) -> Rewrite:
    """Return the rewriting of one member of a zip archive, whose checksums are right afterwards."""

    def changed(data: st.DataObject, content: bytes) -> bytes:
        with zipfile.ZipFile(io.BytesIO(content)) as archive:
            members = {one.filename: archive.read(one) for one in archive.infolist()}
        name = data.draw(st.sampled_from([name for name in members if name.endswith(suffix)]), label="member")
        members[name] = rewrite(data, members[name])
        stream = io.BytesIO()
        kind = data.draw(st.sampled_from([zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED]), label="compression")
        with zipfile.ZipFile(stream, "w", kind) as archive:
            for member, part in members.items():
                archive.writestr(member, part)
        return stream.getvalue()

    return changed


NPY_HEADERS = [
    *(
        "{'descr': '<f4', 'fortran_order': False, 'shape': (4000000000000, 28, 28), }",
        "{'descr': '|O', 'fortran_order': False, 'shape': (4,), }",
    ),
    *(
        "{'descr': '<c8', 'fortran_order': False, 'shape': (4,), }",
        "{'descr': '<U9999999', 'fortran_order': False, 'shape': (40000,), }",
    ),
    *("{'descr': '<f4', 'fortran_order': False, 'shape': (), }", "{'descr': '<i8', 'fortran_order': True, 'shape': (-1,), }"),
    *(
        "{'descr': '<u8', 'fortran_order': 1, 'shape': (4,), }",
        "{'descr': [('a', '<f4'), ('b', '|V3')], 'fortran_order': False, 'shape': (1,), }",
    ),
    *(
        "{'descr': '<f4', 'fortran_order': False, 'shape': (2, 0, 3), }",
        "{'descr': '<M8[s]', 'fortran_order': False, 'shape': (4,), }",
        "[" * 500,
        "",
    ),
]


def change_npy(data: st.DataObject, content: bytes) -> bytes:
    """Return an array with another header, or changed bytes."""
    if data.draw(st.booleans(), label="bytes"):
        return change_bytes(data, content)
    header = data.draw(st.sampled_from(NPY_HEADERS), label="header").encode() + b"\n"
    start = 10 + int.from_bytes(content[8:10], "little")
    return content[:8] + struct.pack("<H", len(header)) + header + content[start:]


def change_tar(data: st.DataObject, content: bytes) -> bytes:
    """Return an archive with a changed header whose checksum is right."""
    blocks = [at for at in range(0, len(content), 512) if content[at + 257 : at + 262] == b"ustar"]
    at = data.draw(st.sampled_from(blocks), label="block")
    head = bytearray(content[at : at + 512])
    low, high = data.draw(st.sampled_from([(0, 100), (124, 136), (156, 157), (157, 257), (345, 500), (100, 108)]), label="field")
    value = data.draw(
        st.binary(min_size=1, max_size=12)
        | st.sampled_from([b"77777777777", b"\x80" + b"\xff" * 11, b"../x.png", b"L", b"x", b"S"])
    )
    head[low : min(high, low + len(value))] = value[: high - low]
    head[148:156] = b" " * 8
    head[148:156] = f"{sum(head):06o}\0 ".encode()
    return content[:at] + bytes(head) + content[at + 512 :]


def change_ledger(data: st.DataObject, content: bytes) -> bytes:
    """Return a ledger with one record whose head is changed and whose hash is right."""
    records = [(start, stop) for number, start, stop in scan_records(content) if number is not None]
    start, stop = data.draw(st.sampled_from(records), label="record")
    line, _, payload = content[start:stop].partition(b"\n")
    head = json.loads(line)
    del head["sha256"]
    text = change_json(data, json.dumps(head).encode())
    rest = b'",' + text[1:] + b"\n" + payload
    return content[:start] + RECORD_PREFIX + hashlib.sha256(rest).hexdigest().encode()[:HASH_LENGTH] + rest + content[stop:]


def change_lock(data: st.DataObject, content: bytes) -> bytes:
    """Return a lock with changed values and the right checksum."""
    document = json.loads(content)
    del document["checksum"]
    text = change_json(data, json.dumps(document).encode())
    with suppress(ValueError, RecursionError):
        found = json.loads(text)
        if isinstance(found, dict):
            checksum = hashlib.sha256(json.dumps(found, sort_keys=True).encode()).hexdigest()
            return json.dumps({"checksum": checksum} | found).encode()
    return text


def change_onnx(data: st.DataObject, content: bytes) -> bytes:
    """Return a model with up to three changed fields."""
    onnx = pytest.importorskip("onnx")
    model = onnx.load_model_from_string(content)
    for _ in range(data.draw(st.integers(1, 3), label="changes")):
        message = model
        while True:
            fields: list[Any] = message.ListFields()
            if not fields:
                break
            descriptor, value = data.draw(st.sampled_from(fields), label="field")
            repeated = hasattr(value, "append") or hasattr(value, "add")
            if descriptor.message_type is not None:
                if repeated and data.draw(st.integers(0, 5), label="remove") == 0:
                    del value[data.draw(st.integers(0, len(value) - 1))]
                    break
                message = value[data.draw(st.integers(0, len(value) - 1), label="index")] if repeated else value
                continue
            wrong = data.draw(st.sampled_from([-1, 0, 1, 7, 2**31 - 1, 10**9, "", "x", b"", b"x" * 9, 0.5]), label="value")
            try:
                if repeated:
                    value[data.draw(st.integers(0, len(value) - 1), label="index")] = wrong
                else:
                    setattr(message, descriptor.name, wrong)
            except (TypeError, ValueError):
                message.ClearField(descriptor.name)
            break
    found: bytes = model.SerializeToString()
    return found


@dataclass(frozen=True)
class Boundary:
    """A file of a folder, how it is changed, and what reads it."""

    make: Callable[[], Path]
    file: str
    rewrites: tuple[Rewrite, ...]
    read: Callable[[Path], object]


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
    rf.save_adversarial(rf.wrap(network(), 3), images, folder / "run", epsilon=0.1, batch_size=4)


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


def check_attack(folder: Path) -> object:
    return check_files(read_attack_manifest(folder / "run"))


def saved_images(folder: Path) -> object:
    from robustbench_fgsm.references.saved_images import load_saved_images

    return load_saved_images(folder / "data.npz", (1, 6, 6))


def tiny_weights(file: str) -> Callable[[Path], object]:
    options = {"num_classes": 2, "mean": 0.5, "std": 0.5} if file.endswith(".pt") else {}
    return lambda folder: rf.load_classifier("mlp300", weights=str(folder / file), device="cpu", **options)  # type: ignore[arg-type]


def picture(suffix: str) -> Boundary:
    return Boundary(pictures, f"{suffix}/a/x.{suffix}", (change_bytes,), lambda folder: read_images(f"folder:{folder / suffix}"))


def class_map(name: str) -> Boundary:
    return Boundary(
        arrays, name, (change_json, change_bytes), lambda folder: read_images(f"npz:{folder / 'data.npz'}", class_map=folder / name)
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
        arrays, "data.npz", (change_bytes, change_zip(change_npy, ".npy")), lambda folder: read_images(f"npz:{folder / 'data.npz'}")
    ),
    "saved images": Boundary(arrays, "data.npz", (change_bytes, change_zip(change_npy, ".npy")), saved_images),
    "npy": Boundary(
        arrays, "images.npy", (change_npy,), lambda folder: read_images(f"npy:{folder / 'images.npy'},{folder / 'labels.npy'}")
    ),
    "data.safetensors": Boundary(
        arrays,
        "data.safetensors",
        (change_safetensors, change_bytes),
        lambda folder: read_images(f"safetensors:{folder / 'data.safetensors'}"),
    ),
    "csv": Boundary(arrays, "data.csv", (change_bytes,), lambda folder: read_images(f"csv:{folder / 'data.csv'}")),
    "mat": Boundary(arrays, "data.mat", (change_bytes,), lambda folder: read_images(f"mat:{folder / 'data.mat'}")),
    "class names": class_map("names.json"),
    "class map": class_map("map.json"),
    "class pairs": class_map("pairs.json"),
    "tar": Boundary(pictures, "data.tar", (change_bytes, change_tar), lambda folder: read_images(f"wds:{folder / 'data.tar'}")),
    **{suffix: picture(suffix) for suffix in PICTURES},
    "manifest": Boundary(run, "run/manifest.json", (change_json, change_json, change_bytes), read_run),
    "result": Boundary(run, "run/result.json", (change_json, change_json, change_bytes), read_report),
    "manifest of a report": Boundary(run, "run/manifest.json", (change_json,), read_report),
    "example images": Boundary(run, "run/images.safetensors", (change_safetensors, change_bytes), read_report),
    "ledger": Boundary(run, "run/ledger-00000.bin", (change_ledger, change_ledger, change_bytes), read_run),
    "lock": Boundary(
        run, "robustness.lock", (change_lock, change_lock, change_bytes), lambda folder: read_lock(folder / "robustness.lock")
    ),
    "attack manifest": Boundary(attack, "run/manifest.json", (change_json, change_bytes), check_attack),
    "skops": Boundary(
        skops_model,
        "net.skops",
        (change_zip(change_json, "schema.json"), change_zip(change_npy, ".npy"), change_bytes),
        lambda folder: read_model(f"sklearn:{folder / 'net.skops'}"),
    ),
    "keras": Boundary(
        keras_model,
        "net.keras",
        (change_zip(change_json, "config.json"), change_zip(change_bytes, ".h5"), change_bytes),
        lambda folder: read_model(f"keras:{folder / 'net.keras'}"),
    ),
}


def read_changed(boundary: Boundary, data: st.DataObject) -> RfgsmError | None:
    """Read a changed file, and return the error of this package, if any."""
    source = boundary.make()
    rewrite = data.draw(st.sampled_from(boundary.rewrites), label="rewrite")
    content = rewrite(data, (source / boundary.file).read_bytes())
    with TemporaryDirectory() as place, warnings.catch_warnings():
        warnings.simplefilter("ignore")  # of the libraries that decode
        folder = Path(place) / "changed"
        shutil.copytree(source, folder)
        (folder / boundary.file).write_bytes(content)
        try:
            boundary.read(folder)
        except RfgsmError as error:
            return error
    return None


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
