"""`rfgsm verify`."""

from __future__ import annotations

from typing import Annotated

import typer

from robustbench_fgsm.cli import options
from robustbench_fgsm.cli.options import ModelOptionGroup, expand_options


@expand_options
def verify_command(
    candidate: Annotated[
        str,
        typer.Argument(metavar="CANDIDATE", help="Your FGSM: file.py:fn or pkg.mod:fn. It is run.", show_default=False),
    ],
    style: options.Style = "plain",
    cases: Annotated[
        list[str],
        typer.Option("--case", metavar="NAME", help="Run only this case; may be repeated.", show_default="all"),
    ] = [],  # noqa: B006  (read only)
    model: Annotated[
        str | None,
        typer.Option("--model", help="A classifier of yours as one more case.", show_default=False),
    ] = None,
    weights: options.Weights = "auto",
    data: options.Data = None,
    strict: Annotated[bool, typer.Option("--strict", help="Side effects that leave the images right are failures too.")] = False,
    expect: Annotated[
        list[str],
        typer.Option("--expect", metavar="ID", help="A deviation that is meant, such as random-start; may be repeated."),
    ] = [],  # noqa: B006
    time_limit: Annotated[float, typer.Option("--time-limit", help="Seconds that one call may take.")] = 10.0,
    model_options: ModelOptionGroup = ModelOptionGroup(),
    json: options.Json = False,
    quiet: options.Quiet = False,
    debug: options.Debug = False,
) -> int:
    """Check an FGSM implementation of your own: run it through a table of cases, and name what is wrong with it.

    Prints pass or fail for each case, a verdict, and the known mistakes that give the same images. Exit 0: right.
    Exit 1: wrong.

    Example: rfgsm verify my_attack.py:fgsm
    """
    import sys

    from robustbench_fgsm.errors import SettingError

    if model is None and (weights != "auto" or data is not None):
        raise SettingError("--weights and --data need a --model, got none: add it, or leave them out")

    from robustbench_fgsm.cli.load import load_model_and_data
    from robustbench_fgsm.cli.output import ResultFormat, progress_bar, stdout_to_stderr, write_result
    from robustbench_fgsm.verification.own_network import own_network_case
    from robustbench_fgsm.verification.verify import verify

    extra = []
    if model is not None:
        extra.append(
            own_network_case(*load_model_and_data(model, weights, data, None, "cpu", model_options=model_options, quiet=quiet))
        )
    with stdout_to_stderr(), progress_bar("verify", quiet=quiet) as progress:
        found = verify(
            candidate,
            style=style,
            cases=cases,
            extra=extra,
            strict=strict,
            expect=expect,
            time_limit=time_limit,
            progress=progress,
        )
    if debug:
        for trace in found.tracebacks:
            typer.echo(trace, file=sys.stderr)
    write_result(found.to_dict(), ResultFormat(json=json))
    return found.exit_code
