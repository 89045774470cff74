"""Code and commands in the documentation work, links exist, and lists are complete."""

from __future__ import annotations

import inspect
import itertools
import json
import pydoc
import re
import runpy
import shlex
import shutil
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
import typer

import robustbench_fgsm as rf
from robustbench_fgsm.cli.main import app, main
from robustbench_fgsm.evaluation.result import sweep_document
from robustbench_fgsm.evaluation.thresholds import apply_thresholds, find_epsilon_for_success
from robustbench_fgsm.models.cards import WEIGHTS_FOLDER
from robustbench_fgsm.options import Thresholds

ROOT = Path(__file__).parents[2]
PAGES = [
    *(ROOT / f"{name}.md" for name in ("README", "CHANGELOG", "CONTRIBUTING", "SECURITY")),
    *sorted((ROOT / "docs").rglob("*.md")),
]
WHICH_COMMAND = ROOT / "docs/howto/which-command.md"
SETUP = ["pip install . && rfgsm compare --model resnet18", "pip install -e '.[test]' && pytest"]
BLOCK = re.compile(r"^```(\w+)\n(.*?)^```$", re.MULTILINE | re.DOTALL)
LINK = re.compile(r"\]\(([^)#\s]*)(?:#([^)\s]*))?\)")
IN_CODE = re.compile(r"`([^`\n]+)`")
KINDS = {"python", "sh", "console", "json", "text", "toml", "yaml"}
"""Allowed kinds of blocks: the first three are run or parsed, JSON is read, and the others are only shown."""


@dataclass(frozen=True)
class Shown:
    """Command on a page, and the error below it, or an empty text."""

    page: Path
    arguments: tuple[str, ...]
    error: str

    def __str__(self) -> str:
        return f"{name(self.page)}: {shlex.join(self.arguments)}"


def name(page: Path) -> str:
    return str(page.relative_to(ROOT))


def blocks(page: Path, *languages: str) -> list[str]:
    return [text for language, text in BLOCK.findall(page.read_text(encoding="utf-8")) if language in languages]


def shown_in(page: Path, block: str) -> Iterator[Shown]:
    for line, following in itertools.pairwise([*block.splitlines(), ""]):
        lexer = shlex.shlex(line.removeprefix("$ "), posix=True, punctuation_chars=True)
        lexer.whitespace_split = True  # a comma is part of its word
        words = list(lexer)
        if "rfgsm" in words and not line.startswith("rfgsm: "):
            tail = words[words.index("rfgsm") + 1 :]
            end = next((at for at, word in enumerate(tail) if set(word) <= set("|&;<>")), len(tail))
            yield Shown(page, tuple(tail[:end]), following if following.startswith("rfgsm: ") else "")


def shown_on(page: Path) -> Iterator[Shown]:
    for block in blocks(page, "sh", "console", "bash", "shell"):
        yield from shown_in(page, block)


COMMANDS = [shown for page in PAGES for shown in shown_on(page)]
QUICK = {name: ["--limit", "64"] for name in ("compare", "evaluate", "explain", "sweep")} | {"list": [], "verify": []}
"""Commands that run, with options that make them quick; other commands are only parsed."""
OTHER_PAGES = {"plot": "report", "lock": "gate"}
"""Commands that share the page of another command."""
WRONG = (
    "examples/candidates/notebook.py",
    "examples/candidates/pgd_last_iterate.py",
    "examples/candidates/wrong_units.py",
    "examples/dnn_width_study.py",
)
"""Candidates that are wrong on purpose."""
RUN = list({one.arguments: one for one in COMMANDS if one.arguments[0] in QUICK and "--package" not in one.arguments}.values())
"""`verify --package` would install a package."""


def command(name: str) -> Any:
    program: Any = typer.main.get_command(app)
    return program.commands[name]


def keys_of(document: object) -> set[str]:
    if isinstance(document, dict):
        return set(document).union(*map(keys_of, document.values()))
    return set().union(*map(keys_of, document)) if isinstance(document, list) else set()


def prose(page: Path) -> str:
    """Return the page without its blocks of code."""
    return re.sub(r"```.*?```", "", page.read_text(encoding="utf-8"), flags=re.DOTALL)


def anchors(page: Path) -> set[str]:
    headings = re.findall(r"^#+ (.*)$", prose(page), re.MULTILINE)
    return {re.sub(r"[^\w\- ]", "", heading.lower()).replace(" ", "-") for heading in headings}


def test_readme_has_two_setup_commands() -> None:
    assert [line for block in blocks(ROOT / "README.md", "sh") for line in block.splitlines()] == SETUP


@pytest.mark.reference
@pytest.mark.parametrize("page", [page for page in PAGES if blocks(page, "python")], ids=name)
def test_python_blocks_run(page: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    shutil.copytree(ROOT / "examples/candidates", "examples/candidates")
    namespace: dict[str, object] = {"__name__": "__page__"}
    for block in blocks(page, "python"):
        exec(compile(block, name(page), "exec"), namespace)  # the block is our own code


@pytest.mark.parametrize("shown", COMMANDS, ids=str)
def test_command_parses(shown: Shown) -> None:
    first, *rest = shown.arguments
    command(first).make_context(first, rest).close()


@pytest.mark.reference
@pytest.mark.parametrize("shown", RUN, ids=str)
def test_command_runs(shown: Shown, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    monkeypatch.chdir(tmp_path)
    shutil.copyfile(WEIGHTS_FOLDER / "smallcnn-fashion-mnist-standard.safetensors", "mine.safetensors")
    shutil.copytree(ROOT / "examples/candidates", "examples/candidates")
    shutil.copy(ROOT / "examples/dnn_width_study.py", "examples")
    rf.save_adversarial(rf.load_classifier("mlp300"), rf.load_data("fashion-mnist", limit=64), "made", format="npz")
    shutil.copyfile("made/adversarial-00000.npz", "adv.npz")
    own = "\n".join(Path(f"examples/candidates/{one}.py").read_text(encoding="utf-8") for one in ("plain", "pgd"))
    Path("my_attack.py").write_text(own.replace("from __future__ import annotations", ""), encoding="utf-8")
    with pytest.raises(SystemExit) as done:
        main([*shown.arguments, *QUICK[shown.arguments[0]]])
    printed = capsys.readouterr()
    gated = {"--min-robust-accuracy", "--max-asr"} & set(shown.arguments)  # the verdict depends on the images
    wrong = any(word.startswith(WRONG) for word in shown.arguments)
    assert done.value.code in ({2} if shown.error else {1} if wrong else {0, 1} if gated else {0}), printed.err
    if shown.error:
        assert printed.err == f"{shown.error}\n"
    elif "--json" in shown.arguments:
        json.loads(printed.out)


@pytest.mark.parametrize("page", PAGES, ids=name)
def test_links(page: Path) -> None:
    for path, anchor in LINK.findall(prose(page)):
        if "://" in path:
            assert re.fullmatch(r"https://[\w.-]+\.[a-z]+(/[\w./%()+-]*)?", path), path
        else:
            target = (page.parent / path).resolve() if path else page
            assert target.exists(), path
            assert not anchor or anchor in anchors(target), f"{path}#{anchor}"


@pytest.mark.parametrize("page", PAGES, ids=name)
def test_blocks_have_allowed_kinds(page: Path) -> None:
    text = page.read_text(encoding="utf-8")
    fences = re.findall(r"^ *```(.*)$", text, re.MULTILINE)
    assert len(fences) % 2 == 0
    for kind in fences[::2]:
        assert kind in KINDS or kind.startswith("{"), kind
    for block in blocks(page, "json"):
        json.loads(block)


@pytest.mark.parametrize("page", PAGES, ids=name)
def test_dotted_names_exist(page: Path) -> None:
    for dotted in re.findall(r"`(robustbench_fgsm(?:\.\w+)+)", page.read_text(encoding="utf-8")):
        assert pydoc.locate(dotted) is not None, dotted


def test_reference_lists_every_public_name_once() -> None:
    reference = ROOT / "docs/reference"
    pages = [page.read_text(encoding="utf-8") for page in (reference / "api.md", *(reference / "api").glob("*.md"))]
    documented = re.findall(r"^\.\. (?:auto\w+:: robustbench_fgsm\.|py:data:: )(\w+)(?:\(\))?$", "\n".join(pages), re.MULTILINE)
    assert sorted(documented) == sorted(rf.__all__)
    shown = set(IN_CODE.findall(pages[0]))
    assert {*rf.__all__} - {"__version__"} <= shown


def test_reference_lists_every_parameter() -> None:
    """Sphinx shows the parameters as a list only if the docstring has one line for each."""
    for called in (getattr(rf, found) for found in rf.__all__ if inspect.isfunction(getattr(rf, found))):
        documented = re.findall(r"^    (\w+): ", inspect.getdoc(called) or "", re.MULTILINE)
        assert [*inspect.signature(called).parameters] == documented[: len(inspect.signature(called).parameters)], called.__name__


@pytest.mark.parametrize("words", ["lightning", "latex", "jupyter", "kaggle", "github actions"])
def test_search_finds_a_page(words: str) -> None:
    """The search of the documentation ranks titles first."""
    titles = [page.read_text(encoding="utf-8").splitlines()[0].lower() for page in PAGES]
    assert any(words in title for title in titles)


@pytest.mark.parametrize("words", sorted(set(re.findall(r"`rfgsm ([^`]+)`", WHICH_COMMAND.read_text(encoding="utf-8")))))
def test_command_in_a_table_parses(words: str) -> None:
    first, *rest = shlex.split(words)
    command(first).make_context(first, rest).close()


@pytest.mark.parametrize(
    "program",
    ["benchmark", "compare", "evaluate", "explain", "gate", "lock", "plot", "report", "sweep", "train", "transfer", "verify"],
)
def test_howto_lists_every_option(program: str) -> None:
    page = (ROOT / f"docs/howto/{OTHER_PAGES.get(program, program)}.md").read_text(encoding="utf-8")
    listed = {code.split()[0] for code in IN_CODE.findall(page)}
    options = {name for parameter in command(program).params for name in parameter.opts if name.startswith("--")}
    assert options <= listed | {"--help"}


@pytest.mark.reference
def test_reference_lists_every_json_key() -> None:
    classifier, images = rf.load_classifier("mlp300"), rf.load_data("fashion-mnist", limit=8)
    listed = set(IN_CODE.findall((ROOT / "docs/reference/json.md").read_text(encoding="utf-8")))
    evaluation = apply_thresholds(rf.evaluate(classifier, images).to_dict(), Thresholds(0.5, 0.5))
    sweep = find_epsilon_for_success(sweep_document(rf.sweep(classifier, images)), 0.5)
    explanation = rf.explain(classifier, images, 0.37).to_dict()
    benchmark = rf.benchmark(classifier, images, references=[], rounds=1).to_dict()
    crossed = rf.transfer([classifier], [classifier], images, common=True, per_class=True).to_dict()
    checked = rf.evaluate(classifier, images, check_masking=True).to_dict()
    for document in (rf.compare(classifier, images).to_dict(), evaluation, sweep, explanation, benchmark, crossed, checked):
        assert keys_of(document) <= listed


@pytest.mark.reference
def test_library_example_runs(capsys: pytest.CaptureFixture[str]) -> None:
    runpy.run_path(str(ROOT / "examples/compare_library.py"), run_name="__main__")
    printed = capsys.readouterr().out.splitlines()
    assert "ours and ART: agree" in printed
    assert len(printed) == 3 + len(rf.load_data("fashion-mnist", limit=1).classes)
