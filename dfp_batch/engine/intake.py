"""Where the pairs of a run come from: a manifest, or a folder that becomes one on the way."""

from collections.abc import Callable
from typing import Any

from dfp_batch.archive.cuts import Cut
from dfp_batch.archive.find import Archive, find_stacks, is_stack_file
from dfp_batch.errors import ConfigError
from dfp_batch.io import storage, urls
from dfp_batch.runs.manifest import Pair, manifest_bytes, read_manifest
from dfp_batch.runs.origin import made_from

Noted = Callable[[str], None]
_SHOWN = 5


def is_folder(url: str) -> bool:
    """Whether pairs come from a folder, or a file of stacks; in a store, ``.parquet`` never is one.

    Raises:
        StorageError: The store failed.
    """
    if url.endswith(".parquet") and not urls.is_local(url):
        return False
    return is_stack_file(url) or storage.is_folder(url)


def first_pairs(url: str, how: Cut | None, run_url: str, noted: Noted) -> list[Pair]:
    """The pairs that a run begins with, or has begun with.

    A folder is looked through once: what is found is the manifest of the run from then on.

    Args:
        url: Of a manifest, or of a folder.
        how: How a folder is cut into stacks; None is by names.
        run_url: Run directory.
        noted: Told what was found.

    Raises:
        ConfigError: A manifest is to be cut, or the run began with something else.
        ManifestError: There is no pair, or the manifest cannot be used.
        StorageError: The store failed.
    """
    if not is_folder(url):
        _check_uncut(url, how)
        return read_manifest(url)
    target = urls.join(run_url, "manifest.parquet")
    asked = _origin(url, how)
    if not storage.exists(target):
        found = find_stacks(url, how)
        storage.create_bytes(target, manifest_bytes(found.pairs(), asked))
        _note(found, noted)
    begun = made_from(target)
    if begun != asked:
        raise ConfigError(
            f"{run_url} began with {_told(begun)}, not with {_told(asked)}; give the same again "
            "(more pairs are added by --append), or another --output for a new run"
        )
    return read_manifest(target)


def pairs_of(url: str, how: Cut | None = None) -> list[Pair]:
    """The pairs of a manifest, or of a folder as it is now.

    Raises:
        ConfigError: A manifest is to be cut.
        ManifestError: There is no pair, or the manifest cannot be used.
        StorageError: The store failed.
    """
    if is_folder(url):
        return list(find_stacks(url, how).pairs())
    _check_uncut(url, how)
    return read_manifest(url)


def run_beside(url: str, scale: int) -> str:
    """Where the run of a manifest, or of a folder, is if nothing else is said.

    Raises:
        StorageError: The store failed.
    """
    place = url.rstrip("/")
    if is_stack_file(place):
        return f"{place}-x{scale}"
    if is_folder(url):
        return urls.join(url, f"manifest-x{scale}")
    return f"{urls.without_version(url).removesuffix('.parquet')}-x{scale}"


def _origin(url: str, how: Cut | None) -> dict[str, Any]:
    return {"folder": url.rstrip("/"), "cut": list(how.option) if how else []}


def _told(origin: dict[str, Any] | None) -> str:
    if origin is None:
        return "a manifest"
    return " ".join([str(origin["folder"]), *origin["cut"]])


def _check_uncut(url: str, how: Cut | None) -> None:
    if how is not None:
        raise ConfigError(f"{how.option[0]} cuts folders, {url} is a manifest; leave it out")


def _note(found: Archive, noted: Noted) -> None:
    noted(f"found: {len(found.stacks)} stacks of {found.frames} files in {found.root}")
    for line in found.left_out[:_SHOWN]:
        noted(f"not paired: {line}")
    if len(found.left_out) > _SHOWN:
        noted(
            f"not paired: {len(found.left_out) - _SHOWN} more; `dfp-batch manifest DIR --dry-run` "
            "names them"
        )
