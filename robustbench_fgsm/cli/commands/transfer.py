"""The command `rfgsm transfer`: every source against every target."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Annotated

from robustbench_fgsm.cli.expand_options import Variant, expand_options
from robustbench_fgsm.cli.options import DataOptions, ModelOptions, OutputOptions
from robustbench_fgsm.options import AttackOptions, Option, RunOptions, TransferOptions

if TYPE_CHECKING:
    from robustbench_fgsm.data.dataset import Dataset
    from robustbench_fgsm.models.classifier import Classifier


ATTACK_VARIANT = Variant(options={"epsilon": Option("Budgets in the units of the images: 8/255 or 1,2,4/255.")})


@expand_options
def transfer_command(
    *,
    source: Annotated[
        list[str],
        Option("Model on which images are crafted. May be repeated.", metavar="MODEL[:WEIGHTS]", multiple=True, panel="Model"),
    ],
    target: Annotated[
        list[str],
        Option(
            "Model that is tested on these images. May be repeated.",
            metavar="MODEL[:WEIGHTS]",
            default_text="the sources",
            multiple=True,
            panel="Model",
        ),
    ] = [],  # noqa: B006  (read only)
    model_options: Annotated[ModelOptions, Variant(without=("model", "weights", "task"), defaults={"model": ""})],
    data_options: DataOptions,
    attack: Annotated[AttackOptions, ATTACK_VARIANT],
    transfer_options: TransferOptions,
    run_options: Annotated[RunOptions, Variant(without=("optimize",))],
    output: Annotated[OutputOptions, Variant(without=("keep_images",))],
) -> int:
    """Show images that fool one model to others: robust accuracy and success of every source at every target.

    A model that is source and target gives what evaluate measures.

    Example: rfgsm transfer --source mlp300 --source smallcnn --target smallcnn:robust
    """
    attack.to_spec(model_options.expected_bounds)

    from robustbench_fgsm.cli.output import progress_bar, write_result
    from robustbench_fgsm.cli.processes import join_processes
    from robustbench_fgsm.data.match_model import match_to_classifier
    from robustbench_fgsm.evaluation.transfer import check_transfer, make_transfer_models, read_models_for_loss
    from robustbench_fgsm.runs.transfer import TransferRun, choose_transfer_batch_size, transfer_in_directory

    world, model_options, output = join_processes(model_options, output)
    names = source, target or source
    models, images = load_models_and_data(
        [*names[0], *names[1]],
        model_options,
        data_options,
        seed=attack.seed,
        epsilon_scale=attack.epsilon_scale,
        quiet=output.quiet,
    )
    crossing = make_transfer_models(*([models[name] for name in side] for side in names))
    crossing = read_models_for_loss(crossing, attack.loss)
    images = match_to_classifier(images, crossing.models[0])
    spec = attack.to_spec(crossing.models[0].bounds)
    warnings = check_transfer(crossing, images, spec, strict=run_options.strict)  # before a run directory is made
    chosen = choose_transfer_batch_size(crossing, images, run_options.batch_size, output.out) if world.is_main else None
    run = TransferRun(crossing, images, spec, transfer_options, world.broadcast(chosen), run_options.max_bad, warnings)
    with progress_bar("transfer", quiet=output.quiet) as progress:
        document = transfer_in_directory(run, output.out, world=world, progress=progress)
    return write_result(document, output, is_main=world.is_main)


def load_models_and_data(
    names: Sequence[str], model_options: ModelOptions, data_options: DataOptions, *, seed: int, epsilon_scale: object, quiet: bool
) -> tuple[dict[str, Classifier], Dataset]:
    """Load each model once, by its name, and the images; print on standard error which they are."""
    from robustbench_fgsm.cli.load import check_feature_files, load_dataset, model_text, resolve_data_name
    from robustbench_fgsm.cli.output import write_note
    from robustbench_fgsm.data.limit import describe_sample
    from robustbench_fgsm.models.load import load_classifier
    from robustbench_fgsm.models.names import split_model_and_weights

    named = {name: split_model_and_weights(name) for name in dict.fromkeys(names)}
    data = resolve_data_name([model for model, _ in named.values()], data_options.data)
    check_feature_files(data, data_options, model_options, epsilon_scale)
    images = load_dataset(data, data_options, seed, quiet=quiet)
    settings = model_options.load_arguments()
    loaded: dict[tuple[str, str], Classifier] = {}
    found: dict[str, Classifier] = {}
    for name, (model, weights) in named.items():
        made = load_classifier(model, data=images.name, **settings | {"weights": weights})
        found[name] = loaded.setdefault((model, made.info.sha256), made)
        write_note(f"{model_text(name, made.info)}, {made.device}", quiet=quiet)
    write_note(describe_sample(images), quiet=quiet)
    return found, images
