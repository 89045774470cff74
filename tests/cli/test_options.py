"""Groups of options expanded into a command's signature, and the options of every command."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from collections.abc import Callable, Iterator
from itertools import pairwise
from pathlib import Path
from typing import Any, get_args

import pytest
import typer
from typer.core import TyperOption

from robustbench_fgsm.attack.losses import LOSSES
from robustbench_fgsm.cli.help_panels import PANELS
from robustbench_fgsm.cli.main import app
from robustbench_fgsm.cli.options import DataOptions, ModelOptions, OutputOptions, check_output_path
from robustbench_fgsm.engine.plan import OptimizeLevel
from robustbench_fgsm.errors import FileError, ResourceError, SettingError
from robustbench_fgsm.options import LOSS_NAMES, OPTIMIZE_LEVELS, STYLE_NAMES, AttackOptions, CheckOptions, RunOptions, Thresholds
from robustbench_fgsm.references.candidate_styles import STYLES

Run = Callable[..., tuple[int, str, str]]

GROUPS = {
    "MODEL": "--weights --device --num-classes --mean --std --bounds --dataset --threat-model --trust-model-code",
    "DATA": "--data --limit --split --data-root --download --layout --class-map --image-size --sample --stratified --workers",
    "ATTACK": "--eps --norm --targeted --loss --stable --restarts --seed",
    "RUN": "--batch-size --max-bad --strict",
    "OUTPUT": "--json --quiet --debug",
}
FLAGS = """
attack: MODEL DATA ATTACK RUN OUTPUT --model --out --keep-images --check --save-as --shard-size --optimize --trust-data-code
    --log-dir
benchmark: MODEL DATA RUN OUTPUT --model --eps --norm --references --levels --rounds --memory --no-memory --threads
    --seed --out --format
compare: MODEL DATA RUN OUTPUT --model --eps --norm --targeted --references --candidate --style --optimize --seed --out
    --html
evaluate: MODEL DATA ATTACK RUN OUTPUT --model --pgd-check --check-masking --optimize --min-robust-accuracy --max-asr
    --out --keep-images --csv --html --format --log-dir
explain: MODEL DATA RUN OUTPUT --model --eps --norm --targeted --n --seed --out
lock: -o --output --format --json --debug
gate: --badge --baseline --plan --drops --max-drop --require-evidence --alpha --format --json --debug
plot: -o --output --kind --eps --targeted --quiet --debug
report: -o --output --quiet --debug
sweep: MODEL DATA ATTACK RUN OUTPUT --model --pgd-check --check-masking --optimize --find-asr --plot --out --keep-images
    --csv --html --format --log-dir
train: MODEL DATA RUN OUTPUT --model --out --method --eps --epochs --optimizer --learning-rate --weight-decay --schedule
    --augment --craft-mode --clamp --no-clamp --noise --mix --held-out --early-stop --keep --precision --seed --plot
    --format --log-dir
transfer: DATA ATTACK RUN OUTPUT --source --target --common --per-class --device --num-classes --mean --std --bounds
    --dataset --threat-model --trust-model-code --plot --out --csv --html --format --log-dir
verify: OUTPUT --package --adapters --method --norm --steps --step-size --random-start --style --case --model --weights
    --data --strict --expect --time-limit --num-classes --mean --std --bounds --dataset --threat-model --trust-model-code
list: --data-root --filter --json --debug
runs list: --json --debug
runs show: --outcomes --export --json --debug
runs resume: OUTPUT --weights --device --keep-images --trust-model-code --trust-data-code --log-dir
"""
"""Every option that a command must keep, by command; a name in capitals stands for a group."""

HELP_WITHOUT_TORCH = """
import sys
from robustbench_fgsm.cli.main import main
try:
    main([*sys.argv[1:], "--help"])
except SystemExit as stopped:
    assert not stopped.code
assert not {"torch", "art", "numpy"} & sys.modules.keys(), "loaded"
"""


def programs(program: Any, name: str = "") -> Iterator[tuple[str, Any]]:
    """Every command, by its words."""
    if not hasattr(program, "commands"):
        yield name.strip(), program
        return
    for word, command in program.commands.items():
        yield from programs(command, f"{name} {word}")


EVERYWHERE: dict[str, tuple[str, list[str]]] = {}
PROGRAMS = {name: command for name, command in programs(typer.main.get_command(app)) if not command.hidden}
every_command = pytest.mark.parametrize("name", PROGRAMS)


@every_command
def test_keeps_every_option(name: str) -> None:
    flags = {flag for parameter in PROGRAMS[name].params for flag in (*parameter.opts, *parameter.secondary_opts)}
    (expected,) = re.findall(rf"^{name}: ((?:.|\n )*)$", FLAGS, re.MULTILINE)
    assert {flag for word in expected.split() for flag in GROUPS.get(word, word).split()} <= flags


@every_command
def test_help_texts_end_with_a_period(name: str) -> None:
    for parameter in PROGRAMS[name].params:
        assert parameter.help.endswith((".", ".)", "...")), parameter.name


@every_command
def test_options_stand_in_panels(name: str) -> None:
    """The panel of an option, and the order of two options, are equal in all commands."""
    command = PROGRAMS[name]
    shown = [part for part in command.get_params(typer._click.core.Context(command)) if isinstance(part, TyperOption)]
    panels = [str(part.rich_help_panel) for part in shown]
    assert panels == sorted(panels, key=PANELS.index)
    for part in (one for one in shown if one.name != "method"):  # of training, or the attack that a candidate claims to be
        EVERYWHERE.setdefault(str(part.name), (panels[shown.index(part)], part.opts))
        assert EVERYWHERE[str(part.name)] == (panels[shown.index(part)], part.opts)
    first = [part.name for part in PROGRAMS["sweep"].get_params(typer._click.core.Context(PROGRAMS["sweep"]))]
    common = [part.name for part in shown if part.name in first]
    assert common == [word for word in first if word in common]


OTHER_MEANINGS: dict[str, dict[str, str]] = {
    "--batch-size": {"train": "images of a step, on which the result depends"},
    "--eps": {
        "explain": "one for each reported number",
        "plot": "one that the run has",
        "sweep": "several",
        "train": "of the images that are trained on",
        "transfer": "several",
    },
    "--format": {"report": "a table takes the place of the page"},
    "--method": {"train": "of training", "verify": "that the candidate claims to be"},
    "--model": {"attack": "not with --check", "verify": "calls beside those of the bench"},
    "--norm": {"benchmark": "those that all libraries have", "explain": "that of known mistakes", "verify": "of the method"},
    "--out": {"attack": "holds the images", "train": "holds the weights"},
    "--output": {"lock": "a lock", "plot": "a figure", "report": "a page"},
    "--plot": {"verify": "another figure"},
    "--seed": {"benchmark": "of the sample alone", "train": "of weights, order and noise too"},
    "--strict": {"verify": "the warnings are findings, not checks before an attack"},
    "--targeted": {"plot": "one that the run has", "sweep": "several"},
    "--trust-data-code": {"attack": "with --check only"},
    "--trust-model-code": {"runs resume": "code that a manifest names"},
    "--weights": {"runs resume": "the place alone", "train": "where training begins"},
}
"""Why an option of one name means something else in some commands; everywhere else it has one help text, type and range."""


def test_one_name_has_one_meaning() -> None:
    meanings: dict[str, dict[str, tuple[object, ...]]] = {}
    for name, command in PROGRAMS.items():
        for part in command.params:
            if isinstance(part, TyperOption):
                kind = part.type_descriptor.annotation
                said = (part.help, kind, part.metavar, part.min, part.max, tuple(part.opts), part.multiple)
                meanings.setdefault(part.opts[-1], {})[name] = said
    for flag, by_command in meanings.items():
        others = OTHER_MEANINGS.get(flag, {})
        common = {said for name, said in by_command.items() if name not in others}
        assert len(common) <= 1, flag
        assert all(by_command[name] not in common for name in others), flag


@every_command
def test_help_has_an_example_and_a_page(name: str) -> None:
    text = PROGRAMS[name].help or ""
    assert f"Example: rfgsm {name} " in text
    (page,) = re.findall(r"Documentation: (docs/.+\.md)", text)
    assert (Path(__file__).parents[2] / page).is_file()
    assert not re.search(r"[^\n]\n[^\n]", text)


@every_command
@pytest.mark.parametrize("width", [80, 120])
def test_help_fills_the_terminal(name: str, width: int, run: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    """No line is too long, and none ends before its next word would be too long: no break of a docstring shows."""
    monkeypatch.setenv("COLUMNS", str(width))
    code, out, _ = run(*name.split(), "--help")
    lines = [line.strip() for line in out.split("╭")[0].splitlines()]
    assert code == 0
    assert max(map(len, out.splitlines())) <= width
    assert "<bool>" not in out
    for line, following in pairwise(lines):
        assert not (line and following) or len(f"{line} {following.split()[0]}") > width - 2, line


@pytest.mark.parametrize(
    ("option", "some"),
    [("model", {"mlp300", "resnet50", "timm:"}), ("data", {"fashion-mnist", "npz:"}), ("norm", {"inf"}), ("targeted", {"next"})],
)
def test_values_are_completed(option: str, some: set[str]) -> None:
    (parameter,) = [part for part in PROGRAMS["evaluate"].params if part.name == option]
    context = typer._click.core.Context(PROGRAMS["evaluate"])
    assert some <= {item.value for item in parameter.shell_complete(context, "")}
    assert {item.value for item in parameter.shell_complete(context, min(some))} >= {min(some)}


def test_choices_are_the_names_of_the_library() -> None:
    assert tuple(LOSSES) == LOSS_NAMES
    assert get_args(OptimizeLevel) == OPTIMIZE_LEVELS
    assert tuple(STYLES) == STYLE_NAMES


@every_command
def test_help_loads_no_torch(name: str) -> None:
    subprocess.run([sys.executable, "-c", HELP_WITHOUT_TORCH, *name.split()], check=True, capture_output=True)


@pytest.mark.parametrize("group", [ModelOptions, DataOptions, AttackOptions, CheckOptions, Thresholds, RunOptions, OutputOptions])
def test_every_field_is_an_option(group: type) -> None:
    shown = {parameter.name for parameter in PROGRAMS["evaluate"].params}
    names = {"epsilon": "eps", "epsilon_scale": "eps_scale", "pgd": "pgd_check", "masking": "check_masking"}
    assert {names.get(name, name) for name in group.__dataclass_fields__} - {"plot"} <= shown  # type: ignore[attr-defined]


def test_outputs_are_checked_before_anything_is_measured(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "link.csv").symlink_to("/dev/null")  # which the output replaces
    for name in ("new.csv", "deep/er/new.csv", "link.csv"):
        check_output_path("--csv", tmp_path / name)
    for path, error in {"/dev/null": FileError, str(tmp_path): SettingError, "a" * 5000: SettingError}.items():
        with pytest.raises(error):
            check_output_path("--csv", Path(path))
    monkeypatch.setattr(os, "access", lambda *_: False)  # a read-only file system; root may write anywhere else
    with pytest.raises(ResourceError, match=f"--csv .*new.csv must be writable, got {tmp_path}, which is not: choose another path"):
        check_output_path("--csv", tmp_path / "deep" / "new.csv")
