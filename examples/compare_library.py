"""Attack one batch, compare with ART on 500 images, and print the success of the attack in each class.

python examples/compare_library.py
"""

from __future__ import annotations

import robustbench_fgsm as rf


def main() -> None:
    classifier = rf.load_classifier("smallcnn")
    images = rf.load_data("fashion-mnist", limit=500)

    batch = next(images.batches(0, 500, 64))
    x, y = batch.images.to(classifier.device), batch.labels.to(classifier.device)
    x_adv = rf.fgsm(classifier, x, y, epsilon=8 / 255)
    before, after = (rf.Rate(int((classifier.predict(z).argmax(1) == y).sum()), len(y)) for z in (x, x_adv))
    print(f"one batch of {len(y)}: right before {before}, after {after}")

    comparison = rf.compare(classifier, images, epsilon=8 / 255, references=["art"])
    print(f"ours and ART: {comparison.verdict}")
    print("attack success over the n images that were right before, with 95 % Wilson intervals:")
    for result in comparison.ours.tally.per_class(images.classes):
        success = result.attack_success_rate
        print(f"  {result.name:12} {success}, n={success.n}")


if __name__ == "__main__":
    main()
