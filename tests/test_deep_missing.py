"""What is said where torch or skorch is not installed, and that nothing heavy is loaded."""

import subprocess
import sys

import pytest

BLOCK = """
import sys
class Blocker:
    def find_spec(self, name, path=None, target=None):
        if name.partition(".")[0] == {name!r}:
            raise ModuleNotFoundError(f"No module named {{name!r}}", name=name)
{prepare}
"""


def in_new_process(code):
    done = subprocess.run(
        [sys.executable, "-W", "error", "-c", code], capture_output=True, text=True
    )
    assert done.returncode == 0, done.stderr
    return done.stdout


@pytest.mark.parametrize(
    "name, statement",
    [
        ("torch", "from skdistmix import DeepEmbeddedClustering"),
        ("skorch", "import skdistmix.deep"),
    ],
)
def test_the_message_names_the_extra(name, statement):
    code = (
        BLOCK.format(name=name, prepare="sys.meta_path.insert(0, Blocker())")
        + f"""
try:
    {statement}
except ImportError as error:
    print(error)
"""
    )
    assert 'pip install "skdistmix[deep]"' in in_new_process(code)


def test_help_needs_no_torch():
    code = """
import inspect, pydoc, sys
import skdistmix
from skdistmix import *
dir(skdistmix)
assert not {"torch", "skorch"} & set(sys.modules)
sys.modules["torch"] = None  # it cannot be imported
names = [name for name, _ in inspect.getmembers(skdistmix)]
assert "DistributedGMM" in names and "DeepEmbeddedClustering" not in names
pydoc.render_doc(skdistmix)
"""
    in_new_process(code)


def test_the_clusterer_is_found_and_listed():
    pytest.importorskip("torch")
    pytest.importorskip("skorch")
    import skdistmix
    from skdistmix.deep import DeepEmbeddedClustering

    assert skdistmix.DeepEmbeddedClustering is DeepEmbeddedClustering
    assert "DeepEmbeddedClustering" in dir(skdistmix)
    assert "DeepEmbeddedClustering" not in skdistmix.__all__
