"""Configuration of the documentation."""

import skbilevel

project = "skbilevel"
author = "skbilevel developers"
release = skbilevel.__version__

extensions = ["myst_parser", "sphinx.ext.autodoc", "sphinx.ext.mathjax", "numpydoc"]
myst_enable_extensions = ["dollarmath"]
myst_heading_anchors = 3
numpydoc_show_class_members = False
autodoc_typehints = "none"

exclude_patterns = ["_build"]
html_theme = "alabaster"
html_static_path = ["_static"]
html_theme_options = {
    "description": "One regularization strength per feature",
    "page_width": "1100px",
}
