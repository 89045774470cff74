"""`rfgsm transfer`."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from robustbench_fgsm.cli import options
from robustbench_fgsm.cli.options import DataOptionGroup, ModelOptionGroup, expand_options
from robustbench_fgsm.errors import SettingError

if TYPE_CHECKING:
    from robustbench_fgsm.data.dataset import Dataset
    from robustbench_fgsm.models.classifier import Classifier


@expand_options
def transfer_command(
    source: Annotated[
        list[str],
        typer.Option(
            "--source",
            metavar="MODEL[:WEIGHTS]",
            help="Model that images are crafted on; may be repeated.",
            show_default=False,
        ),
    ],
    target: Annotated[
        list[str] | None,
        typer.Option(
            "--target",
            metavar="MODEL[:WEIGHTS]",
            help="Model that they are shown to; may be repeated.",
            show_default="the sources",
        ),
    ] = None,
    data: options.Data = None,
    limit: options.Limit = None,
    eps: Annotated[str, typer.Option("--eps", help="Budgets in pixel space: 8/255 or 1,2,4/255.")] = "8/255",
    norm: options.Norm = "inf",
    targeted: options.Targeted = "none",
    loss: options.Loss = "ce",
    stable: options.Stable = False,
    restarts: options.Restarts = 0,
    common: Annotated[bool, typer.Option("--common", help="Also success over the images that all models had right.")] = False,
    per_class: Annotated[bool, typer.Option("--per-class", help="Also each pair class by class.")] = False,
    batch_size: options.BatchSize = "auto",
    device: options.Device = "auto",
    seed: options.Seed = 0,
    data_options: DataOptionGroup = DataOptionGroup(),
    model_options: ModelOptionGroup = ModelOptionGroup(),
    plot: Annotated[
        Path | None,
        typer.Option("--plot", metavar="FILE", help="Also draw the heat map: .png, .svg or .pdf.", show_default=False),
    ] = None,
    out: options.Out = None,
    csv: Annotated[
        Path | None,
        typer.Option("--csv", metavar="PATH", help="Also write FILE.csv, or tables into a directory.", show_default=False),
    ] = None,
    html: Annotated[
        Path | None,
        typer.Option("--html", metavar="FILE", help="Also write the page of rfgsm report.", show_default=False),
    ] = None,
    format: options.Format = options.TableFormat.table,  # noqa: A002  (the name of the option)
    json: options.Json = False,
    quiet: options.Quiet = False,
    log_dir: options.LogDir = None,  # noqa: ARG001  (read by main, before anything is said)
    debug: options.Debug = False,  # noqa: ARG001  (read by main, before anything can go wrong)
) -> int:
    """Show images that fool one model to others: robust accuracy and success of every source at every target.

    Where source and target are one model, it is what evaluate measures.

    Example: rfgsm transfer --source mlp300 --source smallcnn --target smallcnn:robust
    """
    from robustbench_fgsm.cli.output import check_csv_path, check_output_path, check_table_format
    from robustbench_fgsm.spec import AttackSpec, TargetRule, parse_epsilon, parse_norm

    check_table_format(format, as_json=json)
    check_output_path("--plot", plot)
    check_csv_path(csv)
    check_output_path("--html", html)
    order = parse_norm(norm)
    budgets, rule = parse_epsilon(eps, order), TargetRule.parse(targeted)
    spec = AttackSpec(budgets, order, rule, loss, seed=seed, restarts=restarts, stable=stable)

    from dataclasses import replace

    from robustbench_fgsm.cli.output import progress_bar, write_csv, write_html, write_result
    from robustbench_fgsm.cli.processes import join_processes
    from robustbench_fgsm.data.match_model import match_to_classifier
    from robustbench_fgsm.engine.preflight import check_batch_size
    from robustbench_fgsm.evaluation.transfer import check_transfer, make_transfer_models
    from robustbench_fgsm.report.documents import markdown
    from robustbench_fgsm.report.documents import transfer as text
    from robustbench_fgsm.report.figures import curves
    from robustbench_fgsm.report.figures.transfer import draw_heat_map
    from robustbench_fgsm.runs.directory import write_bytes
    from robustbench_fgsm.runs.transfer import TransferRun, choose_transfer_batch_size, transfer_in_directory

    check_batch_size(batch_size)
    kind = None if plot is None else curves.figure_format(plot)
    world = join_processes()
    quiet = quiet or not world.is_main
    names = source, target or source
    place = world.local_device(device)
    models, images = load_models_and_data(
        [*names[0], *names[1]], data, limit, place, data_options, model_options, seed=seed, quiet=quiet
    )
    crossing = make_transfer_models(*([models[name] for name in side] for side in names))
    images = match_to_classifier(images, crossing.models[0])
    spec = replace(spec, bounds=crossing.models[0].bounds)
    warnings = check_transfer(crossing, images, spec, strict=data_options.strict)  # before a run directory is made
    size = world.broadcast(choose_transfer_batch_size(crossing, images, batch_size, out) if world.is_main else None)
    run = TransferRun(crossing, images, spec, size, common, per_class, data_options.max_bad, warnings)
    with progress_bar("transfer", quiet=quiet) as progress:
        document = transfer_in_directory(run, out, world=world, progress=progress)
    code: int = document["exit_code"]
    if not world.is_main:
        return code
    if plot is not None and kind is not None:
        write_bytes(plot, curves.encode_figure(draw_heat_map(document), kind))
    write_csv(csv, document)
    write_html(html, document, out)
    write_result(
        document, markdown.transfer_to_markdown if format is options.TableFormat.markdown else text.render_transfer, as_json=json
    )
    return code


def load_models_and_data(
    names: Sequence[str],
    data: str | None,
    limit: int | None,
    device: str,
    data_options: DataOptionGroup,
    model_options: ModelOptionGroup,
    *,
    seed: int,
    quiet: bool,
) -> tuple[dict[str, Classifier], Dataset]:
    """Each model once, by what it was called, and the images; says on standard error which they are."""
    from robustbench_fgsm.cli.load import load_dataset
    from robustbench_fgsm.cli.output import write_note
    from robustbench_fgsm.models.architectures import ARCHITECTURES
    from robustbench_fgsm.models.cards import BUNDLED_DATA
    from robustbench_fgsm.models.load import check_model, load_classifier

    named = {name: split_model_and_weights(name) for name in dict.fromkeys(names)}
    if data is None:
        for model, _ in named.values():
            if model not in ARCHITECTURES:
                check_model(model)
                raise SettingError(f"--data must be named for {model}, got none: see rfgsm list data")
    images = load_dataset(data or BUNDLED_DATA, limit, data_options, seed)
    loaded: dict[tuple[str, str], Classifier] = {}
    found: dict[str, Classifier] = {}
    for name, (model, weights) in named.items():
        made = load_classifier(model, weights=weights, data=images.name, device=device, **model_options.load_arguments())
        found[name] = loaded.setdefault((model, made.info.sha256), made)
        write_note(f"{name}: {made.info.weights} weights, {made.device}", quiet=quiet)
    write_note(f"{len(images):,} images of {images.name}", quiet=quiet)
    return found, images


def split_model_and_weights(name: str) -> tuple[str, str]:
    """Model and weights of MODEL or MODEL:WEIGHTS, where MODEL may be SOURCE:NAME; `auto` where no weights are named."""
    from robustbench_fgsm.models.architectures import ARCHITECTURES
    from robustbench_fgsm.models.registry import sources_with_weights

    first, colon, rest = name.partition(":")
    if first in ARCHITECTURES:
        return (first, rest) if colon else (first, "auto")
    if first in sources_with_weights() and ":" in rest:
        model, _, weights = rest.partition(":")
        return f"{first}:{model}", weights
    return name, "auto"
