"""Packages are verified through adapters, in environments of their own."""

from __future__ import annotations

import json
import zipfile
from importlib.util import find_spec
from pathlib import Path
from subprocess import CompletedProcess

import pytest
import torch
from jsonschema import Draft202012Validator

from robustbench_fgsm.cli.main import main
from robustbench_fgsm.errors import CandidateError, RfgsmError, SettingError
from robustbench_fgsm.report.schemas import load_schema
from robustbench_fgsm.verification.package_environment import (
    PackageAttack,
    package_environment,
    read_adapter,
    run_python,
    verify_in_environment,
    verify_package,
)

ADAPTER = """
INSTALL = ["tiny-fgsm=={version}"]
ATTACKS = {"right": "", "wrong": ""}

def right(model, x, y, eps):
    from tiny_fgsm import attack
    return attack(model, x, y, eps).clamp(0, 1)

def wrong(model, x, y, eps):
    from tiny_fgsm import attack
    return attack(model, x, y, eps)
"""
PACKAGE = """
import torch

def attack(model, x, y, eps):
    x = x.detach().clone().requires_grad_()
    (gradient,) = torch.autograd.grad(torch.nn.functional.cross_entropy(model(x), y, reduction="sum"), x)
    return (x + eps * gradient.sign()).detach()
"""


@pytest.fixture(scope="module")
def shelf(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return a folder with the wheel of a tiny package, and one with its adapter."""
    folder = tmp_path_factory.mktemp("shelf")
    info = "tiny_fgsm-1.2.dist-info"
    with zipfile.ZipFile(folder / "tiny_fgsm-1.2-py3-none-any.whl", "w") as wheel:
        wheel.writestr("tiny_fgsm.py", PACKAGE)
        wheel.writestr(f"{info}/METADATA", "Metadata-Version: 2.1\nName: tiny-fgsm\nVersion: 1.2\n")
        wheel.writestr(f"{info}/WHEEL", "Wheel-Version: 1.0\nGenerator: test\nRoot-Is-Purelib: true\nTag: py3-none-any\n")
        wheel.writestr(f"{info}/RECORD", "")
    adapters = folder / "adapters"
    adapters.mkdir()
    (adapters / "tiny_fgsm_adapter.py").write_text(ADAPTER)
    return folder


@pytest.fixture(autouse=True)
def _offline(shelf: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PIP_NO_INDEX", "1")
    monkeypatch.setenv("PIP_FIND_LINKS", str(shelf))


def test_an_attack_is_measured_in_the_environment_of_its_package(shelf: Path) -> None:
    attack = PackageAttack.parse("tiny-fgsm==1.2")
    adapter = read_adapter(attack, shelf / "adapters")
    with package_environment(attack, adapter) as python:
        document = verify_in_environment(python, attack, adapter)
        seen = run_python(python, ["-c", "import tiny_fgsm, torch; print(tiny_fgsm.__file__); print(torch.__file__)"])
    own, torch_file = seen.stdout.split()
    assert (document["verdict"], document["candidate"]["name"]) == ("right", "tiny-fgsm==1.2")
    assert Path(torch_file) == Path(torch.__file__)
    assert not Path(own).exists()
    assert find_spec("tiny_fgsm") is None


def test_the_command_names_the_package_and_its_wrong_stage(shelf: Path, capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as stopped:
        main(["verify", "--package", "tiny-fgsm==1.2:wrong", "--adapters", str(shelf / "adapters"), "--json"])
    document = json.loads(capsys.readouterr().out)
    Draft202012Validator(load_schema("verification")).validate(document)
    assert (stopped.value.code, document["candidate"]["name"]) == (1, "tiny-fgsm==1.2:wrong")
    assert [stage["stage"] for stage in document["stages"] if stage["verdict"] == "wrong"] == ["clip"]


@pytest.mark.parametrize("text", ["foolbox", "foolbox=3", "foolbox==", "==1", "foolbox==3:a-b", "--index-url==1", "a b==1"])
def test_names_without_a_version_are_refused(text: str) -> None:
    with pytest.raises(SettingError, match="NAME==VERSION"):
        PackageAttack.parse(text)


def test_unknown_packages_and_attacks_name_the_known_ones(shelf: Path) -> None:
    with pytest.raises(SettingError, match="tiny_fgsm"):
        verify_package("tiny-fgsmm==1.2", shelf / "adapters")
    with pytest.raises(SettingError, match="right, wrong"):
        verify_package("tiny-fgsm==1.2:rong", shelf / "adapters")
    with pytest.raises(SettingError, match="--adapters"):
        verify_package("tiny-fgsm==1.2", shelf / "nowhere")


def test_versions_that_do_not_exist_are_one_line(shelf: Path) -> None:
    with pytest.raises(CandidateError, match=r"tiny-fgsm==9.*must install, pip said ERROR.*tiny-fgsm==9") as raised:
        verify_package("tiny-fgsm==9", shelf / "adapters")
    assert "\n" not in str(raised.value)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("", "valid INSTALL, got none"),
        ("INSTALL = open('x')", "must define literals"),
        ("INSTALL = [", "must define literals"),
        ("ATTACKS = 3\nINSTALL = ['x']", "valid ATTACKS, got 3"),
        ("ATTACKS = {}\nINSTALL = ['x']", "valid ATTACKS"),
        ("ATTACKS = {'one': 'fgsm'}\nINSTALL = ['x']", "valid ATTACKS.one, got 'fgsm'"),
    ],
)
def test_adapters_are_read_without_running_them(tmp_path: Path, text: str, message: str) -> None:
    (tmp_path / "broken_adapter.py").write_text(text)
    with pytest.raises(SettingError, match=message):
        read_adapter(PackageAttack("broken", "1"), tmp_path)


@pytest.mark.parametrize("code", [2, 4, 5])
def test_errors_keep_the_exit_code_of_the_other_process(shelf: Path, monkeypatch: pytest.MonkeyPatch, code: int) -> None:
    attack = PackageAttack.parse("tiny-fgsm==1.2")
    done = CompletedProcess([], code, "", "some warning\nrfgsm: what is wrong\n")
    monkeypatch.setattr("robustbench_fgsm.verification.package_environment.run_python", lambda *_: done)
    with pytest.raises(RfgsmError, match=r"^what is wrong$") as raised:
        verify_in_environment(Path("python"), attack, read_adapter(attack, shelf / "adapters"))
    assert raised.value.exit_code == code
