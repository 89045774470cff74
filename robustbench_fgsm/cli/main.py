"""The program `rfgsm`: its commands, and the exit code of each error."""

from __future__ import annotations

import sys
import traceback
from typing import Annotated, NoReturn

import typer

from robustbench_fgsm.cli import log, processes
from robustbench_fgsm.cli.commands.attack import attack_command
from robustbench_fgsm.cli.commands.benchmark import benchmark_command
from robustbench_fgsm.cli.commands.compare import compare_command
from robustbench_fgsm.cli.commands.evaluate import evaluate_command
from robustbench_fgsm.cli.commands.explain import explain_command
from robustbench_fgsm.cli.commands.gate import gate_command
from robustbench_fgsm.cli.commands.list import list_command
from robustbench_fgsm.cli.commands.plot import plot_command
from robustbench_fgsm.cli.commands.report import report_command
from robustbench_fgsm.cli.commands.runs import runs_app
from robustbench_fgsm.cli.commands.sweep import sweep_command
from robustbench_fgsm.cli.commands.train import train_command
from robustbench_fgsm.cli.commands.transfer import transfer_command
from robustbench_fgsm.cli.commands.verify import verify_command
from robustbench_fgsm.errors import EXIT_INTERNAL_ERROR, EXIT_INTERRUPTED, RfgsmError

app = typer.Typer(
    name="rfgsm",
    help="How easily does FGSM fool a classifier, class by class, and is an FGSM implementation right?",
    no_args_is_help=True,
    add_completion=False,
    context_settings={"help_option_names": ["-h", "--help"]},
)
app.command("attack")(attack_command)
app.command("benchmark")(benchmark_command)
app.command("compare")(compare_command)
app.command("evaluate")(evaluate_command)
app.command("explain")(explain_command)
app.command("gate")(gate_command)
app.command("plot")(plot_command)
app.command("report")(report_command)
app.command("sweep")(sweep_command)
app.command("train")(train_command)
app.command("transfer")(transfer_command)
app.command("verify")(verify_command)
app.command("list")(list_command)
app.add_typer(runs_app)


def _print_version(wanted: bool) -> None:
    if wanted:
        import robustbench_fgsm

        typer.echo(f"rfgsm {robustbench_fgsm.__version__}")
        raise typer.Exit


@app.callback()
def _root(
    version: Annotated[
        bool, typer.Option("--version", callback=_print_version, is_eager=True, help="Print the version and exit.")
    ] = False,
) -> None:
    pass


def main(args: list[str] | None = None) -> NoReturn:
    """Run the program and exit with its code; the docs list what each code means."""
    words = sys.argv[1:] if args is None else args
    try:
        with processes.sigterm_as_interrupt(), log.open_log(words if {*words[:1]} <= processes.DISTRIBUTED_COMMANDS else ()):
            processes.check_process_count(words)
            code = _run_and_log(words)
    except (RfgsmError, typer.TyperException) as error:
        if "--debug" in words:
            raise
        if processes.should_report_error():
            _print_error(error.format_message() if isinstance(error, typer.TyperException) else str(error))
        sys.exit(error.exit_code)
    except (KeyboardInterrupt, typer.Abort):
        code = EXIT_INTERRUPTED
    except Exception:  # noqa: BLE001  (Python's own exit code, 1, would say "disagree")
        if processes.should_report_error():
            traceback.print_exc()
        sys.exit(EXIT_INTERNAL_ERROR)
    if code == EXIT_INTERRUPTED:  # Typer also returns this code for an interrupted command
        if processes.should_report_error():
            _print_error("interrupted")
        sys.exit(EXIT_INTERRUPTED)
    sys.exit(processes.final_exit_code(code or 0))


def _run_and_log(args: list[str]) -> int | None:
    """Run the program and return its exit code; write the code or the exception to the log."""
    try:
        code: int | None = app(args, prog_name="rfgsm", standalone_mode=False)
    except BaseException as error:
        log.write("".join(traceback.format_exception(error)))
        raise
    log.write(f"exit code {code or 0}")
    return code


def _print_error(message: str) -> None:
    if message:  # without arguments the help is printed alone
        typer.echo(f"rfgsm: {' '.join(message.split())}", err=True)
