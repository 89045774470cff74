"""Pages that lead from command to command show what the commands print."""

from __future__ import annotations

import html
import math
import re
import shutil
import sys
from pathlib import Path

import pytest

from robustbench_fgsm.cli.main import main
from tests.docs.test_docs import ROOT, Shown, shown_in

STEP = re.compile(r"^```console\n(.*?)^```\n(?:\n```text\n(.*?)^```$)?", re.MULTILINE | re.DOTALL)
"""Commands, and what they print together if the page shows it."""
NUMBER = re.compile(r"[-+]?\d[\d,]*(?:\.\d+)?(?:e[-+]?\d+)?")
NO = ("FAILED", "DISAGREE", "WRONG")
"""Words of a shown output whose command exits with 1."""
PAGES = ("README.md", "docs/tutorial.md", "docs/howto/papers.md", "docs/howto/compare.md", "docs/howto/candidates.md")
INDEPENDENT = ("docs/howto/compare.md", "docs/howto/candidates.md")
"""Pages whose commands do not need those before them. Only commands with a shown output run, without standard error."""
TIME = re.compile(r"\d+\.\d\d")
"""Seconds and ratios of seconds; no other number has two decimals."""
GAP = "..."


def assert_line(shown: str, printed: str) -> None:
    """Compare words exactly and numbers nearly: another processor may round another way."""
    assert NUMBER.sub("#", shown) == NUMBER.sub("#", printed), f"{shown!r} is not {printed!r}"
    for one, other in zip(NUMBER.findall(shown), NUMBER.findall(printed), strict=True):
        same = math.isclose(float(one.replace(",", "")), float(other.replace(",", "")), rel_tol=0.02, abs_tol=1)
        assert same or TIME.fullmatch(one), f"{shown!r} is not {printed!r}"


def lines(text: str) -> list[str]:
    """Return the lines with single blanks; columns are as wide as their numbers."""
    return [re.sub(r"─+", "─", " ".join(line.split())) for line in text.strip().splitlines()]


def assert_shows(shown: str, printed: str) -> None:
    """Check that the parts between gaps stand in the output in their order, and that nothing is left out without a gap."""
    wanted, found = lines(shown), lines(printed)
    at, after_gap = 0, False
    for line in wanted:
        if line == GAP:
            after_gap = True
            continue
        if after_gap:
            masked = NUMBER.sub("#", line)
            at = next((place for place in range(at, len(found)) if NUMBER.sub("#", found[place]) == masked), len(found))
        assert at < len(found), f"the output has no line {line!r}"
        assert_line(line, found[at])
        at, after_gap = at + 1, False
    assert after_gap or at == len(found), f"the page leaves out {found[at:]} without a line {GAP}"


def run(shown: Shown, capsys: pytest.CaptureFixture[str]) -> tuple[int, str]:
    with pytest.raises(SystemExit) as done:
        main([*shown.arguments])
    return int(done.value.code or 0), capsys.readouterr().out


@pytest.mark.reference
@pytest.mark.parametrize("page", PAGES)
def test_page_shows_what_its_commands_print(
    page: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    if page not in INDEPENDENT:
        monkeypatch.setattr(sys, "stderr", sys.stdout)  # a terminal shows both
    shutil.copytree(ROOT / "examples/candidates", "examples/candidates")
    place = ROOT / page
    for commands, shown in STEP.findall(place.read_text(encoding="utf-8")):
        if page in INDEPENDENT and not shown:
            continue
        results = [run(one, capsys) for one in shown_in(place, commands)]
        assert max(code for code, _ in results) == (1 if any(word in shown for word in NO) else 0), commands
        if shown:
            assert_shows(shown, "".join(printed for _, printed in results))


def test_picture_of_a_terminal_shows_what_verify_prints(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """`python examples/pictures.py docs/pictures` draws it again."""
    monkeypatch.chdir(ROOT)
    picture = (ROOT / "docs/pictures/terminal.svg").read_text(encoding="utf-8")
    drawn = " ".join(re.findall(r"<text[^>]*>([^<]*)</text>", picture))
    text = html.unescape(drawn).replace("\xa0", " ")
    command, _, datasheet = text[text.index("$ ") :].partition("\n")
    (shown,) = shown_in(ROOT, command)
    _, printed = run(Shown(ROOT, (*shown.arguments, "--quiet"), ""), capsys)
    assert_shows(datasheet, printed)


@pytest.mark.parametrize(
    ("shown", "printed"),
    [
        ("a 1\nb 2\n", "a 1\nc 2\n"),
        ("a 1\n", "a 1\nb 2\n"),
        ("...\nb 2\n", "a 1\nb 4\n"),
        ("n 100\n", "n 110\n"),
        ("a\n...\nb", "b\na\n"),
    ],
)
def test_other_output_is_noticed(shown: str, printed: str) -> None:
    with pytest.raises(AssertionError):
        assert_shows(shown, printed)


def test_gaps_are_allowed() -> None:
    assert_shows("a 100\n...\nc  3 ──\n...", "a 101\nb\nc 3 ────\nd")
