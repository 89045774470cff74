"""The grammar of budgets, norms and targeting rules, and every way to get it wrong."""

from __future__ import annotations

import json
import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from robustbench_fgsm import spec as spec_module
from robustbench_fgsm.errors import SettingError
from robustbench_fgsm.spec import (
    UNKNOWN_BOUNDS,
    AttackSpec,
    Bounds,
    TargetRule,
    check_bounds,
    check_epsilon,
    check_epsilon_scale,
    feature_epsilon_warnings,
    norm_name,
    parse_device_name,
    parse_epsilon,
    parse_norm,
    require_uniform_bounds,
    small_epsilon_warnings,
)


@pytest.mark.parametrize(
    ("text", "epsilons"),
    [
        ("8/255", (8 / 255,)),
        (" 8 / 255 ", (8 / 255,)),
        ("0.03", (0.03,)),
        ("3e-2", (0.03,)),
        ("0", (0.0,)),
        ("1", (1.0,)),
        ("0.5/255", (0.5 / 255,)),
        ("0.01,0.02", (0.01, 0.02)),
        ("1/255,2/255", (1 / 255, 2 / 255)),
        ("2/255, 1/128", (2 / 255, 1 / 128)),
        ("1,5,10/255", (1 / 255, 5 / 255, 10 / 255)),
        ("0,4/255", (0.0, 4 / 255)),
        ("16,8,16/255", (16 / 255, 8 / 255, 16 / 255)),
    ],
)
def test_budgets_in_the_order_given(text: str, epsilons: tuple[float, ...]) -> None:
    assert parse_epsilon(text) == epsilons


@pytest.mark.parametrize("number", [8 / 255, 0, 1])
def test_a_number_is_a_budget(number: float) -> None:
    assert parse_epsilon(number) == (number,)


@pytest.mark.parametrize("text", ["", "abc", "8/", "/255", "8/0", "8/255/3", "8/x", "²/255", "8 255"])
def test_rejects_other_text(text: str) -> None:
    with pytest.raises(SettingError, match="epsilon must"):
        parse_epsilon(text)


@pytest.mark.parametrize("text", ["1,,2/255", "1,2,", ",0.1", ",", " "])
def test_gaps_are_refused(text: str) -> None:
    with pytest.raises(SettingError, match="comma list without gaps"):
        parse_epsilon(text)


@pytest.mark.parametrize(
    "text", ["1/255,2", "1,2/255,4/255", "1,2/255,3", "1,0.5,4/255", "0.01,4/255", "4/255,0", "1/255,0.5,4/255"]
)
def test_other_numbers_among_fractions_are_refused(text: str) -> None:
    with pytest.raises(SettingError, match="mixes fractions and other numbers"):
        parse_epsilon(text, norm=2)


@pytest.mark.parametrize("value", ["-1", "-8/255", "0.1,-0.1", "nan", "inf", "1e999", "1e999/255", -0.1, math.nan])
def test_negative_or_not_finite_is_refused(value: str | float) -> None:
    with pytest.raises(SettingError, match="finite number >= 0"):
        parse_epsilon(value)


@pytest.mark.parametrize("value", ["8", 8, "8.0"])
def test_linf_beyond_the_range_suggests_8_255(value: str | float) -> None:
    with pytest.raises(SettingError, match=r"linf epsilon must lie in \[0, 1\].*got 8: did you mean 8/255\?"):
        parse_epsilon(value)


def test_suggests_no_eighth_of_a_thousand() -> None:
    with pytest.raises(SettingError, match=r"got 256$"):
        parse_epsilon("256")


@pytest.mark.parametrize(
    ("norm", "bounds"), [(2, Bounds(0.0, 1.0)), (1, Bounds(0.0, 1.0)), (math.inf, Bounds(0.0, 255.0)), (math.inf, None)]
)
def test_other_norms_accept_large_budgets(norm: float, bounds: Bounds | None) -> None:
    assert parse_epsilon("8", norm, bounds) == (8.0,)


def test_bounds_set_the_pixel_range() -> None:
    assert parse_epsilon("2", bounds=Bounds(-1.0, 1.0)) == (2.0,)
    with pytest.raises(SettingError, match=r"\[0, 2\] for images in \[-1, 1\], got 3: did you mean 6/255"):
        parse_epsilon("3", bounds=Bounds(-1.0, 1.0))


@given(st.lists(st.integers(0, 255), min_size=1, max_size=5))
def test_a_denominator_applies_to_the_list(numerators: list[int]) -> None:
    together = ",".join(map(str, numerators)) + "/255"
    assert parse_epsilon(together) == tuple(numerator / 255 for numerator in numerators)


@given(st.lists(st.floats(0, 1), min_size=1, max_size=5))
def test_decimals_come_back_exactly(epsilons: list[float]) -> None:
    assert parse_epsilon(",".join(map(repr, epsilons))) == tuple(epsilons)


@given(st.text(alphabet="0123456789.,/-+e _²٣infa", max_size=12))
def test_any_text_parses_or_raises(text: str) -> None:
    try:
        epsilons = parse_epsilon(text)
    except SettingError:
        return
    assert epsilons
    assert all(0 <= epsilon <= 1 for epsilon in epsilons)


@pytest.mark.parametrize(
    ("value", "norm"), [("inf", math.inf), ("1", 1.0), ("2", 2.0), ("1.5", 1.5), (3, 3.0), (math.inf, math.inf), ("1e2", 100.0)]
)
def test_norms(value: str | float, norm: float) -> None:
    assert parse_norm(value) == norm


def test_the_text_of_a_wrong_norm_is_one_line() -> None:
    with pytest.raises(SettingError, match=r"got 'a\\nb\\x1b\[31m': try inf"):
        parse_norm("a\nb\x1b[31m")


@pytest.mark.parametrize("value", ["0.5", "0", "-1", "-inf", "nan", "", "lx", 0.999, math.nan])
def test_rejects_other_norms(value: str | float) -> None:
    with pytest.raises(SettingError, match="any real p >= 1, got"):
        parse_norm(value)


@given(st.floats(1, allow_nan=False))
def test_a_norm_survives_its_name(norm: float) -> None:
    assert parse_norm(norm_name(norm)) == norm


def test_names_of_norms_are_short() -> None:
    assert [norm_name(norm) for norm in (math.inf, 1, 2.0, 1.5)] == ["inf", "1", "2", "1.5"]


@pytest.mark.parametrize(
    ("text", "rule"),
    [
        ("none", TargetRule()),
        ("next", TargetRule("shift", 1)),
        ("shift:2", TargetRule("shift", 2)),
        ("shift:-3", TargetRule("shift", -3)),
        ("random", TargetRule("random")),
        ("least-likely", TargetRule("least-likely")),
        ("class:Bag", TargetRule("class", class_name="Bag")),
        ("class:a:b c", TargetRule("class", class_name="a:b c")),
    ],
)
def test_targeting_rules_and_their_text(text: str, rule: TargetRule) -> None:
    assert TargetRule.parse(text) == rule
    assert str(rule) == text


def test_shift_by_one_is_next() -> None:
    assert str(TargetRule.parse("shift:1")) == "next"


@pytest.mark.parametrize("text", ["none", "random", "least-likely", "next", "class:Bag"])
def test_every_rule_but_none_has_targets(text: str) -> None:
    assert TargetRule.parse(text).targeted == (text != "none")


@pytest.mark.parametrize(
    "text",
    ["", "shift", "shift:", "shift:0", "shift:x", "shift:1.5", "shift:--2", "shift:²", "class:", "class", "Random", "next:2"],
)
def test_rejects_other_rules(text: str) -> None:
    with pytest.raises(SettingError, match="targeted must be one of none, next, shift:2, random, least-likely, class:NAME"):
        TargetRule.parse(text)


def test_a_near_rule_is_suggested() -> None:
    with pytest.raises(SettingError, match="did you mean least-likely"):
        TargetRule.parse("leastlikely")


@given(st.text(alphabet="shiftclne:-0123456789²٣ ", max_size=10))
def test_any_rule_survives_its_text(text: str) -> None:
    try:
        rule = TargetRule.parse(text)
    except SettingError:
        return
    assert TargetRule.parse(str(rule)) == rule


def test_an_attack_as_json() -> None:
    spec = AttackSpec((8 / 255,), 1.5, TargetRule.parse("class:Bag"), seed=3)
    expected = {"norm": "1.5", "targeted": "class:Bag", "loss": "ce", "bounds": [0.0, 1.0], "seed": 3}
    assert expected.items() <= spec.to_dict().items()


def test_a_negative_seed_is_refused() -> None:
    with pytest.raises(SettingError, match="seed must be an integer >= 0, got -1"):
        AttackSpec(seed=-1)


@pytest.mark.parametrize(
    ("bounds", "meant"),
    [(Bounds(0.0, 1.0), "8/255"), (Bounds(-1.0, 1.0), "16/255"), (Bounds(0.0, 0.5), "4/255"), (Bounds(-1.5, 1.5), "24/255")],
)
def test_hint_for_levels_is_accepted_and_is_so_many_of_255_parts_of_the_range(bounds: Bounds, meant: str) -> None:
    with pytest.raises(SettingError, match=rf"did you mean {meant}\?") as refused:
        parse_epsilon("8", bounds=bounds)
    (hint,) = parse_epsilon(str(refused.value).rpartition("mean ")[2].rstrip("?"), bounds=bounds)
    assert hint / bounds.width == pytest.approx(8 / 255)


@pytest.mark.parametrize("text", ["256", "1e9"])
@pytest.mark.parametrize("bounds", [Bounds(0.0, 1.0), Bounds(0.0, 255.0), Bounds(-1.0, 1.0)])
def test_a_budget_above_all_levels_gets_no_hint(text: str, bounds: Bounds) -> None:
    with pytest.raises(SettingError, match=r"got \S+$"):
        parse_epsilon(text, bounds=bounds)


@pytest.mark.parametrize(
    ("text", "bounds", "meant"),
    [
        ("8/255", Bounds(0.0, 255.0), "write 8 for 8/255"),
        ("0.5", Bounds(0.0, 255.0), "write 127.5 for"),
        ("1/255", Bounds(0.0, 255.0), "write 1 "),
        ("8/255", Bounds(0.0, 1023.0), "write 32.0941 for 8/255 of that range"),
        ("0.03", Bounds(0.0, 65535.0), "write 1966.05 for"),
        ("8/255", Bounds(-32768.0, 32767.0), "write 2056 for"),
    ],
)
def test_a_budget_below_one_level_is_named_with_its_conversion(text: str, bounds: Bounds, meant: str) -> None:
    (warning,) = small_epsilon_warnings(parse_epsilon(text, bounds=bounds), bounds)
    assert meant in warning
    written = warning.partition("write ")[2].split()[0]
    assert not small_epsilon_warnings(parse_epsilon(written, bounds=bounds), bounds)


@pytest.mark.parametrize(
    ("epsilons", "bounds"),
    [
        ((8 / 255,), Bounds(0.0, 1.0)),
        ((8 / 255,), Bounds(-1.0, 1.0)),
        ((1.0,), Bounds(0.0, 255.0)),
        ((1.0,), Bounds(0.0, 65535.0)),
        ((8 / 255,), UNKNOWN_BOUNDS),
        ((0.5, 2.0), Bounds(0.0, 255.0)),
        ((0.0,), Bounds(0.0, 255.0)),
    ],
)
def test_other_budgets_are_taken_as_they_are(epsilons: tuple[float, ...], bounds: Bounds) -> None:
    assert not small_epsilon_warnings(epsilons, bounds)


@pytest.mark.parametrize(("name", "norm"), [("linf", math.inf), ("Linf", math.inf), ("l_inf", math.inf), ("L2", 2.0), (" 2 ", 2.0)])
def test_norms_are_known_by_their_usual_names(name: str, norm: float) -> None:
    assert parse_norm(name) == norm


@pytest.mark.parametrize("value", [None, [1], {}])
def test_rejects_what_is_no_budget(value: object) -> None:
    with pytest.raises(SettingError, match="epsilon must be a number or text"):
        parse_epsilon(value)  # type: ignore[arg-type]


def test_arrays_of_bounds_become_pairs_of_plain_numbers() -> None:
    tenth = float(np.float32(0.1))
    found = check_bounds((np.array([0.1, -1], np.float32), [5, 2]))
    assert (found.lower, found.upper) == ((tenth, -1.0), (5.0, 2.0))
    assert (found.is_uniform, found.limits, found.width) == (False, (-1.0, 5.0), 5.0 - tenth)
    assert tuple(check_bounds((0, np.array([1.0, 2.0])))) == ((0.0, 0.0), (1.0, 2.0))
    assert str(found) == "[-1, 5] (2 pairs, one per feature)"
    assert check_bounds(((3.0, 0.0), (3.0, 1.0))).widths == (0.0, 1.0)  # a feature may be constant


@pytest.mark.parametrize(
    ("bounds", "message"),
    [
        (np.zeros((5, 2)), r"pass all low numbers, then all high ones: \(pairs\[:, 0\], pairs\[:, 1\]\)"),
        (([0.0, 1.0], [1.0, 2.0, 3.0]), "pass as many low numbers as high ones"),
        (([0.0, 5.0], [1.0, 2.0]), r"got 5,2 in 1 of the pairs: did you mean 2,5\?"),
        (([0.0, math.nan], [1.0, 2.0]), "got NaN: try 0,1"),
        ((3, 3), "got 3,3: try 0,1"),
        ("0,1", "try 0,1"),
    ],
)
def test_other_bounds_are_named(bounds: object, message: str) -> None:
    with pytest.raises(SettingError, match=message):
        check_bounds(bounds)


@pytest.mark.parametrize("scale", [None, 0.5, "range", ((0.1,), (0.0,))])
def test_bounds_and_scale_come_back_from_json_to_the_last_bit(scale: object) -> None:
    low = np.array([[0.1], [1e-7 if scale == "range" else -math.inf]], np.float32)
    bounds = check_bounds((low, [[0.3], [1.0]]))
    spec = AttackSpec((0.1,), bounds=bounds, epsilon_scale=check_epsilon_scale(scale, bounds))
    assert AttackSpec.from_dict(json.loads(json.dumps(spec.to_dict(), allow_nan=False)), [0.1]) == spec
    older = {key: value for key, value in spec.to_dict().items() if key != "epsilon_scale"}
    assert AttackSpec.from_dict(older, [0.1]).epsilon_scale is None


def test_the_largest_budget_is_that_at_which_every_feature_reaches_its_bounds() -> None:
    bounds = Bounds((0.0, 0.0), (1.0, 300.0))
    assert check_epsilon(300.0, math.inf, bounds) == 300.0
    assert check_epsilon(3.0, math.inf, bounds, (1.0, 100.0)) == check_epsilon(7.0, 2, bounds, (1.0, 100.0)) - 4 == 3.0
    with pytest.raises(SettingError, match=r"\[0, 300\], where the widest feature reaches its bounds, got 301: pass a smaller one"):
        check_epsilon(301.0, math.inf, bounds)
    with pytest.raises(SettingError, match=r"\[0, 3\], where every feature reaches its bounds, got 3.5"):
        check_epsilon(3.5, math.inf, bounds, (1.0, 100.0))


def test_one_budget_for_unlike_features_is_named() -> None:
    unlike, alike = Bounds((0.0, 0.0), (1.0, 300.0)), Bounds((0.0, 0.0, 5.0), (1.0, 3.0, 5.0))
    (warning,) = feature_epsilon_warnings(AttackSpec((0.1,), bounds=unlike))
    assert "1 to 300 wide: pass --eps-scale range" in warning
    assert not feature_epsilon_warnings(AttackSpec((0.1,), bounds=unlike, epsilon_scale=unlike.widths))
    assert not feature_epsilon_warnings(AttackSpec((0.5,), bounds=alike))
    (warning,) = feature_epsilon_warnings(AttackSpec((0.5, 2.0), bounds=alike))
    assert "epsilon 2 exceeds the whole range of 1 of 3 features" in warning
    assert not feature_epsilon_warnings(AttackSpec((2.0,), norm=2, bounds=alike))
    assert not feature_epsilon_warnings(AttackSpec((2.0,), bounds=Bounds(0.0, 255.0)))


def test_bounds_of_every_feature_are_one_pair_where_one_is_needed() -> None:
    assert require_uniform_bounds(Bounds(0.0, 255.0), "explain", "use evaluate") == (0.0, 255.0)
    with pytest.raises(SettingError, match="explain takes one low and one high bound, got bounds by feature: use evaluate"):
        require_uniform_bounds(Bounds((0.0,), (1.0,)), "explain", "use evaluate")


def test_devices_of_other_packages_are_known_to_pytorch_alone(monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(SettingError, match="device must be auto, cpu or one that PyTorch has here, got 'npu': pass cpu or auto"):
        parse_device_name("npu")
    monkeypatch.setattr(spec_module, "entry_points", lambda group: [group])
    assert parse_device_name("npu") == "npu"
    assert parse_device_name("GPU:1") == "cuda:1"
