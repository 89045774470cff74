"""Loading of a user's checkpoint: find the state dict and the prefix of its keys with which everything fits a network."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path

import torch
from torch import Tensor, nn

from robustbench_fgsm.errors import ModelError
from robustbench_fgsm.models.checkpoint import find_problems, first_keys, load_weights, read_state_dicts, strip_prefix

WRAPPER_NAMES = {
    *(
        "_forward_module",
        "_orig_mod",
        "backbone",
        "base_model",
        "ema",
        "ema_model",
        "model",
        "model_ema",
        "module",
        "net",
        "network",
    ),
    *("student", "teacher"),
}
"""Names of attributes that hold the whole network in training programs, torch.compile, DataParallel and Lightning."""

AVERAGE_WORDS = ("ema", "averaged", "swa", "teacher")
"""Parts of names of averaged weights, which are not taken if others fit too."""

NORMALISATION_NAMES = ("mean", "std", "mu", "sigma")
"""Ends of keys whose tensors change the outputs, so that they are never left out."""

SAME_ARCHITECTURE_SHARE = 0.9
"""Share of the keys that fit at least, if the weights are those of nearly the same architecture."""


@dataclass(frozen=True)
class CheckpointMatch:
    """State dict at a place of a checkpoint, read without a prefix or with another prefix of its keys.

    left_out: keys of the state dict outside the prefix. problems: as `find_problems` returns them.
    """

    place: str
    prefix: str
    added_prefix: str
    state: Mapping[str, Tensor]
    left_out: tuple[str, ...]
    problems: Mapping[str, set[str]]

    @property
    def fits(self) -> bool:
        """Return True if no key is missing, unexpected or of another shape; types may differ, and weights may not be finite."""
        changes = [key for key in self.left_out if key.rpartition(".")[2] in NORMALISATION_NAMES]
        return not (self.problems["missing"] or self.problems["unexpected"] or self.problems["of another shape"] or changes)

    @property
    def is_average(self) -> bool:
        """Return True if the names say that the weights are averages over the training."""
        return any(word in f"{self.place}.{self.prefix}".lower() for word in AVERAGE_WORDS)

    @property
    def name(self) -> str:
        """Return the place and the prefix, such as `state_dict, keys model.*`."""
        return ", ".join(filter(None, [self.place, f"keys {self.prefix}*" if self.prefix else ""])) or "the file itself"

    def count_fitting(self) -> int:
        """Return the number of keys that fit."""
        return len(self.state) - len(self.problems["unexpected"]) - len(self.problems["of another shape"])

    def describe(self, others: tuple[CheckpointMatch, ...]) -> str:
        """Return how the state dict was found, or an empty text if the file is the state dict; others: matches that fit too."""
        parts = [self.name if self.place or self.prefix else ""]
        parts.append(f"prefix {self.added_prefix} added" if self.added_prefix else "")
        parts.append(f"left out: {first_keys(list(self.left_out))}" if self.left_out else "")
        named = "; ".join(other.name for other in others)
        parts.append(f"other weights in the file fit too ({named}): save these alone to use them" if others else "")
        return "; ".join(filter(None, parts))


def load_checkpoint(network: nn.Module, file: Path, *, takes_num_classes: bool) -> str:
    """Copy the weights of a file into the network, and return how they were found in it; empty if the file is a state dict.

    A nest such as `state_dict` is entered, and prefixes such as `model.` are taken off, only if then everything fits. Of several
    weights that fit, those that are not averages are taken, and then the first.

    Args:
        network: the network, changed in place.
        file: safetensors file, or a file of `torch.save`.
        takes_num_classes: whether `--num-classes` changes the network's number of outputs.

    Raises:
        ModelError: no weights fit, or they are not finite; the message names the kind of the misfit.
        UnsafeError: the file asks for more than tensors.
    """
    matches = list(_matches(read_state_dicts(file), network.state_dict()))
    fitting = sorted((match for match in matches if match.fits), key=lambda match: match.is_average)
    if not fitting:
        raise _misfit_error(max(matches, key=CheckpointMatch.count_fitting), network, file, takes_num_classes=takes_num_classes)
    chosen, *others = fitting
    load_weights(network, chosen.state, str(file))
    return chosen.describe(tuple(other for other in others if not _same_weights(chosen, other)))


def num_classes_in_checkpoint(network: nn.Module, file: Path) -> int | None:
    """Return the number of classes of the weights in a file, if they differ from the network in that alone, else None."""
    own = network.state_dict()
    matches = list(_matches(read_state_dicts(file), own))
    if not matches or any(match.fits for match in matches):
        return None
    found = _numbers_of_classes(own, max(matches, key=CheckpointMatch.count_fitting))
    return None if found is None else found[0]


def _matches(states: Mapping[str, Mapping[str, Tensor]], own: Mapping[str, Tensor]) -> Iterator[CheckpointMatch]:
    for place, state in states.items():
        for prefix in dict.fromkeys(["", *_wrapper_prefixes(state)]):
            inside = strip_prefix(state, prefix)
            left_out = tuple(key for key in state if not key.startswith(prefix))
            yield CheckpointMatch(place, prefix, "", inside, left_out, find_problems(own, inside))
        for added in _wrapper_prefixes(own):
            if all(key.startswith(added) for key in own):
                longer = {f"{added}{key}": value for key, value in strip_prefix(state, "").items()}
                yield CheckpointMatch(place, "", added, longer, (), find_problems(own, longer))


def _wrapper_prefixes(keys: Mapping[str, Tensor]) -> Iterator[str]:
    """Yield each prefix of a key that consists of names of wrappers alone, such as `module.model.`, each once."""
    seen = set[str]()
    for key in keys:
        prefix = ""
        for word in key.split(".")[:-1]:
            if word not in WRAPPER_NAMES:
                break
            prefix += f"{word}."
            if prefix not in seen:
                seen.add(prefix)
                yield prefix


def _same_weights(one: CheckpointMatch, other: CheckpointMatch) -> bool:
    return one.state.keys() == other.state.keys() and all(_equal(one.state[key], other.state[key]) for key in one.state)


def _equal(one: object, other: object) -> bool:
    return isinstance(one, Tensor) and isinstance(other, Tensor) and torch.equal(one, other)


def _misfit_error(match: CheckpointMatch, network: nn.Module, file: Path, *, takes_num_classes: bool) -> ModelError:
    """Return the error for the state dict that fits best."""
    own, problems = network.state_dict(), match.problems
    where = f"{file} ({match.name})" if match.place or match.prefix else str(file)
    if (classes := _numbers_of_classes(own, match)) is not None:
        theirs, ours = classes
        remedy = f"pass --num-classes {theirs}" if takes_num_classes else f"make the network with {theirs} classes"
        return ModelError(f"weights must have the network's {ours} classes, got {theirs} in {where}: {remedy}")
    fitting, count = match.count_fitting(), max(len(own), len(match.state))
    firsts = [f"first {kind} {min(keys)}" for kind, keys in problems.items() if keys]
    firsts += [f"first outside the prefix {match.left_out[0]}"] if match.left_out else []
    other = fitting < SAME_ARCHITECTURE_SHARE * count
    return ModelError(
        f"weights must fit the network exactly, got {where}{', weights of another architecture' if other else ''}: "
        f"{fitting:,} of {count:,} keys fit; {', '.join(firsts)}: name the architecture that they were trained for"
    )


def _numbers_of_classes(own: Mapping[str, Tensor], match: CheckpointMatch) -> tuple[int, int] | None:
    """Return the number of classes in the checkpoint and in the network, if the weights differ in nothing else."""
    problems = match.problems
    if problems["missing"] or problems["unexpected"] or not problems["of another shape"]:
        return None
    shapes = [(match.state[key].shape, own[key].shape) for key in problems["of another shape"]]
    if not all(theirs and ours and theirs[1:] == ours[1:] for theirs, ours in shapes):
        return None
    pairs = {(theirs[0], ours[0]) for theirs, ours in shapes}
    return next(iter(pairs)) if len(pairs) == 1 else None
