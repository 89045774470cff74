"""The page as text: what it embeds, what it forbids, and that nothing of a name becomes markup."""

from __future__ import annotations

import html
import re
from collections.abc import Callable
from html.parser import HTMLParser
from typing import Any

import pytest

from robustbench_fgsm.report.pages.evaluations import build_evaluations_page
from robustbench_fgsm.report.pages.layout import content_security_policy
from tests.report.packed import unpack_json
from tests.report.runs import HOSTILE, TEMPLATE, gallery, hostile, run, wide

Measured = Callable[..., dict[str, Any]]


class Elements(HTMLParser):
    """Every start tag with its attributes."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.found: list[tuple[str, dict[str, str | None]]] = []
        self.feed(text)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.found.append((tag, dict(attrs)))


def embedded(text: str) -> Any:
    (data,) = re.findall(r'<script type="text/plain" id="data">([^<]*)</script>', text)
    return unpack_json(data)


def test_embeds_the_documents(measured: Measured) -> None:
    document = measured("4,64/255", targeted=("none", "next"))
    found = embedded(build_evaluations_page([run(document)]))
    assert found["documents"] == [document]
    assert [subject["name"] for subject in found["subjects"]] == ["Untargeted", "Targeted next"]


def test_page_is_deterministic(measured: Measured) -> None:
    document = measured()
    assert build_evaluations_page([run(document)]) == build_evaluations_page([run(document)])


@pytest.mark.reference
def test_shows_the_checks_on_top(measured: Measured) -> None:
    text = build_evaluations_page([run(measured(pgd_check=30, check_masking=True))])
    assert "FGSM overstates robust accuracy by" in text
    assert "pgd-fails-at-half" in text
    assert "--pgd-check 30 --check-masking" in text
    manifest = {"checks": {"pgd": 0, "masking": True}}
    kept = build_evaluations_page([run(measured(pgd_check=30, check_masking=True), manifest=manifest)])
    assert "--check-masking --seed" in kept
    assert "--pgd-check" not in kept
    without = build_evaluations_page([run(measured())])
    assert "Not checked: by how much FGSM overstates" in without
    assert "Signs of a masked gradient" not in without


def test_policy_blocks_network_and_scripts(measured: Measured) -> None:
    text = build_evaluations_page([run(measured())])
    rules = next(attributes for tag, attributes in Elements(text).found if "http-equiv" in attributes)
    assert rules["http-equiv"] == "Content-Security-Policy"
    content = rules["content"] or ""
    assert content.startswith("default-src 'none'; script-src 'sha256-")
    assert "unsafe" not in content
    assert "http" not in content
    sources = [attributes[name] for _, attributes in Elements(text).found for name in ("src", "href") if name in attributes]
    assert all((source or "").startswith(("#", "data:")) for source in sources)
    assert not any(name.startswith("on") for _, attributes in Elements(text).found for name in attributes)
    assert not any("style" in attributes for _, attributes in Elements(text).found)


def test_policy_has_the_script_hash() -> None:
    known = "sha256-qznLcsROx4GACP2dm0UCKCzCG+HiZ1guq6ZZDob/Tng="  # of alert('Hello, world.'); by the W3C's CSP level 3
    assert f"script-src '{known}'" in content_security_policy("alert('Hello, world.');", "")


def test_names_stay_text(measured: Measured) -> None:
    text = build_evaluations_page([run(hostile(measured("4,64/255", targeted=("none", "next"))), name=HOSTILE)])
    assert HOSTILE not in text
    assert html.escape(HOSTILE) in text
    assert TEMPLATE in text
    assert "49" not in re.findall(r"folder:[^<]*", text)[0]
    assert not [tag for tag, _ in Elements(text).found if tag == "img"]
    assert len([tag for tag, _ in Elements(text).found if tag == "script"]) == 2


def test_keeps_one_image_of_each_cell(measured: Measured) -> None:
    document = measured("64/255")
    kept = gallery(document)
    twice = embedded(build_evaluations_page([run(document, example_images=kept * 2)]))["gallery"]
    assert len(twice) == 2 * len(kept)
    half = sum(map(size, twice)) // 2
    some = embedded(build_evaluations_page([run(document, example_images=kept * 2)], max_image_bytes=half))["gallery"]
    assert len(kept) * 0.9 < len(some) <= len(kept)
    assert len({(one["label"], one["after"]) for one in some}) == len(some)


def size(picture: dict[str, Any]) -> int:
    return sum(len(picture[name]) for name in ("clean", "perturbation", "adversarial"))


def test_a_thousand_classes_stay_small(measured: Measured) -> None:
    text = build_evaluations_page([run(wide(measured()))])
    assert len(text.encode()) < 10_000_000
    assert len(embedded(text)["documents"][0]["epsilons"]) == 5


def test_problems_come_first(measured: Measured) -> None:
    document = measured()
    document |= {"invalid_reasons": ["3 images have a gradient that is not finite"], "warnings": ["labels leak"]}
    document["gates"] = [{"name": "max_asr", "threshold": 0.5, "value": 0.75, "gradient": "ordinary", "passed": False}]
    text = build_evaluations_page([run(document)])
    places = [text.index(words) for words in ("not finite</bdi>", "FAILED: attack success", "labels leak", 'id="rates-title"')]
    assert places == sorted(places)


@pytest.mark.parametrize("count", [1, 3])
def test_subjects_have_unique_names(measured: Measured, count: int) -> None:
    names = [subject["name"] for subject in embedded(build_evaluations_page([run(measured())] * count))["subjects"]]
    assert len(set(names)) == count
