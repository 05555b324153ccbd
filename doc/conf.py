"""Sphinx configuration."""

import re
import subprocess
import sys
import warnings
from importlib.metadata import version as package_version
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parent))
from gallery_order import SECTIONS  # noqa: E402

project = "mne_img2brain"
author = "mne_img2brain developers"
release = package_version("mne_img2brain")
version = release

extensions = [
    "sphinx.ext.autodoc",
    "sphinx.ext.autosummary",
    "sphinx.ext.intersphinx",
    "sphinx.ext.mathjax",
    "sphinx.ext.viewcode",
    "numpydoc",
    "sphinx-mathjax-offline",
    "sphinx_copybutton",
    "sphinx_gallery.gen_gallery",
    "sphinxcontrib.bibtex",
]
exclude_patterns = ["_build", "auto_examples/**/*.ipynb"]
autosummary_generate = True
numpydoc_show_class_members = False
autodoc_typehints = "none"  # the docstrings say more: shapes and units
# numpydoc would take its own short names for cross-references to classes of other packages
numpydoc_xref_param_type = False

bibtex_bibfiles = ["references.bib"]
bibtex_reference_style = "author_year"
bibtex_default_style = "plain"


def write_unreleased(app):
    """Write what the fragments in changes/ say, which no release has yet, for the changelog."""
    root = Path(__file__).parents[1]
    command = [sys.executable, "-m", "towncrier", "build", "--draft", "--version", "Unreleased"]
    text = ""
    if any((root / "changes").glob("*.rst")):
        done = subprocess.run(command, cwd=root, capture_output=True, text=True, check=True)
        # ahead of the title towncrier speaks of itself; its date is that of no release
        text = "Unreleased\n----------\n" + re.split(r"Unreleased \(.*\)\n-+\n", done.stdout)[1]
    target = Path(app.srcdir) / "generated" / "unreleased.inc"
    target.parent.mkdir(exist_ok=True)
    target.write_text(text)


def setup(app):
    app.connect("config-inited", lambda app, config: write_unreleased(app))


templates_path = ["_templates"]
html_theme = "pydata_sphinx_theme"
html_static_path = ["_static"]
html_css_files = ["site.css"]
html_title = "mne_img2brain"
html_theme_options = {
    "show_toc_level": 2,
    "navigation_with_keys": False,
    "secondary_sidebar_items": ["page-toc"],
}
# only pages with others below them have a list of these at their side
html_sidebars = {
    page.stem: [] for page in Path(__file__).parent.glob("*.rst") if page.stem != "api"
}
toc_object_entries_show_parents = "hide"

# The second entry is used where the first cannot be reached, so that the docs build offline.
_projects = {
    "mne": "https://mne.tools/stable",
    "numpy": "https://numpy.org/doc/stable",
    "sklearn": "https://scikit-learn.org/stable",
    "torch": "https://docs.pytorch.org/docs/stable",
}
intersphinx_mapping = {name: (url, (None, f"_inv/{name}.inv")) for name, url in _projects.items()}
intersphinx_timeout = 5


def format_warning(message, category, *where):
    """Show a warning of an example without the paths of this machine."""
    return f"{category.__name__}: {message}\n"


warnings.formatwarning = format_warning

# There is no index to install from: a downloaded notebook brings the name of the wheel it needs.
notebook_cell = f"""\
try:
    import mne_img2brain
except ImportError:  # Colab or another hub: upload the wheel first (see the page Install)
    %pip install mne_img2brain-{release}-py3-none-any.whl
%matplotlib inline"""

sphinx_gallery_conf = {
    "first_notebook_cell": notebook_cell,
    "examples_dirs": ["../examples"],
    "gallery_dirs": ["auto_examples"],
    "capture_repr": ("_repr_html_",),
    "filename_pattern": r"plot_",
    "remove_config_comments": True,
    "download_all_examples": False,
    "show_memory": False,
    "subsection_order": SECTIONS,
    # pages of the API list the examples that use a name
    "doc_module": ("mne_img2brain",),
    "backreferences_dir": "generated/backreferences",
    "within_subsection_order": "gallery_order.QuickstartFirst",
    # what plotting returns is not shown beneath the figure
    "ignore_repr_types": r"matplotlib|Figure",
    "abort_on_example_error": True,
}
