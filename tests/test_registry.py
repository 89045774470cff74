"""One registry serves models, data and references."""

from __future__ import annotations

from pathlib import Path

from robustbench_fgsm.data.registry import DATA_SOURCES
from robustbench_fgsm.models.registry import MODEL_SOURCES
from robustbench_fgsm.references.registry import REFERENCES


def test_sources_and_extras_exist() -> None:
    import tomllib

    root = Path(__file__).parents[1]
    declared = tomllib.loads((root / "pyproject.toml").read_text())["project"]
    for entry in [*MODEL_SOURCES.built_in.values(), *DATA_SOURCES.built_in.values(), *REFERENCES.built_in.values()]:
        assert (root / f"{entry.module.replace('.', '/')}.py").is_file()
        assert not entry.extra or entry.extra in declared["optional-dependencies"]
