"""Images that a network was trained on, known by the model card that `rfgsm train` writes beside the weights."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

from robustbench_fgsm.data.dataset import Dataset, describe_data
from robustbench_fgsm.data.registry import DATA_SOURCES
from robustbench_fgsm.errors import RfgsmError
from robustbench_fgsm.files.json_files import read_json
from robustbench_fgsm.files.regular_files import is_file
from robustbench_fgsm.models.cards import is_weights_file
from robustbench_fgsm.models.classifier import ModelInfo
from robustbench_fgsm.models.saved_weights import CARD_FILE


def training_image_warnings(info: ModelInfo, data: Dataset) -> Iterator[str]:
    """Yield a warning if the model card beside a file of weights names these images, or others of the same split.

    A file of that name that `rfgsm train` did not write tells nothing.
    """
    card = Path(info.weights).parent / CARD_FILE
    if not (is_weights_file(info.weights) and is_file(card)):
        return
    try:
        trained_on = read_json(card, follow_links=True).get("data")
    except (RfgsmError, OSError):
        return
    if not isinstance(trained_on, dict):
        return
    ours, settings = describe_data(data), trained_on.get("settings") or {}
    split = settings.get("split") if isinstance(settings, dict) else None
    is_named = ":" in ours["spec"] or ours["spec"] in DATA_SOURCES.built_in  # all arrays in memory have one name
    is_same_split = (trained_on.get("spec"), split) == (ours["spec"], ours.get("settings", {}).get("split"))
    if (is_named and is_same_split) or trained_on.get("fingerprint") == ours["fingerprint"]:
        yield f"{info.spec} was trained on these images: its accuracy on others is lower"
