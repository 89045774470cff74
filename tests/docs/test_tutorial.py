"""The tutorial's commands run one after the other in one directory, with its results."""

from __future__ import annotations

from pathlib import Path

import pytest

from robustbench_fgsm.cli.main import main
from tests.docs.test_docs import ROOT, shown_on

CODES = {"gate": 1}
"""Exit codes of commands that fail on purpose; other commands exit with 0."""


@pytest.mark.reference
def test_commands_run(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    monkeypatch.chdir(tmp_path)
    printed = []
    for shown in shown_on(ROOT / "docs/tutorial.md"):
        with pytest.raises(SystemExit) as done:
            main([*shown.arguments])
        assert (done.value.code or 0) == CODES.get(shown.arguments[0], 0), shown
        printed.append(" ".join(capsys.readouterr().out.split()))
    agreed, standard, robust, _, _, worse, dearer = printed
    assert "AGREE: ours and art" in agreed
    assert "Warning: saturation" in robust
    assert "saturation" not in standard
    assert "FAILED: accuracy fell by more than 1 % of the images: all images at epsilon" in worse
    assert "FAILED: accuracy fell by more than 5 % of the images: Shirt clean." in dearer
    assert Path("report.html").is_file()
    assert Path("examples.png").is_file()
