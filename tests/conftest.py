"""What tests of several packages share: a bundled classifier and a few bundled images, loaded once and never changed."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

if workers := int(os.environ.get("PYTEST_XDIST_WORKER_COUNT", "0")):  # before PyTorch: its threads would take turns
    os.environ.setdefault("OMP_NUM_THREADS", str(max(1, (os.cpu_count() or 1) // workers)))

import pytest
import torch
from hypothesis import HealthCheck, settings

import robustbench_fgsm as rf
from robustbench_fgsm.data.sources.fashion_mnist import load_fashion_mnist

NAMESPACE = ("unshare", "--map-root-user", "--mount")
INSIDE = "inside a namespace"

# Other work may be running on this machine.
settings.register_profile("unhurried", deadline=None, suppress_health_check=[HealthCheck.too_slow])
settings.load_profile("unhurried")


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Refuse names with an address in memory, which differ between the processes that share the tests."""
    if changing := [item.nodeid for item in items if " at 0x" in item.nodeid]:
        raise pytest.UsageError(f"tests must have one name in every process, got {changing[0]}: give ids")


@pytest.fixture
def one_thread() -> Iterator[None]:
    """PyTorch on one thread: several that wait for each other cost more than a few small images do."""
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)


@pytest.fixture(scope="session")
def images() -> rf.ArrayDataset:
    """The first 256 test images of Fashion-MNIST."""
    return load_fashion_mnist().head(256)


@pytest.fixture(scope="session")
def classifier() -> rf.TorchClassifier:
    """The smallest bundled network."""
    found = rf.load_classifier("mlp300", device="cpu")
    assert isinstance(found, rf.TorchClassifier)
    return found


@pytest.fixture(scope="session")
def network() -> rf.TorchClassifier:
    """The bundled network with convolutions."""
    found = rf.load_classifier("smallcnn", device="cpu")
    assert isinstance(found, rf.TorchClassifier)
    return found


@pytest.fixture
def small_disk(tmp_path: Path, request: pytest.FixtureRequest) -> Iterator[Path]:
    """A file system of 128 KiB; skipped where nobody may mount one, unless RFGSM_TEST_MOUNT demands it.

    Who is not root may still mount in a namespace of his own, where the test then runs in a process that sees it.
    """
    place = tmp_path / "disk"
    place.mkdir()
    mount = ["mount", "-t", "tmpfs", "-o", "size=128k", "tmpfs", str(place)]
    if _succeeds(*mount):
        yield place
        subprocess.run(["umount", str(place)], check=True)
        return
    if os.environ.get("RFGSM_TEST_MOUNT") != INSIDE and _succeeds(*NAMESPACE, *mount):
        done = subprocess.run(
            [*NAMESPACE, sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider", str(request.node.nodeid)],
            cwd=request.config.rootpath,
            env=os.environ | {"RFGSM_TEST_MOUNT": INSIDE},
            capture_output=True,
            text=True,
            check=False,
        )
        assert done.returncode == 0, done.stdout + done.stderr
        assert "1 passed" in done.stdout
        pytest.skip("passed in a namespace of its own, where it may mount")
    assert not os.environ.get("RFGSM_TEST_MOUNT"), "mounting was demanded"
    pytest.skip("mounting a small file system needs to be root, or namespaces of users")


def _succeeds(*command: str) -> bool:
    return shutil.which(command[0]) is not None and not subprocess.run(command, capture_output=True, check=False).returncode
