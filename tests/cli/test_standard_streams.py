"""Streams that fail: an error for standard output, silence for standard error."""

from __future__ import annotations

import os

import pytest

from robustbench_fgsm.cli.standard_streams import ProtectedFile
from robustbench_fgsm.errors import ResourceError


def test_writes_what_it_gets() -> None:
    reading, writing = os.pipe()
    assert ProtectedFile(writing, may_fail=False).write(b"text") == 4
    os.close(writing)
    assert os.read(reading, 10) == b"text"
    os.close(reading)


def test_a_full_device() -> None:
    descriptor = os.open("/dev/full", os.O_WRONLY)
    stream = ProtectedFile(descriptor, may_fail=False)
    with pytest.raises(ResourceError, match="standard output must be writable, got No space left on device"):
        stream.write(b"text")
    assert stream.write(b"text") == 4  # dropped
    assert ProtectedFile(descriptor, may_fail=True).write(b"text") == 4
    os.close(descriptor)


@pytest.mark.parametrize("may_fail", [False, True])
def test_a_reader_that_is_gone(may_fail: bool) -> None:
    reading, writing = os.pipe()
    os.close(reading)
    assert ProtectedFile(writing, may_fail=may_fail).write(b"text") == 4
    os.close(writing)
