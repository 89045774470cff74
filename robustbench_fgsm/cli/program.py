"""Start of the program: signals and standard streams are prepared before anything else is imported."""

from __future__ import annotations

import atexit
import gc
import os
import signal


def run_program() -> None:
    """Run `rfgsm` with the words of the command line, and exit with its code."""
    for name in ("SIGINT", "SIGTERM", "SIGHUP"):
        number = getattr(signal, name, signal.SIGINT)  # Windows has no SIGHUP
        if signal.getsignal(number) is not signal.SIG_IGN:
            signal.signal(number, lambda *_: os._exit(130))  # until the handlers are imported

    from robustbench_fgsm.cli.interruption import end_at_once, handle_signals_until_exit
    from robustbench_fgsm.cli.standard_streams import protect_standard_streams

    handle_signals_until_exit()
    atexit.register(gc.freeze)  # Python's last collection looks at every object of PyTorch, which takes 0.4 s
    try:
        protect_standard_streams()
        from robustbench_fgsm.cli.main import main

        main()
    except KeyboardInterrupt:  # before the command begins, or after it has ended
        end_at_once()
