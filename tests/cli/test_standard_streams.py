"""Streams that fail: an error for standard output, silence for standard error."""

from __future__ import annotations

import json
import os
from pathlib import Path

import pytest

from robustbench_fgsm.cli.main import main
from robustbench_fgsm.cli.standard_streams import ProtectedFile
from robustbench_fgsm.errors import ResourceError


def test_writes_what_it_gets() -> None:
    reading, writing = os.pipe()
    assert ProtectedFile(writing, may_fail=False).write(b"text") == 4
    os.close(writing)
    assert os.read(reading, 10) == b"text"
    os.close(reading)


@pytest.mark.parametrize("form", ["--json", "--format csv"])
def test_a_network_that_prints_leaves_results_alone(
    form: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    Path("net.py").write_text(
        "from torch import nn\n\nclass Net(nn.Linear):\n    def forward(self, x):\n        print('forward')\n"
        "        return super().forward(x.flatten(1))\n\ndef make():\n    print('make')\n    return Net(784, 10)\n"
    )
    for command in (
        "evaluate --model",
        "sweep --eps 0.1,0.2 --model",
        "transfer --target mlp300 --source",
        "attack --out out --model",
    ):
        words = f"{command} factory:net.py:make --data fashion-mnist --limit 4 --device cpu {form} --quiet"
        with pytest.raises(SystemExit) as ended:
            main(words.split())
        printed = capsys.readouterr()
        assert ended.value.code in (0, 1), printed.err
        assert "forward" not in printed.out
        if form == "--json":
            assert json.loads(printed.out)["exit_code"] == ended.value.code
        assert {"make", "forward"} <= {*printed.err.split()}


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
