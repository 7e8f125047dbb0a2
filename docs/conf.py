"""The documentation site: ``make docs`` builds it into ``site``.

The sources are read from the root of the repository, so that a link means here what it means on GitHub: pages lead to
files of the source, to CONTRIBUTING.md, and to the recorded figures in benchmarks/results.
"""

from __future__ import annotations

import os
import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
sys.path.insert(0, str(ROOT / "docs"))
# The gallery is run while the site is built; one thread makes it as quick and the same on any machine.
os.environ.setdefault("OMP_NUM_THREADS", "1")
os.environ.setdefault("OPENBLAS_NUM_THREADS", "1")

import correlight  # noqa: E402

project = "correlight"
author = copyright = "The correlight developers"
version = release = correlight.__version__

extensions = [
    "myst_parser",
    "numpydoc",
    "sphinx.ext.autodoc",
    "sphinx.ext.autosummary",
    "sphinx.ext.viewcode",
    "sphinx_design",
    "sphinx_gallery.gen_gallery",
]
root_doc = "docs/index"
include_patterns = [
    "docs/**",
    "benchmarks/results/*.md",
    "CONTRIBUTING.md",
    "CHANGELOG.md",
    "SECURITY.md",
    "CODE_OF_CONDUCT.md",
]
exclude_patterns = [
    ".*",
    "site",
    "dist",
    "demo",
    "docs/templates",
    "**/__pycache__",
    "docs/gallery/**.py",
    "docs/gallery/**.ipynb",
]
templates_path = ["docs/templates"]
nitpicky = True
# What numpydoc makes of words such as "array of bool" or "(Y, X)" are no names that could be looked up.
nitpick_ignore_regex = [("py:(class|obj|data)", ".*")]

myst_enable_extensions = ["colon_fence", "deflist", "attrs_block", "attrs_inline"]
myst_heading_anchors = 4

autosummary_generate = True
autodoc_typehints = "none"
autodoc_member_order = "bysource"
numpydoc_show_class_members = False
numpydoc_xref_param_type = False

sphinx_gallery_conf = {
    "examples_dirs": ["examples/gallery"],
    "gallery_dirs": ["docs/gallery"],
    "filename_pattern": r"\.py$",
    "ignore_pattern": r"__init__\.py",
    "within_subsection_order": "FileNameSortKey",
    "abort_on_example_error": True,
    "remove_config_comments": True,
    "download_all_examples": False,
    "write_computation_times": False,
    "show_memory": False,
    "show_signature": False,
    "min_reported_time": 1,
    "plot_gallery": True,
    "nested_sections": False,
}

html_theme = "pydata_sphinx_theme"
html_title = "correlight"
html_static_path = ["static"]
html_css_files = ["site.css"]
# The first page lies where the links on GitHub need it.
html_extra_path = ["static/index.html"]
html_copy_source = False
html_show_sourcelink = False
html_sidebars = {"docs/index": []}
html_theme_options = {
    "logo": {"text": "correlight"},
    "navbar_align": "left",
    "header_links_before_dropdown": 6,
    "show_prev_next": False,
    "secondary_sidebar_items": ["page-toc"],
    "footer_start": ["copyright"],
    "footer_end": [],
    "show_toc_level": 2,
}
