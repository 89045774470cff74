"""One registry serves models, data and references."""

from __future__ import annotations

from pathlib import Path

import pytest

from robustbench_fgsm.data.registry import DATA_SOURCES
from robustbench_fgsm.errors import ModelError
from robustbench_fgsm.models.registry import MODEL_SOURCES
from robustbench_fgsm.references.registry import REFERENCES
from robustbench_fgsm.registry import refuse_address


def test_sources_and_extras_exist() -> None:
    import tomllib

    root = Path(__file__).parents[1]
    declared = tomllib.loads((root / "pyproject.toml").read_text())["project"]
    for entry in [*MODEL_SOURCES.built_in.values(), *DATA_SOURCES.built_in.values(), *REFERENCES.built_in.values()]:
        assert (root / f"{entry.module.replace('.', '/')}.py").is_file()
        assert not entry.extra or entry.extra in declared["optional-dependencies"]


@pytest.mark.parametrize(
    ("spec", "remedy"), [("hf://org/name", "write hf:org/name"), ("s3://x/net.pt", "download it, and pass the file")]
)
def test_addresses_are_refused_where_files_are_expected(spec: str, remedy: str) -> None:
    with pytest.raises(ModelError, match=f"model must be a name or a file, got the address '{spec}': {remedy}"):
        refuse_address(spec, "model", "hf", ModelError)
    refuse_address("hf:org/name", "model", "hf", ModelError)
