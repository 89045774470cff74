"""Print the robust accuracy of each class, and the class predicted most often instead.

python examples/evaluate_per_class.py
"""

from __future__ import annotations

import robustbench_fgsm as rf


def main() -> None:
    classifier = rf.load_classifier("smallcnn")
    images = rf.load_data("fashion-mnist", limit=500)
    evaluation = rf.evaluate(classifier, images, epsilon=8 / 255)

    (tally,) = evaluation.tallies
    print(f"{evaluation.n} images; right before {evaluation.clean_accuracy}, after {tally.robust_accuracy}")
    print("robust accuracy of each class over its n images, with 95 % Wilson intervals:")
    for result in tally.per_class(images.classes):
        wrong = result.most_common_wrong
        mistaken = "nothing else" if wrong is None else images.classes[wrong]
        print(f"  {result.name:12} {result.robust_accuracy}, n={result.n}, most often mistaken for {mistaken}")
    for warning in evaluation.warnings:
        print(f"warning: {warning}")


if __name__ == "__main__":
    main()
