"""What pytest leaves out where an optional package is not installed."""

from importlib.util import find_spec

# Modules are imported to find the examples in their docstrings, and these need torch and skorch.
if find_spec("torch") is None or find_spec("skorch") is None:
    collect_ignore_glob = ["skdistmix/deep/*"]
