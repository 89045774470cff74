"""Time our FGSM, other libraries and a bare loop in turns on one classifier and one data set."""

from __future__ import annotations

import time
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from itertools import count
from typing import Any

import torch
from torch import nn

from robustbench_fgsm.benchmarking.bare_loop import BARE_LOOP_NORMS, BareResult
from robustbench_fgsm.benchmarking.contenders import (
    Contender,
    TimedImplementation,
    check_levels,
    check_pytorch_network,
    list_contenders,
)
from robustbench_fgsm.benchmarking.peak_memory import (
    LoadClassifierAndData,
    MemoryRequest,
    PickledClassifierAndData,
    measure_peak_memory,
)
from robustbench_fgsm.benchmarking.result import Benchmark, ContenderResult
from robustbench_fgsm.benchmarking.roofline import count_operations
from robustbench_fgsm.benchmarking.timing import TaskRunner, TimedTask, time_contenders
from robustbench_fgsm.data.dataset import BadSample, Dataset, describe_data, first_readable_batch, readable_batches
from robustbench_fgsm.data.match_model import as_classifier_and_data, match_to_classifier
from robustbench_fgsm.engine.attack_batch import synchronise
from robustbench_fgsm.engine.batch_size import choose_batch_size
from robustbench_fgsm.engine.environment import describe_environment, describe_processor
from robustbench_fgsm.engine.preflight import check_images, preflight, require_multi_class
from robustbench_fgsm.engine.progress_bar import ProgressSetting, as_function, with_progress_bar
from robustbench_fgsm.errors import SettingError
from robustbench_fgsm.evaluation.evaluate import Progress, check_distinct_epsilons
from robustbench_fgsm.global_settings import float32_precision, neutral_settings
from robustbench_fgsm.models.classifier import Classifier, TorchClassifier
from robustbench_fgsm.options import BENCHMARK_EPSILONS, AttackOptions, BenchmarkOptions, RunOptions
from robustbench_fgsm.references.registry import REFERENCES, check_references
from robustbench_fgsm.registry import RegistryEntry
from robustbench_fgsm.spec import AttackSpec, norm_name


@with_progress_bar
@neutral_settings(generators=True)
def benchmark(
    classifier: Classifier | nn.Module,
    data: Dataset | Any,
    epsilons: Iterable[float] | str = BENCHMARK_EPSILONS,
    *,
    norm: str | float = AttackOptions.norm,
    references: Sequence[str] | None = None,
    levels: Sequence[str] = BenchmarkOptions.levels,
    rounds: int = BenchmarkOptions.rounds,
    memory: bool | LoadClassifierAndData = BenchmarkOptions.memory,
    threads: int | None = BenchmarkOptions.threads,
    batch_size: int | str = RunOptions.batch_size,
    max_bad: int = RunOptions.max_bad,
    strict: bool = RunOptions.strict,
    progress: ProgressSetting = None,
) -> Benchmark:
    """Time our FGSM beside other libraries and beside a loop of bare PyTorch, which is the unit.

    All contenders take turns in one process, on equal batches, at the largest budget alone and at all budgets together. The task
    `attack` is the attack alone. The task `job` is predictions before, attack, and predictions after.

    Args:
        classifier: the PyTorch model to attack.
        data: the images and their labels: a data set, or anything that `load_data` takes, such as a DataLoader or (x, y).
        epsilons: budgets in pixel space, all different, as numbers or as text such as `1,2,4/255`.
        norm: order of the norm: `inf` or `2`.
        references: other libraries, by their names in `rfgsm list references`; None for all that are installed.
        levels: optimisation levels of our FGSM: `none`, `safe`, `max`.
        rounds: number of timed rounds, after one to warm up.
        memory: measure the peak memory of each contender, in a process of its own. Classifier and data are pickled for it. Pass a
            function that makes both again if they cannot be pickled.
        threads: threads of PyTorch on the CPU during this benchmark; None for the number that PyTorch uses already.
        batch_size: images in a batch for all contenders, or `auto`.
        max_bad: number of unreadable images above which the result is invalid.
        strict: raise an error if a preflight check warns.
        progress: called with steps done and steps in all; by default a bar in notebooks and terminals; False for none.

    Returns:
        The benchmark. A reference that raises an exception is not an error: the benchmark reports the exception.

    Raises:
        SettingError, ModelError, DataError: if settings, model and data do not fit each other; before the first attack.
    """
    classifier, data = as_classifier_and_data(classifier, data)
    spec = AttackOptions(epsilons, norm).to_spec(classifier.bounds)
    options = BenchmarkOptions(references, levels, rounds, memory, threads)
    run_options = RunOptions(batch_size, max_bad=max_bad, strict=strict)
    return run_benchmark(classifier, data, spec, options, run_options, progress=as_function(progress))


def run_benchmark(
    classifier: Classifier,
    data: Dataset,
    spec: AttackSpec,
    options: BenchmarkOptions,
    run_options: RunOptions,
    *,
    warnings: Sequence[str] | None = None,
    progress: Progress | None = None,
) -> Benchmark:
    """Run a benchmark with parsed settings; see `benchmark`. Warnings of None run the preflight."""
    began = time.perf_counter()
    rounds, threads = options.rounds, options.threads
    load = PickledClassifierAndData(classifier, data) if options.memory is True else options.memory or None
    network = check_pytorch_network(classifier)
    check_benchmark_settings(spec, rounds, threads)
    data = match_to_classifier(data, classifier)
    present, absent = choose_references(options.references)
    contenders = list_contenders(network, check_levels(options.levels), [reference.name for reference in present])
    require_multi_class(classifier, "benchmark")
    if warnings is None:
        warnings = preflight(classifier, data, spec, strict=run_options.strict)
    size = choose_batch_size(run_options.batch_size, classifier, data)
    bad = check_all_images(classifier, data, size)
    tasks, steps_done = timed_tasks(spec.epsilons), count(1)
    steps = len(contenders) * (len(tasks) * (rounds + 1) + (load is not None))

    def on_task_done() -> None:
        if progress is not None:
            progress(next(steps_done), steps)

    def wait_for_device() -> None:
        synchronise(network.device)

    roofline = count_operations(network.copy_network(), first_readable_batch(data, 2).images.to(network.device))
    with use_threads(threads), float32_precision(network.device):  # also for the bare loop and other libraries
        roofline = roofline and roofline.with_rate(network.device, wait_for_device)
        implementations = [_make_implementation(contender, network, data, spec, size) for contender in contenders]
        runners = {
            contender.name: _task_runner(implementation, data)
            for contender, implementation in zip(contenders, implementations, strict=True)
        }
        timings = time_contenders(runners, tasks, rounds, synchronise=wait_for_device, on_task_done=on_task_done)
        roofline = roofline and roofline.with_rate(network.device, wait_for_device)  # other work may have slowed the first one
        results = []
        for contender, implementation, times in zip(contenders, implementations, timings, strict=True):
            version, memory = "" if isinstance(implementation, Exception) else implementation.version, None
            if load is not None:
                request = MemoryRequest(load, contender, spec, size, torch.get_num_threads())
                memory = None if times.error else measure_peak_memory(request)
                on_task_done()
            results.append(ContenderResult(contender, version, times, memory))
        environment = describe_environment(network.device) | describe_processor()
    return Benchmark(
        model=classifier.info,
        data=describe_data(data),
        attack=spec,
        batch_size=size,
        rounds=rounds,
        tasks=tuple(tasks),
        contender_results=tuple(results),
        absent=tuple(absent),
        preflight_warnings=tuple(warnings),
        environment=environment,
        seconds=time.perf_counter() - began,
        roofline=roofline,
        bad=bad,
        max_bad=run_options.max_bad,
    )


def check_benchmark_settings(spec: AttackSpec, rounds: int, threads: int | None) -> None:
    """Raise SettingError for a norm that the bare loop does not have, repeated epsilons, and counts below 1."""
    if spec.norm not in BARE_LOOP_NORMS:
        known = " or ".join(map(norm_name, BARE_LOOP_NORMS))
        raise SettingError(
            f"benchmark is for norm {known}, which the bare loop has, got {norm_name(spec.norm)}: choose one of these"
        )
    check_distinct_epsilons(spec)
    if rounds < 1:
        raise SettingError(f"rounds must be at least 1, got {rounds}: try {BenchmarkOptions.rounds}")
    if threads is not None and threads < 1:
        raise SettingError(f"threads must be at least 1, got {threads}: leave it out for as many as there are")


def choose_references(names: Sequence[str] | None) -> tuple[list[RegistryEntry], list[RegistryEntry]]:
    """Return the named references, or all installed and all absent references for None; raise as `check_references` does."""
    known = REFERENCES.entries()
    if names is not None:
        return [known[name] for name in check_references(names)], []
    present = [entry for entry in known.values() if entry.installed_version is not None]
    return present, [entry for entry in known.values() if entry.installed_version is None]


def check_all_images(classifier: Classifier, data: Dataset, batch_size: int) -> tuple[BadSample, ...]:
    """Return the unreadable samples; raise DataError if a readable image fails `check_images`.

    This runs before the clock, because most contenders do not check images.
    """
    bad: list[BadSample] = []
    for batch in readable_batches(data, 0, len(data), batch_size, bad):
        check_images(batch, classifier)
    return tuple(bad)


def timed_tasks(epsilons: tuple[float, ...]) -> list[TimedTask]:
    """Return attack and job at the largest epsilon and, if there are several, at all epsilons."""
    return [TimedTask(kind, some) for some in dict.fromkeys(((max(epsilons),), epsilons)) for kind in ("attack", "job")]


@contextmanager
def use_threads(threads: int | None) -> Iterator[None]:
    """Use this number of PyTorch threads inside the block, and restore the number afterwards; None changes nothing."""
    before = torch.get_num_threads()
    torch.set_num_threads(before if threads is None else threads)
    try:
        yield
    finally:
        torch.set_num_threads(before)


def _make_implementation(
    contender: Contender, classifier: TorchClassifier, data: Dataset, spec: AttackSpec, batch_size: int
) -> TimedImplementation | Exception:
    """Return the implementation, or the error of making it, which its runner then raises."""
    try:
        return contender.make_implementation(classifier, data, spec, batch_size)
    except Exception as error:  # noqa: BLE001  (an error of a library is its result)
        return error


def _task_runner(implementation: TimedImplementation | Exception, data: Dataset) -> TaskRunner:
    def run(task: TimedTask) -> int | BareResult:
        if isinstance(implementation, Exception):
            raise implementation
        return implementation.attack(data, task.epsilons) if task.kind == "attack" else implementation.job(data, task.epsilons)

    return run
