"""A command under torchrun: which process it is, which process prints, and which exit code it returns."""

from __future__ import annotations

import os
import sys
import time
from collections.abc import Sequence
from dataclasses import replace
from typing import TYPE_CHECKING

from robustbench_fgsm.engine.torchrun import is_under_torchrun
from robustbench_fgsm.errors import SettingError

if TYPE_CHECKING:
    from robustbench_fgsm.cli.options import ModelOptions, OutputOptions
    from robustbench_fgsm.engine.distributed import World

SECONDS_TO_REPORT = 2.0
"""Time in which the main process reports an error before the other processes exit."""

DISTRIBUTED_COMMANDS = {"attack", "evaluate", "runs", "sweep", "train", "transfer"}
"""Commands whose work several processes can share."""


def join_processes(model_options: ModelOptions, output: OutputOptions) -> tuple[World, ModelOptions, OutputOptions]:
    """Join the processes of this command. Return them, this process's device, and its output: only the main one prints."""
    from robustbench_fgsm.engine.distributed import join_world

    world = join_world()
    device = world.local_device(model_options.device)
    return world, replace(model_options, device=device), replace(output, quiet=output.quiet or not world.is_main)


def should_report_error() -> bool:
    """Return True if this process reports the error that stops it; of several processes the first that fails reports.

    Before the processes have joined they all fail alike, and the main process reports.
    """
    module = sys.modules.get("robustbench_fgsm.engine.distributed")
    if not is_under_torchrun():
        return True
    if module is None or not module.join_world.cache_info().currsize:
        is_main = os.environ["RANK"] == "0"
        if not is_main:  # torchrun ends the main process as soon as another process exits
            time.sleep(SECONDS_TO_REPORT)
        return is_main
    world: World = module.join_world()
    return world.report_failure()


def final_exit_code(code: int) -> int:
    """Return the exit code of a finished command: under torchrun always 0, because torchrun restarts any other code."""
    if not is_under_torchrun():
        return code
    module = sys.modules.get("robustbench_fgsm.engine.distributed")
    if module is not None:
        module.leave_world()
    return 0


def check_process_count(args: Sequence[str]) -> None:
    """Raise SettingError if torchrun started several processes of a command that runs in one process."""
    if is_under_torchrun() and os.environ["WORLD_SIZE"] != "1" and not {*args[:1]} <= DISTRIBUTED_COMMANDS:
        raise SettingError(f"torchrun starts several processes, but rfgsm {args[0]} is done by one: start it alone")
