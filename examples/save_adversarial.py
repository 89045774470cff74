"""Save adversarial images, read them, damage one file, and show that the check finds it and a new run repairs it.

python examples/save_adversarial.py
"""

from __future__ import annotations

from pathlib import Path
from tempfile import TemporaryDirectory

from safetensors.torch import load_file

import robustbench_fgsm as rf


def main() -> None:
    classifier = rf.load_classifier("mlp300")
    images = rf.load_data("fashion-mnist", limit=200)
    with TemporaryDirectory() as place:
        out = Path(place)
        saved = rf.save_adversarial(classifier, images, out, 8 / 255, shard_size=100)
        print(f"{saved.tally.n} images, robust accuracy {saved.tally.robust_accuracy}")

        second = out / "adversarial-00001.safetensors"
        stored = load_file(second)
        print(f"{second.name}: {', '.join(f'{name} {tuple(array.shape)}' for name, array in sorted(stored.items()))}")
        print(f"verified: {rf.check_adversarial(out).verified}")

        second.write_bytes(second.read_bytes()[:-100])
        for mismatch in rf.check_adversarial(out).mismatches:
            print(f"{mismatch.where}: expected {mismatch.expected}, found {mismatch.found}")
        rf.save_adversarial(classifier, images, out, 8 / 255, shard_size=100)  # makes the damaged shard again
        print(f"verified: {rf.check_adversarial(out).verified}")


if __name__ == "__main__":
    main()
