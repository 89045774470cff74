"""The example repository: a first lock, an equal, a worse and a better network."""

from __future__ import annotations

import shutil
import subprocess
import sys
from pathlib import Path

import robustbench_fgsm as rf
from robustbench_fgsm.runs.lock_file import read_lock

EXAMPLE = Path(__file__).parents[2] / "examples" / "gate"
LOCK = "tests/robustness.lock"


def run(place: Path, *words: str) -> tuple[int, str]:
    """Exit code and output of pytest in a repository, in a process of its own as its users start it."""
    command = [sys.executable, "-m", "pytest", "-p", "robustbench_fgsm.pytest_plugin", "-p", "no:cacheprovider", *words]
    done = subprocess.run(command, cwd=place, capture_output=True, text=True, check=False, timeout=600)
    return done.returncode, done.stdout


def use(place: Path, old: str, new: str) -> None:
    """Write another network into `network.py`."""
    file = place / "network.py"
    before = file.read_text(encoding="utf-8")
    assert before.count(f'"{old}"') == 1
    file.write_text(before.replace(f'"{old}"', f'"{new}"'), encoding="utf-8")


def test_a_clean_repository_goes_through_its_life(tmp_path: Path) -> None:
    place = tmp_path / "repository"
    shutil.copytree(EXAMPLE, place)
    (place / LOCK).unlink()
    code, out = run(place)
    assert (code, "run pytest --rfgsm-update" in out) == (1, True)
    code, out = run(place, "--rfgsm-update")
    assert (code, f"wrote {LOCK}, commit it" in out) == (0, True)
    assert rf.gate(place / LOCK, EXAMPLE / LOCK).passed
    code, out = run(place)
    assert (code, "robustness.lock" in out) == (0, False)
    use(place, "smallcnn", "mlp300")
    code, out = run(place)
    assert (
        code,
        f"mlp300 (standard) is less robust than smallcnn (standard) of {LOCK} (other architecture), 500 images" in out,
    ) == (1, True)
    assert run(place, "--rfgsm-update")[0] == 0
    use(place, "mlp300", "smallcnn")
    code, out = run(place)
    assert (code, f"better than {LOCK}, so lock it: pytest --rfgsm-update" in out) == (0, True)


def test_the_committed_lock_is_small() -> None:
    assert read_lock(EXAMPLE / LOCK).n == 500
    assert (EXAMPLE / LOCK).stat().st_size < 3000
