"""Runs are read, and mistyped words are answered, before torch is imported."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

Run = Callable[..., tuple[int, str, str]]

WITHOUT_TORCH = """
import os, shlex, sys
from robustbench_fgsm.cli.main import main
for line in sys.stdin.read().splitlines():
    try:
        main(shlex.split(line))
    except SystemExit as stopped:
        print(f"{stopped.code or 0} {'torch' in sys.modules} {line}")
"""

ANSWERED = """\
report kept -o page.html
gate kept --baseline kept
plot kept -o figure.png
runs list .
runs show kept
list models
list data
list references
--version
"""
"""Commands that exit with 0."""

REFUSED = """\
evaluate
evaluate mlp30
evaluate nofile.pt -d fashion-mnist
evaluate mlp300 --weights robust
evaluate mlp300 --weights none.pt
evaluate mlp300 -d nosuch
evaluate mlp300 -d npz:none.npz
evaluate mlp300 -d folder:none
evaluate mlp300 -e 8
evaluate mlp300 -e 1..8/255
evaluate mlp300 --norm half
evaluate mlp300 --targeted nxt
evaluate mlp300 --loss cee
evaluate mlp300 --optimize fast
evaluate mlp300 --dtype float33
evaluate mlp300 --mean a
evaluate mlp300 --sample some
evaluate mlp300 -n 0
evaluate mlp300 -o page.html
evaluate mlp300 --html .
evaluate resnet5000 -d fashion-mnist
sweep mlp300 -o kept
compare mlp300 --style plane
transfer --source mlp300 --target mlp30
train mlp300 --method best -o new
attack mlp300
attack mlp300 --save-as jpg -o new
benchmark mlp30
explain abc -m mlp300
gate kept --baseline none
gate none --baseline kept
report none
plot none -o a.png
plot kept -o a.txt
runs show none
runs list none
runs resume none
verify none.py:fgsm
nosuch
"""
"""Commands that exit with 2."""


@pytest.fixture
def kept(run: Run, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    assert run("evaluate", "mlp300", "-n", "20", "-o", "kept", "--optimize", "none", "-q")[0] == 0


@pytest.mark.usefixtures("kept")
def test_no_torch_is_imported() -> None:
    done = subprocess.run(
        [sys.executable, "-c", WITHOUT_TORCH], input=ANSWERED + REFUSED, capture_output=True, text=True, timeout=300, check=True
    )
    expected = [f"{code} False {line}" for code, lines in ((0, ANSWERED), (2, REFUSED)) for line in lines.splitlines()]
    assert [line for line in done.stdout.splitlines() if line in expected] == expected, done.stdout
