"""Loading of a user's function by its name."""

from __future__ import annotations

import sys
from pathlib import Path

import pytest

import robustbench_fgsm as rf
from robustbench_fgsm.user_code import ImportPath, check_code_place, load_user_function, on_import_path


def load(spec: str) -> object:
    return load_user_function(spec, "candidate", rf.CandidateError).function


def write(folder: Path, code: str) -> str:
    file = folder / "mine.py"
    file.write_text(code, encoding="utf-8")
    return str(file)


def test_loads_from_a_file(tmp_path: Path) -> None:
    loaded = load_user_function(write(tmp_path, "def fn():\n    return 3\n") + ":fn", "candidate", rf.CandidateError)
    assert (loaded.function(), loaded.name, loaded.import_path) == (3, "mine.py:fn", ImportPath((str(tmp_path),)))


def test_loads_a_method(tmp_path: Path) -> None:
    function = load(write(tmp_path, "class Attack:\n    @staticmethod\n    def run():\n        return 4\n") + ":Attack.run")
    assert callable(function)
    assert function() == 4


def test_loads_from_a_module() -> None:
    assert load("os.path:join") is __import__("os").path.join


def test_imports_from_its_own_folder(tmp_path: Path) -> None:
    (tmp_path / "neighbour_of_user_code.py").write_text("VALUE = 5\n", encoding="utf-8")
    function = load(write(tmp_path, "from neighbour_of_user_code import VALUE\ndef fn():\n    return VALUE\n") + ":fn")
    assert callable(function)
    assert function() == 5


def test_restores_the_import_path(tmp_path: Path) -> None:
    before = list(sys.path)
    load(write(tmp_path, "import sys\nsys.path.insert(0, 'elsewhere')\ndef fn(): ...\n") + ":fn")
    assert sys.path == before
    with on_import_path(ImportPath(("somewhere",), ("elsewhere",))):
        assert sys.path == ["somewhere", *before, "elsewhere"]
    assert sys.path == before


def test_keeps_what_the_module_added(tmp_path: Path) -> None:
    code = "import sys\nsys.path.insert(0, 'first')\nsys.path.append('last')\ndef fn(): ...\n"
    loaded = load_user_function(write(tmp_path, code) + ":fn", "candidate", rf.CandidateError)
    assert loaded.import_path == ImportPath(("first", str(tmp_path)), ("last",))


@pytest.mark.parametrize(
    ("code", "name", "message"),
    [
        ("def attack(): ...\n", "atack", "must be a function of .*, got 'atack': did you mean attack"),
        ("VALUE = 1\n", "VALUE", "must be callable, got mine.py:VALUE, which is of type int"),
        ("VALUE = 1\n", "fn", "it defines no function"),
        ("import no_such_module_of_mine\n", "fn", "raised .*No module named 'no_such_module_of_mine' .*: install"),
        ("1 / 0\n", "fn", r"raised ZeroDivisionError: division by zero \(mine.py:1\)"),
        ("def fn(:\n", "fn", "raised SyntaxError"),
        ("raise SystemExit(3)\n", "fn", "raised SystemExit: 3"),
    ],
)
def test_rejects(tmp_path: Path, code: str, name: str, message: str) -> None:
    with pytest.raises(rf.CandidateError, match=message):
        load(f"{write(tmp_path, code)}:{name}")


def test_refuses_a_notebook(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    Path("mine.ipynb").write_text("{}", encoding="utf-8")
    with pytest.raises(rf.CandidateError, match=r"got mine\.ipynb: copy the function into a \.py file$"):
        load("mine.ipynb:fn")


@pytest.mark.parametrize(
    ("spec", "message"),
    [
        ("mine.py", r"candidate must look like file\.py:fn or pkg\.mod:fn, got 'mine\.py': name the function too"),
        ("nowhere/mine.py:fn", "which does not exist: check the path"),
        ("no_such_package_of_mine.attacks:fn", "there is no module no_such_package_of_mine"),
    ],
)
def test_rejects_names(spec: str, message: str) -> None:
    with pytest.raises(rf.CandidateError, match=message):
        load(spec)


@pytest.mark.parametrize("spec", ["none.py:fgsm", "nosuchmodule:fgsm", "fgsm", ".:fgsm", "folder/none:fgsm"])
def test_places_are_checked_before_code_runs(spec: str) -> None:
    with pytest.raises(rf.CandidateError, match="candidate must"):
        check_code_place(spec, "candidate", rf.CandidateError)
    with pytest.raises(rf.CandidateError, match="candidate must"):
        load(spec)


def test_a_check_of_a_place_runs_nothing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    Path("loud.py").write_text("raise RuntimeError")
    assert check_code_place("loud.py:fgsm", "candidate", rf.CandidateError) == "loud.py"
    assert check_code_place("loud:fgsm", "candidate", rf.CandidateError) == "loud"
