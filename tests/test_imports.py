"""Who may know whom: imports point down only, and heavy packages stay out."""

import ast
import subprocess
import sys
from pathlib import Path

import pytest

import skdistmix

PACKAGE = Path(skdistmix.__file__).parent
MODULES = sorted(PACKAGE.rglob("*.py"))

# What a room may import from the package. Everything else is forbidden.
ARRAYS = {"_arrays"}
FILES = {"_shards", "_compute", "io"}
MATHEMATICS = {"families"}
ALGORITHMS = {
    "_sweeps",
    "_acceleration",
    "_stopping",
    "_em",
    "_sampling",
    "_seeding",
    "_noise",
    "_stream",
    "_hierarchical",
    "_progressive",
    "_alignment",
    "_reduction",
    "_splits",
    "_averaging",
    "_robust",
    "_aggregation",
    "_experts",
    "_gates",
    "_stacking",
    "_fixed_points",
    "_intervals",
    "_bootstrap",
    "_subsets",
    "_denoising",
    "_landmarks",
    "_spectral",
}
ESTIMATORS = {"mixture", "preprocessing", "_row_values", "_validation"}
BELOW = {
    "_arrays": set(),
    "_shards": ARRAYS,
    "_compute": ARRAYS | {"_shards"},
    "io": ARRAYS | {"_shards", "_compute"},
    "families": ARRAYS,
    **{room: ARRAYS | FILES | MATHEMATICS | ALGORITHMS for room in ALGORITHMS},
    **{room: ARRAYS | FILES | MATHEMATICS | ALGORITHMS | ESTIMATORS for room in ESTIMATORS},
    "datasets": set(),
}
ABOVE = {"deep", "model_selection", "inspection", "cluster", "cocluster"}
BESIDE = {"deep": {"cluster"}}  # codes are clustered as anything else
EXTERNAL = {
    "_arrays": {"numpy", "array_api_compat"},
    "families": {"numpy", "scipy", "sklearn"},  # sklearn: what users pass is a BaseEstimator
    "datasets": {"numpy", "scipy", "sklearn"},
    "_shards": {"numpy", "sklearn", "pyarrow", "zarr", "dask", "distributed"},
}
NOT_FOR_ALGORITHMS = {"joblib", "dask", "distributed", "threadpoolctl"}


def room_of(path):
    first = path.relative_to(PACKAGE).parts[0]
    return first.removesuffix(".py")


def imports_of(path):
    """(package-internal rooms, external top-level packages) that a module imports."""
    depth = len(path.relative_to(PACKAGE).parts)
    internal, external = set(), set()
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.Import):
            external |= {alias.name.split(".")[0] for alias in node.names}
        elif isinstance(node, ast.ImportFrom) and node.level == 0:
            external.add(node.module.split(".")[0])
        elif isinstance(node, ast.ImportFrom) and node.level == depth:
            names = [node.module] if node.module else [alias.name for alias in node.names]
            internal |= {name.split(".")[0] for name in names}
    return internal, external


@pytest.mark.parametrize("path", MODULES, ids=lambda p: str(p.relative_to(PACKAGE)))
def test_imports_point_down(path):
    room = room_of(path)
    internal, external = imports_of(path)
    if room in BELOW:
        assert internal - {room} <= BELOW[room]
    elif room in ABOVE:
        assert not internal & (ABOVE - {room} - BESIDE.get(room, set()))
    if room in ESTIMATORS | ALGORITHMS | MATHEMATICS | FILES | ARRAYS:
        assert not internal & ABOVE
    outside = {name for name in external if name not in sys.stdlib_module_names}
    if room in EXTERNAL:
        assert outside <= EXTERNAL[room]
    if room in ALGORITHMS:
        assert not outside & NOT_FOR_ALGORITHMS
    if room != "deep":
        assert not outside & {"torch", "skorch"}
    if room != "inspection":
        assert "matplotlib" not in outside
    if room != "_arrays":
        assert "array_api_compat" not in outside


def test_array_api_compat_is_imported_inside_functions_only():
    tree = ast.parse((PACKAGE / "_arrays.py").read_text())
    at_import = {a.name for node in tree.body if isinstance(node, ast.Import) for a in node.names}
    assert at_import == {"warnings", "numpy"}


@pytest.mark.parametrize("path", [p for p in MODULES if room_of(p) == "inspection"])
def test_matplotlib_is_imported_inside_functions_only(path):
    body = ast.parse(path.read_text()).body
    names = {a.name for node in body if isinstance(node, ast.Import) for a in node.names}
    names |= {node.module for node in body if isinstance(node, ast.ImportFrom) and not node.level}
    assert not any(name.startswith("matplotlib") for name in names)


def test_every_room_is_known():
    rooms = {room_of(path) for path in MODULES} - {"__init__", "_cli"}
    assert rooms <= set(BELOW) | ABOVE


def test_import_loads_nothing_heavy():
    # scikit-learn itself imports pandas where it is installed
    code = (
        "import sys, sklearn.cluster, sklearn.mixture; before = set(sys.modules); "
        "import skdistmix, skdistmix.model_selection, skdistmix.preprocessing, "
        "skdistmix.datasets, skdistmix.inspection, skdistmix.cluster; "
        "heavy = {'torch', 'skorch', 'array_api_compat', 'dask', 'distributed', 'pyarrow', "
        "'zarr', 'pandas', 'matplotlib', 'polars'}; "
        "print(sorted(heavy & (set(sys.modules) - before)))"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"


@pytest.mark.parametrize("path", [p for p in MODULES if p.name == "__init__.py"])
def test_public_rooms_say_what_is_public(path):
    if room_of(path) == "deep":
        pytest.importorskip("skorch", reason="skdistmix.deep needs PyTorch and skorch")
    name = ".".join(["skdistmix", *path.relative_to(PACKAGE).parts[:-1]])
    module = __import__(name, fromlist=["__all__"])
    for public in module.__all__:
        assert hasattr(module, public)


@pytest.mark.parametrize("path", MODULES, ids=lambda p: str(p.relative_to(PACKAGE)))
def test_files_stay_short(path):
    assert len(path.read_text().splitlines()) <= 420
