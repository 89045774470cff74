"""The program, called in this process."""

from __future__ import annotations

from collections.abc import Callable

import pytest

from robustbench_fgsm.cli.main import main


@pytest.fixture
def run(capsys: pytest.CaptureFixture[str]) -> Callable[..., tuple[int, str, str]]:
    """Exit code, standard output and standard error of one call."""

    def call(*words: str) -> tuple[int, str, str]:
        with pytest.raises(SystemExit) as stopped:
            main([*words])
        out, err = capsys.readouterr()
        return int(stopped.value.code or 0), out, err

    return call
