"""Names with terminal escapes, newlines, marks of direction and formulas, in every output of every command."""

from __future__ import annotations

import csv
import io
import json
import re
import shlex
from collections.abc import Callable
from contextlib import redirect_stderr, redirect_stdout
from pathlib import Path
from typing import Any
from xml.etree import ElementTree as ET

import matplotlib.pyplot as plt
import pytest
from torchvision.utils import save_image

import robustbench_fgsm as rf
from robustbench_fgsm.cli.main import main
from robustbench_fgsm.report.figures.curves import encode_figure
from robustbench_fgsm.report.figures.gallery import draw_run
from robustbench_fgsm.report.junit import junit_xml
from robustbench_fgsm.report.loaded_run import REPORTED_SCHEMAS, LoadedRun
from robustbench_fgsm.report.pages.page import build_page
from robustbench_fgsm.report.summarize import csv_files, single_csv, summarize
from robustbench_fgsm.report.tables.html import summary_to_html
from robustbench_fgsm.report.tables.latex import summary_to_latex
from robustbench_fgsm.report.tables.markdown import summary_to_markdown

Run = Callable[..., tuple[int, str, str]]
Document = dict[str, Any]
FORMATS = ("terminal", "markdown", "latex", "csv", "json")
SMALL = "--limit 40 --batch-size 16 --quiet"
COMMANDS = {
    "evaluate": f"evaluate --model mlp300 {SMALL}",
    "sweep": f"sweep --model mlp300 {SMALL} --eps 4,8/255 --targeted none --targeted next",
    "attack": f"attack --model mlp300 {SMALL}",
    "compare": f"compare --model mlp300 {SMALL} --references none --candidate robustbench_fgsm:fgsm",
    "transfer": f"transfer --source mlp300 --target mlp300 --target smallcnn {SMALL} --per-class",
    "train": "train --model mlp300 --limit 80 --batch-size 32 --epochs 1 --held-out 20 --quiet",
}
HIDDEN = re.compile("[\x00-\x09\x0b-\x1f\x7f-\x9f\xad\u061c\u200b\u200e\u200f\u2028-\u202e\u2060-\u206f]")
NAMES = ["\x1b[31mred", "two\nlines", "\u202eback", "=1+1", " \t=1", ";@x", "\x9b2J", "a\rb", "-x|y", "[$\u200b^{"]


@pytest.fixture(scope="module", params=COMMANDS)
def document(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Any:
    """The document of a command, whose classes, models and data have such names."""
    place = tmp_path_factory.mktemp("run") / "run"
    with pytest.raises(SystemExit) as done:
        main([*shlex.split(COMMANDS[request.param]), "--out", str(place)])
    assert not done.value.code
    found = json.loads((place / "result.json").read_text())
    classes = (found.get("data") or found["evaluations"][0]["data"])["classes"]
    return renamed(found, dict(zip([*classes, "mlp300", "fashion-mnist"], [*NAMES, "m\x1b]0;x\x07", "d\n="], strict=True)))


def renamed(value: Any, names: dict[str, str]) -> Any:
    if isinstance(value, dict):
        return {names.get(key, key): renamed(part, names) for key, part in value.items()}
    if isinstance(value, list):
        return [renamed(part, names) for part in value]
    return names.get(value, value) if isinstance(value, str) else value


def draw(document: Document) -> str:
    figure = draw_run(LoadedRun("result", document), "curve" if "sweep" in document["schema"] else "confusion")
    text = encode_figure(figure, "svg").decode()
    plt.close(figure)
    return text


OUTPUTS: dict[str, Callable[[Document], str]] = {
    "markdown": lambda document: summary_to_markdown(summarize(document)),
    "latex": lambda document: summary_to_latex(summarize(document)),
    "notebook": lambda document: summary_to_html(summarize(document)),
    "csv": single_csv,
    "csv files": lambda document: "\n".join(csv_files(document).values()),
    "figure": draw,
    "junit": junit_xml,
    "page": lambda document: build_page([LoadedRun("result\x1b", document)]),
}


@pytest.mark.parametrize("output", OUTPUTS)
def test_no_output_holds_hidden_characters(document: Document, output: str) -> None:
    if output == "figure" and document["schema"] not in REPORTED_SCHEMAS:
        pytest.skip("no figure")
    assert not HIDDEN.search(OUTPUTS[output](document))


def is_formula(cell: str) -> bool:
    """Return True if a spreadsheet may take a cell for a formula."""
    is_number = re.match(r"[-+]?[\d.]+(e-?\d+)?$", cell)
    return bool((not is_number and re.match(r"[\s,;|]*[=+\-@]", cell)) or re.search(r"[;|]\s*[=@]", cell))


def test_no_cell_is_a_formula(document: Any) -> None:
    for text in (single_csv(document), *csv_files(document).values()):
        for row in csv.reader(io.StringIO(text)):
            for cell in row:
                assert not is_formula(cell), cell
    cells = [
        cell.strip() for line in summary_to_markdown(summarize(document)).splitlines() for cell in re.split(r"(?<!\\)\|", line)
    ]
    assert not [cell for cell in cells if cell.startswith(("=", "@"))]


def test_terminal_and_errors(document: Any, run: Run, tmp_path: Path) -> None:
    place = tmp_path / "run\x1b[2J"
    place.mkdir()
    (place / "manifest.json").write_text(
        json.dumps({"command": "benchmark\x1b[1m", "models": [{"spec": "a\nb"}], "data": {"n": 1}})
    )
    (place / "result.json").write_text(json.dumps(document))
    for words in (["runs", "list", str(place)], ["runs", "show", str(place)], ["report", str(place) + "\x1b", "-o", "x.html"]):
        code, out, err = run(*words)
        assert code in (0, 2)
        assert not HIDDEN.search(out + err)
        assert out + err


NETWORKS = """
import torch
from torch import nn
import robustbench_fgsm as rf

def trained():
    return rf.load_classifier("mlp300", weights="standard").network

def untrained():
    torch.manual_seed(0)
    return nn.Sequential(nn.Flatten(), nn.Linear(784, 10))
"""


@pytest.fixture(scope="module")
def written(tmp_path_factory: pytest.TempPathFactory) -> dict[str, str]:
    """What commands print and write about folders, files and runs with such names."""
    place, fashion = tmp_path_factory.mktemp("names"), rf.load_data("fashion-mnist")
    (batch,) = fashion.batches(0, 60, 60)
    folder, found = place / "data\x1b]0;x\x07", dict[str, str]()
    for label, name in enumerate(sorted(NAMES)):
        (folder / name).mkdir(parents=True)
        for number, image in enumerate(batch.images[batch.labels == label]):
            save_image(image, folder / name / f"=\x1b[2J{number}.png")
    (folder / NAMES[0] / "=bad\x1b\u202e.png").write_bytes(b"no image")
    run, other, lock = (str(place / name) for name in ("run\x1b[1m", "=other", "\x9b.lock"))

    def call(name: str, *words: str) -> None:
        with redirect_stdout(io.StringIO()) as out, redirect_stderr(io.StringIO()) as err, pytest.raises(SystemExit) as stopped:
            main([*words])
        assert stopped.value.code in ([1] if name == "failed gate" else [None, 0, 2]), err.getvalue()
        assert (stopped.value.code == 2) == (name == "error"), err.getvalue()
        found[name] = out.getvalue() + err.getvalue()

    networks = place / "=\x1bnet.py"
    networks.write_text(NETWORKS)
    evaluate = ["evaluate", "--data", f"folder:{folder}", "--max-bad", "1", "--num-classes", "10", "--model"]
    model = f"factory:{networks}:trained"
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("GITHUB_ACTIONS", "true")
        patch.setenv("GITHUB_STEP_SUMMARY", str(place / "summary.md"))
        call("terminal", *evaluate, model, "--out", run, "--csv", str(place / "csv"), "--html", str(place / "page.html"))
        for form in ("markdown", "latex", "csv"):
            call(form, *evaluate, model, "--out", run, "--format", form)
        call("json", *evaluate, model, "--out", run, "--json")
        call("figure", "plot", run, "-o", str(place / "figure.svg"))
        call("rows", "runs", "show", run, "--outcomes", "5", "--export", str(place / "rows.csv"))
        call("list", "runs", "list", str(place))
        call("lock", "lock", run, "-o", lock)
        call(
            "other",
            *evaluate,
            f"factory:{networks}:untrained",
            "--out",
            other,
            "--name",
            "=\x1b\u202ename",
            "--html",
            str(place / "named.html"),
        )
        call("failed gate", "gate", other, "--baseline", lock, "--junit", str(place / "gate.xml"))
        call("error", "gate", f"{other}\x1b", "--baseline", lock)
    files = [file for file in place.rglob("*") if file.suffix in (".csv", ".html", ".svg", ".md", ".lock", ".xml")]
    return found | {file.name.replace("\x9b", ""): file.read_text() for file in files}


WRITTEN = [*FORMATS, "figure", "rows", "list", "lock", "failed gate", "error"]
WRITTEN += [
    "per_class.csv",
    "confusion.csv",
    "page.html",
    "named.html",
    "gate.xml",
    "figure.svg",
    "rows.csv",
    "summary.md",
    ".lock",
]


@pytest.mark.parametrize("name", WRITTEN)
def test_nothing_written_about_folders_holds_hidden_characters(written: dict[str, str], name: str) -> None:
    assert written[name] or name == "figure"
    assert not HIDDEN.search(written[name])


def test_xml_is_well_formed(written: dict[str, str]) -> None:
    assert ET.fromstring(written["gate.xml"]).get("failures") != "0"


def test_a_failed_gate_is_one_annotation(written: dict[str, str]) -> None:
    (annotation,) = [line for line in written["failed gate"].splitlines() if line.lstrip().startswith("::")]
    assert annotation.startswith("::error title=robustness fell::")
    assert r"=\x1bnet.py" in annotation


@pytest.mark.parametrize("name", [name for name in WRITTEN if "csv" in name])
def test_no_written_cell_is_a_formula(written: dict[str, str], name: str) -> None:
    for row in csv.reader(io.StringIO(written[name])):
        assert not [cell for cell in row if is_formula(cell)]
