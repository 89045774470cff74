"""Rewritings of valid files by hypothesis: of bytes, and, inside their checksums, of JSON, headers, chunks, tables and messages."""

from __future__ import annotations

import copy
import gzip
import hashlib
import io
import json
import struct
import tarfile
import zipfile
import zlib
from collections.abc import Callable, Iterator
from contextlib import suppress
from typing import Any

import pytest
import torch
from hypothesis import strategies as st

from robustbench_fgsm.runs.piece_format import HASH_LENGTH, RECORD_PREFIX, scan_records

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


def change_lines(data: st.DataObject, content: bytes) -> bytes:
    """Return JSON lines of which one is changed, doubled or removed."""
    lines = content.splitlines()
    at = data.draw(st.integers(0, len(lines) - 1), label="line")
    lines[at : at + 1] = data.draw(st.sampled_from([[], [lines[at]] * 2, [change_json(data, lines[at])]]), label="lines")
    return b"\n".join(lines)


WRONG_CELLS = [
    *("", " ", "x", "-1", "1e400", "nan", "-inf", "0x10", "1_000", "٣", "1" * 5000, '"', '"a\nb"', "1;2", "1,2", "\x00", "\ufeff1"),
    *("0.5", "1e-46", "9" * 25, "=1+1", "\r", "\x85", "true", "+3", "２５５"),
]


def change_table(data: st.DataObject, content: bytes) -> bytes:
    """Return a table with one or two wrong cells, lines, separators, or another encoding."""
    rows = [line.split(",") for line in content.decode().split("\n")]
    for _ in range(data.draw(st.integers(1, 2), label="changes")):
        at = data.draw(st.integers(0, len(rows) - 1), label="row")
        place = data.draw(st.integers(0, len(rows[at]) - 1), label="column")
        action = data.draw(st.sampled_from(["cell", "cell", "cell", "column", "line", "remove", "double", "short"]), label="action")
        value = data.draw(st.sampled_from(WRONG_CELLS) | st.text(max_size=4), label="cell")
        if action == "cell":
            rows[at][place] = value
        elif action == "column":
            rows = [[*row[:place], value, *row[place + 1 :]] for row in rows]
        elif action == "short":
            del rows[at][place:]
        else:
            rows[at : at + 1] = {"line": [[value]], "remove": [], "double": [rows[at], list(rows[at])]}[action]
        rows = [row or [""] for row in rows] or [[""]]
    separator, end = data.draw(
        st.sampled_from([(",", "\n")] * 6 + [(";", "\n"), ("\t", "\n"), (",", "\r"), (",", "\r\n")]), label="ends"
    )
    encoding = data.draw(st.sampled_from(["utf-8"] * 6 + ["utf-16", "utf-8-sig", "latin-1"]), label="encoding")
    return end.join(map(separator.join, rows)).encode(encoding, "replace")


SIZES = [0, 1, 3, 7, 255, 2**15, 2**16 - 1, 2**24, 2**31 - 1, 2**31, 2**32 - 1]


def change_numbers(data: st.DataObject, content: bytes) -> bytes:
    """Return bytes in whose first part up to two whole numbers are others."""
    changed = bytearray(content)
    for _ in range(data.draw(st.integers(1, 2), label="changes")):
        size = data.draw(st.sampled_from([1, 2, 4]), label="size")
        at = data.draw(st.integers(0, min(len(changed), 400) // size - 1), label="at") * size
        value = data.draw(st.sampled_from(SIZES), label="value") % 256**size
        changed[at : at + size] = value.to_bytes(size, data.draw(st.sampled_from(["little", "big"]), label="order"))
    return bytes(changed)


def change_png(data: st.DataObject, content: bytes) -> bytes:
    """Return a PNG with one chunk changed, removed, doubled or added, whose checksums are right."""
    chunks, at = [], 8
    while at < len(content):
        length = int.from_bytes(content[at : at + 4], "big")
        chunks.append((content[at + 4 : at + 8], content[at + 8 : at + 8 + length]))
        at += 12 + length
    at = data.draw(st.integers(0, len(chunks) - 1), label="chunk")
    kind, body = chunks[at]
    action = data.draw(st.sampled_from(["numbers", "bytes", "remove", "double", "add", "pixels"]), label="action")
    if action == "add":
        kinds = [
            b"acTL",
            b"fcTL",
            b"fdAT",
            b"tRNS",
            b"PLTE",
            b"gAMA",
            b"iCCP",
            b"zTXt",
            b"iTXt",
            b"eXIf",
            b"sBIT",
            b"IDAT",
            b"IHDR",
        ]
        packed = b"x\0\0" + zlib.compress(bytes(10**6))
        part = data.draw(st.binary(max_size=30) | st.sampled_from([body, packed]), label="body")
        chunks.insert(at, (data.draw(st.sampled_from(kinds), label="kind"), part))
    elif action in ("remove", "double"):
        chunks[at : at + 1] = [] if action == "remove" else [chunks[at]] * 2
    elif kind == b"IDAT" and action == "pixels":
        chunks[at] = kind, zlib.compress(change_bytes(data, zlib.decompress(body)))
    elif body:
        chunks[at] = kind, (change_bytes if len(body) < 4 or action == "bytes" else change_numbers)(data, body)
    parts = [len(body).to_bytes(4, "big") + kind + body + zlib.crc32(kind + body).to_bytes(4, "big") for kind, body in chunks]
    return content[:8] + b"".join(parts)


def change_members(data: st.DataObject, content: bytes) -> bytes:
    """Return a tar archive with one member changed, renamed, doubled or removed, in one of the usual compressions."""
    with tarfile.open(fileobj=io.BytesIO(content)) as archive:
        members = [(one.name, archive.extractfile(one).read()) for one in archive]  # type: ignore[union-attr]
    at = data.draw(st.integers(0, len(members) - 1), label="member")
    name, body = members[at]
    names = [
        "",
        ".",
        "/",
        "a",
        "0.cls",
        "0.png",
        "0.json",
        "0.txt",
        "0.pyd",
        "0.npy",
        "../0.png",
        "é.png",
        "0.PNG",
        "0.seg.png",
        "x" * 300,
    ]
    action = data.draw(st.sampled_from(["body", "name", "double", "remove"]), label="action")
    if action == "body":
        wrong = st.sampled_from(
            [b"", b"-1", b"3.5", b"1e9", b"nan", b"\xff", b"cat", b"[1]", b"9" * 30, b"1\n", b" 2 ", b"\xd9\xa3"]
        )
        members[at] = name, data.draw(wrong, label="text") if name.endswith("cls") else change_png(data, body)
    elif action == "name":
        members[at] = data.draw(st.sampled_from(names) | st.text(max_size=6), label="name"), body
    else:
        members[at : at + 1] = [] if action == "remove" else [members[at]] * 2
    stream = io.BytesIO()
    kinds = [tarfile.GNU_FORMAT, tarfile.PAX_FORMAT, tarfile.USTAR_FORMAT]
    with tarfile.open(fileobj=stream, mode="w", format=data.draw(st.sampled_from(kinds), label="format")) as archive:
        for name, body in members:
            member = tarfile.TarInfo(name)
            member.size = len(body)
            with suppress(ValueError, UnicodeError):  # of a name that the format cannot hold
                archive.addfile(member, io.BytesIO(body))
    return stream.getvalue()


def change_gzip(rewrite: Rewrite) -> Rewrite:
    """Return the rewriting of what a gzip file holds, whose checksum is right afterwards."""
    return lambda data, content: gzip.compress(rewrite(data, gzip.decompress(content)), 1)


def change_pickled(data: st.DataObject, content: bytes) -> bytes:
    """Return what `torch.save` wrote with one wrong value."""
    document: Any = {"": torch.load(io.BytesIO(content), weights_only=True)}
    path = data.draw(st.sampled_from([path for path in paths_in(document) if path]), label="path")
    place = document
    for key in path[:-1]:
        place = place[key]
    odd = [
        torch.zeros(1).expand(10**12),
        torch.tensor(float("nan")),
        torch.zeros(0),
        torch.eye(2).to_sparse(),
        torch.zeros(2).bool(),
    ]
    wrong = data.draw(st.sampled_from([*WRONG_VALUES, *odd]), label="value")
    if isinstance(place[path[-1]], str) and data.draw(st.booleans(), label="inside"):
        wrong = change_json(data, place[path[-1]].encode()).decode("utf-8", "replace")
    place[path[-1]] = wrong
    stream = io.BytesIO()
    torch.save(document.get(""), stream)
    return stream.getvalue()


def change_matlab(data: st.DataObject, content: bytes) -> bytes:
    """Return a MATLAB file with another tag, size or flag, plain or compressed inside."""
    place = data.draw(st.integers(0, (min(len(content), 400) - 128) // 4 - 1), label="place")
    value = data.draw(st.sampled_from([*range(20), *SIZES]), label="value")
    at = 128 + 4 * place
    changed = content[:at] + struct.pack("<I", value) + content[at + 4 :]
    if not data.draw(st.booleans(), label="compress"):
        return changed
    packed = zlib.compress(changed[128:])
    return changed[:128] + struct.pack("<II", 15, len(packed)) + packed


def change_arrow(data: st.DataObject, content: bytes) -> bytes:
    """Return a table of Parquet with a column of another type, name, length or values."""
    arrow, parquet = pytest.importorskip("pyarrow"), pytest.importorskip("pyarrow.parquet")
    table = parquet.read_table(io.BytesIO(content))
    at = data.draw(st.integers(0, table.num_columns - 1), label="column")
    name, rows = table.column_names[at], table.num_rows
    texts, bodies = ["x"] * rows, [b"\x89PNG\r\n\x1a\n"] * rows
    columns = [texts, bodies, [None] * rows, [0.5] * rows, [-1] * rows, [2**62] * rows, [[1]] * rows, [{"a": 1}] * rows]
    columns += [[{"bytes": None, "path": path}] * rows for path in ("/dev/zero", "../x", None, "http://127.0.0.1/x.png", "\0")]
    columns += [[{"bytes": body, "path": None}] * rows for body in bodies[:1]]
    action = data.draw(st.sampled_from(["column", "column", "name", "remove", "metadata", "double"]), label="action")
    if action == "column":
        table = table.set_column(at, name, arrow.array(data.draw(st.sampled_from(columns), label="values")))
    elif action == "remove":
        table = table.remove_column(at)
    elif action == "metadata":
        metadata = dict(table.schema.metadata or {b"huggingface": b'{"info": {"features": {}}}'})
        table = table.replace_schema_metadata({key: change_json(data, value) for key, value in metadata.items()})
    else:
        names = list(table.column_names)
        names[at] = names[at - 1] if action == "double" else data.draw(st.text(max_size=4), label="name")
        table = table.rename_columns(names)
    stream = io.BytesIO()
    parquet.write_table(table, stream)
    return stream.getvalue()


def change_hdf5(data: st.DataObject, content: bytes) -> bytes:
    """Return HDF5 content with one data set removed, replaced by a link, or of another type, shape or storage."""
    h5py = pytest.importorskip("h5py")
    stream = io.BytesIO(content)
    with h5py.File(stream, "a") as file:
        names: list[str] = []
        file.visititems(lambda name, node: names.append(name) if isinstance(node, h5py.Dataset) else None)
        name = data.draw(st.sampled_from(names), label="data set")
        shape = file[name].shape
        del file[name]
        action = data.draw(st.sampled_from(["remove", "link", "group", "type", "shape", "chunks", "external"]), label="action")
        if action == "link":
            links = [h5py.SoftLink("/" + name), h5py.SoftLink("/none"), h5py.ExternalLink("/etc/passwd", "/"), file["/"]]
            file[name] = data.draw(st.sampled_from(links), label="link")
        elif action == "group":
            file.create_group(name)
        elif action == "type":
            file.create_dataset(name, shape, data.draw(st.sampled_from(["i8", "f2", "f8", "c8", "S4", "u1", "?"]), label="type"))
        elif action in ("shape", "chunks"):
            shapes = st.sampled_from([(), (0,), (1,), (1000, 1000), (10**6, 10**6), (2**40,), (3, 3, 3)])
            shape = data.draw(shapes, label="shape")
            chunks = tuple(min(length, 1000) or 1 for length in shape) if action == "chunks" and shape and 0 not in shape else None
            with suppress(ValueError, OSError):  # more than the file system takes
                file.create_dataset(name, shape, "f4", chunks=chunks, compression="gzip" if chunks else None)
        elif action == "external":
            file.create_dataset(name, (100,), "u1", external=[("/etc/passwd", 0, 100)])
    return stream.getvalue()
