"""Every mistake has a page, and what its page calls wrong is named for what it is, on the cases that the page names."""

from __future__ import annotations

import re
from collections.abc import Callable
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any

import pytest

import robustbench_fgsm as rf
from robustbench_fgsm.references.candidate import candidate_from_callable
from robustbench_fgsm.variants.catalogue import HARMLESS_IDS, MISTAKE_BY_ID
from robustbench_fgsm.variants.recipe import RecipeRunner
from robustbench_fgsm.verification import findings
from robustbench_fgsm.verification.cases import CASES, Case
from robustbench_fgsm.verification.result import CaseResult
from robustbench_fgsm.verification.run_case import run_case

FOLDER = Path(__file__).parents[2] / "docs/reference/mistakes"
INDEX = (FOLDER / "index.md").read_text(encoding="utf-8")
PAGES = {page.stem: page.read_text(encoding="utf-8") for page in FOLDER.glob("*.md") if page.stem != "index"}
WRONG = re.compile(
    r"^\*\*Wrong\*\*\n\n```python\n(.*?)^```\n\n^Seen on (.*?)\.(?: On (.*?) the images are wrong too, and it is not named\.)?$",
    re.MULTILINE | re.DOTALL,
)
RIGHT = re.compile(r"^\*\*Right\*\*\n\n```python\n(.*?)^```$", re.MULTILINE | re.DOTALL)
KITCHEN = RecipeRunner()
TIME_LIMIT = 60.0
"""Seconds a call: other work may be running on this machine."""


@dataclass(frozen=True)
class Shown:
    """A wrong attack as a page shows it, the cases on which it is named, and those on which it is wrong and not named."""

    id: str
    number: int
    code: str
    seen_on: frozenset[str]
    unnamed_on: frozenset[str]

    def __str__(self) -> str:
        return f"{self.id}-{self.number}"


def shown_on(name: str) -> list[Shown]:
    return [
        Shown(name, number, code, *(frozenset(re.findall(r"`(\S+?)`", cases)) for cases in listed))
        for number, (code, *listed) in enumerate(WRONG.findall(PAGES[name]))
    ]


SHOWN = [shown for name in sorted(PAGES) for shown in shown_on(name)]


def attack(code: str) -> Callable[..., Any]:
    """The function of a page, made anew, so that it remembers nothing."""
    namespace: dict[str, Any] = {"__name__": "page"}
    exec(code, namespace)  # the page is ours, and running it is the test
    function: Callable[..., Any] = namespace["fgsm"]
    return function


@cache
def case(name: str) -> Case:
    return CASES[name]()


def on(name: str, code: str) -> CaseResult:
    """What `verify` finds on one case alone; gradients of the case are remembered from one page to the next."""
    candidate = candidate_from_callable(attack(code))
    if any(scene.targeted for scene in case(name).calls) and not candidate.targets:
        return CaseResult(case(name), (), (), (), ())
    return run_case(KITCHEN, candidate, case(name), expect=(), time_limit=TIME_LIMIT)


def test_every_mistake_has_its_page_and_every_page_its_mistake() -> None:
    assert set(PAGES) == set(MISTAKE_BY_ID)
    assert all(text.startswith(f"# {name}\n") for name, text in PAGES.items())


def test_the_index_lists_them_all_in_order_with_their_summaries() -> None:
    rows = re.findall(r"^\| \[([\w-]+)\]\((.*?)\.md\) \| (.*?) \|", INDEX, re.MULTILINE)
    assert rows == [(name, name, mistake.summary) for name, mistake in MISTAKE_BY_ID.items()]
    assert re.findall(r"^([\w-]+)$", INDEX.partition("```{toctree}")[2], re.MULTILINE) == list(MISTAKE_BY_ID)


@pytest.mark.parametrize("name", sorted(PAGES))
def test_a_page_shows_what_is_wrong_and_what_is_right(name: str) -> None:
    assert PAGES[name].count("**Wrong**") == len(shown_on(name)) >= 1
    assert len(RIGHT.findall(PAGES[name])) == 1
    assert all("robustbench_fgsm" not in shown.code for shown in shown_on(name))
    assert all(shown.seen_on and shown.seen_on <= set(CASES) for shown in shown_on(name))


@pytest.mark.parametrize("shown", [shown for shown in SHOWN if shown.id not in HARMLESS_IDS], ids=str)
def test_all_cases_together_name_it_first(shown: Shown) -> None:
    found = rf.verify(attack(shown.code), time_limit=TIME_LIMIT)
    assert found.verdict == "wrong"
    assert found.diagnosis[0].cause == shown.id, found.diagnosis


@pytest.mark.parametrize("shown", [shown for shown in SHOWN if shown.id not in HARMLESS_IDS], ids=str)
def test_each_case_shows_it_as_the_page_says(shown: Shown) -> None:
    for name in CASES:
        result = on(name, shown.code)
        assert result.passed == (name not in shown.seen_on | shown.unnamed_on), (name, result.detail)
        if not result.passed:
            first, *_ = findings.collect_findings(KITCHEN, [result], ())
            assert (shown.id in (first.cause, *first.also)) == (name in shown.seen_on), (name, first)


@pytest.mark.parametrize("shown", [shown for shown in SHOWN if shown.id in HARMLESS_IDS], ids=str)
def test_a_harmless_one_is_a_doubt_on_the_cases_that_the_page_names(shown: Shown) -> None:
    found = rf.verify(attack(shown.code), time_limit=TIME_LIMIT)
    assert (found.verdict, found.diagnosis) == ("right", ())
    assert shown.id in {doubt.cause for doubt in found.harmless_findings}
    strict = rf.verify(attack(shown.code), time_limit=TIME_LIMIT, strict=True, cases=sorted(shown.seen_on)[:1])
    assert strict.verdict == "wrong"
    results = {name: on(name, shown.code) for name in CASES}
    assert all(result.passed for result in results.values())
    doubted = {name for name, result in results.items() if shown.id in {d.cause for d in findings.harmless_findings([result], ())}}
    assert doubted == shown.seen_on


@cache
def verified(code: str) -> rf.Verification:
    """Many pages show the same right attack."""
    return rf.verify(attack(code), time_limit=TIME_LIMIT)


@pytest.mark.parametrize("name", sorted(PAGES))
def test_what_the_page_calls_right_is_right(name: str) -> None:
    (code,) = RIGHT.findall(PAGES[name])
    found = verified(code)
    assert (found.verdict, found.diagnosis) == ("right", ())
    assert name not in {doubt.cause for doubt in found.harmless_findings}
