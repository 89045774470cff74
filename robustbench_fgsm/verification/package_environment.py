"""Verify attacks of a published package in an environment of its own, through the package's adapter.

An adapter is a file `NAME_adapter.py`: functions `(model, x, y, eps)` that call the package, and constants that say how to
install it (`INSTALL`, `BUILD_CONSTRAINTS`) and which method each function claims to be (`ATTACKS`).
"""

from __future__ import annotations

import ast
import os
import re
import subprocess
import sys
import sysconfig
import tempfile
import venv
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from importlib.util import find_spec
from pathlib import Path
from typing import Annotated, Any

from pydantic import Field

from robustbench_fgsm.errors import (
    PACKAGE_FOLDER,
    CandidateError,
    ResourceError,
    RfgsmError,
    SettingError,
    UnsafeError,
    did_you_mean,
)
from robustbench_fgsm.files.atomic_files import temporary_directory, write_bytes
from robustbench_fgsm.files.json_files import parse_json
from robustbench_fgsm.files.regular_files import is_directory, is_present, read_text
from robustbench_fgsm.files.validation import FileSchema, validate

PACKAGE_FORMAT = re.compile(r"(?P<name>[A-Za-z0-9][\w.-]*)==(?P<version>[\w.+!-]+)(?::(?P<attack>\w+))?")


@dataclass(frozen=True)
class PackageAttack:
    """An attack of one version of a package; an empty name for the adapter's first."""

    name: str
    version: str
    attack: str = ""

    @classmethod
    def parse(cls, text: str) -> PackageAttack:
        """Return the attack that `NAME==VERSION` or `NAME==VERSION:ATTACK` names."""
        found = PACKAGE_FORMAT.fullmatch(text.strip())
        if found is None:
            raise SettingError(f"package must be NAME==VERSION or NAME==VERSION:ATTACK, got {text!r}: write foolbox==3.3.4:pgd")
        return cls(found["name"], found["version"], found["attack"] or "")

    def __str__(self) -> str:
        return f"{self.name}=={self.version}" + (f":{self.attack}" if self.attack else "")


ERRORS: dict[int, type[RfgsmError]] = {kind.exit_code: kind for kind in (CandidateError, UnsafeError, ResourceError)}
"""Errors of the other process, by its exit code."""

ADAPTER_REMEDY = "compare it with examples/wall/foolbox_adapter.py"


class AdapterConstants(FileSchema):
    """Constants of an adapter: requirements of pip, and the options of `rfgsm verify` for each attack."""

    INSTALL: list[str] = Field(min_length=1)
    ATTACKS: dict[str, Annotated[str, Field(pattern="^(--|$)")]] = Field(min_length=1)
    BUILD_CONSTRAINTS: list[str] = Field(default_factory=list)


@dataclass(frozen=True)
class Adapter:
    """File of an adapter, and its constants."""

    file: Path
    constants: AdapterConstants

    def options(self, attack: PackageAttack) -> list[str]:
        """Return the candidate and the options with which `rfgsm verify` measures the attack."""
        attacks = self.constants.ATTACKS
        name = attack.attack or next(iter(attacks))
        if name not in attacks:
            raise SettingError(
                f"package {attack.name} must have one of the attacks {', '.join(attacks)}, got {name!r}: "
                f"{did_you_mean(name, attacks)}"
            )
        return [f"{self.file}:{name}", *attacks[name].split()]


def read_adapter(attack: PackageAttack, folder: Path) -> Adapter:
    """Return a package's adapter without running it.

    Raises:
        SettingError: the folder has no adapter of this name, or its constants are not literals.
    """
    file = folder / f"{re.sub(r'[-.]+', '_', attack.name).lower()}_adapter.py"
    if not is_present(file):
        files = folder.glob("*_adapter.py") if is_directory(folder) else ()
        known = sorted(path.name.removesuffix("_adapter.py") for path in files)
        remedy = did_you_mean(attack.name, known) if known else "name a folder with adapters by --adapters"
        raise SettingError(f"package must have an adapter {file}, got no such file: {remedy}")
    try:
        constants = {
            line.targets[0].id: ast.literal_eval(line.value)
            for line in ast.parse(read_text(file)).body
            if isinstance(line, ast.Assign) and isinstance(line.targets[0], ast.Name) and line.targets[0].id.isupper()
        }
    except (ValueError, SyntaxError) as error:
        raise SettingError(f"adapter {file} must define literals, got {type(error).__name__}: {ADAPTER_REMEDY}") from error
    return Adapter(file.resolve(), validate(AdapterConstants, constants, f"adapter {file}", SettingError, ADAPTER_REMEDY))


@contextmanager
def package_environment(attack: PackageAttack, adapter: Adapter) -> Iterator[Path]:
    """Yield the Python of a new environment that holds the package, and remove it afterwards.

    The environment lies over the one that runs this: it holds the package and what the package needs in other versions. All
    else, such as PyTorch, is taken from below. Raises CandidateError if pip cannot install the package.
    """
    with temporary_directory(Path(tempfile.gettempdir(), "rfgsm-package")) as folder:
        venv.EnvBuilder(with_pip=find_spec("pip") is None, symlinks=os.name != "nt").create(folder)
        places = {"base": str(folder), "platbase": str(folder)}
        python = Path(sysconfig.get_path("scripts", vars=places), "python")
        below = [path for path in sys.path if "site-packages" in path or "dist-packages" in path]
        layer = "\n".join([*below, str(Path(PACKAGE_FOLDER).parent)])
        write_bytes(Path(sysconfig.get_path("purelib", vars=places), "below.pth"), layer.encode())
        constraints = folder / "constraints.txt"
        write_bytes(constraints, "\n".join(adapter.constants.BUILD_CONSTRAINTS).encode())
        requirements = [line.format(version=attack.version) for line in adapter.constants.INSTALL]
        command = ["-m", "pip", "install", "--quiet", "--disable-pip-version-check", *requirements]
        done = run_python(python, command, {"PIP_CONSTRAINT": str(constraints)} if adapter.constants.BUILD_CONSTRAINTS else {})
        if done.returncode:
            reasons = [line for line in done.stderr.splitlines() if line.lower().startswith(("error", "modulenotfounderror"))]
            reason = reasons[0] if reasons else f"exit code {done.returncode}"
            raise CandidateError(f"package {attack} must install, pip said {reason[:300]}: check its name and version")
        yield python


def run_python(
    python: Path, arguments: Sequence[str], environment: Mapping[str, str] | None = None
) -> subprocess.CompletedProcess[str]:
    """Run a Python with arguments, and return its exit code and texts; the caller's PYTHONPATH does not reach it."""
    variables = {name: value for name, value in os.environ.items() if name != "PYTHONPATH"} | dict(environment or {})
    return subprocess.run(  # noqa: S603
        [str(python), *arguments], env=variables, capture_output=True, text=True, check=False
    )


def verify_in_environment(python: Path, attack: PackageAttack, adapter: Adapter, options: Sequence[str] = ()) -> dict[str, Any]:
    """Return the document of `rfgsm verify` for the attack, run by the Python of its environment.

    Args:
        python: as `package_environment` yields it.
        attack: which attack.
        adapter: its adapter.
        options: further options of `rfgsm verify`.

    Raises:
        RfgsmError: the error of the other process, with its exit code.
    """
    command = ["-m", "robustbench_fgsm", "verify", *adapter.options(attack), *options, "--quiet", "--json"]
    done = run_python(python, command)
    if not done.stdout.strip():
        lines = [line for line in done.stderr.splitlines() if line.startswith("rfgsm: ")] or done.stderr.splitlines()[-1:]
        kind = ERRORS.get(done.returncode, CandidateError)
        raise kind(lines[0].removeprefix("rfgsm: ") if lines else f"package {attack} must run, got exit code {done.returncode}")
    document = parse_json(done.stdout, f"verify of {attack}")
    return document | {"candidate": document["candidate"] | {"name": str(attack)}}


def verify_package(text: str, folder: Path, options: Sequence[str] = ()) -> dict[str, Any]:
    """Return the document of `rfgsm verify` for an attack of a package, in an environment that is made for it.

    Args:
        text: `NAME==VERSION` or `NAME==VERSION:ATTACK`.
        folder: folder of the adapters.
        options: further options of `rfgsm verify`.
    """
    attack = PackageAttack.parse(text)
    adapter = read_adapter(attack, folder)
    adapter.options(attack)
    with package_environment(attack, adapter) as python:
        return verify_in_environment(python, attack, adapter, options)
