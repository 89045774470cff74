"""Every mistake has a page, and `verify` names the wrong attacks of a page on the cases that the page lists."""

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
from robustbench_fgsm.variants.catalogue import HARMLESS_IDS, MISTAKE_BY_ID, MISTAKES
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
RECIPE_RUNNER = RecipeRunner()
TIME_LIMIT = 60.0
"""Seconds a call: other work may be running on this machine."""


@dataclass(frozen=True)
class PageExample:
    """A wrong attack as a page shows it, the cases on which it is named, and those on which it is wrong and not named."""

    id: str
    number: int
    code: str
    seen_on: frozenset[str]
    unnamed_on: frozenset[str]

    def __str__(self) -> str:
        return f"{self.id}-{self.number}"


def examples_of(name: str) -> list[PageExample]:
    return [
        PageExample(name, number, code, *(frozenset(re.findall(r"`(\S+?)`", cases)) for cases in listed))
        for number, (code, *listed) in enumerate(WRONG.findall(PAGES[name]))
    ]


EXAMPLES = [example for name in sorted(PAGES) for example in examples_of(name)]


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
    if any(call.targeted for call in case(name).calls) and not candidate.targets:
        return CaseResult(case(name), (), (), (), ())
    return run_case(RECIPE_RUNNER, candidate, case(name), expect=(), time_limit=TIME_LIMIT)


def test_one_page_per_mistake() -> None:
    assert set(PAGES) == set(MISTAKE_BY_ID)
    assert all(text.startswith(f"# {name}\n") for name, text in PAGES.items())


def test_index_lists_all_mistakes() -> None:
    rows = re.findall(r"^\| \[([\w-]+)\]\((.*?)\.md\) \| (.*?) \|", INDEX, re.MULTILINE)
    assert rows == [(name, name, mistake.summary) for name, mistake in MISTAKE_BY_ID.items()]
    assert re.findall(r"^([\w-]+)$", INDEX.partition("```{toctree}")[2], re.MULTILINE) == list(MISTAKE_BY_ID)


@pytest.mark.parametrize("name", sorted(PAGES))
def test_page_shows_wrong_and_right(name: str) -> None:
    assert PAGES[name].count("**Wrong**") == len(examples_of(name)) >= 1
    assert len(RIGHT.findall(PAGES[name])) == 1
    assert all("robustbench_fgsm" not in example.code for example in examples_of(name))
    assert all(example.seen_on and example.seen_on <= set(CASES) for example in examples_of(name))


@pytest.mark.parametrize("example", [example for example in EXAMPLES if example.id not in HARMLESS_IDS], ids=str)
def test_all_cases_name_the_mistake_first(example: PageExample) -> None:
    found = rf.verify(attack(example.code), time_limit=TIME_LIMIT)
    assert found.verdict == "wrong"
    assert found.diagnosis[0].cause == example.id, found.diagnosis


@pytest.mark.parametrize("example", [example for example in EXAMPLES if example.id not in HARMLESS_IDS], ids=str)
def test_cases_name_the_mistake(example: PageExample) -> None:
    for name in CASES:
        result = on(name, example.code)
        assert result.passed == (name not in example.seen_on | example.unnamed_on), (name, result.detail)
        if not result.passed:
            first, *_ = findings.collect_findings(RECIPE_RUNNER, [result], ())
            assert (example.id in (first.cause, *first.also)) == (name in example.seen_on), (name, first)


@pytest.mark.parametrize("example", [example for example in EXAMPLES if example.id in HARMLESS_IDS], ids=str)
def test_harmless_mistake_is_a_warning(example: PageExample) -> None:
    found = rf.verify(attack(example.code), time_limit=TIME_LIMIT)
    assert (found.verdict, found.diagnosis) == ("right", ())
    assert example.id in {finding.cause for finding in found.harmless_findings}
    strict = rf.verify(attack(example.code), time_limit=TIME_LIMIT, strict=True, cases=sorted(example.seen_on)[:1])
    assert strict.verdict == "wrong"
    results = {name: on(name, example.code) for name in CASES}
    assert all(result.passed for result in results.values())
    warned = {name for name, result in results.items() if example.id in {d.cause for d in findings.harmless_findings([result], ())}}
    assert warned == example.seen_on


@cache
def verified(code: str) -> rf.Verification:
    """Many pages show the same right attack."""
    return rf.verify(attack(code), time_limit=TIME_LIMIT)


@pytest.mark.parametrize("name", sorted(PAGES))
def test_right_example_passes(name: str) -> None:
    (code,) = RIGHT.findall(PAGES[name])
    found = verified(code)
    assert (found.verdict, found.diagnosis) == ("right", ())
    assert name not in {finding.cause for finding in found.harmless_findings}


def test_ids_are_unique() -> None:
    assert len(MISTAKE_BY_ID) == len(MISTAKES)
    assert MISTAKE_BY_ID.keys() >= HARMLESS_IDS
    assert not any(mistake.stage_changes for mistake in MISTAKES if mistake.id in HARMLESS_IDS)
