"""Registries of what a user can name: model sources, data sources and references, listed without importing any of them."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from importlib import import_module
from importlib.metadata import EntryPoint, PackageNotFoundError, entry_points, version
from typing import Any

from robustbench_fgsm.errors import InputError, describe_error, did_you_mean


@dataclass(frozen=True)
class RegistryEntry:
    """One model source, data source or reference.

    Args:
        name: word by which the entry is found.
        module: module that holds its code.
        example: how a user writes it, such as `folder:DIR`.
        package: distribution that it needs; empty if this package is enough.
        extra: extra of this package that installs `package`; empty if pip installs `package` itself.
        pip_options: options of pip that the installation needs.
        summary: what it is, in a few words.
        splits: names of the splits, the default first, if they are known before the data are loaded.
        paths: files or directories, relative to the data root, of which one exists if the data were downloaded.
        array_options: fields of `DataOptions` about arrays and tables that the source reads.
        runs_code: whether loading runs code that the user's spec or file chooses.
        entry_point: entry point of another package that adds it; None if it is built in.
    """

    name: str
    module: str
    example: str = ""
    package: str = ""
    extra: str = ""
    pip_options: str = ""
    summary: str = ""
    splits: tuple[str, ...] = ()
    paths: tuple[str, ...] = ()
    array_options: tuple[str, ...] = ()
    runs_code: bool = False
    entry_point: EntryPoint | None = None

    @property
    def install_command(self) -> str:
        """Return the command that installs what the entry needs."""
        target = f"'robustbench-fgsm[{self.extra}]'" if self.extra else self.package
        return " ".join(filter(None, ["pip install", self.pip_options, target]))

    @property
    def installed_version(self) -> str | None:
        """Return the version of the distribution that the entry needs, or None if it is not installed."""
        try:
            return version(self.package or "robustbench-fgsm")
        except PackageNotFoundError:
            return None


def refuse_address(spec: str, role: str, hub: str, error_type: type[InputError]) -> None:
    """Raise an error for an address such as `https://...`, where a file or a name is expected.

    Args:
        spec: what the user names.
        role: word for it in messages.
        hub: source of the Hugging Face hub, whose names begin with it in place of `hf://`.
        error_type: error to raise.
    """
    scheme, slashes, rest = spec.partition("://")
    if slashes:
        remedy = f"write {hub}:{rest}" if scheme == "hf" else "download it, and pass the file"
        raise error_type(f"{role} must be a name or a file, got the address {spec!r}: {remedy}")


class Registry:
    """Entries of one kind: built-in ones, and those that other packages add by entry points of the group.

    Args:
        kind: word of `rfgsm list KIND`, which also ends the name of the group.
        interface: function that the module or object of every entry has, with its parameters.
        error_type: error raised for an entry that is unknown, not installed or unusable.
        built_in: the entries of this package.
    """

    def __init__(self, kind: str, interface: str, error_type: type[InputError], *built_in: RegistryEntry) -> None:
        self.kind, self.interface, self.error_type = kind, interface, error_type
        self.built_in = {entry.name: entry for entry in built_in}

    @property
    def group(self) -> str:
        """Return the group of the entry points."""
        return f"robustbench_fgsm.{self.kind}"

    def entries(self) -> dict[str, RegistryEntry]:
        """Return all entries by name; a built-in name wins, and after it the package that is found first."""
        found = dict(self.built_in)
        for entry in self.third_party():
            found.setdefault(entry.name, entry)
        return found

    def third_party(self) -> Iterator[RegistryEntry]:
        """Yield the entries of other packages, also those of one name."""
        for point in entry_points(group=self.group):
            package = point.dist.name if point.dist is not None else ""
            yield RegistryEntry(point.name, point.module, f"{point.name}:NAME", package, entry_point=point)

    def find(self, name: str, entries: Mapping[str, RegistryEntry] | None = None) -> RegistryEntry:
        """Return the entry of that name, out of all entries by default; raise `error_type` if unknown or not installed."""
        known = self.entries() if entries is None else entries
        if name not in known:
            spelling = name.lower().replace("_", "-")
            remedy = did_you_mean(spelling, [spelling] if spelling in known else known)
            raise self.error_type(f"{self._role} must be a name of `rfgsm list {self.kind}`, got {name!r}: {remedy}")
        entry = known[name]
        if entry.package and entry.installed_version is None:
            needed = f"{entry.example or name} needs the package {entry.package}"
            raise self.error_type(f"{needed}, got none installed: {entry.install_command}")
        return entry

    def load(self, entry: RegistryEntry) -> Any:
        """Import the entry's module or object; raise `error_type` for another package's that does not fit the interface."""
        point = entry.entry_point
        if point is None:
            return import_module(entry.module)
        origin = f"{self._role} {entry.name} of package {entry.package}"
        try:
            found = point.load()
        except Exception as error:  # another package may raise anything while it is imported
            raise self.error_type(f"{origin} must import, got {describe_error(error)}: fix or uninstall that package") from error
        if not callable(getattr(found, self.interface.partition("(")[0], None)):
            raise self.error_type(
                f"{origin} must have a function {self.interface}, got none in {point.value}: fix or uninstall that package"
            )
        return found

    @property
    def _role(self) -> str:
        return self.kind.removesuffix("s")
