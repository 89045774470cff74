"""Download of weights, once, into the cache of the library that they belong to."""

from __future__ import annotations

import re
from collections.abc import Sequence
from pathlib import Path
from urllib.error import URLError
from urllib.parse import urlparse

import torch

from robustbench_fgsm.errors import ModelError, ResourceError, first_line
from robustbench_fgsm.files.regular_files import hash_file, is_file

HASH_IN_FILE_NAME = re.compile(r"-([a-f0-9]{8,})\.")
"""The beginning of a file's SHA-256, as torchvision's file names carry it."""


def fetch_file(url: str, file: Path, description: str) -> Path:
    """Return the file, downloaded if it is missing; its hash is checked if the file name carries one.

    A downloaded file appears as a whole or not at all. Raises ModelError if the network cannot be reached, or the content has
    another hash; ResourceError if the file cannot be written.
    """
    found = HASH_IN_FILE_NAME.search(file.name)
    prefix = found[1] if found else ""
    if not is_file(file):
        try:
            file.parent.mkdir(parents=True, exist_ok=True)
            torch.hub.download_url_to_file(url, str(file), prefix or None, progress=False)
        except (URLError, ConnectionError, TimeoutError) as error:
            raise ModelError(
                f"{description} must be fetched once, got no connection ({error}): fetch {url} elsewhere and put it at {file}"
            ) from error
        except OSError as error:
            raise ResourceError(f"{description} must be kept at {file}, which cannot be written ({error}): make room") from error
        except RuntimeError as error:
            raise ModelError(f"{description} must have the hash that {url} names, got another hash ({error}): try again") from error
    digest = hash_file(file)
    if not digest.startswith(prefix):
        raise ModelError(
            f"{description} must have a sha256 that begins with {prefix}, got {digest[: len(prefix)]} in {file}: "
            f"remove it, and fetch {url} again"
        )
    return file


def hub_cache_path(url: str) -> Path:
    """Return the path at which PyTorch's hub keeps the file of that address."""
    return Path(torch.hub.get_dir()) / "checkpoints" / Path(urlparse(url).path).name


def fetch_hub_files(repository: str, patterns: Sequence[str]) -> Path:
    """Return a directory with a Hugging Face repository's files of these patterns, downloaded into its cache if missing.

    Raises ModelError if neither cache nor network has the files.
    """
    from huggingface_hub import snapshot_download
    from huggingface_hub.errors import HfHubHTTPError, HFValidationError, LocalEntryNotFoundError

    try:
        return Path(snapshot_download(repository, allow_patterns=list(patterns)))
    except (LocalEntryNotFoundError, HfHubHTTPError, HFValidationError, OSError, RuntimeError) as error:  # or there is no home
        raise ModelError(
            f"{repository} must be fetched once, got none ({first_line(error)}): run `hf download {repository}` elsewhere and copy "
            "its folder into the cache under HF_HOME, or name the folder"
        ) from error
