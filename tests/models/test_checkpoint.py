"""Weights fit exactly or are refused by name; a damaged file is refused, whatever was done to it."""

from __future__ import annotations

import io
import math
import os
import pickle
import random
import resource
import struct
import tarfile
import zipfile
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path

import pytest
import torch
from safetensors.torch import save_file
from torch import Tensor, nn

from robustbench_fgsm.errors import FileError, ModelError, UnsafeError
from robustbench_fgsm.models.cards import WEIGHTS_FOLDER
from robustbench_fgsm.models.checkpoint import load_weights, read_weights

SMALLEST = WEIGHTS_FOLDER / "mlp300-fashion-mnist-standard.safetensors"


@pytest.fixture
def network() -> nn.Sequential:
    return nn.Sequential(nn.Linear(2, 3), nn.BatchNorm1d(3))


def fitting(network: nn.Module) -> dict[str, Tensor]:
    return {key: torch.ones_like(value) for key, value in network.state_dict().items()}


def test_copies_fitting_weights(network: nn.Sequential) -> None:
    load_weights(network, fitting(network), "here")
    assert all(bool((value == 1).all()) for value in network.state_dict().values())


def test_a_missing_key_is_named(network: nn.Sequential) -> None:
    state = fitting(network)
    del state["0.bias"]
    with pytest.raises(ModelError, match=r"got here with 0\.bias missing: name the architecture"):
        load_weights(network, state, "here")


def test_an_unexpected_key_is_named(network: nn.Sequential) -> None:
    with pytest.raises(ModelError, match=r"with fc\.weight unexpected:"):
        load_weights(network, fitting(network) | {"fc.weight": torch.ones(1)}, "here")


def test_a_misshapen_key_is_named(network: nn.Sequential) -> None:
    with pytest.raises(ModelError, match=r"with 0\.weight of another shape:"):
        load_weights(network, fitting(network) | {"0.weight": torch.ones(2, 3)}, "here")


@pytest.mark.parametrize("value", [math.nan, math.inf, -math.inf])
def test_names_a_nonfinite_key(network: nn.Sequential, value: float) -> None:
    with pytest.raises(ModelError, match=r"with 1\.running_var not finite:"):
        load_weights(network, fitting(network) | {"1.running_var": torch.tensor([1.0, value, 1.0])}, "here")


OTHER_TYPES: dict[str, Callable[[Tensor], Tensor]] = {
    "integers": lambda weight: (weight * 100).to(torch.int8),
    "bool": lambda weight: weight > 0,
    "complex": lambda weight: weight.to(torch.complex64),
    "sparse": lambda weight: weight.to_sparse(),
    "without values": lambda weight: weight.to("meta"),
    "quantised": lambda weight: torch.quantize_per_tensor(weight, 0.1, 0, torch.qint8),
}


@pytest.mark.filterwarnings("ignore::UserWarning")  # PyTorch calls quantised tensors deprecated
@pytest.mark.parametrize("change", OTHER_TYPES.values(), ids=OTHER_TYPES)
def test_weights_of_another_type(network: nn.Sequential, change: Callable[[Tensor], Tensor]) -> None:
    state, before = fitting(network), network.state_dict()["0.weight"].clone()
    changed = state | {"0.weight": change(state["0.weight"] + 0.5)}
    with pytest.raises(ModelError, match=r"with 0\.weight of another type: save them as dense floating-point tensors"):
        load_weights(network, changed, "here")
    assert torch.equal(network.state_dict()["0.weight"], before)
    load_weights(network, changed | {"0.weight": state["0.weight"] + 0.5}, "here")


def test_counters_may_be_averages(network: nn.Sequential) -> None:
    state = fitting(network)
    load_weights(network, state | {key: value.double() for key, value in state.items() if "num_batches" in key}, "here")


def test_names_all_problems_together(network: nn.Sequential) -> None:
    state = fitting(network) | {"extra": torch.ones(1), "0.bias": torch.ones(7)}
    del state["0.weight"]
    with pytest.raises(ModelError, match=r"0\.weight missing; extra unexpected; 0\.bias of another shape"):
        load_weights(network, state, "here")


def test_many_keys_are_counted(network: nn.Sequential) -> None:
    with pytest.raises(ModelError, match=r"0\.bias, 0\.weight, 1\.bias and 3 more missing"):
        load_weights(network, {}, "here")


def test_refused_weights_change_no_network(network: nn.Sequential) -> None:
    before = {key: value.clone() for key, value in network.state_dict().items()}
    with pytest.raises(ModelError):
        load_weights(network, fitting(network) | {"0.bias": torch.full((3,), math.nan)}, "here")
    assert all(torch.equal(value, before[key]) for key, value in network.state_dict().items())


def test_reads_half_as_single_precision(tmp_path: Path) -> None:
    file = tmp_path / "half.safetensors"
    save_file({"w": torch.tensor([0.1]).half(), "n": torch.tensor([3])}, file)
    state = read_weights(file)
    assert torch.equal(state["w"], torch.tensor([0.1]).half().float())
    assert (state["w"].dtype, state["n"].dtype) == (torch.float32, torch.int64)


def test_a_missing_file(tmp_path: Path) -> None:
    with pytest.raises(ModelError, match=r"nosuch\.safetensors, which does not exist: check the path"):
        read_weights(tmp_path / "nosuch.safetensors")


def test_rejects_a_directory(tmp_path: Path) -> None:
    with pytest.raises(FileError, match="must be a regular file, got a directory"):
        read_weights(tmp_path)


@pytest.mark.timeout(60)
def test_a_file_cut_anywhere_is_refused(tmp_path: Path) -> None:
    whole, file = SMALLEST.read_bytes(), tmp_path / "cut.safetensors"
    draw = random.Random(0)
    for length in [0, 7, 8, len(whole) - 1, *(draw.randrange(len(whole)) for _ in range(50))]:
        file.write_bytes(whole[:length])
        with pytest.raises(ModelError, match="cannot be read"):
            read_weights(file)


@pytest.mark.timeout(60)
@pytest.mark.parametrize("length", [10**9, 2**63, 99_000_000])
def test_rejects_a_huge_header(tmp_path: Path, length: int) -> None:
    file = tmp_path / "huge.safetensors"
    file.write_bytes(struct.pack("<Q", length) + SMALLEST.read_bytes()[8:])
    with pytest.raises(ModelError, match="cannot be read"):
        read_weights(file)


@pytest.mark.parametrize("content", [b"\x80\x02}q\x00.", b"{}", b"PK\x03\x04" + bytes(100), bytes(1000)])
def test_another_format_is_refused(tmp_path: Path, content: bytes) -> None:
    file = tmp_path / "pickle.safetensors"
    file.write_bytes(content)
    with pytest.raises(ModelError, match="cannot be read"):
        read_weights(file)


class Gadget:
    """Makes a directory when it is unpickled."""

    def __init__(self, mark: Path) -> None:
        self.mark = str(mark)

    def __reduce__(self) -> tuple[object, ...]:
        return os.mkdir, (self.mark,)


def raw_gadget(mark: Path, *, by_instance: bool) -> bytes:
    """The same without Python's pickler, by the two oldest opcodes that call."""
    word = f"(S'{mark}'\n".encode()
    return word + b"ios\nmkdir\n." if by_instance else b"cos\nmkdir\n" + word + b"tR."


@pytest.mark.parametrize("forced", ["0", "1"])
@pytest.mark.parametrize("form", ["zip", "legacy", "pickle", "reduce", "instance", "nested"])
def test_runs_no_pickle(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, form: str, forced: str) -> None:
    monkeypatch.setenv("TORCH_FORCE_NO_WEIGHTS_ONLY_LOAD", forced)
    mark, file = tmp_path / "mark", tmp_path / "gadget.pt"
    if form in ("zip", "legacy", "nested"):
        held = {"state_dict": {"w": Gadget(mark)}} if form == "nested" else {"w": Gadget(mark)}
        torch.save(held, file, _use_new_zipfile_serialization=form != "legacy")
    elif form == "pickle":
        file.write_bytes(pickle.dumps(Gadget(mark), protocol=2))
    else:
        file.write_bytes(raw_gadget(mark, by_instance=form == "instance"))
    with pytest.raises(UnsafeError, match=r"hold tensors alone, got .*gadget\.pt, which asks for more"):
        read_weights(file)
    assert not mark.exists()
    with suppress(RuntimeError):  # there is nothing else in some of the files
        torch.load(file, weights_only=False)
    assert mark.exists()  # the gadget works


def test_names_a_whole_module(tmp_path: Path) -> None:
    torch.save(nn.Linear(2, 2), tmp_path / "module.pt")
    with pytest.raises(UnsafeError, match=r"GLOBAL torch\.nn\.modules\.linear\.Linear.*save the state_dict\(\) only"):
        read_weights(tmp_path / "module.pt")


@pytest.mark.filterwarnings("ignore:`torch.jit:DeprecationWarning")
@pytest.mark.filterwarnings("ignore:`torch.jit:FutureWarning")
def test_torchscript_is_no_checkpoint(tmp_path: Path) -> None:
    torch.jit.trace(nn.Linear(2, 2), torch.rand(1, 2)).save(str(tmp_path / "script.pt"))  # type: ignore[no-untyped-call]
    with pytest.raises(UnsafeError, match="TorchScript, a program"):
        read_weights(tmp_path / "script.pt")


@pytest.mark.parametrize("key", [None, "state_dict", "model_state_dict", "model", "last"])
@pytest.mark.parametrize("prefix", ["", "module."])
@pytest.mark.parametrize("zipped", [True, False])
def test_reads_common_state_dicts(tmp_path: Path, key: str | None, prefix: str, zipped: bool) -> None:
    state = {f"{prefix}{name}": value for name, value in nn.Linear(2, 2).state_dict().items()}
    held = state if key is None else {key: state, "epoch": 3}
    torch.save(held, tmp_path / "mine.pth", _use_new_zipfile_serialization=zipped)
    found = read_weights(tmp_path / "mine.pth")
    assert found.keys() == {"weight", "bias"}
    assert torch.equal(found["weight"], state[f"{prefix}weight"])


def test_names_other_content(tmp_path: Path) -> None:
    torch.save({"epoch": 3, "w": torch.ones(1)}, tmp_path / "mine.pt")
    with pytest.raises(ModelError, match="with Tensor, int: save the state_dict"):
        read_weights(tmp_path / "mine.pt")


def test_names_other_formats(tmp_path: Path) -> None:
    save_file({"w": torch.ones(1)}, tmp_path / "tensors.pt")
    (tmp_path / "page.pt").write_text("\n<!DOCTYPE html><html>Not found")
    for name, message in {
        "tensors": r"a safetensors file: call it \.safetensors",
        "page": "a web page: download the file itself",
    }.items():
        with pytest.raises(ModelError, match=message):
            read_weights(tmp_path / f"{name}.pt")
    (tmp_path / "tensors.pt").rename(tmp_path / "tensors.safetensors")
    assert read_weights(tmp_path / "tensors.safetensors")["w"].tolist() == [1]


def test_a_flipped_bit_is_noticed(tmp_path: Path) -> None:
    state, file = {"w": torch.rand(1000)}, tmp_path / "net.pt"
    torch.save(state, file)
    content = bytearray(file.read_bytes())
    content[content.index(state["w"].numpy().tobytes()) + 3] ^= 64
    file.write_bytes(content)
    assert not torch.equal(torch.load(file)["w"], state["w"])  # PyTorch compares no checksum
    with pytest.raises(ModelError, match=r"cannot be read \(BadZipFile: Bad CRC-32 .*: write it again"):
        read_weights(file)


def test_weights_without_checksums(tmp_path: Path) -> None:
    torch.serialization.set_crc32_options(False)
    try:
        torch.save({"w": torch.ones(3)}, tmp_path / "net.pt")
    finally:
        torch.serialization.set_crc32_options(True)
    assert read_weights(tmp_path / "net.pt")["w"].tolist() == [1, 1, 1]


def test_batch_norm_counters_can_be_missing(network: nn.Sequential) -> None:
    state = fitting(network)
    del state["1.num_batches_tracked"]
    load_weights(network, state, "here")
    assert network.state_dict()["1.running_var"].tolist() == [1, 1, 1]


@pytest.mark.timeout(60)
def test_a_cut_pickle_is_refused(tmp_path: Path) -> None:
    torch.save(nn.Linear(30, 30).state_dict(), tmp_path / "whole.pt")
    whole, draw = (tmp_path / "whole.pt").read_bytes(), random.Random(0)
    for length in [0, 1, len(whole) - 1, *(draw.randrange(len(whole)) for _ in range(50))]:
        (tmp_path / "cut.pt").write_bytes(whole[:length])
        with pytest.raises((ModelError, UnsafeError)):  # what is left of the first bytes may be a pickle's
            read_weights(tmp_path / "cut.pt")


@pytest.mark.timeout(60)
def test_a_cut_pickle_inside_its_checksum_is_refused(tmp_path: Path) -> None:
    torch.save({"state_dict": nn.Linear(2, 2).state_dict(), "lr": 0.1}, tmp_path / "whole.pt")
    with zipfile.ZipFile(tmp_path / "whole.pt") as archive:
        members = {name: archive.read(name) for name in archive.namelist()}
    (pickled,) = (name for name in members if name.endswith("/data.pkl"))
    for length in range(0, len(members[pickled]), 3):
        with zipfile.ZipFile(tmp_path / "cut.pt", "w") as archive:
            for name, content in members.items():
                archive.writestr(name, content[:length] if name == pickled else content)
        with pytest.raises((ModelError, UnsafeError)):
            read_weights(tmp_path / "cut.pt")


def test_a_huge_header_costs_no_resources(tmp_path: Path) -> None:
    file = tmp_path / "huge.safetensors"
    file.write_bytes(struct.pack("<Q", 10**9) + SMALLEST.read_bytes()[8:])
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    with pytest.raises(ModelError, match="cannot be read"):
        read_weights(file)
    assert resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before < 100_000  # kilobytes


def test_old_pytorch_needs_safetensors(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    torch.save({}, tmp_path / "mine.pt")
    monkeypatch.setattr(torch, "__version__", "2.9.1")
    with pytest.raises(ModelError, match=r"needs PyTorch 2\.10 or later, got 2\.9\.1"):
        read_weights(tmp_path / "mine.pt")


def deflated(file: Path) -> None:
    """Weights of 400 MB in an archive of 400 kB."""
    torch.save({"a": torch.zeros(100)}, file)
    with zipfile.ZipFile(file) as plain:
        members = {name: plain.read(name) for name in plain.namelist()}
    with zipfile.ZipFile(file, "w", zipfile.ZIP_DEFLATED) as packed:
        for name, content in members.items():
            packed.writestr(name, content)
        packed.writestr("archive/data/1", bytes(4 * 10**8))


def legacy_claim(file: Path) -> None:
    """The first format of PyTorch, with a storage of 4 TB."""
    torch.save({"a": torch.zeros(1000)}, file, _use_new_zipfile_serialization=False)
    plain = file.read_bytes()
    assert plain.count(b"M\xe8\x03") == 2  # the pickled number 1000
    file.write_bytes(plain.replace(b"M\xe8\x03", b"\x8a\x06" + (10**12).to_bytes(6, "little")))


def overlapping_views(file: Path) -> None:
    values = torch.zeros(10**4)
    torch.save({str(start): values[start:] for start in range(3000)}, file)


def tar_of_pytorch(file: Path) -> None:
    with tarfile.open(file, "w", format=tarfile.PAX_FORMAT) as archive:
        archive.addfile(tarfile.TarInfo("storages"), io.BytesIO())


CLAIMS: dict[str, tuple[Callable[[Path], object], str]] = {
    "deflated": (deflated, "must be a plain archive, got members that unpack to"),
    "strided": (lambda file: torch.save({"a": torch.zeros(1).expand(10**12)}, file), "tensors of 4,000,000,000,000 bytes in"),
    "strided in part": (lambda file: torch.save({"a": torch.zeros(1, 10**5).expand(10**5, -1)}, file), "tensors of 40,000,000,000"),
    "sparse": (
        lambda file: torch.save({"a": torch.eye(3).to_sparse().sparse_resize_((10**6, 10**6), 2, 0)}, file),
        "stored value by",
    ),
    "overlapping": (overlapping_views, "stored value by value"),
    "legacy": (legacy_claim, "cannot be read|stored value by value"),
    "tar": (tar_of_pytorch, "a tar archive: save the state_dict"),
}


@pytest.mark.filterwarnings("error")
def test_parameters_in_place_of_tensors(tmp_path: Path) -> None:
    network = nn.Linear(2, 2)
    torch.save(dict(network.named_parameters()), tmp_path / "weights.pt")
    other = nn.Linear(2, 2)
    load_weights(other, read_weights(tmp_path / "weights.pt"), "file")
    assert torch.equal(other.weight, network.weight)


@pytest.mark.parametrize("claim", CLAIMS)
@pytest.mark.timeout(60)
def test_believes_no_claim_of_size(tmp_path: Path, claim: str) -> None:
    make, message = CLAIMS[claim]
    make(tmp_path / "weights.pt")
    with pytest.raises((ModelError, FileError), match=message) as raised:
        read_weights(tmp_path / "weights.pt")
    assert len(str(raised.value).splitlines()) == 1


def test_cloned_weights_are_stored_value_by_value(tmp_path: Path) -> None:
    """The remedy, and what needs none: tied weights, and a few values that stand for more."""
    state = {"a": torch.zeros(1).expand(2**25)}
    torch.save(state, tmp_path / "weights.pt")
    with pytest.raises(ModelError, match=r"save \{key: value.clone\(\)"):
        read_weights(tmp_path / "weights.pt")
    torch.save({key: value.clone() for key, value in state.items()}, tmp_path / "weights.pt")
    assert read_weights(tmp_path / "weights.pt")["a"].shape == (2**25,)
    tied = torch.rand(100)
    torch.save({"a": tied, "b": tied, "c": torch.zeros(1).expand(64)}, tmp_path / "weights.pt")
    assert list(read_weights(tmp_path / "weights.pt")) == ["a", "b", "c"]


@pytest.mark.parametrize("dtype", [torch.float32, torch.float16])
def test_names_of_one_tensor_count_once(tmp_path: Path, dtype: torch.dtype) -> None:
    """Seven names of one tensor, in two state dicts: they stand for more than the file and the allowance hold."""
    tied = torch.rand(2**23, dtype=dtype)
    torch.save({"state_dict": dict.fromkeys("abcdef", tied), "ema": {"a": tied}}, tmp_path / "weights.pt")
    found = read_weights(tmp_path / "weights.pt")
    assert list(found) == list("abcdef")
    assert all(value.dtype == torch.float32 and torch.equal(value, tied.float()) for value in found.values())
    assert len({value.data_ptr() for value in found.values()}) == 1


@pytest.mark.parametrize("suffix", [".pt", ".safetensors"])
@pytest.mark.timeout(60)
def test_waits_for_no_pipe(tmp_path: Path, suffix: str) -> None:
    os.mkfifo(tmp_path / f"weights{suffix}")
    with pytest.raises(FileError, match="must be a regular file, got a pipe"):
        read_weights(tmp_path / f"weights{suffix}")
