"""Names with terminal escapes, newlines, marks of direction and formulas, in every output of every command."""

from __future__ import annotations

import csv
import io
import json
import re
import shlex
from collections.abc import Callable
from pathlib import Path
from typing import Any

import matplotlib.pyplot as plt
import pytest

from robustbench_fgsm.cli.main import main
from robustbench_fgsm.report.figures.curves import encode_figure
from robustbench_fgsm.report.figures.gallery import draw_run
from robustbench_fgsm.report.loaded_run import LoadedRun
from robustbench_fgsm.report.pages.page import build_page
from robustbench_fgsm.report.summarize import csv_files, single_csv, summarize
from robustbench_fgsm.report.tables.markdown import summary_to_markdown

Run = Callable[..., tuple[int, str, str]]
SMALL = "--limit 40 --batch-size 16 --quiet"
COMMANDS = {
    "evaluate": f"evaluate --model mlp300 {SMALL}",
    "sweep": f"sweep --model mlp300 {SMALL} --eps 4,8/255 --targeted none --targeted next",
    "attack": f"attack --model mlp300 {SMALL}",
    "compare": f"compare --model mlp300 {SMALL} --references none --candidate robustbench_fgsm:fgsm",
    "transfer": f"transfer --source mlp300 --target mlp300 --target smallcnn {SMALL} --per-class",
    "train": "train --model mlp300 --limit 80 --batch-size 32 --epochs 1 --held-out 20 --quiet",
}
HIDDEN = re.compile("[\x00-\x09\x0b-\x1f\x7f-\x9f\u061c\u200e\u200f\u2028-\u202e\u2066-\u2069]")
NAMES = ["\x1b[31mred", "two\nlines", "\u202eback", "=1+1", " \t=1", ";@x", "\x9b2J", "a\rb", "-x|y", "\x00"]


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


def test_no_output_holds_hidden_characters(document: Any, run: Run, tmp_path: Path) -> None:
    texts = {"markdown": summary_to_markdown(summarize(document)), "csv": single_csv(document), **csv_files(document)}
    for name, text in texts.items():
        assert not HIDDEN.search(text), name
    if document["schema"] != "rfgsm.attack/1":
        figure = draw_run(LoadedRun("result", document), "curve" if "sweep" in document["schema"] else "confusion")
        svg = encode_figure(figure, "svg").decode()
        plt.close(figure)
        page = build_page([LoadedRun("result\x1b", document)])
        assert not HIDDEN.search(svg)
        assert not HIDDEN.search(page)


def test_no_cell_is_a_formula(document: Any) -> None:
    for text in (single_csv(document), *csv_files(document).values()):
        for row in csv.reader(io.StringIO(text)):
            for cell in row:
                assert re.match(r"[-+]?[\d.]+(e-?\d+)?$|(?![\s,;|]*[=+\-@])", cell), cell
                assert not re.search(r"[;|]\s*[=@]", cell), cell
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
