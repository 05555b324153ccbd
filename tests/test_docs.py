"""What the docs and the CI script promise."""

import ast
import importlib
import importlib.util
import re
import zlib
from pathlib import Path

import pytest

import mne_img2brain

ROOT = Path(mne_img2brain.__file__).parents[1]
DOC = ROOT / "doc"
ROLE = r":(?:class|func|meth):`~?\.?((?:mne|numpy|sklearn|torch|scipy)\.[\w.]+)`"


def listed_names():
    """Names that the API page lists, without the package."""
    return set(re.findall(r"^   ([A-Za-z]\w*(?:\.\w+)*)$", (DOC / "api.rst").read_text(), re.M))


@pytest.mark.parametrize(
    "module",
    [
        "",
        "encoder.attribution",
        "baselines",
        "datasets",
        "evaluation",
        "experiments",
        "mean",
        "metrics",
        "stimulus",
        "viz",
    ],  # fmt: skip
)
def test_the_api_page_has_every_public_name(module):
    public = importlib.import_module(f"mne_img2brain.{module}".rstrip("."))
    names = [
        name
        for name in public.__all__
        if not name.startswith("_")
        and type(getattr(public, name)).__name__ != "module"
        and not hasattr(mne_img2brain, name) * bool(module)
    ]
    missing = {f"{module}.{name}".lstrip(".") for name in names} - listed_names()
    assert not missing


def test_the_api_page_has_nothing_else():
    for name in listed_names():
        value = mne_img2brain
        for part in name.split("."):
            if not hasattr(value, part):
                value = importlib.import_module(f"{value.__name__}.{part}")
            else:
                value = getattr(value, part)
        assert value is not None


def test_the_table_of_floors_names_every_room():
    text = (DOC / "contributing.rst").read_text()
    table = set(re.findall(r"``(\w+)``", text[text.index("Who may import whom") :]))
    rooms = {
        path.relative_to(ROOT / "mne_img2brain").parts[0].removesuffix(".py")
        for path in (ROOT / "mne_img2brain").rglob("*.py")
    } - {"__init__", "__main__"}
    assert rooms <= table
    assert table - rooms <= {"mne", "torch"}


def load_inventories():
    """Load the script that writes the inventories."""
    spec = importlib.util.spec_from_file_location("inventories", DOC / "make_inventories.py")
    script = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(script)
    return script


def read_inventory(content):
    """Split an inventory into its head and its lines."""
    *head, body = content.split(b"\n", 4)
    return head, zlib.decompress(body).decode().splitlines()


def test_offline_inventories_are_those_of_the_script_and_of_conf():
    script = load_inventories()
    conf = (DOC / "conf.py").read_text()
    assert {path.stem for path in (DOC / "_inv").iterdir()} == set(script.NAMES)
    for project in script.NAMES:
        assert f'"{project}": "https://' in conf
        # the text is compared, for the compressed bytes depend on the version of zlib
        committed = (DOC / "_inv" / f"{project}.inv").read_bytes()
        assert read_inventory(committed) == read_inventory(script.inventory(project))


def test_names_of_other_packages_are_in_the_inventories():
    known = {
        name
        for entries in load_inventories().NAMES.values()
        for _, _, names in entries
        for name in names
    }
    files = [
        *DOC.glob("*.rst"),
        *(ROOT / "mne_img2brain").rglob("*.py"),
        *ROOT.glob("examples/**/*.py"),
    ]
    used = {
        name
        for path in files
        for name in re.findall(ROLE, path.read_text())
        if not name.startswith("mne_img2brain")
    }
    assert used
    assert used <= known


def test_ci_runs_each_command_of_the_readme_as_a_line_of_its_own():
    commands = re.findall(r"```bash\n(.*?)\n```", (ROOT / "README.md").read_text(), re.DOTALL)
    lines = (ROOT / ".ci" / "run").read_text().splitlines()
    assert len(commands) == 2
    assert all(lines.count(command) == 1 for command in commands)
    for job in ("ruff check", "ruff format --check", "codespell", "sphinx -W"):
        assert any(job in line for line in lines)


def test_files_the_readme_and_the_docs_show_are_there():
    readme = (ROOT / "README.md").read_text()
    for target in re.findall(r"\]\((?!https?:)([^)]+)\)", readme):
        assert (ROOT / target).exists(), target
    for page in DOC.glob("*.rst"):
        for target in re.findall(r"\.\. (?:image|figure):: (\S+)", page.read_text()):
            assert (page.parent / target).exists(), target


@pytest.mark.parametrize(
    "path", sorted((ROOT / "examples").rglob("plot_*.py")), ids=lambda p: p.stem
)
def test_examples_explain_themselves(path):
    text = path.read_text()
    title, underline, *_ = ast.get_docstring(ast.parse(text)).splitlines()
    assert len(underline) >= len(title)
    assert set(underline) == {"="}
    assert text.count("# %%") >= 3
    # what it says of its numbers it asserts; a failed assertion fails the site's build
    assert "\nassert " in text or "\n    assert " in text


def test_the_version_is_one():
    match = re.search(r'^version = "(.+)"$', (ROOT / "pyproject.toml").read_text(), re.M)
    assert match.group(1) == mne_img2brain.__version__


def test_the_page_on_metrics_names_every_row_of_the_report():
    page = (DOC / "metrics.rst").read_text()
    added = {
        name
        for path in (ROOT / "mne_img2brain" / "evaluation").glob("*.py")
        for name in re.findall(r'rows\.add(?:_mean)?\(\s*f?"([^"]+)"', path.read_text())
    }
    assert len(added) > 15
    for name in added:
        # what is named after a band, a component or a classifier is named by the rest of it
        words = re.sub(r"\{\w+\}", "", name).strip(" ,:")
        assert words in page, name


def test_gallery_sections_are_folders_of_examples():
    order = (DOC / "gallery_order.py").read_text()
    folders = {path.parent.name for path in (ROOT / "examples").glob("*/plot_*.py")}
    assert set(re.findall(r"\.\./examples/(\w+)", order)) == folders
