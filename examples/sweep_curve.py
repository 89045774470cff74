"""Draw accuracy over epsilon, untargeted and targeted, with one gradient per image and rule.

python examples/sweep_curve.py [curve.png]
"""

from __future__ import annotations

import sys

from matplotlib.figure import Figure

import robustbench_fgsm as rf


def main(file: str | None = None) -> None:
    classifier = rf.load_classifier("mlp300")
    images = rf.load_data("fashion-mnist", limit=1000)
    figure = Figure(layout="constrained")
    axes = figure.subplots()
    for evaluation in rf.sweep(classifier, images, "0,1,2,4,8,16/255", targeted=["none", "next"]):
        rule, area = str(evaluation.attack.target), evaluation.area_under_curve
        rates = [tally.robust_accuracy for tally in evaluation.tallies]
        half = evaluation.first_epsilon(0.5)
        print(f"targeted {rule}: mean robust accuracy {area:.1%}; half of the images are fooled", end=" ")
        print("by none of these budgets" if half is None else f"from epsilon {half:.4f} on")
        for epsilon, rate in zip(evaluation.attack.epsilons, rates, strict=True):
            print(f"  {epsilon:.4f}  {rate}, n={rate.n}")
        axes.plot(evaluation.attack.epsilons, [rate.count / rate.n for rate in rates], marker="o", label=f"targeted {rule}")
    axes.set(xlabel="epsilon, pixel values in [0, 1]", ylabel="robust accuracy", ylim=(0, 1))
    axes.legend()
    if file is not None:
        figure.savefig(file)


if __name__ == "__main__":
    main(*sys.argv[1:2])
