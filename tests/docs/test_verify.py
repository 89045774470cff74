"""The page about `rfgsm verify` quotes what the command prints."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

import robustbench_fgsm as rf
from robustbench_fgsm.cli.main import main
from tests.docs.test_outputs import assert_shows

ROOT = Path(__file__).parents[2]
PAGE = (ROOT / "docs/howto/verify.md").read_text(encoding="utf-8")


def printed(capsys: pytest.CaptureFixture[str], *arguments: str) -> str:
    with pytest.raises(SystemExit):
        main(["verify", *arguments, "--quiet"])
    return capsys.readouterr().out


def test_quotes_the_datasheet(capsys: pytest.CaptureFixture[str]) -> None:
    quoted, row = re.findall(r"^```text\n(.*?)^```$", PAGE, re.MULTILINE | re.DOTALL)
    assert_shows(quoted, printed(capsys, str(ROOT / "examples/candidates/notebook.py:fgsm")))
    found = rf.verify(f"{ROOT}/examples/candidates/pgd_last_iterate.py:pgd", method="pgd", time_limit=60.0)
    assert [f"steps {one.text}" for one in found.wrong_stages] == [" ".join(row.split())]


def test_the_readme_shows_the_same_function() -> None:
    readme = (ROOT / "README.md").read_text(encoding="utf-8")
    shown, quoted = (re.findall(r"^def fgsm.*?^```$", text, re.MULTILINE | re.DOTALL)[0] for text in (readme, PAGE))
    assert shown == quoted


def test_quotes_the_last_line(capsys: pytest.CaptureFixture[str]) -> None:
    last = printed(capsys, str(ROOT / "examples/candidates/plain.py:fgsm")).splitlines()[-1]
    assert f"Its last line is `{last}`" in PAGE
