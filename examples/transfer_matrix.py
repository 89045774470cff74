"""Show adversarial images of each network to all networks, and print robust accuracy and success.

python examples/transfer_matrix.py [heat-map.png]
"""

from __future__ import annotations

import sys

import robustbench_fgsm as rf

NAMES = {"mlp300": "standard", "mlp900": "standard", "smallcnn": "robust"}


def main(file: str | None = None) -> None:
    images = rf.load_data("fashion-mnist", limit=300)
    models = [rf.load_classifier(name, weights=weights) for name, weights in NAMES.items()]
    found = rf.transfer(models, models, images, "16/255", common=True)
    for source, one in enumerate(NAMES):
        for target, other in enumerate(NAMES):
            robust, success = found.robust_accuracy(source, target), found.common_success_rate(source, target)
            print(f"{one} to {other}: robust accuracy {robust}, n={robust.n}; success {success}, n={success.n}")
    if file is not None:
        found.plot().savefig(file)


if __name__ == "__main__":
    main(*sys.argv[1:2])
