"""Each remedy for bad words of the commands beside evaluate, done as the error says: gates, locks, pages, figures, runs, training.

As in `test_remedies`, a remedy may use no other words than those of the error, of the command before, and of `own`.
"""

from __future__ import annotations

import io
import shlex
import shutil
import tarfile
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

import robustbench_fgsm as rf
from robustbench_fgsm.cli.main import main
from robustbench_fgsm.models.cards import WEIGHTS_FOLDER
from tests.cli.test_remedies import FGSM, Remedy, said_words

Run = Callable[..., tuple[int, str, str]]

KEPT = {
    "kept": "evaluate mlp300 --limit 8 --optimize none --seed 0",
    "new": "evaluate mlp600 --limit 8 --optimize none --seed 0",
    "swept": "sweep mlp300 --limit 8 --optimize none --targeted none --targeted next",
    "far": "evaluate mlp300 --limit 8 --optimize none --distance",
}
G = "gate new --baseline kept --max-drop 1"
T = "train -m smallcnn --limit 40 --out made --epochs 1 --held-out 0"
V = "verify file.py:fgsm --case rows"
X = "transfer --source mlp300 --limit 4"
B = "benchmark mlp300 --limit 4 --references none --no-memory"
F = "plot kept -o figure.png"
C = "compare mlp300 --limit 4"

REMEDIES = [
    # gates, locks and plans
    Remedy("gate new --max-drop 1", "got no --baseline RUN: add it", G, "kept"),
    Remedy("gate --baseline kept --max-drop 1", "got no RUN: add it", G, "new"),
    Remedy("gate new", "or plan a gate with --plan RUN", "gate --plan new"),
    Remedy(f"{G.replace('kept', 'swept')}", "measure one of them again", f"{G}", "kept"),
    Remedy(f"{G.replace('kept', 'nothere')}", "check the path", G, "kept"),
    Remedy(f"{G} --on distances", "did you mean distance?", "gate far --baseline far --max-drop 1 --on distance", "far"),
    Remedy(f"{G} --on distance", "measure both with --distance", "gate far --baseline far --max-drop 1 --on distance", "far"),
    Remedy(G.replace("drop 1", "drop 100"), "did you mean 1?", G),
    Remedy(f"{G} --alpha 2", "leave it out for 0.05", G),
    Remedy(f"{G} --drops 0.1", "leave it out", G),
    Remedy(f"{G} --drops 0.1", "or add --plan RUN", "gate --plan new --drops 0.1"),
    Remedy("gate --plan new --baseline kept", "leave --baseline out", "gate --plan new"),
    Remedy("gate --plan new --drops x", "try 0.02,0.05", "gate --plan new --drops 0.02,0.05"),
    Remedy("gate --plan new --junit x.xml", "leave --junit out", "gate --plan new"),
    Remedy(G.replace("kept", "file.py"), "choose another path", G, "kept"),
    Remedy(f"{G} --junit kept", "choose another path", f"{G} --junit kept.xml", "kept.xml"),
    Remedy(f"{G} --html kept", "choose another path", f"{G} --html kept.html", "kept.html"),
    Remedy(f"{G} --format markdown --json", "leave one out", f"{G} --json"),
    Remedy("lock nothere", "check the path", "lock kept", "kept"),
    Remedy("lock kept -o file.py", "choose another path", "lock kept -o file.lock", "file.lock"),
    # pages and figures
    Remedy("report nothere", "make one with --out", "evaluate mlp300 --limit 4 --out nothere", "evaluate mlp300 --limit 4"),
    Remedy("report kept --format markdow", "'markdown'", "report kept --format markdown"),
    Remedy("report kept -o swept", "choose another path", "report kept -o page.html", "page.html"),
    Remedy("report file.py", "choose another path", "report kept", "kept"),
    Remedy("plot kept", "'-o'", "plot kept -o figure.png", "figure.png"),
    Remedy("plot kept -o figure.gif", "ends in .png", F, "figure.png"),
    Remedy(f"{F} --kind transfer", "try --kind confusion", f"{F} --kind confusion"),
    Remedy(f"{F} --kind per_class", "'per-class'", f"{F} --kind per-class"),
    Remedy(f"{F} --eps 5/255", "name one of these", f"{F} --eps 8/255"),
    Remedy(f"{F} --eps 8,9/255", "one budget of the run", f"{F} --eps 8/255", "8/255"),
    Remedy(f"{F} --targeted next", "name one of these", f"{F} --targeted none"),
    Remedy("plot swept -o a.png --kind curve --eps 8/255", "leave targeted and epsilon out", "plot swept -o a.png --kind curve"),
    Remedy("plot kept swept -o a.png", "pass --kind curve", "plot kept swept -o a.png --kind curve"),
    Remedy("plot kept swept -o a.png", "or one run", "plot kept -o a.png"),
    # runs
    Remedy("runs list nothere", "check the path", "runs list kept", "kept"),
    Remedy("runs show nothere", "check the path", "runs show kept", "kept"),
    Remedy("runs resume nothere", "check the path", "runs resume kept", "kept"),
    Remedy("runs show kept --export x.xls", "name a file that ends in one of these", "runs show kept --export x.csv", "x.csv"),
    Remedy("runs show kept --outcomes -1", "greater than or equal to 0", "runs show kept --outcomes 0"),
    Remedy("runs resum kept", "Did you mean 'resume'?", "runs resume kept"),
    Remedy("evaluate mlp300 --limit 8 --out kept", "choose another directory", "evaluate mlp300 --limit 8 --out other", "other"),
    Remedy("sweep mlp300 --limit 8 --out kept", "choose another directory", "sweep mlp300 --limit 8 --out other", "other"),
    Remedy("evaluate mlp300 --limit 8 --name mine", "add --out DIR", "evaluate mlp300 --limit 8 --name mine --out other", "other"),
    # training
    Remedy(T.replace("epochs 1", "epochs 0"), "try 10", T.replace("epochs 1", "epochs 10")),
    Remedy(f"{T} --method fgm", "did you mean fgsm", f"{T} --method fgsm"),
    Remedy(f"{T} --optimizer adem", "did you mean adam?", f"{T} --optimizer adam"),
    Remedy(f"{T} --keep bst", "best or last", f"{T} --keep last"),
    Remedy(f"{T} --held-out 100000", "try --held-out 0", f"{T} --held-out 0"),
    Remedy(f"{T} --augment flipp", "try crop:2,flip", f"{T} --augment crop:2,flip"),
    Remedy(f"{T} --strict", "leave it out", T),
    Remedy(T.replace("made", "kept"), "choose another directory", T, "made"),
    # transfer, benchmark, explain
    Remedy("transfer --limit 4", "'--source'", X, "mlp300"),
    Remedy(X.replace("mlp300", "mlp30"), "did you mean mlp300?", X),
    Remedy(f"{X} --targeted nex", "did you mean next", f"{X} --targeted next"),
    Remedy(f"{X} --eps 8", "did you mean 8/255?", f"{X} --eps 8/255"),
    Remedy(f"{B} --rounds 0", "try 5", f"{B} --rounds 5"),
    Remedy(f"{B} --levels nonee", "did you mean none?", f"{B} --levels none"),
    Remedy(f"{B} --threads 0", "leave it out", B),
    Remedy("explain 37 -m mlp300 -n 20", "did you mean 0.37?", "explain 0.37 -m mlp300 -n 20"),
    Remedy("explain 0.37 -m mlp300 -n 20 --norm 2", "leave it out", "explain 0.37 -m mlp300 -n 20"),
    # candidates and references
    Remedy("verify file.py:nope --case rows", "choose from fgsm", V, "file.py:fgsm"),
    Remedy("verify none.py:fgsm --case rows", "check the path", V, "file.py:fgsm"),
    Remedy(f"{V} --style plan", "did you mean plain?", f"{V} --style plain"),
    Remedy(V.replace("rows", "rws"), "did you mean rows", V),
    Remedy(V.replace("rows", "own"), "pass --model", f"{V.replace('rows', 'own')} --model mlp300", "mlp300"),
    Remedy(f"{V} --expect random", "did you mean random-start", f"{V} --expect random-start"),
    Remedy(f"{V} --time-limit 0", "try 10", f"{V} --time-limit 10"),
    Remedy(f"{V} --image-shape 28", "such as 1x28x28", f"{V} --image-shape 1x28x28"),
    Remedy(f"{V} --classes 1", "pass the number of logits", f"{V} --classes 10", "10"),
    Remedy(f"{C} --references none", "add art", f"{C} --references art"),
    Remedy(f"{C} --references art --ignore flor", "did you mean floor?", f"{C} --references art --ignore floor"),
    Remedy(f"{C} --candidate file.py", "name the function too", f"{C} --candidate file.py:fgsm", "file.py:fgsm"),
    Remedy("attack --check kept", "check the path", "attack --check saved", "saved"),
    Remedy("attack --check saved --eps 8,9/255", "leave them out", "attack --check saved"),
    Remedy("attack --check saved --csv a.csv", "leave it out", "attack --check saved"),
    # addresses and archives
    Remedy(
        "evaluate mlp300 --weights standard --data https://x.org/data.npz",
        "download it, and pass the file",
        "evaluate mlp300 --weights standard --data data.npz",
        "data.npz",
    ),
    Remedy(
        "evaluate mlp300 --limit 4 --weights s3://x/best.safetensors",
        "download it, and pass the file",
        "evaluate mlp300 --limit 4 --weights best.safetensors",
        "best.safetensors",
    ),
    Remedy(
        "evaluate https://x.org/net.pt2 --weights standard --data data.npz",
        "download it, and pass the file",
        "evaluate mlp300 --weights standard --data data.npz",
        "mlp300",
    ),
    Remedy(
        "evaluate mlp300 --weights standard --data cut.tar",
        "copy or write it again",
        "evaluate mlp300 --weights standard --data whole.tar",
        "whole.tar",
    ),
    # the program
    Remedy("evaluat mlp300 --limit 4", "Did you mean 'evaluate'", "evaluate mlp300 --limit 4"),
    Remedy("evaluate mlp300 --limt 4", "--limit", "evaluate mlp300 --limit 4"),
    Remedy("list model", "'models'", "list models"),
    Remedy("evaluate mlp300 --limit 4 --device cda", "pass cpu or auto", "evaluate mlp300 --limit 4 --device cpu"),
    Remedy("evaluate mlp300 --limit 4 --device cuda", "cpu", "evaluate mlp300 --limit 4 --device cpu"),
    Remedy("evaluate mlp300 --limit 4 --split val", "test", "evaluate mlp300 --limit 4 --split test"),
    Remedy(
        "evaluate mlp300 --limit 4 --max-asr 30 --eps 0", "did you mean 0.3?", "evaluate mlp300 --limit 4 --max-asr 0.3 --eps 0"
    ),
    Remedy("sweep mlp300 --limit 4 --find-asr 50", "did you mean 0.5?", "sweep mlp300 --limit 4 --find-asr 0.5"),
    Remedy("sweep mlp300 --limit 4 --plot a.txt", "name one of these", "sweep mlp300 --limit 4 --plot a.png", "a.png"),
    Remedy("evaluate mlp300 --limit 4 --eps-scale rnge", "range", "evaluate mlp300 --limit 4 --eps-scale range"),
    Remedy(
        "evaluate mlp300 --limit 4 --max-epsilon 0 --distance", "try 0.5", "evaluate mlp300 --limit 4 --max-epsilon 0.5 --distance"
    ),
    Remedy("evaluate mlp300 --limit 4 --mean 0.1,0.2,0.3 --std 1,1,1", "leave", "evaluate mlp300 --limit 4"),
    Remedy(
        "evaluate mlp300 --limit 4 --weights none --num-classes 10 --mean 1,2,3 --std 1,1,1",
        "pass --mean and --std with one number each",
        "evaluate mlp300 --limit 4 --weights none --num-classes 10 --mean 1 --std 1",
        "1",
    ),
]


@pytest.fixture(scope="module")
def runs_folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with finished runs."""
    folder = tmp_path_factory.mktemp("runs")
    for name, words in (KEPT | {"saved": "attack -m mlp300 --limit 4"}).items():
        with pytest.raises(SystemExit) as stopped:
            main([*words.split(), "--out", str(folder / name), "--quiet"])
        assert not stopped.value.code
    (folder / "file.py").write_text(FGSM)
    images = rf.load_data("fashion-mnist", limit=8)
    batch = next(iter(images))
    np.savez(folder / "data.npz", images=batch.images.numpy(), labels=batch.labels.numpy())
    shutil.copy(WEIGHTS_FOLDER / "mlp300-fashion-mnist-standard.safetensors", folder / "best.safetensors")
    with tarfile.open(folder / "whole.tar", "w") as shard:
        for place, (image, label) in enumerate(zip(batch.images, batch.labels.tolist(), strict=True)):
            picture = io.BytesIO()
            Image.fromarray((255 * image[0]).byte().numpy()).save(picture, "png")
            for name, content in ((f"{place}.png", picture.getvalue()), (f"{place}.cls", str(label).encode())):
                entry = tarfile.TarInfo(name)
                entry.size = len(content)
                shard.addfile(entry, io.BytesIO(content))
    (folder / "cut.tar").write_bytes((folder / "whole.tar").read_bytes()[100:])
    return folder


@pytest.mark.parametrize("remedy", REMEDIES, ids=lambda remedy: f"{remedy.wrong}: {remedy.error}")
@pytest.mark.filterwarnings("ignore")
def test_remedy_succeeds(
    run: Run, remedy: Remedy, runs_folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, one_thread: None
) -> None:
    shutil.copytree(runs_folder, tmp_path, dirs_exist_ok=True)
    monkeypatch.chdir(tmp_path)
    code, _, said = run(*shlex.split(remedy.wrong))
    assert code == 2, f"exit {code}: {said}"
    assert remedy.error in said
    assert sum(line.startswith("rfgsm: ") for line in said.splitlines()) == 1
    assert not said_words(remedy, said), said
    code, out, said = run(*shlex.split(remedy.right))
    is_partial = remedy.right.startswith("verify")  # a part of the calls is no verdict
    assert code in ((0, 1) if is_partial else (0,)), said + out
    assert "rfgsm: " not in said
