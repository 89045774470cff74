"""`rfgsm report` as a user meets it."""

from __future__ import annotations

import json
import re
import shlex
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from tests.report.packed import unpack_json

Run = Callable[..., tuple[int, str, str]]

MODEL = ("--model", "mlp300", "--limit", "32", "--quiet")
MEASURED = {
    "evaluate": ("--eps", "0.1", "--norm", "2", "--targeted", "class:Ankle boot", "--restarts", "1", "--seed", "3"),
    "sweep": ("--eps", "4,8/255", "--targeted", "none", "--targeted", "next", "--stable"),
    "compare": ("--eps", "8/255", "--references", "none", "--candidate", "examples/candidates/plain.py:fgsm"),
}


@pytest.mark.reference
@pytest.mark.parametrize("program", MEASURED)
def test_page_commands_repeat_the_run(run: Run, tmp_path: Path, program: str) -> None:
    kept, page, direct = tmp_path / "kept", tmp_path / "page.html", tmp_path / "direct.html"
    assert run(program, *MODEL, *MEASURED[program], "--out", str(kept), "--html", str(direct))[0] == 0
    code, out, err = run("report", str(kept), "-o", str(page))
    assert (code, out) == (0, "")
    assert err == f"{page}: {page.stat().st_size / 2**20:.1f} MiB\n"
    text = page.read_text(encoding="utf-8")
    assert direct.read_text(encoding="utf-8") == text
    document = json.loads((kept / "result.json").read_text(encoding="utf-8"))
    (data,) = re.findall(r'<script type="text/plain" id="data">([^<]*)</script>', text)
    assert unpack_json(data)["documents"] == [document]
    (command,) = re.findall(r"<pre data-copy><code>rfgsm (.*?)</code></pre>", text)
    _, again, _ = run(*shlex.split(command.replace("&#39;", "'")), "--json", "--quiet")
    assert bool(unpack_json(data)["gallery"]) == (program != "compare")
    for key in ("epsilons", "evaluations", "attack", "ours", "candidate", "model", "data", "n"):
        assert timeless(json.loads(again).get(key)) == timeless(document.get(key))


def test_pages_of_a_transfer_and_training(run: Run, tmp_path: Path) -> None:
    page, direct, kept = tmp_path / "page.html", tmp_path / "direct.html", tmp_path / "kept"
    common = ("--limit", "32", "--quiet")
    words = ("--source", "mlp300:standard", "--target", "smallcnn:robust", "--eps", "4,8/255", "--common", "--stable")
    assert run("transfer", *words, *common, "--out", str(kept), "--html", str(direct), "--csv", str(tmp_path))[0] == 0
    assert (tmp_path / "pairs.csv").read_text().startswith("source,target,targeted,restarts,epsilon,robust_accuracy,")
    assert repeated(run, kept, page)["cells"] == json.loads((kept / "result.json").read_text())["cells"]
    assert direct.read_text(encoding="utf-8") == page.read_text(encoding="utf-8")
    kept = tmp_path / "taught"
    recipe = ("--model", "mlp300", "--held-out", "0", "--epochs", "1", "--no-clamp", "--method", "n-fgsm", "--seed", "3")
    assert run("train", *recipe, *common, "--out", str(kept))[0] == 0
    again = repeated(run, kept, page, "--out", str(tmp_path / "repeated"))
    assert again["model"]["sha256"] == json.loads((kept / "result.json").read_text())["model"]["sha256"]
    code, _, err = run("report", str(kept), str(kept), "-o", str(page))
    assert (code, "make a page for each" in err, err.count("\n")) == (2, True, 1)
    figure = tmp_path / "curves.svg"
    assert run("plot", str(kept), "--kind", "training", "-o", str(figure), "--quiet") == (0, "", "")
    code, _, err = run("plot", str(kept), "--eps", "8/255", "-o", str(figure))
    assert (code, "one epsilon" in err, err.count("\n")) == (2, True, 1)


def repeated(run: Run, kept: Path, page: Path, *words: str) -> dict[str, Any]:
    """The document that the command on the page of a run gives."""
    assert run("report", str(kept), "-o", str(page), "--quiet") == (0, "", "")
    (command,) = re.findall(r"<pre data-copy><code>rfgsm (.*?)</code></pre>", page.read_text(encoding="utf-8"))
    code, out, _ = run(*shlex.split(command), *words, "--json", "--quiet")
    assert code == 0
    found: dict[str, Any] = json.loads(out)
    return found


@pytest.mark.parametrize("program", ["evaluate", "sweep", "compare"])
def test_page_without_a_directory(run: Run, tmp_path: Path, program: str) -> None:
    page = tmp_path / "page.html"
    own = ("--references", "none", "--candidate", "examples/candidates/plain.py:fgsm") if program == "compare" else ()
    code, out, _ = run(program, "--model", "mlp300", "--limit", "8", "--quiet", *own, "--json", "--html", str(page))
    assert code == 0
    (data,) = re.findall(r'<script type="text/plain" id="data">([^<]*)</script>', page.read_text(encoding="utf-8"))
    found = unpack_json(data)
    assert (found["documents"], found["gallery"]) == ([json.loads(out)], [])
    assert run(program, "--model", "nosuch", "--html", str(tmp_path))[2].startswith("rfgsm: --html")


def timeless(found: object) -> object:
    """The same without what differs from run to run."""
    if isinstance(found, dict):
        return {key: timeless(below) for key, below in found.items() if key not in ("seconds", "speedup")}
    return [timeless(below) for below in found] if isinstance(found, list) else found


@pytest.mark.parametrize(
    ("schema", "remedy"),
    [
        ("rfgsm.list/1", "got one of list in {}: name the directory of a run"),
        ("rfgsm.run-shown/1", "got one of runs show in {}: name the directory of a run"),
        ("rfgsm.lock/1", "got one of lock in {}: pass it to rfgsm gate as --baseline"),
    ],
)
def test_refuses_other_documents(run: Run, tmp_path: Path, schema: str, remedy: str) -> None:
    assert run("report", str(tmp_path / "nowhere"))[0] == 2
    other = tmp_path / "other.json"
    other.write_text(json.dumps({"schema": schema, "model": "mlp300"}), encoding="utf-8")
    code, _, err = run("report", str(other))
    assert (code, err.count("\n")) == (2, 1)
    assert err.startswith("rfgsm: a run must be of evaluate, sweep, compare, attack, transfer, train, verify, gate, ")
    assert err.endswith(remedy.format(other) + "\n")


OTHERS = {
    "gate": "gate kept --baseline kept --json",
    "gate-plan": "gate --plan kept --json",
    "locked": "lock kept -o kept.lock --json",
    "attack": "attack -m mlp300 -n 20 --save-as png -o saved --json -q",
    "attack-check": "attack --check saved --json -q",
    "explanation": "explain 0.37 -m mlp300 -n 20 -o explained --json -q",
    "benchmark": "benchmark mlp300 -n 4 --rounds 1 --references none --no-memory -e 8/255 -o timed --json -q",
}
"""A command for each kind of document that is not a run of evaluate, sweep, compare, transfer, train or verify."""


def test_every_document_has_a_page_and_tables(run: Run, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    assert run("evaluate", "mlp300", "-n", "20", "-o", "kept", "--optimize", "none", "-q")[0] == 0
    for kind, words in OTHERS.items():
        code, out, _ = run(*words.split())
        assert code == 0
        Path(f"{kind}.json").write_text(out)
        for place in [f"{kind}.json", *(["saved"] if kind == "attack" else [])]:
            assert run("report", place, "-o", "page.html", "-q") == (0, "", "")
            (data,) = re.findall(r'<script type="text/plain" id="data">([^<]*)</script>', Path("page.html").read_text())
            found = unpack_json(data)
            assert found.get("document", found.get("documents")) in (json.loads(out), [json.loads(out)])
            code, table, _ = run("report", place, "--format", "markdown")
            assert (code, bool(table)) == (0, True)
    code, _, err = run("plot", "gate.json", "-o", "figure.png")
    assert (code, err.rpartition(": ")[2]) == (2, "rfgsm report gate.json\n")
    assert run(*err.split("rfgsm ")[-1].split(), "-o", "page.html", "-q") == (0, "", "")
    assert "a page is of one gate alone, got gate among 2 runs: make a page for each" in run("report", "kept", "gate.json")[2]
    assert run("report", "kept", "gate.json", "--format", "csv")[2].endswith("make its page: rfgsm report gate.json\n")
    assert len(run("report", "kept", "saved", "--format", "csv")[1].splitlines()) == 3
    for figure in ("confusion", "per-class", "gallery"):
        assert run("plot", "saved", "--kind", figure, "-o", "figure.png", "-q")[0] == 0


def test_the_page_of_saved_images_says_what_rounding_changed(run: Run, tmp_path: Path) -> None:
    page = tmp_path / "page.html"
    assert run("attack", "-m", "mlp300", "-n", "20", "--save-as", "png", "-o", str(tmp_path / "saved"), "-q")[0] == 0
    assert run("report", str(tmp_path / "saved"), "-o", str(page), "-q")[0] == 0
    text = page.read_text()
    assert "In 8 bits, robust accuracy is" in text
    (command,) = re.findall(r"<pre data-copy><code>rfgsm (.*?)</code></pre>", text)
    code, out, _ = run(*shlex.split(command)[:-1], str(tmp_path / "again"), "--json", "-q")
    again, first = json.loads(out), json.loads((tmp_path / "saved" / "result.json").read_text())
    assert code == 0
    assert [again[key] for key in ("attack", "output", "adversarial", "rounded", "clean")] == [
        first[key] for key in ("attack", "output", "adversarial", "rounded", "clean")
    ]


def test_names_an_unwritable_page(run: Run, tmp_path: Path) -> None:
    code, _, err = run("report", str(tmp_path), "-o", str(tmp_path))
    assert code == 2
    assert err.startswith(f"rfgsm: --output {tmp_path} cannot be written")
