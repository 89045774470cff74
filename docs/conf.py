"""Configure Sphinx: `sphinx-build -W docs docs/_build/html`, with the package installed and without the network.

This file makes the tables of bundled weights from the model cards, so that they are always up to date.
Formulas become MathML, which browsers draw without a script.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from importlib.metadata import version as installed_version
from typing import Any

from docutils import nodes
from docutils.utils.math.latex2mathml import tex2mathml
from sphinx.application import Sphinx

from robustbench_fgsm.models.cards import bundled_cards
from robustbench_fgsm.report.tables.text import rate_text

project = "robustbench_fgsm"
copyright = "2026, the robustbench_fgsm maintainers"
release = version = installed_version("robustbench-fgsm")

extensions = ["myst_parser", "sphinx.ext.autodoc", "sphinx.ext.napoleon", "sphinx_copybutton"]
napoleon_numpy_docstring = False
napoleon_use_ivar = True  # attributes as a list, as parameters are
exclude_patterns = ["_build"]
html_theme = "furo"
html_title = f"{project} {release}"
html_math_renderer = "mathml"
default_role = "code"
myst_enable_extensions = ["dollarmath", "substitution"]
myst_heading_anchors = 3
autodoc_member_order = "bysource"
autodoc_typehints_format = "short"
python_maximum_signature_line_length = 100
copybutton_prompt_text = r"\$ |>>> |\.\.\. "
copybutton_prompt_is_regexp = True
copybutton_exclude = ".linenos, .gp, .go"  # prompts and outputs


def table(header: Sequence[str], rows: Iterable[Sequence[str]]) -> str:
    """Return a Markdown table."""
    return "\n".join(f"| {' | '.join(line)} |" for line in (header, ["---"] * len(header), *rows))


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


myst_substitutions = {"weights_results": weights_results(), "weights_recipes": weights_recipes(), "weights_files": weights_files()}


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
