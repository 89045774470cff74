"""Attack image files in a directory. One file is incomplete: it is left out, counted and named.

python examples/attack_a_folder.py
"""

from __future__ import annotations

import tempfile
from pathlib import Path

import numpy as np
from PIL import Image

import robustbench_fgsm as rf


def write_folder(place: Path, images: rf.Dataset) -> None:
    """Write one directory per class, named by the label, with the images as PNG files."""
    for batch in images:
        for image, label, id_ in zip(batch.images, batch.labels.tolist(), batch.ids.tolist(), strict=True):
            file = place / str(label) / f"{id_:04d}.png"
            file.parent.mkdir(parents=True, exist_ok=True)
            Image.fromarray((image[0].numpy() * 255).round().astype(np.uint8)).save(file)


def main() -> None:
    classifier = rf.load_classifier("smallcnn")
    with tempfile.TemporaryDirectory() as directory:
        place = Path(directory)
        write_folder(place, rf.load_data("fashion-mnist", limit=300))
        sneaker = next((place / "7").iterdir())
        sneaker.write_bytes(sneaker.read_bytes()[:-100])

        images = rf.load_data(f"folder:{place}")
        evaluation = rf.evaluate(classifier, images, epsilon=8 / 255, max_bad=1)

        print(f"{len(images)} files, {evaluation.n} of them attacked")
        for sample in evaluation.bad:
            print(f"bad: {Path(sample.path).relative_to(place)}: {sample.reason}")
        (tally,) = evaluation.tallies
        print(f"right before {evaluation.clean_accuracy}, after {tally.robust_accuracy}")
        for result in tally.per_class(evaluation.classes):
            print(f"  {result.name:12} {result.robust_accuracy}, n={result.n}")


if __name__ == "__main__":
    main()
