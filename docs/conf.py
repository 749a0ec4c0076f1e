"""Sphinx: Markdown pages by MyST, the API by autodoc, options of the configurations from their classes."""

import re
import sys
from importlib.metadata import version as installed_version
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parent / "_ext"))

project = "gnnpot"
author = "the gnnpot developers"
copyright = author
version = release = installed_version("gnnpot")
extensions = [
    "configuration_options",
    "myst_parser",
    "sphinx.ext.autodoc",
    "sphinx.ext.napoleon",
    "sphinx.ext.viewcode",
]
source_suffix = {".md": "markdown"}
exclude_patterns = ["_build"]
# blocks that name no language are commands
highlight_language = "none"
html_theme = "furo"
html_title = "gnnpot"
html_static_path = ["_static"]
html_css_files = ["wide.css"]
myst_enable_extensions = ["colon_fence", "dollarmath"]
myst_heading_anchors = 3
autodoc_member_order = "bysource"
autodoc_typehints = "signature"
# of an extra that is not needed to build the documentation
autodoc_mock_imports = ["torch_sim"]
# module names in signatures make them unreadable
add_module_names = False
python_use_unqualified_type_names = True
nitpicky = False


def _without_domains(app, what, name, obj, options, signature, returns):
    """Signatures with the types of numbers alone; the domains of options (`gnnpot.domains`) make them unreadable."""
    domain = r"(?:~?\w+\.)?Annotated\[((?:(?!Annotated).)+?), ~?gnnpot\.domains\.Domain\(.*?whole=\w+\)\]"
    return signature and re.sub(domain, r"\1", signature), returns


def setup(app):
    """Connect to Sphinx's events."""
    app.connect("autodoc-process-signature", _without_domains)
