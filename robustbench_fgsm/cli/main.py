"""The program `rfgsm`: its commands, and the exit code of each error."""

from __future__ import annotations

import shlex
import sys
import traceback
from collections.abc import Callable
from contextlib import redirect_stdout, suppress
from itertools import pairwise
from pathlib import Path
from typing import Annotated, NoReturn

import typer
from pydantic import ValidationError
from rich.text import Text

from robustbench_fgsm.cli import interruption, log, processes
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
from robustbench_fgsm.cli.commands.runs import list_runs, resume_run, runs_app, show_run
from robustbench_fgsm.cli.commands.sweep import sweep_command
from robustbench_fgsm.cli.commands.train import train_command
from robustbench_fgsm.cli.commands.transfer import transfer_command
from robustbench_fgsm.cli.commands.verify import verify_command
from robustbench_fgsm.cli.help_panels import CommandGroup, PanelCommand
from robustbench_fgsm.cli.output import print_line
from robustbench_fgsm.cli.progress import end_loading
from robustbench_fgsm.cli.standard_streams import results_stream
from robustbench_fgsm.errors import (
    EXIT_INTERNAL_ERROR,
    EXIT_INTERRUPTED,
    InputError,
    ResourceError,
    RfgsmError,
    SettingError,
    describe_error,
    first_line,
    is_out_of_memory,
)
from robustbench_fgsm.files.regular_files import DISK_ERRORS, disk_error, is_present
from robustbench_fgsm.printable_text import printable
from robustbench_fgsm.user_code import find_user_frame, place_text

app = typer.Typer(
    name="rfgsm",
    help="How easily does FGSM fool a classifier, class by class, and is an FGSM implementation right?",
    cls=CommandGroup,
    no_args_is_help=True,
    context_settings={"help_option_names": ["-h", "--help"]},
)


def add_command(group: typer.Typer, name: str, command: Callable[..., int], page: str) -> None:
    """Add a command whose help names its page of the documentation."""
    help_text = f"{command.__doc__}\n\nDocumentation: docs/{page}.md"
    group.command(name, cls=PanelCommand, help=help_text, no_args_is_help=name == "list" and group is app)(command)


for _command in (
    attack_command,
    benchmark_command,
    compare_command,
    evaluate_command,
    explain_command,
    gate_command,
    lock_command,
    plot_command,
    report_command,
    sweep_command,
    train_command,
    transfer_command,
    verify_command,
):
    _name = _command.__name__.removesuffix("_command")
    add_command(app, _name, _command, f"howto/{ {'plot': 'report', 'lock': 'gate'}.get(_name, _name) }")
add_command(app, "list", list_command, "reference/cli")
for _name, _command in (("list", list_runs), ("show", show_run), ("resume", resume_run)):
    add_command(runs_app, _name, _command, "howto/runs")
app.add_typer(runs_app)


@app.command("help", cls=PanelCommand, hidden=True)
def _help(words: Annotated[list[str] | None, typer.Argument(metavar="COMMAND")] = None) -> None:
    """Show the help of the program, or of a command."""
    with redirect_stdout(results_stream()):
        app([*(words or []), "--help"], prog_name="rfgsm", standalone_mode=False)


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
        _reject_empty_words(words)
        with interruption.interruptible(), log.open_log(words if {*words[:1]} <= processes.DISTRIBUTED_COMMANDS else ()):
            processes.check_process_count(words)
            code = _run_and_log(words)
            sys.stdout.flush()
    except (RfgsmError, typer.TyperException) as error:
        if interruption.was_interrupted():
            _exit_interrupted(words)
        _exit_with_error(error, words)
    except (KeyboardInterrupt, typer.Abort):
        code = EXIT_INTERRUPTED
    except BaseException as error:  # Python's own exit code, 1, would say "disagree"
        if interruption.was_interrupted():  # which other code may have turned into an error of its own
            _exit_interrupted(words)
        if (foreseen := _foresee(error)) is not None:
            _exit_with_error(foreseen, words)
        if isinstance(error, SystemExit):
            raise
        if processes.should_report_error():
            traceback.print_exc()
        sys.exit(EXIT_INTERNAL_ERROR)
    if code == EXIT_INTERRUPTED:  # Typer also returns this code for an interrupted command
        _exit_interrupted(words)
    sys.exit(processes.final_exit_code(code or 0))


def _reject_empty_words(words: list[str]) -> None:
    """Raise SettingError for an empty word: that of an unset variable of the shell would stand for a default, or for `.`."""
    for before, word in pairwise(["rfgsm", *words]):
        if not word.strip() or (word.startswith("--") and word.endswith("=")):
            name = word.rstrip("=").strip() or before
            raise SettingError(f"{name} must have a value, got nothing: set the variable of the shell, or leave {name} out")


def _interruption_message(words: list[str]) -> str:
    """Return how an interrupted command continues, if it keeps its work."""
    from robustbench_fgsm.runs.directory import MANIFEST_FILE

    place = Path(words[2]) if words[:2] == ["runs", "resume"] and len(words) > 2 else log.path_after(words, "--out", "-o")
    if place is None or not is_present(place / MANIFEST_FILE):
        return "interrupted"
    resumed = words[0] in processes.DISTRIBUTED_COMMANDS - {"attack"}
    remedy = f"rfgsm runs resume {shlex.quote(str(place))} continues" if resumed else "the same command continues"
    return f"interrupted: {remedy}"


def _exit_interrupted(words: list[str]) -> NoReturn:
    if processes.should_report_error():
        _print_error(_interruption_message(words))
        interruption.mark_reported()
    sys.exit(EXIT_INTERRUPTED)


def _foresee(error: BaseException) -> RfgsmError | None:
    """Return an error of a user's code, or a lack of memory, as an error of this package; None for a bug of this package."""
    if is_out_of_memory(error):
        return _with_cause(
            ResourceError(f"memory must be enough, got too little ({first_line(error)}): pass --batch-size 1"), error
        )
    if find_user_frame(error) is None:
        return _foresee_disk_error(error)
    text = f"your code must run without an error, it raised {describe_error(error)}{place_text(error)}: fix it, or pass --debug"
    return _with_cause(InputError(text), error)


def _foresee_disk_error(error: BaseException | None) -> ResourceError | None:
    """Return the error of a library whose files, such as those of a cache, cannot be written; None for another error."""
    if not isinstance(error, OSError):
        return None
    if "usable temporary directory" in str(error):
        return ResourceError(
            "temporary files must have a directory that can be written, got none: set TMPDIR to a directory that can be written"
        )
    if error.errno in DISK_ERRORS:
        return disk_error(error.filename or "the disk", error)
    return _foresee_disk_error(error.__context__)


def _with_cause(error: RfgsmError, cause: BaseException) -> RfgsmError:
    error.__cause__ = cause
    return error


def _exit_with_error(error: RfgsmError | typer.TyperException, words: list[str]) -> NoReturn:
    """Print the error in one line, or with `--debug` its traceback, and exit with its code."""
    if processes.should_report_error():
        if "--debug" in words:
            traceback.print_exception(error)
        else:
            _print_error(_usage_message(error) if isinstance(error, typer.TyperException) else str(error))
    sys.exit(error.exit_code)


def _usage_message(error: typer.TyperException) -> str:
    """Return the message of an error about the words of the command line, with the help to look at."""
    message, context = error.format_message().replace("Value error, ", ""), getattr(error, "ctx", None)
    if isinstance(error.__cause__, ValidationError) and "is not one of" not in message:
        message = f"{message.partition(', unable')[0]}, got {error.__cause__.errors()[0]['input']!r}"
    if context is None or not message or "ossible" in message or "Did you mean" in message:
        return message
    return f"{message.rstrip('.')}: see {context.command_path} --help"


def _run_and_log(args: list[str]) -> int | None:
    """Run the program and return its exit code; write the code or the exception to the log."""
    try:
        code: int | None = app(args, prog_name="rfgsm", standalone_mode=False)
    except BaseException as error:
        with suppress(ResourceError):  # of the log itself, which this error may be about
            log.write("".join(traceback.format_exception(error)))
        raise
    log.write(f"exit code {code or 0}")
    return code


def _print_error(message: str) -> None:
    """Print one line, if there is one: without arguments the help is printed alone."""
    end_loading()
    if message:
        print_line(Text.assemble(("rfgsm: ", "bold red"), printable(" ".join(message.split()))))
