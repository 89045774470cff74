"""Summary of a training document."""

from __future__ import annotations

from robustbench_fgsm.report.documents.training import kept_weights_text, summarize, training_check_text
from tests.report.printed import printed, unwrapped
from tests.report.runs import taught


def test_each_epoch_shows_its_last_check() -> None:
    document = taught()
    (sheet,) = summarize(document).sheets
    last = [check for check in document["checks"] if check["quarter"] == 4]
    assert [row[0] for row in sheet.rows] == [1, 2]
    assert [row[2:] for row in sheet.rows] == [tuple(check[name] for name in ("clean", "fgsm", "pgd")) for check in last]


def test_names_recipe_and_kept_weights() -> None:
    text = unwrapped(taught() | {"stopped_early": True})
    assert "20 images of drawn, 40 held out fgsm at epsilon 51/255, crafted in train mode, 2 epochs, seed 0" in text
    assert "Kept: the weights of epoch 1, quarter 4, the best accuracy under PGD-10." in text
    assert "Stopped early, after 2 of 2 epochs." in text
    assert max(map(len, printed(taught()).splitlines())) <= 80


def test_can_keep_the_last_weights() -> None:
    document = taught()
    assert kept_weights_text(document | {"kept": document["checks"][-1]}).endswith("the last.")


def test_a_check_is_one_line() -> None:
    check = taught()["checks"][0]
    assert training_check_text(check) == (
        "epoch 1, quarter 1: loss 2.0000, clean 75.0 [59.8, 85.8] %, FGSM 50.0 [35.2, 64.8] %, PGD-10 45.0 [30.7, 60.2] %, n=40"
    )
    assert training_check_text(check | {"clean": None, "fgsm": None, "pgd": None}) == "epoch 1, quarter 1: loss 2.0000"
