"""Configuration of the documentation.

It builds without a network: links into the documentation of other packages are
resolved only where SKBILEVEL_INTERSPHINX is set, and formulas are set as MathML.
"""

import os
import sys
from pathlib import Path

import skbilevel

sys.path.insert(0, str(Path(__file__).parent / "_ext"))

from api_members import own_members

project = "skbilevel"
author = "skbilevel developers"
release = skbilevel.__version__

extensions = [
    "myst_parser",
    "sphinx.ext.autodoc",
    "sphinx.ext.autosummary",
    "sphinx_copybutton",
    "sphinx_design",
    "sphinx_gallery.gen_gallery",
    "numpydoc",
    "mathml",
    "printed",
    "signatures",
    "thresholds",
]
exclude_patterns = [
    "_build",
    "_grid_searches_table.md",
    "_ext",
    "_templates",
    "auto_examples/*.ipynb",
]
templates_path = ["_templates"]
suppress_warnings: list[str] = []

# --- pages
myst_enable_extensions = ["colon_fence", "dollarmath"]
myst_heading_anchors = 3
copybutton_exclude = ".linenos, .gp, .go"
copybutton_selector = "div:not(.printed) > div.highlight pre"
html_math_renderer = "mathml"

# --- API reference
autosummary_generate = True
autosummary_context = {"own_members": own_members()}
autodoc_typehints = "none"
numpydoc_show_class_members = False

# --- cross-references
nitpicky = True
nitpick_ignore_regex: list[tuple[str, str]] = []
if os.environ.get("SKBILEVEL_INTERSPHINX"):
    extensions.append("sphinx.ext.intersphinx")
    intersphinx_mapping = {
        "matplotlib": ("https://matplotlib.org/stable", None),
        "numpy": ("https://numpy.org/doc/stable", None),
        "python": ("https://docs.python.org/3", None),
        "scipy": ("https://docs.scipy.org/doc/scipy", None),
        "sklearn": ("https://scikit-learn.org/stable", None),
    }
else:
    nitpick_ignore_regex += [(r"py:.*", r"(sklearn|numpy|scipy|matplotlib)\..*")]

# --- gallery
sphinx_gallery_conf = {
    "examples_dirs": "../examples",
    "gallery_dirs": "auto_examples",
    "filename_pattern": r"/plot_",
    # Scripts that pages include, and studies of data sets that have to be fetched.
    "ignore_pattern": r"^(?!plot_)|^plot_(gene_expression|text_logistic)\.py$",
    "within_subsection_order": "gallery_order.ReadingOrder",
    "matplotlib_animations": False,
    "image_scrapers": ("checked_pictures",),
    "capture_repr": (),  # what an example shows, it prints or draws
    "reset_modules": ("matplotlib",),
    "min_reported_time": 1e9,  # times of another machine help nobody
    "write_computation_times": False,
    "show_memory": False,
    "show_signature": False,
    "remove_config_comments": True,
    "thumbnail_size": (400, 280),
    "doc_module": ("skbilevel",),
    "backreferences_dir": "generated/backreferences",
    "inspect_global_variables": False,
    "plot_gallery": "True",
}

# --- looks
html_theme = "pydata_sphinx_theme"
html_static_path = ["_static"]
html_css_files = ["skbilevel.css"]
html_title = "skbilevel"
html_show_sourcelink = False
html_theme_options = {
    "logo": {"text": "skbilevel"},
    "navbar_align": "left",
    "header_links_before_dropdown": 8,
    "navbar_end": ["theme-switcher"],
    "navbar_persistent": ["search-button"],
    "secondary_sidebar_items": ["page-toc"],
    "footer_start": ["copyright"],
    "footer_end": ["sphinx-version"],
    "show_prev_next": False,
    "pygments_light_style": "default",
    "pygments_dark_style": "github-dark-high-contrast",
}
html_sidebars = {"index": [], "api": []}
copyright = author
