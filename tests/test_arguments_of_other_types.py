"""Public functions with arguments of other types: one line, and its remedy succeeds."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
import torch
from torch import nn

import robustbench_fgsm as rf

Call = Callable[[Any], object]


def network(outputs: int = 4) -> nn.Module:
    torch.manual_seed(0)
    return nn.Sequential(nn.Flatten(), nn.Linear(12, outputs))


def data(classes: int = 4) -> tuple[torch.Tensor, torch.Tensor]:
    return torch.rand(8, 3, 2, 2), torch.arange(8) % classes


WRAP: dict[str, tuple[Call, Any, str, Any]] = {
    "one output": (lambda k: rf.evaluate(rf.wrap(network(1), k), data(2)), 1, "which is 2 for a network with one output", 2),
    "no classes": (lambda k: rf.wrap(network(), k), 0, "num_classes must be an integer >= 2, got 0", 4),
    "text": (lambda k: rf.wrap(network(), k), "4", "num_classes must be an integer >= 2, got '4'", 4),
    "None": (lambda k: rf.wrap(network(), k), None, "num_classes must be an integer >= 2", 4),
    "fraction": (lambda k: rf.wrap(network(), k), 4.0, "num_classes must be an integer >= 2", 4),
    "bounds in another order": (lambda b: rf.wrap(network(), 4, bounds=b), (1, 0), "did you mean 0,1?", (0, 1)),
    "equal bounds": (lambda b: rf.wrap(network(), 4, bounds=b), (1, 1), "try 0,1", (0, 1)),
    "one bound": (lambda b: rf.wrap(network(), 4, bounds=b), 1, "bounds must be low and high, got 1: try 0,1", (0, 1)),
    "three bounds": (lambda b: rf.wrap(network(), 4, bounds=b), (0, 1, 2), "bounds must be low and high", (0, 1)),
    "bounds as text": (lambda b: rf.wrap(network(), 4, bounds=b), "01x", "bounds must be low and high", (0, 1)),
    "channels as text": (lambda c: rf.wrap(network(), 4, channels=c), "3", "channels must be an integer >= 1, got '3'", 3),
    "no channels": (lambda c: rf.wrap(network(), 4, channels=c), 0, "pass 3 for a network of colour images", 3),
    "mean as text": (lambda m: rf.wrap(network(), 4, mean=m), "0.5", "pass one, or one for each channel", 0.5),
    "mean of other channels": (
        lambda m: rf.evaluate(rf.wrap(network(), 4, mean=m), data()),
        [0.5] * 5,
        "one for each of the 3 channels, got 5",
        [0.5] * 3,
    ),
    "device": (lambda d: rf.wrap(network(), 4, device=d), "gpu", "pass cpu or auto", "cpu"),
    "function": (lambda m: rf.wrap(m, 4), lambda x: x, "pass a module whose forward calls the function", network()),
    "mapping": (lambda m: rf.wrap(m, 4), network().state_dict(), "pass the network, after network.load_state_dict", network()),
    "name": (lambda m: rf.wrap(m, 4), "mlp300", "pass rf.load_classifier('mlp300')", network()),
    "class": (lambda m: rf.wrap(m, 4), nn.Flatten, "pass an instance, Flatten(...)", nn.Flatten()),
    "classifier": (lambda m: rf.wrap(m, 4), rf.wrap(network(), 4), "use the classifier as it is", network()),
}
EVALUATE: dict[str, tuple[str, Any, str, Any]] = {
    "loss": ("loss", 3, "loss must be one of", "ce"),
    "misspelt loss": ("loss", "margn", "did you mean margin", "margin"),
    "targeted": ("targeted", True, "targeted must be one of none, next", "next"),
    "several rules": ("targeted", ("next", "random"), "use sweep for several", ["next"]),
    "flag as text": ("stable", "False", "stable must be True or False", False),
    "strict as text": ("strict", "no", "strict must be True or False", False),
    "check as text": ("check_masking", "no", "check masking must be True or False", False),
    "no rules": ("targeted", [], "pass none for an untargeted attack", "none"),
    "norm True": ("norm", True, "norm must be inf, 1, 2", 1),
    "epsilon True": ("epsilon", True, "a number or text such as 8/255", 1),
    "norm": ("norm", "two", "norm must be inf, 1, 2", 2),
    "seed": ("seed", "a", "try 0", 0),
    "negative seed": ("seed", -1, "try 0", 0),
    "restarts": ("restarts", 1.5, "try 4", 4),
    "negative restarts": ("restarts", -1, "try 4", 4),
    "batch size": ("batch_size", 2.5, "try 128", 128),
    "optimize": ("optimize", None, "did you mean none?", "none"),
    "max bad": ("max_bad", "a", "try 0", 0),
    "pgd check": ("pgd_check", "5", "try 500", 500),
    "epsilon": ("epsilon", None, "a number or text such as 8/255", "8/255"),
    "epsilon in levels": ("epsilon", 8, "did you mean 8/255?", "8/255"),
}


@pytest.mark.parametrize(("call", "wrong", "line", "right"), WRAP.values(), ids=WRAP)
def test_wrap(call: Call, wrong: Any, line: str, right: Any) -> None:
    with pytest.raises(rf.RfgsmError) as refused:
        call(wrong)
    assert line in str(refused.value)
    assert refused.value.exit_code == 2
    call(right)


@pytest.mark.parametrize(("name", "wrong", "line", "right"), EVALUATE.values(), ids=EVALUATE)
def test_evaluate(name: str, wrong: Any, line: str, right: Any) -> None:
    with pytest.raises(rf.RfgsmError) as refused:
        rf.evaluate(network(), data(), **{name: wrong})
    assert line in str(refused.value)
    assert refused.value.exit_code == 2
    assert rf.evaluate(network(), data(), **{name: right}).n == 8


@pytest.mark.parametrize("other", [lambda x: x, "mlp300", nn.Flatten, None, (1, 2)])
def test_evaluate_names_what_is_no_network(other: Any) -> None:
    with pytest.raises(rf.RfgsmError, match=r"classifier must be a classifier, a torch module or an ART estimator, got .*: pass "):
        rf.evaluate(other, data())


NAMES: dict[str, Callable[[Any], Any]] = {
    "wrap": lambda names: rf.evaluate(rf.wrap(network(), 4, classes=names), data()),
    "ArrayDataset": lambda names: rf.evaluate(network(), rf.ArrayDataset("some", *data(), names)),
}


@pytest.mark.parametrize("call", NAMES.values(), ids=NAMES)
@pytest.mark.parametrize(
    "names", [[4, 5, 6, 7], range(3, 7), np.array(["4", "5", "6", "7"]), torch.arange(4, 8), (4.5, "x", "y", "z")], ids=str
)
def test_names_of_classes_are_text(call: Callable[[Any], Any], names: Any) -> None:
    found = call(names).to_dict()["epsilons"][0]["per_class"]
    assert [row["name"] for row in found] == [str(name) for name in getattr(names, "tolist", lambda: names)()]


@pytest.mark.parametrize("call", NAMES.values(), ids=NAMES)
@pytest.mark.parametrize("names", [{"d": 0, "a": 1}, {0: "a", 1: "b"}, {"a", "b", "c", "d"}, "abcd", 4, [None] * 4], ids=type)
def test_names_without_an_order_are_refused(call: Callable[[Any], Any], names: Any) -> None:
    with pytest.raises(rf.SettingError, match=r"classes must list one name for each label in order, got .*: pass"):
        call(names)


@pytest.mark.parametrize("call", NAMES.values(), ids=NAMES)
def test_the_remedy_of_a_mapping(call: Callable[[Any], Any]) -> None:
    classes = {"d": 0, "a": 3, "b": 2, "c": 1}
    with pytest.raises(rf.SettingError, match=r"pass sorted\(classes, key=classes.get\)"):
        call(classes)
    found = call(sorted(classes, key=classes.__getitem__)).to_dict()["epsilons"][0]["per_class"]
    assert [row["name"] for row in found] == ["d", "c", "b", "a"]
