"""Make the pictures of the documentation from runs on the bundled images.

python examples/pictures.py docs/pictures

Without a directory, the pictures go to a temporary one. The picture of a report page needs Chromium.
"""

from __future__ import annotations

import shutil
import subprocess
import sys
import tempfile
from pathlib import Path

SWEEP = ("sweep", "--model", "smallcnn", "--limit", "500", "--targeted", "none", "--targeted", "next", "--out", "run")
TRANSFER = ("transfer", "--source", "mlp300", "--source", "smallcnn", "--source", "smallcnn:robust", "--limit", "500")
TRAIN = ("train", "--model", "mlp300", "--data", "fashion-mnist", "--limit", "3000", "--held-out", "500", "--epochs", "3")
FIGURES = {"confusion.svg": "confusion", "per-class.svg": "per-class", "curve.svg": "curve", "gallery.png": "gallery"}


def main() -> None:
    with tempfile.TemporaryDirectory() as name:
        work = Path(name)
        there = Path(sys.argv[1]).resolve() if len(sys.argv) > 1 else work / "pictures"
        there.mkdir(parents=True, exist_ok=True)
        rfgsm(work, *SWEEP)
        for file, kind in FIGURES.items():
            rfgsm(work, "plot", "run", "--kind", kind, "-o", str(there / file))
        rfgsm(work, *TRANSFER, "--plot", str(there / "transfer.svg"))
        rfgsm(work, *TRAIN, "--out", "trained", "--plot", str(there / "training.svg"))
        take_screenshot(work, there / "report.png")
        for made in sorted(there.iterdir()):
            print(f"{made.name}: {made.stat().st_size // 1024} KiB")


def rfgsm(work: Path, *words: str) -> None:
    command = [sys.executable, "-m", "robustbench_fgsm", *words, "--quiet"]
    subprocess.run(command, cwd=work, stdout=subprocess.DEVNULL, check=True)


def take_screenshot(work: Path, file: Path) -> None:
    chromium = shutil.which("chromium")
    if chromium is None:
        return
    rfgsm(work, "report", "run", "-o", "report.html")
    command = [chromium, "--headless", "--no-sandbox", "--hide-scrollbars", "--window-size=1280,1500"]
    page = (work / "report.html").as_uri()
    subprocess.run([*command, f"--screenshot={file}", page], cwd=work, capture_output=True, check=True, timeout=120)


if __name__ == "__main__":
    main()
