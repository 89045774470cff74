"""WebDataset shards: what is read from them, and archives that are refused unread."""

from __future__ import annotations

import gzip
import io
import itertools
import pickle
import tarfile
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any

import pytest
import torch

import robustbench_fgsm as rf
from robustbench_fgsm.data.sources.tar_shards import open_compressed
from robustbench_fgsm.errors import DataError, IncompleteError, UnsafeError

Encode = Callable[..., bytes]
Files = Sequence[tuple[str, bytes]]


def entry(name: str, size: int = 0, kind: bytes = tarfile.REGTYPE, target: str = "") -> tarfile.TarInfo:
    info = tarfile.TarInfo(name)
    info.size, info.type, info.linkname = size, kind, target
    return info


def archive(files: Files, *extra: tarfile.TarInfo) -> bytes:
    stream = io.BytesIO()
    with tarfile.open(fileobj=stream, mode="w") as tar:
        for name, data in files:
            tar.addfile(entry(name, len(data)), io.BytesIO(data))
        for info in extra:
            tar.addfile(info)
    return stream.getvalue()


@pytest.fixture
def samples(encode: Encode) -> Callable[[int, int], Files]:
    def make(start: int, stop: int) -> Files:
        return [
            pair
            for key in range(start, stop)
            for pair in ((f"{key:04d}.png", encode(key)), (f"{key:04d}.cls", str(key % 3).encode() + b"\n"))
        ]

    return make


@pytest.mark.parametrize("workers", [0, 2])
@pytest.mark.parametrize("compressed", [False, True])
def test_shards_follow_the_pattern(
    tmp_path: Path,
    samples: Callable[[int, int], Files],
    encode: Encode,
    picture: Callable[..., object],
    compressed: bool,
    workers: int,
) -> None:
    for shard in range(3):
        data = archive(samples(4 * shard, 4 * shard + 4))
        (tmp_path / f"train-{shard:03d}.tar").write_bytes(gzip.compress(data) if compressed else data)
    data_set = rf.load_data(f"wds:{tmp_path}/train-{{000..002}}.tar", workers=workers)
    batches = list(data_set.batches(0, 12, 5))
    assert [int(id_) for batch in batches for id_ in batch.ids] == list(range(12))
    assert [int(label) for batch in batches for label in batch.labels] == [key % 3 for key in range(12)]
    assert data_set.classes == ("0", "1", "2")
    first = torch.frombuffer(bytearray(picture(0).tobytes()), dtype=torch.uint8)  # type: ignore[attr-defined]
    assert torch.equal(batches[0].images[0], first.reshape(10, 12, 3).permute(2, 0, 1).float() / 255)


def test_reads_files_of_webdataset(tmp_path: Path, picture: Callable[..., object]) -> None:
    webdataset = pytest.importorskip("webdataset")
    with webdataset.TarWriter(str(tmp_path / "a.tar")) as writer:
        for key in range(5):
            writer.write({"__key__": f"deep/{key}", "png": picture(key), "cls": key % 2, "json": {"key": key}})
    batch = next(rf.load_data(f"wds:{tmp_path}/a.tar").batches(0, 5, 5))
    assert batch.labels.tolist() == [0, 1, 0, 1, 0]
    assert batch.images.shape == (5, 3, 10, 12)


def test_incomplete_samples_are_bad(tmp_path: Path, encode: Encode) -> None:
    files = [
        ("a.png", encode(0)),
        ("a.cls", b"0"),
        ("b.png", encode(1)),
        ("c.cls", b"1"),
        ("d.png", encode(2)),
        ("d.cls", b"cat"),
        ("e.png", encode(3)),
        ("e.jpg", encode(3, "JPEG")),
        ("e.cls", b"1"),
        ("f.png", encode(4)[:60]),
        ("f.cls", b"1"),
        ("g.png", encode(5)),
        ("g.cls", b"1"),
        ("h.png", encode(6)),
        ("h.cls", b"1"),
        ("h.cls", b"0"),
    ]
    (tmp_path / "a.tar").write_bytes(archive(files))
    data = rf.load_data(f"wds:{tmp_path}/a.tar")
    (batch,) = data.batches(0, 100, 100)
    assert (len(data), batch.ids.tolist()) == (9, [0, 7])
    assert [bad.path.rpartition("/")[2] for bad in batch.bad] == ["b.png", "c", "d.png", "e.png", "e.jpg", "f.png", "h.png"]


@pytest.fixture
def bucket() -> Iterator[Any]:
    """fsspec's storage in memory, emptied afterwards."""
    storage = pytest.importorskip("fsspec").filesystem("memory")
    yield storage
    storage.store.clear()
    storage.pseudo_dirs[:] = [""]


@pytest.mark.parametrize("workers", [0, 2])
@pytest.mark.parametrize("compressed", [False, True])
def test_object_storage_matches_disk(
    tmp_path: Path, bucket: Any, samples: Callable[[int, int], Files], compressed: bool, workers: int
) -> None:
    """And the same run can go on from either, as the fingerprint is that of the members."""
    for shard in range(2):
        data = archive(samples(4 * shard, 4 * shard + 4))
        data = gzip.compress(data) if compressed else data
        (tmp_path / f"val-{shard}.tar").write_bytes(data)
        bucket.pipe_file(f"/bucket/val-{shard}.tar", data)
    here = rf.load_data(f"wds:{tmp_path}/val-{{0..1}}.tar")
    there = rf.load_data("wds:memory://bucket/val-{0..1}.tar", workers=workers)
    assert there.fingerprint == here.fingerprint
    for one, two in zip(here.batches(0, 8, 3), there.batches(0, 8, 3), strict=True):
        assert torch.equal(one.images, two.images)
        assert torch.equal(one.labels, two.labels)


def test_names_a_lost_shard(bucket: Any, samples: Callable[[int, int], Files]) -> None:
    bucket.pipe_file("/bucket/a.tar", archive(samples(0, 4)))
    with pytest.raises(DataError, match=r"memory://bucket/b.tar must be a file in reach, got FileNotFoundError"):
        rf.load_data("wds:memory://bucket/{a,b}.tar")
    data = rf.load_data("wds:memory://bucket/a.tar")
    bucket.pipe_file("/bucket/a.tar", archive(samples(0, 1))[:600])
    with pytest.raises(IncompleteError, match=r"memory://bucket/a.tar must give [\d,]+ bytes from"):
        list(data.batches(0, 4, 4))
    bucket.rm_file("/bucket/a.tar")
    with pytest.raises(IncompleteError, match=r"memory://bucket/a.tar must stay in reach, got FileNotFoundError"):
        list(data.batches(0, 4, 4))


def test_names_a_lost_compressed_shard(tmp_path: Path, bucket: Any, samples: Callable[[int, int], Files]) -> None:
    """Never bad images of a storage that fails, which the run would leave out."""
    whole = gzip.compress(archive(samples(0, 4)))
    bucket.pipe_file("/bucket/a.tar.gz", whole)
    data = rf.load_data("wds:memory://bucket/a.tar.gz")
    bucket.rm_file("/bucket/a.tar.gz")
    open_compressed.cache_clear()
    with pytest.raises(IncompleteError, match=r"memory://bucket/a.tar.gz must stay in reach, got FileNotFoundError"):
        list(data.batches(0, 4, 4))
    (tmp_path / "a.tar.gz").write_bytes(whole)
    here = rf.load_data(f"wds:{tmp_path}/a.tar.gz")
    open_compressed.cache_clear()
    (tmp_path / "a.tar.gz").write_bytes(whole[: len(whole) // 2])
    (batch,) = here.batches(0, 4, 4)
    assert len(batch) + len(batch.bad) == 4
    assert "cannot be decompressed" in batch.bad[-1].reason


def test_storage_errors_take_one_line(bucket: Any, samples: Callable[[int, int], Files], monkeypatch: pytest.MonkeyPatch) -> None:
    class ClientError(Exception):
        """As botocore has it, which is no OSError."""

    def fail(*_: Any, **__: Any) -> Any:
        raise ClientError("AccessDenied\nask somebody")

    bucket.pipe_file("/bucket/a.tar", archive(samples(0, 4)))
    monkeypatch.setattr(type(bucket), "open", fail)
    with pytest.raises(DataError, match=r"memory://bucket/a.tar cannot be read \(ClientError: AccessDenied ask somebody"):
        rf.load_data("wds:memory://bucket/a.tar")


class Gadget:
    def __reduce__(self) -> tuple[Any, ...]:
        return (Path.touch, (Path("touched"),))


@pytest.mark.parametrize("name", ["a.pkl", "a.PKL", "a.x.pickle", "a.pyd", "a.pth"])
def test_a_pickle_is_refused_unread(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, samples: Callable[[int, int], Files], name: str
) -> None:
    """Fault 7."""
    monkeypatch.chdir(tmp_path)
    Path("a.tar").write_bytes(archive([*samples(0, 2), (name, pickle.dumps(Gadget()))]))
    with pytest.raises(UnsafeError, match="is a pickle, which runs code"):
        rf.load_data("wds:a.tar")
    assert [file.name for file in tmp_path.iterdir()] == ["a.tar"]


@pytest.mark.parametrize(
    "strange",
    [
        entry("../out.png"),
        entry("/etc/out.png"),
        entry("a/../../out.png"),
        entry("..\\out.png"),
        entry("a.png", kind=tarfile.SYMTYPE, target="/etc/passwd"),
        entry("a.png", kind=tarfile.LNKTYPE, target="../secret"),
        entry("a.png", kind=tarfile.CHRTYPE),
        entry("a.png", kind=tarfile.FIFOTYPE),
    ],
    ids=lambda info: f"{info.name} {info.type!r}",
)
def test_rejects_members_outside_the_archive(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, samples: Callable[[int, int], Files], strange: tarfile.TarInfo
) -> None:
    """Fault 7."""
    inside = tmp_path / "inside"
    inside.mkdir()
    monkeypatch.chdir(inside)
    Path("a.tar").write_bytes(archive(samples(0, 2), strange))
    with pytest.raises(UnsafeError, match=r"leads out of the archive|is a link, a device or sparse"):
        rf.load_data("wds:a.tar")
    assert [file.name for file in tmp_path.rglob("*")] == ["inside", "a.tar"]


def test_a_bomb_is_refused(tmp_path: Path, samples: Callable[[int, int], Files]) -> None:
    """Fault 7: 100 MB of zeros in 100 kB."""
    whole = archive([*samples(0, 2), ("big.png", bytes(100_000_000)), ("z.cls", b"0")])
    (tmp_path / "a.tar.gz").write_bytes(gzip.compress(whole, 9))
    with pytest.raises(UnsafeError, match=r"'big.png' makes it expand to more than [0-9,]+ bytes, too many"):
        rf.load_data(f"wds:{tmp_path}/a.tar.gz")


def test_rejects_truncated_archives(tmp_path: Path, samples: Callable[[int, int], Files]) -> None:
    whole = archive(samples(0, 4))
    for end in (0, 100, 700):
        (tmp_path / "a.tar").write_bytes(whole[:end])
        with pytest.raises(DataError):
            rf.load_data(f"wds:{tmp_path}/a.tar")
    (tmp_path / "a.tar.gz").write_bytes(gzip.compress(whole)[:-50])
    with pytest.raises(DataError, match="must be a whole tar archive"):
        rf.load_data(f"wds:{tmp_path}/a.tar.gz")


def flipped(data: bytes, place: int) -> bytes:
    return data[:place] + bytes([data[place] ^ 1]) + data[place + 1 :]


def headers_of(data: bytes) -> list[int]:
    with tarfile.open(fileobj=io.BytesIO(data)) as tar:
        return [member.offset for member in tar]


@pytest.mark.parametrize("compressed", [False, True])
def test_no_damage_to_a_header_loses_an_image(tmp_path: Path, samples: Callable[[int, int], Files], compressed: bool) -> None:
    """Fault 25: a flipped bit in any header, zeros over a member, a cut at a border, two archives joined."""
    whole = archive(samples(0, 10))
    headers = headers_of(whole)
    damaged = [flipped(whole, header + place) for header in headers[1::3] for place in (0, 100, 124, 136, 148, 156, 257, 345)]
    damaged += [whole[:start] + bytes(stop - start) + whole[stop:] for start, stop in itertools.pairwise(headers)]
    damaged += [whole[:header] for header in headers]
    damaged += [whole + whole, whole + archive(samples(10, 20)), whole + b"x", whole + bytes(512), whole + bytes(10240)]
    file = tmp_path / "a.tar"
    for data in damaged:
        file.write_bytes(gzip.compress(data, 1) if compressed else data)
        with pytest.raises(DataError, match="must be a whole tar archive"):
            rf.load_data(f"wds:{file}")
    for data in (whole, whole[: -(len(whole) - headers[-1] - 1024 - 1024)]):  # filled up to a record, or not
        file.write_bytes(gzip.compress(data) if compressed else data)
        assert len(rf.load_data(f"wds:{file}")) == 10


def test_checksums_of_gzip_are_checked(tmp_path: Path, samples: Callable[[int, int], Files]) -> None:
    """Fault 25: the last eight bytes are a checksum and a size; behind them may only come another gzip member."""
    packed = gzip.compress(archive(samples(0, 4)))
    file = tmp_path / "a.tar.gz"
    for data in (flipped(packed, len(packed) - 8), flipped(packed, len(packed) - 2), packed + b"xyz", flipped(packed, 40)):
        file.write_bytes(data)
        with pytest.raises(DataError, match="must be a whole tar archive"):
            rf.load_data(f"wds:{file}")
