"""Configure Sphinx: `sphinx-build -W docs docs/_build/html`, with the package installed and without the network.

This file makes the tables of options and bundled weights from the program and the model cards, so that they are always up to
date. Formulas become MathML, which browsers draw without a script.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from enum import Enum
from importlib.metadata import version as installed_version
from inspect import Parameter, signature
from typing import Any, get_args, get_type_hints

from docutils import nodes
from docutils.utils.math.latex2mathml import tex2mathml
from sphinx.application import Sphinx
from typer.models import OptionInfo

from robustbench_fgsm.cli.commands.attack import attack_command
from robustbench_fgsm.cli.commands.benchmark import benchmark_command
from robustbench_fgsm.cli.commands.compare import compare_command
from robustbench_fgsm.cli.commands.evaluate import evaluate_command
from robustbench_fgsm.cli.commands.explain import explain_command
from robustbench_fgsm.cli.commands.gate import gate_command
from robustbench_fgsm.cli.commands.list import list_command
from robustbench_fgsm.cli.commands.lock import lock_command
from robustbench_fgsm.cli.commands.plot import plot_command
from robustbench_fgsm.cli.commands.report import report_command
from robustbench_fgsm.cli.commands.runs import list_runs, resume_run, show_run
from robustbench_fgsm.cli.commands.sweep import sweep_command
from robustbench_fgsm.cli.commands.train import train_command
from robustbench_fgsm.cli.commands.transfer import transfer_command
from robustbench_fgsm.cli.commands.verify import verify_command
from robustbench_fgsm.models.cards import bundled_cards
from robustbench_fgsm.report.tables.text import rate_text

project = "robustbench_fgsm"
copyright = "2026, the robustbench_fgsm maintainers"
release = version = installed_version("robustbench-fgsm")

extensions = ["myst_parser", "sphinx.ext.autodoc", "sphinx.ext.napoleon"]
napoleon_numpy_docstring = False
exclude_patterns = ["_build"]
html_theme = "furo"
html_title = f"{project} {release}"
html_math_renderer = "mathml"
default_role = "code"
myst_enable_extensions = ["dollarmath", "substitution"]
myst_heading_anchors = 3
autodoc_member_order = "bysource"
autodoc_typehints_format = "short"


def table(header: Sequence[str], rows: Iterable[Sequence[str]]) -> str:
    """Return a Markdown table."""
    return "\n".join(f"| {' | '.join(line)} |" for line in (header, ["---"] * len(header), *rows))


def options(command: Callable[..., int]) -> str:
    """Return the table of options of one command, from the program."""
    hints = get_type_hints(command, include_extras=True)
    rows = (_option(parameter, *get_args(hints[name])) for name, parameter in signature(command).parameters.items())
    return table(["option", "takes", "default", "meaning"], rows)


def _option(parameter: Parameter, kind: Any, declared: Any) -> tuple[str, str, str, str]:
    option = isinstance(declared, OptionInfo)
    name = f"--{parameter.name.replace('_', '-')}" if option else declared.metavar or parameter.name.upper()
    shown = declared.show_default if isinstance(declared.show_default, str) else parameter.default
    default = "required" if shown is Parameter.empty else "" if shown is False or shown in (None, "", []) else f"`{shown}`"
    return f"`{name}`", "" if kind is bool else declared.metavar or _values_of(kind), default, declared.help


def _values_of(kind: Any) -> str:
    if isinstance(kind, type) and issubclass(kind, Enum):
        return ", ".join(f"`{value}`" for value in kind)
    words = {int: "integer", float: "number"}
    return next((word for number, word in words.items() if number in (kind, *get_args(kind))), "text")


def weights_results() -> str:
    """Return the table of accuracies of the bundled weights."""
    header = ["model", "weights", "parameters", "clean accuracy, per cent [95 % interval]", "n"]
    return table(header, map(_result, bundled_cards()))


def _result(card: dict[str, Any]) -> tuple[str, ...]:
    accuracy = card["clean_accuracy"]
    return (f"`{card['name']}`", f"`{card['weights']}`", f"{card['parameters']:,}", rate_text(accuracy), f"{accuracy['n']:,}")


def weights_recipes() -> str:
    """Return the table of training recipes of the bundled weights."""
    columns = ("optimizer", "peak_rate", "schedule", "weight_decay", "batch_size", "epochs", "augment", "seed")
    inputs = ("mean", "std", "channels")
    header = ["model", "weights", *(name.replace("_", " ") for name in columns + inputs)]
    return table(
        header,
        ([f"`{card['name']}`", f"`{card['weights']}`", *_values(card["recipe"], columns + inputs)] for card in bundled_cards()),
    )


def _values(recipe: dict[str, Any], names: Iterable[str]) -> list[str]:
    words = {True: "yes", False: "no"}
    return [words[value] if isinstance(value := recipe[name], bool) else f"{value}" for name in names]


def weights_files() -> str:
    """Return the table of weight files and their hashes."""
    return table(["file", "sha256"], ((f"`{card['file']}`", f"`{card['sha256']}`") for card in bundled_cards()))


myst_substitutions = {
    "attack_options": options(attack_command),
    "benchmark_options": options(benchmark_command),
    "compare_options": options(compare_command),
    "evaluate_options": options(evaluate_command),
    "verify_options": options(verify_command),
    "explain_options": options(explain_command),
    "gate_options": options(gate_command),
    "list_options": options(list_command),
    "lock_options": options(lock_command),
    "plot_options": options(plot_command),
    "report_options": options(report_command),
    "runs_list_options": options(list_runs),
    "runs_resume_options": options(resume_run),
    "runs_show_options": options(show_run),
    "sweep_options": options(sweep_command),
    "train_options": options(train_command),
    "transfer_options": options(transfer_command),
    "weights_results": weights_results(),
    "weights_recipes": weights_recipes(),
    "weights_files": weights_files(),
}


def inline_math(translator: Any, node: nodes.math) -> None:
    """Write a formula within a line."""
    translator.body.append(tex2mathml(node.astext()))
    raise nodes.SkipNode


def block_math(translator: Any, node: nodes.math_block) -> None:
    """Write a formula that stands alone."""
    translator.body.append(tex2mathml(node.astext()).replace("<math ", '<math display="block" ', 1))
    raise nodes.SkipNode


def setup(sphinx: Sphinx) -> None:
    """Register the MathML renderers."""
    sphinx.add_html_math_renderer("mathml", inline_renderers=(inline_math, None), block_renderers=(block_math, None))
