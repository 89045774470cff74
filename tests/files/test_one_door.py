"""Files are opened through `robustbench_fgsm/files` alone: what opens one elsewhere is listed here, with its reason."""

from __future__ import annotations

import ast
from collections.abc import Iterator
from pathlib import Path

import pytest

import robustbench_fgsm

ROOT = Path(robustbench_fgsm.__file__).parent
DOOR = "files/"
MODULES = [name for file in sorted(ROOT.rglob("*.py")) if not (name := file.relative_to(ROOT).as_posix()).startswith(DOOR)]

PATH_METHODS = {"open", "read_text", "read_bytes", "write_text", "write_bytes", "touch", "exists", "is_file", "is_dir"}
"""Methods of `Path`. Of other objects they are listed below."""

FUNCTIONS = {
    *("open", "io.open", "os.open", "os.fdopen", "codecs.open", "mmap.mmap", "json.load", "pickle.load", "pickle.loads"),
    *("np.load", "np.save", "np.savez", "np.memmap", "np.fromfile", "np.loadtxt", "numpy.load", "torch.load", "torch.save"),
    *("torch.jit.load", "torch.export.load", "joblib.load", "load_file", "save_file", "safe_open", "gzip.open", "bz2.open"),
    *("lzma.open", "tarfile.open", "zipfile.is_zipfile", "onnx.load", "io.loadmat", "io.whosmat", "keras.saving.load_model"),
    *("tempfile.mkdtemp", "tempfile.mkstemp", "tempfile.NamedTemporaryFile", "tempfile.TemporaryDirectory", "shutil.copy"),
}
CLASSES = {"ZipFile", "TarFile", "GzipFile"}
FORBIDDEN_IMPORTS = {"safe_open", "load_file", "save_file"}

READS_A_STREAM = "reads a stream, which the door opened"
PACKAGE_RESOURCE = "a file of this package, by importlib.resources"
CODE = "runs only with --trust-model-code, after the door found a regular file"

ALLOWED = {
    ("benchmarking/peak_memory.py", "PROC_CLEAR_REFS.write_text"): "a setting of the kernel, not a file",
    ("benchmarking/peak_memory.py", "pickle.loads"): "the process that started this one wrote the file",
    ("data/sources/folder.py", "entry.is_dir"): "an entry of a listed directory, which costs no call of the system",
    ("cli/standard_streams.py", "os.open"): "the null device in place of a closed standard stream",
    ("data/decoding.py", "Image.open"): READS_A_STREAM,
    ("data/sources/mat.py", "io.loadmat"): "scipy reads files by name; the door found a regular file",
    ("data/sources/mat.py", "io.whosmat"): "scipy reads files by name; the door found a regular file",
    ("data/sources/object_storage.py", "open_filesystem(self.scheme, os.getpid()).open"): "object storage, not a file",
    ("data/sources/tar_shards.py", "shard.open"): "object storage, not a file",
    ("models/checkpoint.py", "torch.load"): READS_A_STREAM,
    ("models/sources/exported_program.py", "torch.jit.load"): CODE,
    ("models/sources/exported_program.py", "torch.export.load"): CODE,
    ("models/sources/keras.py", "keras.saving.load_model"): "Keras reads files by name; the door found a regular file",
    ("models/sources/sklearn.py", "joblib.load"): CODE,
    ("models/sources/sklearn.py", "archive.open"): "a member of an archive, which the door opened",
    ("report/pages/layout.py", "files('robustbench_fgsm.report').joinpath('assets', name).read_text"): PACKAGE_RESOURCE,
    ("report/schemas/__init__.py", "(files(__name__) / f'{name}{SCHEMA_SUFFIX}').read_text"): PACKAGE_RESOURCE,
    ("runs/attack/formats.py", "Image.open"): READS_A_STREAM,
    ("runs/attack/formats.py", "np.savez"): "writes a stream, which the door opened",
    ("runs/ledger.py", "mmap.mmap"): "maps a stream, which the door opened",
    ("training/checkpoint.py", "torch.save"): "writes to memory",
    ("verification/stages/output.py", "Image.open"): "reads from memory",
}
"""Calls outside the door, each with its reason."""


def opening_calls(source: str) -> Iterator[str]:
    """Yield the calls of a module that open, read or write a file, or ask for one."""
    for node in ast.walk(ast.parse(source)):
        if isinstance(node, ast.ImportFrom):
            yield from (alias.name for alias in node.names if alias.name in FORBIDDEN_IMPORTS)
        elif isinstance(node, ast.Call):
            called = ast.unparse(node.func)
            is_method = isinstance(node.func, ast.Attribute)
            name = node.func.attr if isinstance(node.func, ast.Attribute) else called
            if called in FUNCTIONS or name in CLASSES or (is_method and name in PATH_METHODS):
                yield called
        elif isinstance(node, ast.Attribute) and ast.unparse(node) in FUNCTIONS:
            yield ast.unparse(node)  # passed to another function


def test_the_package_is_found() -> None:
    assert {"cli/main.py", "data/sources/npz.py", "runs/ledger.py"} <= set(MODULES)


def test_only_the_door_opens_files() -> None:
    found = {(module, call) for module in MODULES for call in opening_calls((ROOT / module).read_text(encoding="utf-8"))}
    assert found == set(ALLOWED)


@pytest.mark.parametrize(
    "source",
    [
        "open('x')",
        "Path('x').open()",
        "with file.open('rb') as stream: pass",
        "file.read_text()",
        "file.write_bytes(b'')",
        "file.exists()",
        "json.load(stream)",
        "np.load(file)",
        "torch.load(file)",
        "zipfile.ZipFile(file)",
        "tarfile.open(file)",
        "os.open(file, 0)",
        "from safetensors import safe_open",
        "from safetensors.torch import load_file",
        "gzip.open(file)",
        "read(torch.jit.load, file)",
        "tempfile.mkdtemp()",
    ],
)
def test_finds_a_file_that_is_opened(source: str) -> None:
    assert list(opening_calls(source))


@pytest.mark.parametrize(
    "source", ["read_bytes(file)", "open_to_read(file)", "json.loads(text)", "is_file(path)", "open_npz(file)"]
)
def test_lets_the_door_pass(source: str) -> None:
    assert list(opening_calls(source)) == []
