"""Runs are read, and mistyped words are answered, before torch is imported."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Callable
from importlib.util import find_spec
from pathlib import Path

import pytest
import torch

Run = Callable[..., tuple[int, str, str]]

WITHOUT_TORCH = """
import os, shlex, sys
from robustbench_fgsm.cli.main import main
for line in sys.stdin.read().splitlines():
    try:
        main(shlex.split(line))
    except SystemExit as stopped:
        print(f"{stopped.code or 0} {'torch' in sys.modules or 'art' in sys.modules} {line}")
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
evaluate mlp300 --weights ./kept
evaluate mlp300 -d nosuch
evaluate mlp300 -d npy:a.npy,b.npy
evaluate resnet18 -d 'wds:ftp://bucket/a-{000..003}.tar'
evaluate mlp300 --device mps
evaluate resnet50 --weights IMAGENET1K_V9 -d folder:.
evaluate resnet18:nosuch -d folder:.
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
compare mlp300 --references foo
compare mlp300 --references art,foo
compare mlp300 --references none
compare mlp300 --candidate none.py:fgsm
compare mlp300 --candidate none.npz
compare mlp300 --candidate nosuchmodule:fgsm
compare mlp300 --candidate attack.py
compare mlp300 --ignore flor
benchmark mlp300 --references foo
benchmark mlp300 --levels fast
verify nosuchmodule:fgsm
verify .:fgsm
verify kept/result.json
verify none.py:fgsm --method pgdd
verify none.py:fgsm --style plane
verify --package nosuch==1
attack --check none
attack --check kept
explain 0.37 -m mlp300 --norm 2
explain 0.37 -m mlp300 -e 1,2/255
evaluate mlp300 --device nosuch
evaluate mlp300 --class-map none.json
evaluate mlp300 --task multi
evaluate mlp300 --layout XY
evaluate mlp300 --split trian
evaluate mlp300 --seed x
evaluate mlp300 --format pdf
evaluate mlp300 --json --format csv
evaluate mlp300 --bounds 1,0
evaluate mlp300 --eps-scale none.npz
evaluate torchvision:nosuch -d fashion-mnist
evaluate resnet18 -d cifar10 --data-root none
evaluate mlp300 -d https://x.org/data.npz
evaluate mlp300 --weights s3://x/best.pt
evaluate hf://org/name -d folder:.
evaluate factory:nosuchmodule:make -d fashion-mnist
evaluate mlp300 -d factory:none.py:make
train mlp300 --optimizer sgdd -o new
gate kept --baseline kept --on foo
gate kept --baseline kept --max-drop 2
lock none
plot kept --kind nosuch -o a.png
report kept --format pdf
runs show kept --export a.txt
list foo
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

WITHOUT_GPU = """\
evaluate mlp300 --device gpu
attack --check kept --device cuda:1
"""


@pytest.fixture
def kept(run: Run, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    assert run("evaluate", "mlp300", "-n", "20", "-o", "kept", "--optimize", "none", "-q")[0] == 0


@pytest.mark.usefixtures("kept")
def test_no_torch_is_imported() -> None:
    refused = REFUSED
    refused += "" if torch.cuda.is_available() else WITHOUT_GPU
    refused += "evaluate timm:resnet1888 -d fashion-mnist\n" if find_spec("timm") else ""
    done = subprocess.run(
        [sys.executable, "-c", WITHOUT_TORCH], input=ANSWERED + refused, capture_output=True, text=True, timeout=300, check=True
    )
    expected = [f"{code} False {line}" for code, lines in ((0, ANSWERED), (2, refused)) for line in lines.splitlines()]
    assert [line for line in done.stdout.splitlines() if line in expected] == expected, done.stdout


def test_a_device_that_may_be_there_is_left_to_torch(run: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("ctypes.CDLL", lambda name: name)  # as with a driver
    code, _, error = run("evaluate", "mlp300", "--device", "cuda:99")
    assert (code, "must be auto, cpu or one that PyTorch has here, got 'cuda:99'" in error) == (2, True)
