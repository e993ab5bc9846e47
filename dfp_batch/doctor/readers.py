"""Packages that read further formats, each an extra of this package."""

from functools import partial
from importlib import import_module

from dfp_batch.doctor.finding import Check, Finding, Place

_READERS = {
    "camera RAW": ("raw", ("rawpy",)),
    "HEIC": ("heic", ("pillow_heif",)),
    "OME-Zarr": ("microscopy", ("zarr",)),
    "ND2, CZI, LIF": ("microscopy", ("nd2", "pylibCZIrw", "liffile")),
}


def reader(extra: str, modules: tuple[str, ...], _: Place) -> Finding:
    """Whether these modules can be imported.

    Args:
        extra: Of this package, that installs them.
        modules: By name.
    """
    absent: list[str] = []
    broken: list[str] = []
    for name in modules:
        try:
            import_module(name)
        except ModuleNotFoundError as error:
            (absent if error.name == name else broken).append(str(error))
        except ImportError as error:
            broken.append(f"{name}: {error}")
    install = f"pip install 'dfp-batch[{extra}]'"
    if broken:
        return Finding("problem", "; ".join(broken), f"install it again: {install}")
    if absent:
        return Finding("warning", "; ".join(absent), f"if you have such files: {install}")
    return Finding("ok", ", ".join(modules))


READERS: dict[str, Check] = {name: partial(reader, *of) for name, of in _READERS.items()}
