"""A sample of the mutants of the family: `verify` calls those right that survivors.json explains, and no others."""

from __future__ import annotations

import random
import re
from pathlib import Path

import pytest

from tests.verification.candidates.mutants import (
    ROUNDING,
    SETTINGS,
    SURVIVORS,
    Mutant,
    chosen_mutants,
    first_difference,
    verdict_of,
)

MUTANTS = {mutant.name: mutant for original in SETTINGS for mutant in chosen_mutants(original)}
PAGE = Path(__file__).parents[2] / "docs/howto/verify.md"
EXPLAINED = {name for group in SURVIVORS.values() for name in group}


def drawn(names: set[str], original: str, count: int) -> list[str]:
    own = sorted(name for name in names if MUTANTS[name].original == original)
    return random.Random(0).sample(own, count)


def is_right(mutant: Mutant) -> bool:
    try:
        return bool(verdict_of(mutant)["verdict"] == "right")
    except Exception:  # noqa: BLE001 - whatever stops a mutant kills it
        return False


def test_every_survivor_is_a_mutant_with_a_reason() -> None:
    assert set(SURVIVORS) == {"equivalent", "rounding", "another right attack", "noted"}
    assert set(MUTANTS) >= EXPLAINED
    assert len(EXPLAINED) == sum(map(len, SURVIVORS.values()))
    assert all(reason for group in SURVIVORS.values() for reason in group.values())


def test_the_page_gives_the_figures() -> None:
    row = re.search(
        r"^\| `mutants.py --only bim pgd pgd_l2 mi_fgsm fgsm_rs r_fgsm fgm_l2` \|(.*)\|$",
        PAGE.read_text(encoding="utf-8"),
        re.MULTILINE,
    )
    assert row is not None
    counts = [len(group) for group in SURVIVORS.values()]
    assert [int(cell) for cell in row[1].split("|")] == [len(MUTANTS), len(MUTANTS) - sum(counts), *counts]


@pytest.mark.filterwarnings("ignore")
@pytest.mark.parametrize("original", SETTINGS)
def test_a_sample_is_killed_or_explained(original: str) -> None:
    killed = drawn(set(MUTANTS) - EXPLAINED, original, 3)
    survived = drawn(EXPLAINED - set(SURVIVORS["noted"]), original, 1)
    assert [name for name in (*killed, *survived) if is_right(MUTANTS[name])] == survived


@pytest.mark.filterwarnings("ignore")
def test_survivors_give_the_images_that_their_reason_says() -> None:
    for group, tolerance in (("equivalent", 0.0), ("rounding", ROUNDING)):
        assert [name for name in SURVIVORS[group] if first_difference(MUTANTS[name], 8, tolerance)] == []
    for group in ("another right attack", "noted"):
        assert [name for name in SURVIVORS[group] if not first_difference(MUTANTS[name], 40, ROUNDING)] == []
