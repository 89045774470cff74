"""The command `rfgsm verify`: measure a candidate stage by stage."""

from __future__ import annotations

from dataclasses import asdict
from pathlib import Path
from typing import Annotated

import typer

from robustbench_fgsm.cli.expand_options import Variant, expand_options, to_arguments
from robustbench_fgsm.cli.options import VERDICT_OPTIONS, DataOptions, ModelOptions, OutputOptions
from robustbench_fgsm.options import Option, PackageOptions, VerifyOptions

MODEL_VARIANT = Variant(
    without=("device", "task"),
    defaults={"model": "", "device": "cpu"},
    options={"model": Option("Classifier of your own: more calls, named own.")},
)

OUTPUT_VARIANT = Variant(
    only=("plot", *VERDICT_OPTIONS, "quiet"), options={"plot": Option("Also draw the response curves: .png, .svg or .pdf.")}
)


@expand_options
def verify_command(
    candidate: Annotated[
        str, typer.Argument(metavar="CANDIDATE", help="Your attack: file.py:fn or pkg.mod:fn. It is run.", show_default=False)
    ] = "",
    *,
    verify_options: VerifyOptions,
    package_options: PackageOptions,
    model_options: Annotated[ModelOptions, MODEL_VARIANT],
    data_options: Annotated[DataOptions, Variant(only=("data",))],
    output: Annotated[OutputOptions, OUTPUT_VARIANT],
) -> int:
    """Measure an attack of your own, FGSM or one of its family, stage by stage, and name what is wrong with it.

    Prints a datasheet: one row for each stage, what was measured there, and the known mistake if it is one. Exit 0:
    right. Exit 1: wrong, or not everything could be measured.

    Example: rfgsm verify my_attack.py:fgsm

    Example: rfgsm verify my_attack.py:pgd --method pgd --steps 10 --step-size 2/255 --random-start

    Example: rfgsm verify --package foolbox==3.3.4:pgd
    """
    import sys

    from robustbench_fgsm.cli.output import check_output_options
    from robustbench_fgsm.errors import SettingError
    from robustbench_fgsm.user_code import check_code_place

    check_output_options(output)
    if bool(candidate) == bool(package_options.package):
        got = "both" if candidate else "neither"
        raise SettingError(f"verify must get a CANDIDATE or a --package, got {got}: write rfgsm verify my_attack.py:fgsm")
    if not package_options.package:
        check_code_place(candidate, "candidate", SettingError)
    elif model_options.model:
        raise SettingError(f"--package must stand without --model, got {model_options.model!r}: leave --model out")
    if not model_options.model and (model_options.weights != "auto" or data_options.data is not None):
        raise SettingError("--weights and --data need a --model, got none: add it, or leave them out")
    if package_options.package:
        return _verify_package(package_options, verify_options, output)

    from robustbench_fgsm.cli.load import load_model_and_data
    from robustbench_fgsm.cli.output import progress_bar, write_result
    from robustbench_fgsm.verification.own_network import own_network_calls
    from robustbench_fgsm.verification.verify import verify

    own = model_options.model
    extra = own_network_calls(*load_model_and_data(model_options, data_options, quiet=output.quiet)) if own else []
    with progress_bar("verify", quiet=output.quiet) as progress:
        found = verify(candidate, extra=extra, progress=progress, **asdict(verify_options))
    if output.debug:
        for trace in found.tracebacks:
            typer.echo(trace, file=sys.stderr)
    write_result(found.to_dict(), output)
    return found.exit_code


def _verify_package(package: PackageOptions, options: VerifyOptions, output: OutputOptions) -> int:
    """Verify an attack of a package in an environment of its own, and write the document."""
    from robustbench_fgsm.cli.output import progress_bar, write_result
    from robustbench_fgsm.verification.package_environment import verify_package

    with progress_bar("verify", quiet=output.quiet):
        document = verify_package(package.package, Path(package.adapters), to_arguments(options))
    return write_result(document, output)
