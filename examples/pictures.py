"""Make the pictures of the documentation from runs on the bundled images.

python examples/pictures.py docs/pictures

Without a directory, the pictures go to a temporary one. The picture of a report page needs Chromium.
"""

from __future__ import annotations

import io
import os
import pty
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path

from rich.console import Console
from rich.text import Text

SWEEP = ("sweep", "--model", "smallcnn", "--limit", "500", "--targeted", "none", "--targeted", "next", "--out", "run")
PAGE = ("sweep", "--model", "smallcnn", "--limit", "500", "--eps", "2,8/255", "--out", "tutorial")
TRANSFER = ("transfer", "--source", "mlp300", "--source", "smallcnn", "--source", "smallcnn:robust", "--limit", "500")
TRAIN = ("train", "--model", "mlp300", "--data", "fashion-mnist", "--limit", "3000", "--held-out", "500", "--epochs", "3")
VERIFY = ("verify", str(Path(__file__).parent / "candidates/notebook.py:fgsm"))
COLUMNS = 80
SVG = """<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {width} {height}" role="img" font-family="monospace">
<style>.{unique_id}-matrix {{ font-size: {char_height}px; line-height: {line_height}px; white-space: pre }} {styles}</style>
<defs>{lines}</defs>{chrome}
<g transform="translate({terminal_x}, {terminal_y})">{backgrounds}<g class="{unique_id}-matrix">{matrix}</g></g>
</svg>
"""
"""Rich's picture of a terminal, without fonts from the network."""
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
        draw_terminal(there / "terminal.svg")
        take_screenshot(work, there / "report.png")
        for made in sorted(there.iterdir()):
            print(f"{made.name}: {made.stat().st_size // 1024} KiB")


def rfgsm(work: Path, *words: str) -> None:
    command = [sys.executable, "-m", "robustbench_fgsm", *words, "--quiet"]
    subprocess.run(command, cwd=work, stdout=subprocess.DEVNULL, check=True)


def draw_terminal(file: Path) -> None:
    """Draw what `rfgsm verify` prints on a terminal with colours."""
    command = [sys.executable, "-m", "robustbench_fgsm", *VERIFY, "--quiet"]
    reader, writer = pty.openpty()  # colours need a terminal
    with subprocess.Popen(command, stdout=writer, env=os.environ | {"COLUMNS": str(COLUMNS), "TERM": "xterm-256color"}):
        os.close(writer)
        printed = b"".join(iter(lambda: read_terminal(reader), b"")).decode().replace("\r\n", "\n")
    os.close(reader)
    console = Console(record=True, width=COLUMNS, file=io.StringIO())
    console.print(Text.from_ansi(f"$ rfgsm verify examples/candidates/notebook.py:fgsm\n{printed.rstrip()}"))
    file.write_text(console.export_svg(title="rfgsm verify", code_format=SVG, unique_id="terminal"), encoding="utf-8")


def read_terminal(reader: int) -> bytes:
    """Return the next bytes, none at the end, which Linux reports as an error."""
    try:
        return os.read(reader, 65536)
    except OSError:
        return b""


def take_screenshot(work: Path, file: Path) -> None:
    chromium = shutil.which("chromium")
    if chromium is None:
        return
    rfgsm(work, *PAGE)
    rfgsm(work, "report", "tutorial", "-o", "report.html")
    command = [chromium, "--headless", "--no-sandbox", "--hide-scrollbars", "--window-size=1280,1740", "--virtual-time-budget=9999"]
    page = (work / "report.html").as_uri()
    subprocess.run([*command, f"--screenshot={file}", page], cwd=work, capture_output=True, check=True, timeout=120)


if __name__ == "__main__":
    main()
