"""Sphinx configuration. Nothing here needs the network."""

import re
from pathlib import Path

from sphinx_gallery.sorting import ExplicitOrder

import skdistmix

TOP = Path(__file__).resolve().parent.parent

project = "skdistmix"
author = "skdistmix developers"
copyright = f"2026, {author}"
version = release = skdistmix.__version__

extensions = [
    "sphinx.ext.autodoc",
    "sphinx.ext.autosummary",
    "numpydoc",
    "sphinx_gallery.gen_gallery",
]
templates_path = ["_templates"]
exclude_patterns = ["_build", "_templates"]
# Single backticks in docstrings and in CHANGELOG.md are code.
default_role = "literal"

autosummary_generate = True
autodoc_member_order = "bysource"
autodoc_typehints = "none"
add_module_names = False
numpydoc_show_class_members = False  # the template lists them

sphinx_gallery_conf = {
    "examples_dirs": [str(TOP / "examples")],
    "gallery_dirs": ["auto_examples"],
    "filename_pattern": r"[\\/]plot_",
    # Matched with file names. Benchmarks measure for minutes and are run by hand; their folder is
    # left out because it has no README.rst.
    "ignore_pattern": r"^(?!plot_)",
    "within_subsection_order": ExplicitOrder(["plot_quickstart.py", "plot_choose_k.py", "*"]),
    "doc_module": ("skdistmix",),
    "thumbnail_size": (800, 560),  # pages show some, as they are there without running examples
    "backreferences_dir": "generated/backreferences",
    "reference_url": {"skdistmix": None},
    "download_all_examples": False,
    "show_memory": False,
    "write_computation_times": False,
    "show_signature": False,
    "remove_config_comments": True,
}

html_theme = "pydata_sphinx_theme"
html_title = f"skdistmix {release}"
html_show_sourcelink = False
html_copy_source = False
html_theme_options = {
    "navigation_with_keys": False,
    "show_toc_level": 2,
    "navbar_end": ["theme-switcher"],
    "secondary_sidebar_items": ["page-toc"],
    "footer_start": ["copyright"],
    "footer_end": [],
}


def changelog_as_rst(app, docname, source):
    """Fill the page of changes from CHANGELOG.md, of which only the headings differ from reST."""
    if docname != "changes":
        return
    app.env.note_dependency(str(TOP / "CHANGELOG.md"))
    source[0] = re.sub(
        r"^(#+) (.*)$",
        lambda heading: f"{heading[2]}\n{'=-~'[len(heading[1]) - 1] * len(heading[2])}",
        (TOP / "CHANGELOG.md").read_text(encoding="utf-8"),
        flags=re.MULTILINE,
    )


def without_foreign_pages(app, what, name, obj, skip, options):
    """Leave out a method whose inherited docstring refers to pages of scikit-learn."""
    foreign = getattr(obj, "__module__", None) == "sklearn.utils._set_output"
    return True if foreign and name == "set_output" else None


def setup(app):
    app.connect("autodoc-skip-member", without_foreign_pages)
    app.connect("source-read", changelog_as_rst)
