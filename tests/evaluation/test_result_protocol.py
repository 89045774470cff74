"""Methods that every result has."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from matplotlib.text import Text
from typer.testing import CliRunner

import robustbench_fgsm as rf
from robustbench_fgsm.cli.main import app
from robustbench_fgsm.evaluation.result_protocol import ReportedResult


@pytest.fixture(scope="module")
def sweep(classifier: rf.TorchClassifier, images: rf.ArrayDataset) -> rf.Sweep:
    return rf.sweep(classifier, images.head(64), "2,8/255", targeted=["none", "next"])


def test_a_sweep_is_a_list(sweep: rf.Sweep) -> None:
    assert isinstance(sweep, list)
    assert [evaluation.attack.target.kind for evaluation in sweep] == ["none", "shift"]
    assert sweep.to_dict()["schema"] == "rfgsm.sweep/1"
    assert len(sweep.to_pandas()) == sum(len(evaluation.to_pandas()) for evaluation in sweep)


@pytest.mark.parametrize("kind", ["confusion", "curve", "per-class"])
def test_plot_has_the_kinds_of_the_command_line(sweep: rf.Sweep, kind: str) -> None:
    figure = sweep.plot(kind)
    assert figure.axes
    assert sweep[0].plot(kind).axes


def test_plot_takes_a_budget_and_a_rule(sweep: rf.Sweep) -> None:
    figure = sweep.plot(epsilon=2 / 255, targeted="next")
    assert "2/255" in " ".join(text.get_text() for text in figure.findobj(Text))
    with pytest.raises(rf.SettingError, match="epsilon"):
        sweep.plot(epsilon=0.5)
    with pytest.raises(rf.SettingError, match="targeted"):
        sweep.plot(targeted="random")


def test_a_gallery_needs_kept_images(sweep: rf.Sweep) -> None:
    with pytest.raises(rf.SettingError, match="images that the run kept"):
        sweep.plot("gallery")


def test_results_with_a_page(classifier: rf.TorchClassifier, images: rf.ArrayDataset, tmp_path: Path) -> None:
    some = images.head(32)
    found: list[Any] = [
        rf.evaluate(classifier, some),
        rf.transfer([classifier], [classifier], some),
        rf.compare(classifier, some, references=[], candidate=rf.fgsm),
        rf.verify(rf.fgsm),
    ]
    for result in found:
        assert isinstance(result, ReportedResult)
        page = result.report(tmp_path / "page.html")
        assert "<html" in page.read_text(encoding="utf-8")
        assert result.plot().axes


def test_a_page_is_that_of_the_command_line(tmp_path: Path, classifier: rf.TorchClassifier, images: rf.ArrayDataset) -> None:
    command = ["evaluate", "-m", "mlp300", "--limit", "64", "--out", str(tmp_path / "run"), "--html", str(tmp_path / "a.html")]
    assert CliRunner().invoke(app, [*command, "--quiet"]).exit_code == 0
    rf.load_run(tmp_path / "run").report(tmp_path / "b.html")
    assert (tmp_path / "a.html").read_bytes() == (tmp_path / "b.html").read_bytes()
