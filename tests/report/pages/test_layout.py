"""What every page is made of."""

from __future__ import annotations

import base64
import hashlib

from robustbench_fgsm.report.pages.layout import content_security_policy, join_scripts, pack_json, single_run_notices
from tests.report.packed import unpack_json


def test_packed_content_has_no_markup() -> None:
    content = {"name": "</script>", "values": [1, 2.5, None]}
    text = pack_json(content)
    assert "<" not in text
    assert unpack_json(text) == content
    assert pack_json(content) == text


def test_policy_has_script_and_style_hashes() -> None:
    policy = content_security_policy("script", "style")
    for text in ("script", "style"):
        assert base64.b64encode(hashlib.sha256(text.encode()).digest()).decode() in policy


def test_scripts_define_no_globals() -> None:
    assert join_scripts(("format", "page_data")).startswith('"use strict";\n(() => {\n')


def test_few_images_are_a_warning() -> None:
    document = {"invalid_reasons": ["a"], "warnings": ["b"]}
    assert single_run_notices(document, 60, "images")["warnings"] == ["b", "only 60 images: intervals are wide"]
    assert single_run_notices(document, 1000, "images") == {"reasons": ["a"], "gates": [], "warnings": ["b"]}
