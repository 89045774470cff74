"""`rfgsm train`."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from robustbench_fgsm.cli import options
from robustbench_fgsm.cli.options import DataOptionGroup, ModelOptionGroup, expand_options
from robustbench_fgsm.cli.output import write_note
from robustbench_fgsm.errors import SettingError

if TYPE_CHECKING:
    from robustbench_fgsm.data.dataset import Dataset
    from robustbench_fgsm.models.classifier import TorchClassifier


@expand_options
def train_command(
    model: options.Model,
    out: Annotated[
        Path,
        typer.Option(
            "--out",
            metavar="DIR",
            help="Keep weights, model card and log there; the same command continues.",
            show_default=False,
        ),
    ],
    weights: Annotated[
        str, typer.Option("--weights", help="none to begin from chance, or weights to go on from, as for --model.")
    ] = "none",
    data: options.Data = None,
    limit: options.Limit = None,
    method: Annotated[str, typer.Option("--method", help="standard, fgsm, fgsm-rs, n-fgsm or static.")] = "standard",
    eps: options.Eps = "8/255",
    epochs: Annotated[int, typer.Option("--epochs", help="Passes over the images.")] = 10,
    batch_size: Annotated[int, typer.Option("--batch-size", help="Images a step.")] = 128,
    optimizer: Annotated[str, typer.Option("--optimizer", help="adam or sgd.")] = "adam",
    learning_rate: Annotated[float, typer.Option("--learning-rate", help="The highest of the schedule.")] = 0.002,
    weight_decay: Annotated[float, typer.Option("--weight-decay", help="As PyTorch's optimiser takes it.")] = 0.0,
    schedule: Annotated[str, typer.Option("--schedule", help="one-cycle, cosine or constant.")] = "one-cycle",
    augment: Annotated[str, typer.Option("--augment", help="none, or crop:PIXELS, flip or both with a comma between.")] = "none",
    craft_mode: Annotated[
        str, typer.Option("--craft-mode", help="Batch norm and dropout while crafting: train, as published, or eval.")
    ] = "train",
    clamp: Annotated[bool, typer.Option("--clamp/--no-clamp", help="Keep crafted images within pixel bounds.")] = True,
    noise: Annotated[float, typer.Option("--noise", help="Half width of n-fgsm's noise, in epsilons.")] = 2.0,
    mix: Annotated[float, typer.Option("--mix", help="The clean loss's part under fgsm.")] = 0.5,
    held_out: Annotated[int, typer.Option("--held-out", help="Images to watch and not to train on.")] = 256,
    early_stop: Annotated[
        int, typer.Option("--early-stop", help="Stop after so many epochs without a better one; 0 for never.")
    ] = 0,
    keep: Annotated[str, typer.Option("--keep", help="Weights of the best accuracy under PGD, the last, or auto.")] = "auto",
    precision: Annotated[str, typer.Option("--precision", help="auto, float32 or bfloat16.")] = "auto",
    device: options.Device = "auto",
    seed: Annotated[int, typer.Option("--seed", help="Of weights, order, noise and augmentation.")] = 0,
    data_options: DataOptionGroup = DataOptionGroup(),
    model_options: ModelOptionGroup = ModelOptionGroup(),
    plot: Annotated[
        Path | None,
        typer.Option("--plot", metavar="FILE", help="Also draw the curves: .png, .svg or .pdf.", show_default=False),
    ] = None,
    format: options.Format = options.TableFormat.table,  # noqa: A002  (the name of the option)
    json: options.Json = False,
    quiet: options.Quiet = False,
    log_dir: options.LogDir = None,  # noqa: ARG001  (read by main, before anything is said)
    debug: options.Debug = False,  # noqa: ARG001  (read by main, before anything can go wrong)
) -> int:
    """Train a network: as usual, or on FGSM's own images, watching it under a stronger attack all the while.

    Trained weights load with --weights DIR. A training that was stopped goes on by the same command.

    Example: rfgsm train --model smallcnn --data fashion-mnist --split train --method n-fgsm --eps 0.1 --out robust
    """
    from robustbench_fgsm.cli.output import ResultFormat, check_output, check_output_path
    from robustbench_fgsm.spec import parse_epsilon
    from robustbench_fgsm.training.recipe import TrainingRecipe

    output = ResultFormat(json, format)
    check_output(output)
    check_output_path("--plot", plot)
    budgets = parse_epsilon(eps)
    if len(budgets) != 1:
        raise SettingError(f"train takes one epsilon, got {len(budgets)}: train once for each")
    if data_options.strict:
        raise SettingError("--strict is about checks before an attack, got it with train: leave it out")
    recipe = TrainingRecipe(
        method,
        budgets[0],
        epochs,
        batch_size,
        optimizer,
        learning_rate,
        weight_decay,
        schedule,
        augment,
        craft_mode,
        clamp,
        noise,
        mix,
        held_out,
        early_stop,
        keep,
        precision,
        seed,
    )

    from robustbench_fgsm.cli.output import progress_bar, write_result
    from robustbench_fgsm.cli.processes import join_processes
    from robustbench_fgsm.report.documents.training import training_check_text
    from robustbench_fgsm.report.figures import curves
    from robustbench_fgsm.runs.directory import write_bytes
    from robustbench_fgsm.runs.train import train_with_recipe

    kind = None if plot is None else curves.figure_format(plot)
    world = join_processes()
    quiet = quiet or not world.is_main
    place = world.local_device(device)
    classifier, images = load_network_and_data(
        model, weights, data, limit, place, data_options, model_options, seed=seed, quiet=quiet
    )
    with progress_bar("train", quiet=quiet) as progress:
        found = train_with_recipe(
            classifier,
            images,
            recipe,
            out,
            data_options.max_bad,
            progress,
            lambda check: write_note(training_check_text(check.to_dict()), quiet=quiet),
            world,
        )
    if not world.is_main:
        return found.exit_code
    document = found.to_dict()
    if plot is not None and kind is not None:
        write_bytes(plot, curves.encode_figure(curves.draw_training_curves(document), kind))
    write_result(document, output)
    return found.exit_code


def load_network_and_data(
    model: str,
    weights: str,
    data: str | None,
    limit: int | None,
    device: str,
    data_options: DataOptionGroup,
    model_options: ModelOptionGroup,
    *,
    seed: int,
    quiet: bool,
) -> tuple[TorchClassifier, Dataset]:
    """The network as it is before, and the images; says on standard error what they are."""
    from robustbench_fgsm.cli.load import load_dataset, load_model_and_data
    from robustbench_fgsm.models.architectures import ARCHITECTURES
    from robustbench_fgsm.models.cards import BUNDLED_DATA
    from robustbench_fgsm.models.classifier import TorchClassifier
    from robustbench_fgsm.models.load import check_model
    from robustbench_fgsm.runs.train import create_untrained_classifier

    if weights != "none":
        found, images = load_model_and_data(
            model, weights, data, limit, device, data_options, model_options, seed=seed, quiet=quiet
        )
        if not isinstance(found, TorchClassifier):
            raise SettingError(f"only a PyTorch network can be trained, got {model}: name an architecture")
        return found, images
    if data is None and model not in ARCHITECTURES:
        check_model(model)
        raise SettingError(f"--data must be named for {model}, got none: see rfgsm list data")
    images = load_dataset(data or BUNDLED_DATA, limit, data_options, seed)
    said = model_options.load_arguments()
    names = ("num_classes", "mean", "std", "bounds")
    student = create_untrained_classifier(model, images, seed=seed, device=device, **{name: said[name] for name in names})
    write_note(f"{model}: untrained, {len(images):,} images of {images.name}, {student.device}", quiet=quiet)
    return student, images
