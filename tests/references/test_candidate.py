"""Candidates found by name, and every way in which that goes wrong told in one line."""

from __future__ import annotations

import builtins
import sys
from dataclasses import replace
from pathlib import Path

import pytest
import torch
from torch import Tensor, nn

import robustbench_fgsm as rf
from robustbench_fgsm.errors import describe_error
from robustbench_fgsm.references.candidate import candidate_from_callable

GOOD = "def fgsm(model, x, y, epsilon):\n    return x\n"


@pytest.fixture
def file(tmp_path: Path) -> Path:
    return tmp_path / "mine.py"


def load(file: Path, text: str, path: str = "fgsm", style: str = "plain") -> rf.Candidate:
    file.write_text(text)
    return rf.load_candidate(f"{file}:{path}", style)


def test_a_function_of_a_file(file: Path) -> None:
    candidate = load(file, "__version__ = '1.2'\n" + GOOD)
    assert (candidate.name, candidate.style, candidate.version) == ("mine.py:fgsm", "plain", "1.2")
    assert not candidate.targets
    assert len(candidate.sha256) == 64
    x = torch.rand(2, 1, 2, 2)
    assert candidate.call_attack(nn.Identity(), x, torch.tensor([0, 1]), 0.1) is x


def test_a_dotted_path_with_targets(file: Path) -> None:
    text = "class A:\n    class B:\n        @staticmethod\n        def go(model, x, y, eps, targeted=False):\n"
    candidate = load(file, text + "            return targeted\n", "A.B.go")
    assert candidate.targets
    assert candidate.call_attack(nn.Identity(), torch.rand(1), torch.tensor([0]), 0.1, targeted=True) is True
    assert candidate.call_attack(nn.Identity(), torch.rand(1), torch.tensor([0]), 0.1) is False


def test_a_function_of_a_local_module(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "attacks_of_mine").mkdir()
    (tmp_path / "attacks_of_mine" / "__init__.py").write_text("__version__ = '3'\n")
    (tmp_path / "attacks_of_mine" / "one.py").write_text(GOOD)
    monkeypatch.chdir(tmp_path)
    path = list(sys.path)
    candidate = rf.load_candidate("attacks_of_mine.one:fgsm")
    assert (candidate.name, candidate.version) == ("attacks_of_mine.one:fgsm", "3")
    assert sys.path == path


def test_neighbours_can_be_imported(file: Path) -> None:
    (file.parent / "neighbour_of_mine.py").write_text("SHIFT = 1\n")
    (file.parent / "later_neighbour_of_mine.py").write_text("SHIFT = 2\n")
    path = list(sys.path)
    candidate = load(
        file,
        "import sys\nfrom neighbour_of_mine import SHIFT\nsys.path.append('left behind')\n"
        "def fgsm(model, x, y, epsilon):\n    import later_neighbour_of_mine as later\n    return x + SHIFT + later.SHIFT\n",
    )
    assert sys.path == path
    assert candidate.call_attack(nn.Identity(), torch.zeros(1), torch.tensor([0]), 0.1) == torch.tensor([3.0])
    assert sys.path == path


def test_added_import_places_stay_during_the_call(file: Path, tmp_path_factory: pytest.TempPathFactory) -> None:
    library = tmp_path_factory.mktemp("library")
    (library / "library_of_mine.py").write_text("SHIFT = 4\n")
    code = "    import library_of_mine\n    return x + library_of_mine.SHIFT\n"
    candidate = load(file, f"import sys\nsys.path.append({str(library)!r})\ndef fgsm(model, x, y, epsilon):\n{code}")
    assert str(library) not in sys.path
    assert candidate.call_attack(nn.Identity(), torch.zeros(1), torch.tensor([0]), 0.1) == torch.tensor([4.0])
    assert str(library) not in sys.path


def test_arguments_in_another_order_are_passed_by_name(file: Path) -> None:
    candidate = load(
        file, "def fgsm(images, labels, net, eps=0.1, targeted=False):\n    return images, labels, net, eps, targeted\n"
    )
    model, x, y = nn.Identity(), torch.zeros(1), torch.tensor([0])
    assert candidate.targets
    assert candidate.call_attack(model, x, y, 0.2, targeted=True) == (x, y, model, 0.2, True)
    assert "the network as net, the images as images, the labels as labels, the budget as eps" in candidate.note
    assert candidate.to_dict()["note"] == candidate.note
    assert load(file, GOOD).note == ""


def test_a_candidate_gets_its_own_statistics(file: Path) -> None:
    candidate = load(file, "def fgsm(net, x, y, eps):\n    return x + net(x).sum() + net.training\n", style="normalised")
    own = replace(candidate, statistics=(torch.tensor([0.5]), torch.tensor([0.25])))
    x = torch.full((1, 1, 2, 2), 0.75)
    model = nn.Flatten().eval()
    for called, expected in ((own, (1 + 4 * 0.75) * 0.25 + 0.5), (candidate, 0.75 + 4 * 0.75)):
        found = called.call_attack(model, x, torch.tensor([0]), 0.1)
        assert isinstance(found, Tensor)
        assert torch.equal(found, torch.full_like(x, expected))


def test_a_file_shadows_no_module(tmp_path: Path) -> None:
    candidate = load(tmp_path / "json.py", GOOD)
    import json

    assert candidate.name == "json.py:fgsm"
    assert hasattr(json, "dumps")


def test_dataclasses_work_in_a_file(file: Path) -> None:
    text = "from __future__ import annotations\nfrom dataclasses import dataclass\n@dataclass\nclass A:\n    n: int = 1\n"
    assert load(file, text + GOOD).name == "mine.py:fgsm"


BROKEN = {
    "no such function": (GOOD, "fgms", "did you mean fgsm?"),
    "no such method": ("class A:\n    def go(self): ...\n", "A.gone", "of A in .*got 'gone': did you mean go?"),
    "no function at all": ("x = 1\n", "fgsm", "it defines no function"),
    "imported names are not proposed": ("from math import *\n" + GOOD, "sqr", "choose from fgsm"),
    "not callable": ("fgsm = 3\n", "fgsm", "must be callable, got mine.py:fgsm, which is of type int"),
    "an error": ("x = 1\ny = 1 / 0\n", "fgsm", r"raised ZeroDivisionError: division by zero \(mine.py:2\)"),
    "an error without words": ("raise RuntimeError\n", "fgsm", r"raised RuntimeError \(mine.py:1"),
    "a syntax error": ("def fgsm(:\n", "fgsm", "raised SyntaxError: invalid syntax .*line 1"),
    "an exit": ("import sys\nsys.exit(3)\n", "fgsm", "raised SystemExit: 3"),
    "a missing import": ("import no_such_thing\n", "fgsm", "raised .*No module named 'no_such_thing' .*: install"),
    "other arguments": ("def fgsm(x, y): ...\n", "fgsm", r"style plain calls .*got fgsm\(x, y\)"),
}


@pytest.mark.parametrize(("text", "path", "message"), BROKEN.values(), ids=BROKEN.keys())
def test_broken_code_gives_one_line(file: Path, text: str, path: str, message: str) -> None:
    before = set(sys.modules)
    with pytest.raises(rf.SettingError, match=message) as raised:
        load(file, text, path)
    assert "\n" not in str(raised.value)
    if "must import" in str(raised.value):
        assert not {name for name in set(sys.modules) - before if name.startswith("rfgsm_candidate")}


@pytest.mark.parametrize(
    ("spec", "message"),
    [
        ("mine", "must look like file.py:fn"),
        ("mine.py", "must look like file.py:fn"),
        (":fgsm", "must look like file.py:fn"),
        ("mine:", "must look like file.py:fn"),
        ("no/such/file.py:fgsm", "which does not exist"),
        ("no_such_package.one:fgsm", "there is no module no_such_package:"),
        ("json.no_such_part:fgsm", "there is no module json.no_such_part:"),
        ("json:dump_", "did you mean dump"),
    ],
)
def test_rejects_an_invalid_spec(spec: str, message: str) -> None:
    with pytest.raises(rf.SettingError, match=message):
        rf.load_candidate(spec)


def test_names_a_missing_nested_import(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "broken_of_mine.py").write_text("import no_such_thing.at_all\n")
    monkeypatch.chdir(tmp_path)
    with pytest.raises(rf.SettingError, match=r"import from broken_of_mine .*No module named .no_such_thing"):
        rf.load_candidate("broken_of_mine:fgsm")


def test_an_unknown_style() -> None:
    with pytest.raises(rf.SettingError, match="did you mean plain"):
        rf.load_candidate("json:dumps", "plan")
    with pytest.raises(rf.SettingError, match="did you mean plain"):
        candidate_from_callable(print, "plan")


def test_accepts_an_object_without_signature() -> None:
    assert candidate_from_callable(builtins.dict).name == "dict"


def test_long_messages_are_cut() -> None:
    assert len(describe_error(ValueError("x" * 999))) == 200
    assert describe_error(ValueError("a\n b")) == "ValueError: a b"
