"""The command `rfgsm train`: standard or adversarial training."""

from __future__ import annotations

from dataclasses import MISSING
from typing import TYPE_CHECKING, Annotated

from robustbench_fgsm.cli.expand_options import Variant, expand_options
from robustbench_fgsm.cli.options import DataOptions, ModelOptions, OutputOptions
from robustbench_fgsm.cli.output import write_note
from robustbench_fgsm.errors import SettingError
from robustbench_fgsm.options import Option, RunOptions
from robustbench_fgsm.training.recipe import TrainingRecipe

if TYPE_CHECKING:
    from robustbench_fgsm.data.dataset import Dataset
    from robustbench_fgsm.models.classifier import TorchClassifier


MODEL_VARIANT = Variant(
    without=("dtype", "task"),
    defaults={"weights": "none"},
    options={"weights": Option("none to start from random weights, or weights from which training continues, as for --model.")},
)
OUTPUT_VARIANT = Variant(
    without=("keep_images",),
    defaults={"out": MISSING},
    options={"out": Option("Keep weights, model card and log in DIR. The same command continues there.", metavar="DIR")},
)


@expand_options
def train_command(
    model_options: Annotated[ModelOptions, MODEL_VARIANT],
    data_options: DataOptions,
    recipe: TrainingRecipe,
    run_options: Annotated[RunOptions, Variant(only=("max_bad", "strict"))],
    output: Annotated[OutputOptions, OUTPUT_VARIANT],
) -> int:
    """Train a network, on clean images or on FGSM's, and check it under a stronger attack four times an epoch.

    Trained weights load with --weights DIR. The same command continues a stopped training.

    Example: rfgsm train --model smallcnn --data fashion-mnist --split train --method n-fgsm --eps 0.1 --out robust
    """
    if run_options.strict:
        raise SettingError("--strict is about checks before an attack, got it with train: leave it out")

    from robustbench_fgsm.cli.output import progress_bar, write_result
    from robustbench_fgsm.cli.processes import join_processes
    from robustbench_fgsm.report.documents.training import training_check_text
    from robustbench_fgsm.runs.train import TrainingRun, train_in_directory

    world, model_options, output = join_processes(model_options, output)
    quiet = output.quiet
    classifier, images = load_network_and_data(model_options, data_options, seed=recipe.seed, quiet=quiet)
    with progress_bar("train", quiet=quiet) as progress:
        found = train_in_directory(
            TrainingRun(classifier, images, recipe, run_options.max_bad),
            output.out,
            progress=progress,
            report=lambda check: write_note(training_check_text(check.to_dict()), quiet=quiet),
            world=world,
        )
    return write_result(found.to_dict(), output, is_main=world.is_main)


def load_network_and_data(
    model_options: ModelOptions, data_options: DataOptions, *, seed: int, quiet: bool
) -> tuple[TorchClassifier, Dataset]:
    """Load the network before training and the images; print on standard error which they are."""
    from robustbench_fgsm.cli.load import choose_split, load_dataset, load_model_and_data, resolve_data_name
    from robustbench_fgsm.data.limit import describe_sample
    from robustbench_fgsm.models.classifier import TorchClassifier
    from robustbench_fgsm.runs.train import create_untrained_classifier

    model = model_options.model
    data = resolve_data_name([model], data_options.data)
    data_options = choose_split(data, data_options, training=True, quiet=quiet)
    if model_options.weights != "none":
        found, images = load_model_and_data(model_options, data_options, seed=seed, quiet=quiet)
        if not isinstance(found, TorchClassifier):
            raise SettingError(f"only a PyTorch network can be trained, got {model}: name an architecture")
        return found, images
    images = load_dataset(data, data_options, seed, quiet=quiet)
    if images.name == "fashion-mnist" and data_options.split in (None, "test"):
        write_note("Warning: this trains on the test split of fashion-mnist: pass --split train to keep it apart", quiet=quiet)
    given = model_options.load_arguments()
    settings = {name: given[name] for name in ("device", "num_classes", "mean", "std", "bounds")}
    network = create_untrained_classifier(model, images, seed=seed, **settings)
    write_note(f"{model}: untrained, {describe_sample(images)}, {network.device}", quiet=quiet)
    return network, images
