"""JSON of somebody else: one line that names the file and the field."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from robustbench_fgsm.errors import FileError, UnsafeError
from robustbench_fgsm.files.json_files import MAX_DEPTH, MAX_VALUES, parse_json, parse_json_value, read_json

BAD = {
    "no JSON": (b"{", "be JSON"),
    "a list": (b"[1]", "hold a JSON object, got list"),
    "bad UTF-8": (b'{"a": "\xff"}', "be JSON, got 'utf-8' codec"),
    "NaN": (b'{"a": NaN}', "be JSON, got NaN"),
    "infinity": (b'{"a": [1, -Infinity]}', "be JSON, got -Infinity"),
    "overflow": (b'{"a": {"b": [1, 1e999]}}', "hold finite numbers, got inf in a.b.1"),
    "a key twice": (b'{"a": {"n": 1, "n": 2}}', "be JSON, got the key 'n' twice"),
    "deep lists": (b'{"a": ' + b"[" * 100_000 + b"]" * 100_000 + b"}", "be nested at most"),
    "deep objects": (b'{"a":' * (MAX_DEPTH + 1) + b"1" + b"}" * (MAX_DEPTH + 1), "be nested at most"),
    "large integer": (b'{"a": 9999999999999999999999}', "hold integers of 64 bits, got a larger one in a"),
    "endless integer": (b'{"a": ' + b"1" * 10_000 + b"}", "be JSON, got Exceeds the limit"),
    "half a character": (b'{"a": "\\ud800"}', "hold text, got half a character in a"),
    "many values": (b'{"a": [' + b"0," * MAX_VALUES + b"0]}", "hold at most 8,000,000 values"),
    "empty": (b"", "be JSON"),
}


@pytest.mark.parametrize("name", BAD)
def test_rejects(tmp_path: Path, name: str) -> None:
    content, found = BAD[name]
    (tmp_path / "document.json").write_bytes(content)
    with pytest.raises(FileError, match=rf"document\.json must {found}") as stopped:
        read_json(tmp_path / "document.json")
    assert len(str(stopped.value).splitlines()) == 1


@pytest.mark.parametrize(
    "document", [{}, {"a": [1, 2.5, None, True, "ä\U0001f600", {"b": {}}]}, {"a": -(2**63), "b": 2**63 - 1, "": [[]]}]
)
def test_reads_what_json_holds(document: dict[str, Any]) -> None:
    assert parse_json(json.dumps(document).encode(), "a document") == document


def test_follows_no_link(tmp_path: Path) -> None:
    (tmp_path / "other").write_text("{}")
    (tmp_path / "document.json").symlink_to(tmp_path / "other")
    with pytest.raises(UnsafeError, match="symbolic link"):
        read_json(tmp_path / "document.json")


def test_reads_values_that_are_no_objects() -> None:
    assert parse_json_value(b'\xef\xbb\xbf["a", 1]', "a list") == ["a", 1]
    assert parse_json_value("2", "a number") == 2
    with pytest.raises(FileError, match="a number must hold finite numbers, got inf in 0"):
        parse_json_value("1e999", "a number")
