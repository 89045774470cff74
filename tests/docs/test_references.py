"""The example package on the page is complete: after installation it is found and agrees."""

from __future__ import annotations

import re
import sys
import tomllib
from pathlib import Path

import pytest

import robustbench_fgsm as rf
from robustbench_fgsm.references.registry import REFERENCES

PAGE = (Path(__file__).parents[2] / "docs/reference/references.md").read_text(encoding="utf-8")


def block(language: str) -> str:
    (found,) = re.findall(rf"^```{language}\n(.*?)^```$", PAGE, re.MULTILINE | re.DOTALL)
    return str(found)


@pytest.fixture
def installed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> str:
    """Name of the page's reference, whose package is installed as by pip."""
    project = tomllib.loads(block("toml"))["project"]
    ((name, module),) = project["entry-points"]["robustbench_fgsm.references"].items()
    (tmp_path / f"{module}.py").write_text(block("python"))
    folder = tmp_path / f"{module}-{project['version']}.dist-info"
    folder.mkdir()
    (folder / "METADATA").write_text(f"Name: {project['name']}\nVersion: {project['version']}\n")
    (folder / "entry_points.txt").write_text(f"[robustbench_fgsm.references]\n{name} = {module}\n")
    monkeypatch.syspath_prepend(str(tmp_path))
    monkeypatch.setitem(sys.modules, module, sys)  # so that monkeypatch removes the imported module afterwards
    del sys.modules[module]
    return str(name)


@pytest.mark.parametrize("targeted", ["none", "next"])
def test_example_agrees(installed: str, targeted: str, classifier: rf.TorchClassifier, images: rf.ArrayDataset) -> None:
    assert [*REFERENCES.entries()][-1] == installed
    (found,) = rf.compare(classifier, images, references=[installed], targeted=targeted).references
    assert (found.name, found.version, found.verdict) == (installed, "1.0", "agree")
    assert found.agreement.pixels_equal == found.agreement.pixels
    assert found.own_success is not None
    assert found.own_success.rate(found.timed_tally.tally) == found.timed_tally.tally.accuracy_drop


def test_example_refuses_other_norms(installed: str, classifier: rf.TorchClassifier, images: rf.ArrayDataset) -> None:
    with pytest.raises(rf.SettingError, match="plain is comparable under norm inf, got 2"):
        rf.compare(classifier, images, 1.0, norm=2, references=[installed])


def test_names_install_commands() -> None:
    for name, entry in REFERENCES.built_in.items():
        assert f"| `{name}` | {'comes with' if name == 'art' else f'`{entry.install_command}`'}" in PAGE
