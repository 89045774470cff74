"""Write one page for each command, and the table of all commands, from the help of the program.

python docs/command_pages.py

Run it after a change of a command, an option or a help text. A test makes the pages again and compares.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from enum import Enum
from itertools import groupby
from pathlib import Path
from typing import Any

import typer

from robustbench_fgsm.cli.main import app

REFERENCE = Path(__file__).parent / "reference"
FOLDER = REFERENCE / "commands"
INDEX = REFERENCE / "cli.md"
ESCAPED = r"\|"
OPTION = re.compile(r"(`[^`]*`)|(?<![\w-])(--[a-z][a-z-]*)")
TABLE = re.compile(r"(?<=<!-- commands -->\n).*(?=<!-- end of commands -->)", re.DOTALL)


def find_commands(group: Any, *words: str) -> Iterator[tuple[str, Any]]:
    """Yield each command with its words, such as `runs show`."""
    for name, command in group.commands.items():
        if hasattr(command, "commands"):
            yield from find_commands(command, *words, name)
        else:
            yield " ".join((*words, name)), command


def mark_options(text: str) -> str:
    """Return text with its options as code: Sphinx would make one dash of two."""
    return OPTION.sub(lambda found: found[1] or f"`{found[2]}`", text)


def describe(command: Any) -> tuple[list[str], list[str], str]:
    """Return the paragraphs of a command's help, its examples, and its guide in docs/."""
    texts, examples, guide = [], [], ""
    for paragraph in command.help.split("\n\n"):
        line = " ".join(paragraph.split())
        if line.startswith("Example: "):
            examples.append(line.removeprefix("Example: "))
        elif line.startswith("Documentation: "):
            guide = line.removeprefix("Documentation: docs/")
        else:
            texts.append(mark_options(line))
    return texts, examples, guide


def command_page(words: str, command: Any, parent: Any) -> str:
    """Return the page of a command: what it does, an example, and a table of options for each panel of `--help`."""
    texts, examples, guide = describe(command)
    context = command.make_context(words, [], parent=parent, resilient_parsing=True)
    parts = [f"# rfgsm {words}", *texts]
    if examples:
        parts.append("\n".join(["```console", *(f"$ {example}" for example in examples), "```"]))
    parts.append(f"Usage: `{' '.join(['rfgsm', words, *command.collect_usage_pieces(context)])}`")
    links = [f"[How to use it](../../{guide})"] * guide.startswith("howto/") + ["[All commands](../cli.md)"]
    parts.append(". ".join(links) + ".")
    shown = [parameter for parameter in command.get_params(context) if not getattr(parameter, "hidden", False)]
    for panel, parameters in groupby(shown, lambda parameter: parameter.rich_help_panel):
        rows = [option_row(parameter, context) for parameter in parameters]
        parts += [f"## {panel or 'Arguments'}", "\n".join(["| name | takes | default | meaning |", "|---|---|---|---|", *rows])]
    return "\n\n".join(parts) + "\n"


def option_row(parameter: Any, context: Any) -> str:
    """Return the row of one option or argument."""
    if parameter.param_type_name == "argument":
        names, takes = [parameter.metavar or parameter.name.upper()], ""
    else:
        names = sorted(parameter.opts + parameter.secondary_opts, key=lambda name: not name.startswith("--"))
        takes = parameter.display_type(ctx=context).strip("<>") if parameter.metavar is None else parameter.metavar
    cells = [
        ", ".join(f"`{name}`" for name in names),
        f"`{takes}`" if takes else "",
        default_text(parameter),
        mark_options(parameter.help or ""),
    ]
    return f"| {' | '.join(cell.replace('|', ESCAPED) for cell in cells)} |"


def default_text(parameter: Any) -> str:
    """Return the default as `--help` shows it."""
    if parameter.required:
        return "required"
    if isinstance(parameter.show_default, str):
        return parameter.show_default
    value = parameter.default.value if isinstance(parameter.default, Enum) else parameter.default
    return "" if value in (None, "", False) or value == [] else f"`{value}`"


def make_pages() -> dict[Path, str]:
    """Return the text of each page by its file, and of the index with its table."""
    program: Any = typer.main.get_command(app)
    parent = program.make_context("rfgsm", [], resilient_parsing=True)
    found = sorted(find_commands(program))
    files = {words: FOLDER / f"{words.replace(' ', '-')}.md" for words, _ in found}
    rows = [f"| [`rfgsm {words}`](commands/{files[words].name}) | {describe(command)[0][0]} |\n" for words, command in found]
    table = "".join(["\n| command | what it does |\n|---|---|\n", *rows, "\n"])
    index = TABLE.sub(lambda _: table, INDEX.read_text(encoding="utf-8"))
    return {INDEX: index} | {files[words]: command_page(words, command, parent) for words, command in found}


def main() -> None:
    """Write the pages, and remove those of commands that are gone."""
    pages = make_pages()
    FOLDER.mkdir(exist_ok=True)
    for file in {*FOLDER.glob("*.md")} - {*pages}:
        file.unlink()
    for file, text in pages.items():
        file.write_text(text, encoding="utf-8")


if __name__ == "__main__":
    main()
