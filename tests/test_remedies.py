"""Remedies of errors in Python: the code that an error asks for succeeds."""

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np
import pytest
import torch
from torch import nn
from torch.utils.data import DataLoader, IterableDataset, TensorDataset

import robustbench_fgsm as rf


class Remedy(NamedTuple):
    """Wrong code, part of its error, and the code as the error says."""

    wrong: str
    error: str
    right: str


class Doubled(torch.utils.data.Sampler[int]):
    def __iter__(self) -> Any:
        return iter([0, 0, 1])

    def __len__(self) -> int:
        return 3


class Lone(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.norm, self.layer = nn.BatchNorm1d(12, track_running_stats=False), nn.Linear(12, 4)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        found: torch.Tensor = self.layer(self.norm(x.flatten(1)))
        return found


class Flipped(torch.utils.data.Dataset[Any]):
    def __init__(self, *, random: bool) -> None:
        self.random = random

    def __len__(self) -> int:
        return 12

    def __getitem__(self, index: int) -> Any:
        image = torch.arange(12.0).reshape(3, 2, 2) / 12
        return (image.flip(-1) if self.random and torch.rand(()) < 0.5 else image), index % 4


class Stream(IterableDataset[Any]):
    def __iter__(self) -> Any:
        return iter([(torch.rand(3, 2, 2), index % 4) for index in range(8)])


REMEDIES = [
    # the attack
    Remedy("rf.fgsm(net, x, y, torch.tensor(True))", "pass epsilon.float()", "rf.fgsm(net, x, y, torch.tensor(True).float())"),
    Remedy("rf.fgsm(net, x, y, object())", "pass a number or text such as 8/255", "rf.fgsm(net, x, y, '8/255')"),
    Remedy("rf.fgsm(net, x, y, [0.1, 0.2])", "pass several budgets to rf.fgsm_sweep", "list(rf.fgsm_sweep(net, x, y, [0.1, 0.2]))"),
    Remedy("rf.fgsm(net, x, y, '1,2/255')", "pass several to rf.fgsm_sweep", "list(rf.fgsm_sweep(net, x, y, ['1/255', '2/255']))"),
    Remedy(
        "rf.fgsm(net, x, y, torch.ones(2) / 9)",
        "reshape epsilon to (1, 1, 1, 2)",
        "rf.fgsm(net, x, y, (torch.ones(2) / 9).reshape(1, 1, 1, 2))",
    ),
    Remedy(
        "rf.fgsm(net, x, y, torch.rand_like(x) / 9, norm=2)",
        "pass one epsilon per image, and numbers by feature to `fgsm` as epsilon_scale",
        "rf.fgsm(net, x, y, torch.rand(len(x)) / 9, norm=2, epsilon_scale=torch.rand_like(x[0]))",
    ),
    Remedy("rf.fgsm(net, x, y, bounds=(1, 0))", "pass bounds=(0, 1)", "rf.fgsm(net, x, y, bounds=(0, 1))"),
    Remedy("rf.fgsm(net, x, y, bounds=1)", "pass bounds=(0, 1)", "rf.fgsm(net, x, y, bounds=(0, 1))"),
    Remedy(
        "rf.fgsm(net, x, y, bounds=(torch.zeros(2), torch.ones(2) / 9))",
        "pass wider bounds",
        "rf.fgsm(net, x, y, bounds=(torch.zeros(2), torch.ones(2)))",
    ),
    Remedy(
        "rf.fgsm(net, x, y, mask=torch.ones(2, dtype=torch.int64))",
        "pass mask != 0",
        "rf.fgsm(net, x, y, mask=torch.ones(2, dtype=torch.int64) != 0)",
    ),
    Remedy("rf.fgsm(net, x, y, start=x[:2])", "pass images in the shape of x", "rf.fgsm(net, x, y, start=x)"),
    Remedy("rf.fgsm(table, x[0, 0, 0], y[:1])", "pass images[None]", "rf.fgsm(table, x[0, 0, 0][None], y[:1])"),
    Remedy("rf.fgsm(net, x, 3)", "pass [3] * 12", "rf.fgsm(net, x, [3] * 12)"),
    Remedy("rf.fgsm(net, x[:1], 3)", "pass [3]", "rf.fgsm(net, x[:1], [3])"),
    Remedy("rf.fgsm(net, x, 2 * (y % 2) - 1)", "pass (labels + 1) // 2", "rf.fgsm(net, x, (2 * (y % 2) - 1 + 1) // 2)"),
    Remedy("rf.fgsm(net, x, targeted=True)", "needs its targets in y", "rf.fgsm(net, x, y, targeted=True)"),
    Remedy(
        "rf.fgsm('mlp300', images, labels)",
        "pass rf.load_classifier('mlp300')",
        "rf.fgsm(rf.load_classifier('mlp300'), images, labels)",
    ),
    Remedy(
        "rf.fgsm(net, x, y, loss=nn.CrossEntropyLoss())",
        'pass reduction="none" to the loss',
        "rf.fgsm(net, x, y, loss=nn.CrossEntropyLoss(reduction='none'))",
    ),
    Remedy(
        "rf.fgsm(rf.wrap(net, 4, task='multilabel'), x)",
        "pass y = (outputs > threshold)",
        "rf.fgsm(rf.wrap(net, 4, task='multilabel'), x, (net(x) > 0).float())",
    ),
    Remedy("rf.fgsm(Lone(), x[:1], y[:1])", "pass more images", "rf.fgsm(Lone(), x, y)"),
    Remedy("rf.fgsm(lambda x: net(x).argmax(1), x, y)", "return the numbers before argmax", "rf.fgsm(lambda x: net(x), x, y)"),
    Remedy("rf.fgsm(lambda x: net(x).mean(), x, y)", "one row for each image", "rf.fgsm(lambda x: net(x), x, y)"),
    Remedy(
        "rf.fgsm(lambda x: {'a': net(x), 'b': net(x)}, x, y)",
        "forward(x)['a']",
        "rf.fgsm(lambda x: {'a': net(x), 'b': net(x)}['a'], x, y)",
    ),
    Remedy("rf.fgsm(net, x.to_sparse(), y)", "", "rf.fgsm(net, x.to_sparse().to_dense(), y)"),
    # the data
    Remedy("rf.evaluate(net, x)", "pass images and labels", "rf.evaluate(net, (x, y))"),
    Remedy("rf.evaluate(net, (x, y[:3]))", "one label for each image", "rf.evaluate(net, (x[:3], y[:3]))"),
    Remedy("rf.evaluate(net, (x, y.float() + 0.5))", "pass one class index from 0 for each image", "rf.evaluate(net, (x, y))"),
    Remedy("rf.evaluate(net, (x, 2 * (y % 2) - 1))", "pass (labels + 1) // 2", "rf.evaluate(two, (x, (2 * (y % 2) - 1 + 1) // 2))"),
    Remedy("rf.evaluate(two, (x, y > 1))", "pass 1 for True and 0 for False", "rf.evaluate(two, (x, (y > 1).long()))"),
    Remedy(
        "rf.evaluate(net, (x, torch.eye(4)[y] * 0.7 + 0.075))",
        "pass labels.argmax(1)",
        "rf.evaluate(net, (x, (torch.eye(4)[y] * 0.7 + 0.075).argmax(1)))",
    ),
    Remedy("rf.evaluate(net, (x.to_sparse(), y))", "pass images.to_dense()", "rf.evaluate(net, (x.to_sparse().to_dense(), y))"),
    Remedy(
        "rf.evaluate(net, (torch.quantize_per_tensor(x, 1 / 255, 0, torch.quint8), y))",
        "pass images.dequantize()",
        "rf.evaluate(net, (torch.quantize_per_tensor(x, 1 / 255, 0, torch.quint8).dequantize(), y))",
    ),
    Remedy(
        "rf.evaluate(net, (x.to(torch.complex64), y))",
        "pass the magnitude",
        "rf.evaluate(net, (x.to(torch.complex64).abs().clamp(0, 1), y))",
    ),
    Remedy(
        "rf.evaluate(net, DataLoader(pairs, sampler=Doubled()))",
        "pass loader.dataset",
        "rf.evaluate(net, DataLoader(pairs, sampler=Doubled()).dataset)",
    ),
    Remedy("rf.evaluate(net, Flipped(random=True))", "leave out random transforms", "rf.evaluate(net, Flipped(random=False))"),
    Remedy(
        "rf.load_data((x.permute(0, 2, 3, 1).numpy(), y))",
        "load_data(..., layout=",
        "rf.load_data((x.permute(0, 2, 3, 1).numpy(), y), layout='NHWC')",
    ),
    Remedy("rf.load_data((x, y), labels_from=2)", "pass 0 or 1", "rf.load_data((x, y + 1), labels_from=1)"),
    Remedy(
        "rf.evaluate(net, {'a': x, 'b': y})",
        "load_data(..., images_key=NAME, labels_key=NAME)",
        "rf.evaluate(net, rf.load_data({'a': x, 'b': y}, images_key='a', labels_key='b'))",
    ),
    Remedy(
        "rf.evaluate(net, frame)",
        "pass (frame[features], frame[label])",
        "rf.evaluate(nn.Linear(3, 4), (frame[['a', 'b', 'c']], frame['label']))",
    ),
    Remedy("rf.evaluate(net, iter([]))", "an iterator yields its images only once", "rf.evaluate(net, Stream())"),
    Remedy("rf.ArrayDataset('a', x, y + 1, list('abcd'))", "pass labels - 1", "rf.ArrayDataset('a', x, y + 1 - 1, list('abcd'))"),
    Remedy("rf.ArrayDataset('a', x, y, list('abc'))", "name every class", "rf.ArrayDataset('a', x, y, list('abcd'))"),
    Remedy(
        "rf.ArrayDataset('a', torch.rand(2, 9, 8, 3), [0, 1], list('ab'))",
        "pass layout='NHWC'",
        "rf.ArrayDataset('a', torch.rand(2, 9, 8, 3), [0, 1], list('ab'), layout='NHWC')",
    ),
    Remedy(
        "rf.ArrayDataset('a', torch.rand(2, 9, 8, 3), [0, 1], list('ab'))",
        "or layout='NCHW' if they have 9 channels",
        "rf.ArrayDataset('a', torch.rand(2, 9, 8, 3), [0, 1], list('ab'), layout='NCHW')",
    ),
    # the network
    Remedy(
        "rf.evaluate(rf.wrap(net, 4, classes=['a', 'b']), (x, y))",
        "classes must name all 4 outputs",
        "rf.evaluate(rf.wrap(net, 4, classes=list('abcd')), (x, y))",
    ),
    Remedy(
        "rf.fgsm(net, x, (net(x) > 0).long())",
        "or loss='bce-with-logits' if it has a logit",
        "rf.fgsm(net, x, (net(x) > 0).long(), loss='bce-with-logits')",
    ),
    Remedy("rf.wrap(net, 4, task='multi-label')", "did you mean multilabel", "rf.wrap(net, 4, task='multilabel')"),
    Remedy(
        "rf.wrap(nn.LazyLinear(4), 4)",
        "run the model on a batch",
        "lazy = nn.LazyLinear(4); lazy(torch.rand(2, 3)); rf.wrap(lazy, 4)",
    ),
    Remedy("rf.wrap(net, 4, mean=[0.5, float('nan'), 0.5])", "mean must be finite", "rf.wrap(net, 4, mean=[0.5, 0.5, 0.5])"),
    Remedy("rf.wrap(net, 4, std=0)", "std must be positive", "rf.wrap(net, 4, std=1)"),
    Remedy("rf.evaluate(net, (x, y), pgd_check=4, norm=1)", "leave them out", "rf.evaluate(net, (x, y), norm=1)"),
    Remedy(
        "rf.evaluate(net, (x, y), stable=True, loss='margin')", "drop one of the two", "rf.evaluate(net, (x, y), loss='margin')"
    ),
    Remedy("rf.evaluate(net, (x, y), strict=True)", "strict takes warnings for errors", "rf.evaluate(net, (x, y))"),
    Remedy("rf.sweep(net, (x, y), [0.1, 0.1])", "all different", "rf.sweep(net, (x, y), [0.1, 0.2])"),
    Remedy("rf.load_data('fashion-mnist', limit=0)", "leave it out", "rf.load_data('fashion-mnist')"),
    Remedy("rf.load_data('fashion-mnist', workers=-1)", "leave it out", "rf.load_data('fashion-mnist')"),
]


def names() -> dict[str, Any]:
    import pandas as pd

    torch.manual_seed(0)
    x = (torch.rand(12, 3, 2, 2) * 255).round() / 255
    y = torch.arange(12) % 4
    data = next(rf.load_data("fashion-mnist").batches(0, 4, 4))
    own = {"Doubled": Doubled, "Lone": Lone, "Flipped": Flipped, "Stream": Stream, "DataLoader": DataLoader}
    frame = pd.DataFrame({"a": np.linspace(0, 1, 12), "b": 0.5, "c": 0.25, "label": y.numpy()})
    networks = {f"{name}": nn.Sequential(nn.Flatten(), nn.Linear(12, k)) for name, k in (("net", 4), ("two", 2))}
    inputs = {
        "x": x,
        "y": y,
        "table": nn.Linear(2, 4),
        "images": data.images,
        "labels": data.labels,
        "frame": frame,
        "pairs": TensorDataset(x, y),
    }
    return {"rf": rf, "torch": torch, "nn": nn, **own, **networks, **inputs}


def run(code: str) -> object:
    """Return the value of the last of statements with semicolons between."""
    known = names()
    *statements, last = code.split("; ")
    exec("\n".join(statements), known)
    return eval(last, known)


@pytest.mark.parametrize("remedy", REMEDIES, ids=lambda remedy: f"{remedy.wrong}: {remedy.error}")
@pytest.mark.filterwarnings("ignore")
def test_remedy_succeeds(remedy: Remedy, one_thread: None) -> None:
    with pytest.raises(rf.RfgsmError) as refused:
        run(remedy.wrong)
    assert refused.value.exit_code == 2
    assert remedy.error in str(refused.value)
    run(remedy.right)
