"""Run our FGSM, other libraries' and a bare loop over one classifier and one data set, and time them in turns."""

from __future__ import annotations

import time
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager

import torch

from robustbench_fgsm.benchmarking.bare_loop import BareResult, check_bare_loop_norm
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
    PeakMemory,
    PickledClassifierAndData,
    measure_peak_memory,
)
from robustbench_fgsm.benchmarking.result import Benchmark, ContenderResult
from robustbench_fgsm.benchmarking.timing import ContenderTimings, TaskRunner, TimedTask, time_contenders
from robustbench_fgsm.data.dataset import BadSample, Dataset, describe_data, readable_batches
from robustbench_fgsm.data.match_model import match_to_classifier
from robustbench_fgsm.engine.attack_batch import synchronise
from robustbench_fgsm.engine.batch_size import choose_batch_size
from robustbench_fgsm.engine.environment import describe_environment, describe_processor
from robustbench_fgsm.engine.preflight import check_batch_size, check_images, preflight
from robustbench_fgsm.errors import SettingError
from robustbench_fgsm.evaluation.evaluate import Progress, check_distinct_epsilons
from robustbench_fgsm.models.classifier import Classifier, TorchClassifier
from robustbench_fgsm.models.precision import float32_precision
from robustbench_fgsm.references.registry import REFERENCES, check_references
from robustbench_fgsm.registry import RegistryEntry
from robustbench_fgsm.spec import BENCHMARK_EPSILONS, AttackOptions, AttackSpec, BenchmarkOptions, RunOptions


def benchmark(
    classifier: Classifier,
    data: Dataset,
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
    progress: Progress | None = None,
) -> Benchmark:
    """Time our FGSM beside other libraries and beside a loop of bare PyTorch, which is the unit.

    All contenders take turns in one process, on equal batches, at the largest budget alone and at all budgets together. The task
    `attack` is the attack alone. The task `job` is predictions before, attack, and predictions after.

    Args:
        classifier: the PyTorch model to attack.
        data: the images and their labels.
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
        progress: called with steps done and steps in all.

    Returns:
        The benchmark. A reference that raises an exception is not an error: the benchmark reports the exception.

    Raises:
        SettingError, ModelError, DataError: if settings, model and data do not fit each other; before the first attack.
    """
    spec = AttackOptions(epsilons, norm).to_spec(classifier.bounds)
    options = BenchmarkOptions(references, levels, rounds, memory, threads)
    run_options = RunOptions(batch_size, max_bad=max_bad, strict=strict)
    return run_benchmark(classifier, data, spec, options, run_options, progress=progress)


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
    check_batch_size(run_options.batch_size)
    data = match_to_classifier(data, classifier)
    present, absent = choose_references(options.references)
    field = list_contenders(network, check_levels(options.levels), [one.name for one in present])
    if warnings is None:
        warnings = preflight(classifier, data, spec, strict=run_options.strict)
    size = choose_batch_size(run_options.batch_size, classifier, data)
    bad = check_all_images(classifier, data, size)
    tasks = timed_tasks(spec.epsilons)
    steps = _ProgressCounter(len(field) * (len(tasks) * (rounds + 1) + (load is not None)), progress)
    with use_threads(threads), float32_precision(network.device):  # the bare loop and other libraries too
        team = [_make_implementation(entry, network, data, spec, size) for entry in field]
        runners = {entry.name: _task_runner(made, data) for entry, made in zip(field, team, strict=True)}
        lanes = time_contenders(runners, tasks, rounds, synchronise=lambda: synchronise(network.device), on_task_done=steps.advance)
        memories: list[PeakMemory | str | None] = [None] * len(field)
        if load is not None:
            memories = [
                _peak_memory(MemoryRequest(load, entry, spec, size, torch.get_num_threads()), lane, steps)
                for entry, lane in zip(field, lanes, strict=True)
            ]
        environment = describe_environment(network.device) | describe_processor()
    return Benchmark(
        model=classifier.info,
        data=describe_data(data),
        attack=spec,
        batch_size=size,
        rounds=rounds,
        tasks=tuple(tasks),
        contender_results=tuple(
            ContenderResult(entry, "" if isinstance(made, Exception) else made.version, lane, memory)
            for entry, made, lane, memory in zip(field, team, lanes, memories, strict=True)
        ),
        absent=tuple(absent),
        preflight_warnings=tuple(warnings),
        environment=environment,
        seconds=time.perf_counter() - began,
        bad=bad,
        max_bad=run_options.max_bad,
    )


def check_benchmark_settings(spec: AttackSpec, rounds: int, threads: int | None) -> None:
    """Raise SettingError for a norm that the bare loop does not know, budgets that repeat, and counts below 1."""
    check_bare_loop_norm(spec.norm)
    check_distinct_epsilons(spec)
    if rounds < 1:
        raise SettingError(f"rounds must be at least 1, got {rounds}: try {BenchmarkOptions.rounds}")
    if threads is not None and threads < 1:
        raise SettingError(f"threads must be at least 1, got {threads}: leave it out for as many as there are")


def choose_references(names: Sequence[str] | None) -> tuple[list[RegistryEntry], list[RegistryEntry]]:
    """Return the named references; for None those that are installed, and those that are not. Raise as `check_references`."""
    known = REFERENCES.entries()
    if names is not None:
        return [known[name] for name in check_references(names)], []
    present = [entry for entry in known.values() if entry.installed_version is not None]
    return present, [entry for entry in known.values() if entry.installed_version is None]


def check_all_images(classifier: Classifier, data: Dataset, batch_size: int) -> tuple[BadSample, ...]:
    """Images that cannot be had; raises DataError where one that can is not as `check_images` wants it.

    Before the race, since nobody but `run_attacks` looks at images while the clock runs.
    """
    bad: list[BadSample] = []
    for batch in readable_batches(data, 0, len(data), batch_size, bad):
        check_images(batch, classifier)
    return tuple(bad)


def timed_tasks(epsilons: tuple[float, ...]) -> list[TimedTask]:
    """Attack and job, at the largest budget and, where there are others, at all of them."""
    some = dict.fromkeys(((max(epsilons),), epsilons))
    return [TimedTask(kind, budgets) for budgets in some for kind in ("attack", "job")]


@contextmanager
def use_threads(threads: int | None) -> Iterator[None]:
    """So many threads of PyTorch inside, and as many as before afterwards."""
    before = torch.get_num_threads()
    torch.set_num_threads(before if threads is None else threads)
    try:
        yield
    finally:
        torch.set_num_threads(before)


class _ProgressCounter:
    """Counts steps for whoever wants to know."""

    def __init__(self, total: int, progress: Progress | None) -> None:
        self._done, self._total, self._progress = 0, total, progress

    def advance(self) -> None:
        self._done += 1
        if self._progress is not None:
            self._progress(self._done, self._total)


def _make_implementation(
    contender: Contender, classifier: TorchClassifier, data: Dataset, spec: AttackSpec, batch_size: int
) -> TimedImplementation | Exception:
    """The contender, or what kept it from being made: its runner raises that, so that it fails like any other."""
    try:
        return contender.make_implementation(classifier, data, spec, batch_size)
    except Exception as error:  # noqa: BLE001  (whatever a library raises is its result)
        return error


def _task_runner(implementation: TimedImplementation | Exception, data: Dataset) -> TaskRunner:
    def run(task: TimedTask) -> int | BareResult:
        if isinstance(implementation, Exception):
            raise implementation
        return implementation.attack(data, task.epsilons) if task.kind == "attack" else implementation.job(data, task.epsilons)

    return run


def _peak_memory(request: MemoryRequest, timings: ContenderTimings, counter: _ProgressCounter) -> PeakMemory | str | None:
    """None for a contender that failed already."""
    found = None if timings.error else measure_peak_memory(request)
    counter.advance()
    return found
