"""Imports go one way, and the light entrances stay light."""

import ast
import subprocess
import sys
from functools import cache
from graphlib import TopologicalSorter
from pathlib import Path

import pytest

import dfp_batch

PACKAGE = Path(dfp_batch.__file__).parent
JOBS = PACKAGE.parent / "jobs"

# A module may import from its own folder and from those below it.
LAYERS = [
    {"errors"},
    {"core"},
    {"networks"},
    {"degradation"},
    {"alignment", "focus", "merging", "refinement", "reconstruction"},
    {"pipeline"},
    {"io", "metrics"},
    {"archive", "config", "runs", "synthetic"},
    {"engine", "evaluation", "training"},
    {"benchmark", "doctor"},
    {"cli", "__main__", "jobs"},
]
RANK = {name: rank for rank, layer in enumerate(LAYERS) for name in layer}
MODULES = {
    ".".join(path.relative_to(PACKAGE.parent).with_suffix("").parts).removesuffix(".__init__"): path
    for folder in (PACKAGE, JOBS)
    for path in folder.rglob("*.py")
}
ROOT = "dfp_batch"  # its own imports happen on first use of a name


def part(module):
    """``dfp_batch.focus.undecided`` -> ``focus``, ``jobs.benchmark`` -> ``jobs``."""
    first, *rest = module.split(".")
    return rest[0] if first == ROOT else first


@cache
def imported(module):
    """Modules of the package that a module imports, anywhere in it."""
    found = set()
    for node in ast.walk(ast.parse(MODULES[module].read_text())):
        if isinstance(node, ast.Import):
            found |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, f"{module} has a relative import"
            inner = {f"{node.module}.{alias.name}" for alias in node.names}
            # A name that is no module is defined in the module it is imported from.
            found |= {name if name in MODULES else node.module for name in inner}
    return {name for name in found if name in MODULES} - {module, ROOT}


INNER = sorted(MODULES.keys() - {ROOT})


@pytest.mark.parametrize("module", INNER)
def test_imports_go_one_way(module):
    assert part(module) in RANK, f"{module} is in no layer"
    upwards = {name for name in imported(module) if RANK[part(name)] > RANK[part(module)]}
    assert not upwards


METHOD = set().union(*LAYERS[:6])


@pytest.mark.parametrize("module", [name for name in INNER if part(name) in METHOD])
def test_the_method_needs_nothing_but_the_method(module):
    assert {part(name) for name in imported(module)} <= METHOD


def test_errors_need_nothing():
    assert imported("dfp_batch.errors") == set()


def test_there_is_no_cycle():
    TopologicalSorter({module: imported(module) for module in INNER}).prepare()


def test_the_check_sees_imports():
    assert "dfp_batch.core.decision" in imported("dfp_batch.refinement.potts")
    assert "dfp_batch.io.storage" in imported("dfp_batch.runs.ledger")
    assert "dfp_batch.engine.driver" in imported("dfp_batch.cli.submit")  # inside a function


@pytest.mark.parametrize(
    ("module", "absent"),
    [
        ("dfp_batch", {"torch", "numpy", "cv2", "ray", "pyarrow"}),
        ("dfp_batch.cli", {"torch", "ray", "pyarrow", "cv2"}),
        ("dfp_batch.evaluation", {"ray", "typer"}),
        ("dfp_batch.pipeline.fusion", {"ray", "fsspec", "pyarrow", "typer", "pydantic"}),
        ("dfp_batch.training.prior", {"ray", "fsspec", "pyarrow", "pydantic", "imagecodecs"}),
    ],
)
def test_entrance_stays_light(module, absent):
    code = f"import sys, {module}; print(*sys.modules)"
    run = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    loaded = set(run.stdout.split())
    assert module in loaded
    assert not absent & loaded


ABSENT = """
import sys
class Absent:
    def find_spec(self, name, path=None, target=None):
        if name.partition(".")[0] in {*"ray pyarrow fsspec s3fs pydantic typer sympy".split()}:
            raise ModuleNotFoundError(f"No module named {name!r}", name=name)
sys.meta_path.insert(0, Absent())
import numpy as np
from dfp_batch import FusionConfig, fuse
one = np.random.default_rng(0).integers(0, 256, (32, 40, 3), np.uint8)
print(fuse([one, one], FusionConfig.preset("fast", scale=2), "cpu").to_array().shape)
"""


def test_two_arrays_are_fused_where_neither_ray_nor_a_store_is_installed():
    run = subprocess.run([sys.executable, "-c", ABSENT], capture_output=True, text=True, check=True)
    assert run.stdout.strip() == "(64, 80, 3)"
