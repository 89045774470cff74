"""Help of a command: the same panels with the same options in the same order everywhere, and the model as the first word."""

from __future__ import annotations

from typing import Any

from typer.core import TyperCommand, TyperGroup, TyperOption

from robustbench_fgsm.cli.standard_streams import only_results_on_standard_output

PANELS = ("Model", "Data", "Attack", "Training", "Checks", "Performance", "Output", "Gates")
"""Panels of `--help` from top to bottom."""


def hide_types_of_flags(parameters: list[Any]) -> list[Any]:
    """Return the parameters; options without a value show no type."""
    for parameter in parameters:
        if getattr(parameter, "is_flag", False):
            parameter.metavar = ""
    return parameters


class CommandGroup(TyperGroup):
    """Group of commands, each with its own help."""

    def get_params(self, ctx: Any) -> list[Any]:
        """Return the parameters, as `--help` shows them."""
        return hide_types_of_flags(super().get_params(ctx))


class PanelCommand(TyperCommand):
    """Command whose options stand in panels, and whose model may be the first word: `rfgsm evaluate mlp300`."""

    @property
    def takes_model_first(self) -> bool:
        """Return True if the first word can be nothing but the model."""
        names = {parameter.name for parameter in self.params if isinstance(parameter, TyperOption)}
        return "model" in names and len(names) == len(self.params)

    def get_params(self, ctx: Any) -> list[Any]:
        """Return the parameters by their panels; the option for help comes last."""

        def place(parameter: Any) -> int:
            panel = "Output" if "--help" in parameter.opts else getattr(parameter, "rich_help_panel", None)
            if isinstance(parameter, TyperOption):
                parameter.rich_help_panel = panel
            return PANELS.index(panel) if panel else -1

        return sorted(hide_types_of_flags(super().get_params(ctx)), key=place)

    def collect_usage_pieces(self, ctx: Any) -> list[str]:
        """Return the words of the usage line."""
        return [*(["[MODEL]"] if self.takes_model_first else []), *super().collect_usage_pieces(ctx)]

    def invoke(self, ctx: Any) -> Any:
        """Run the command; only results are written to standard output, not what networks, candidates and libraries print."""
        with only_results_on_standard_output():
            return super().invoke(ctx)

    def parse_args(self, ctx: Any, args: list[str]) -> list[str]:
        """Parse the words of the command line, of which the first may be the model."""
        if self.takes_model_first and args and not args[0].startswith("-"):
            args = ["--model", *args]
        return super().parse_args(ctx, args)
