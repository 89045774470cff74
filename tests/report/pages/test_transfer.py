"""Page of a transfer run."""

from __future__ import annotations

from robustbench_fgsm.report.pages.transfer import build_transfer_page
from tests.report.runs import crossed, run


def test_each_model_has_its_roles() -> None:
    document = crossed()
    assert build_transfer_page(run(document)).count("<td>source, target</td>") == len(document["models"])


def test_shows_common_success_only_if_counted() -> None:
    document = crossed()
    assert ">success at all<" in build_transfer_page(run(document))
    for cell in document["cells"]:
        for at in cell["epsilons"]:
            at["common_success_rate"] = None
    assert ">success at all<" not in build_transfer_page(run(document))
