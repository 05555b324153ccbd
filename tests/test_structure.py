"""What holds for the whole package: floors, imports, names, docstrings, nothing dangerous."""

import ast
import importlib
import inspect
import pkgutil
import re
import subprocess
import sys
from pathlib import Path

import numpydoc.validate
import pytest
from test_docs import listed_names

import mne_img2brain

PACKAGE = Path(mne_img2brain.__file__).parent
ROOT = PACKAGE.parent
FILES = sorted(PACKAGE.rglob("*.py"))

# Room -> floor. A room imports rooms of lower floors; noise and viz also metrics, beside them.
FLOORS = {
    "_files": 0, "_lazy": 0, "_linalg": 0, "_log": 0, "_parameters": 0, "_sys_info": 0, "_torch": 0,
    "_types": 0,
    "metrics": 1, "stimulus": 1, "epochs": 1, "trials": 1, "noise": 1, "viz": 1,
    "mean": 2, "diffusion": 2, "baselines": 2, "datasets": 2, "evaluation": 2,
    "regressor": 3,
    "encoder": 4,
    "experiments": 5,
    "cli": 6,
}  # fmt: skip
BESIDE = {("noise", "metrics"), ("viz", "metrics")}
# Room -> packages it must not import at the top of a module, nor inside functions.
FORBIDDEN = {
    "stimulus": {"mne"}, "mean": {"torch", "mne"}, "diffusion": {"mne", "transformers"},
    "epochs": {"torch"}, "metrics": {"torch", "mne"}, "trials": {"torch", "mne"},
    "noise": {"torch"}, "regressor": {"mne"}, "baselines": {"mne", "torch"}, "viz": {"torch"},
    "encoder": {"matplotlib"},
}  # fmt: skip


def room_of(path):
    """Name of the room a file is in: the folder or file below the package."""
    part = path.relative_to(PACKAGE).parts[0]
    return part.removesuffix(".py")


def imports(path):
    """All imported modules, absolute, wherever the import stands but for type checkers alone."""
    package = list(path.relative_to(ROOT).with_suffix("").parts[:-1])
    tree = ast.parse(path.read_text())
    for node in ast.walk(tree):
        if isinstance(node, ast.If) and "TYPE_CHECKING" in ast.unparse(node.test):
            node.body = []
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            base = package[: len(package) - node.level + 1] if node.level else []
            module = ".".join([*base, *([node.module] if node.module else [])])
            yield module
            yield from (f"{module}.{alias.name}" for alias in node.names)


@pytest.mark.parametrize("path", FILES, ids=lambda p: str(p.relative_to(PACKAGE)))
def test_floors(path):
    room = room_of(path)
    if room in ("__init__", "__main__"):
        return
    assert room in FLOORS, f"{room} has no floor: add it to the table here and in the docs"
    for module in imports(path):
        parts = module.split(".")
        assert parts[0] not in FORBIDDEN.get(room, ()), f"{room} must not import {module}"
        if parts[0] == "mne_img2brain" and len(parts) > 1 and parts[1] in FLOORS:
            other = parts[1]
            allowed = other == room or (room, other) in BESIDE or FLOORS[other] < FLOORS[room]
            assert allowed, f"{room} imports {module}"


def fresh(code):
    """Run code in a fresh process and return what it prints."""
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    return done.stdout


def test_the_front_door_is_light():
    code = "import sys, mne_img2brain; print(*sys.modules)"
    loaded = set(fresh(code).split())
    heavy = {"torch", "transformers", "matplotlib", "open_clip", "mne", "sklearn", "pandas"}
    assert not loaded & heavy


def test_every_module_imports_on_its_own_and_leaves_random_numbers_alone():
    """What a package loads is loaded before each of its modules, whoever imports them."""
    names = sorted(
        ".".join(path.relative_to(ROOT).with_suffix("").parts).removesuffix(".__init__")
        for path in FILES
        if path.name != "__main__.py"
    )
    code = (
        "import importlib, numpy as np, sys\n"
        "state, with_package = np.random.get_state()[1].copy(), {'': ()}\n"
        f"for name in {names!r}:\n"
        "    loaded = with_package[name.rpartition('.')[0]]\n"
        "    if name not in loaded:\n"
        "        for other in [n for n in sys.modules if n.startswith('mne_img2brain')]:\n"
        "            del sys.modules[other]\n"
        "        importlib.import_module(name)\n"
        "        loaded = set(sys.modules)\n"
        "    with_package[name] = loaded\n"
        "assert (np.random.get_state()[1] == state).all()\n"
        "print('fine')"
    )
    assert fresh(code).strip() == "fine"


def test_public_names_are_there():
    for name in mne_img2brain.__all__:
        assert getattr(mne_img2brain, name) is not None
    assert set(mne_img2brain.__all__) <= set(dir(mne_img2brain))
    with pytest.raises(AttributeError, match="nothing"):
        mne_img2brain.nothing  # noqa: B018


@pytest.mark.parametrize(
    ("pattern", "why"),
    [
        (r"(?<![\w.])print\(", "the logger speaks"),
        (r"np\.random\.(seed|rand|randn|normal|choice|shuffle)\(", "global random numbers"),
        (r"torch\.manual_seed\(", "global random numbers"),
        (r"allow_pickle=True|pickle\.loads?\(", "unsafe loading"),
        (r"joblib(?!\.parallel_config| import effective_n_jobs)", "unsafe loading"),
        (r"trust_remote_code=True", "somebody else's code"),
        (r"TODO|FIXME|XXX|NotImplementedError", "unfinished"),
        (r"\bnum_(images|channels|times|steps|heads|layers|draws)\b", "counts are n_*"),
    ],
)
def test_what_is_not_done(pattern, why):
    found = [
        f"{path.relative_to(ROOT)}:{number}: {line.strip()}"
        for path in FILES
        for number, line in enumerate(path.read_text().splitlines(), start=1)
        if re.search(pattern, line)
    ]
    assert not found, f"{why}: {found}"


def public_nodes():
    """Public functions, classes and their methods: dotted name and node."""
    for path in FILES:
        module = ".".join(path.relative_to(ROOT).with_suffix("").parts).removesuffix(".__init__")
        for node in ast.parse(path.read_text()).body:
            if not isinstance(node, (ast.FunctionDef, ast.ClassDef)) or node.name.startswith("_"):
                continue
            yield f"{module}.{node.name}", node
            for inner in node.body if isinstance(node, ast.ClassDef) else ():
                if isinstance(inner, ast.FunctionDef) and not inner.name.startswith("_"):
                    yield f"{module}.{node.name}.{inner.name}", inner


def test_everything_public_is_described():
    assert not [name for name, node in public_nodes() if not ast.get_docstring(node)]


def pages():
    """Names with a page in the API, and their methods."""
    for name in sorted(listed_names()):
        value = pkgutil.resolve_name(f"mne_img2brain.{name}")
        if not callable(value):
            continue
        yield f"mne_img2brain.{name}"
        for inner, member in vars(value).items() if inspect.isclass(value) else ():
            if inspect.isfunction(member) and not inner.startswith("_"):
                yield f"mne_img2brain.{name}.{inner}"


# Parameters are documented, in their order; nothing is documented that is not there.
CHECKS = {"GL08", "PR01", "PR02", "PR03", "PR10", "SS03", "RT01"}
# One-line docstrings of small methods say all there is to say.
LENIENT = {"PR01", "RT01"}


@pytest.mark.parametrize("name", list(pages()))
def test_docstrings(name):
    report = numpydoc.validate.validate(name)
    wrong = {code: text for code, text in report["errors"] if code in CHECKS}
    one_line = "\n" not in (report.get("docstring") or "").strip()
    if one_line or "    Attributes\n" in inspect.getsource(
        numpydoc.validate.Validator._load_obj(name)
    ):
        # a dataclass documents its fields once, as attributes
        wrong = {code: text for code, text in wrong.items() if code not in LENIENT}
    assert not wrong
    assert "optional" not in re.sub(r"\W", " ", str(report.get("docstring"))).split() or one_line


def test_tests_can_fail():
    """Every test asserts something, or expects an error."""
    for path in (ROOT / "tests").rglob("test_*.py"):
        for node in ast.walk(ast.parse(path.read_text())):
            if not isinstance(node, ast.FunctionDef) or not node.name.startswith("test_"):
                continue
            calls = {
                getattr(call.func, "attr", getattr(call.func, "id", ""))
                for call in ast.walk(node)
                if isinstance(call, ast.Call)
            }
            asserts = any(isinstance(part, ast.Assert) for part in ast.walk(node))
            expects = {c for c in calls if "assert" in c or c in ("raises", "warns", "check")}
            assert asserts or expects, f"{path.name}: {node.name}"


def test_the_readme_s_commands_are_those_of_ci():
    readme = (ROOT / "README.md").read_text()
    script = (ROOT / ".ci" / "run").read_text()
    commands = re.findall(r"```bash\n(.*?)\n```", readme, flags=re.DOTALL)
    assert len(commands) == 2
    assert all(command in script for command in commands)


def test_the_readme_s_code_runs(tmp_path, monkeypatch):
    """With a small embedder and regressor in place of the defaults, which need weights."""
    import numpy as np
    from sklearn.linear_model import Ridge

    import mne_img2brain.encoder
    from mne_img2brain import DiffusionRegressor, GaborEmbedder
    from mne_img2brain.datasets import simulate_epochs, simulate_images

    (code,) = re.findall(r"```python\n(.*?)\n```", (ROOT / "README.md").read_text(), re.DOTALL)
    monkeypatch.chdir(tmp_path)
    encoder = mne_img2brain.encoder.ImageToBrainEncoder(
        GaborEmbedder(size=32, n_scales=2), DiffusionRegressor(Ridge(), max_iter=0)
    )
    monkeypatch.setattr(mne_img2brain, "ImageToBrainEncoder", lambda: encoder, raising=False)
    images, _ = simulate_images(20, size=32, random_state=0)
    epochs, _ = simulate_epochs(images, n_trials=1, random_state=0)
    names = {
        "images": images, "epochs": epochs, "new_images": images[:4],
        "test_images": images, "test_epochs": epochs,
    }  # fmt: skip
    exec(compile(code, "README.md", "exec"), names)
    assert names["expected"].get_data().shape[0] == 4
    assert len(names["trials"]) == 80
    assert np.isfinite(names["r"].data).all()
    assert (tmp_path / "my_encoder" / "encoder.json").is_file()


# Rooms whose public functions say the types of all they take and return.
TYPED = {"encoder", "encoder.hub", "encoder.scoring", "encoder.description", "baselines", "metrics"}


def test_public_functions_have_types():
    """Of the package's front: its classes, and the names that the rooms above give out."""
    assert (PACKAGE / "py.typed").is_file()
    missing = []
    for room in sorted(TYPED):
        module = importlib.import_module(f"mne_img2brain.{room}")
        for name in getattr(module, "__all__", dir(module)):
            thing = getattr(module, name)
            if not str(getattr(thing, "__module__", "")).startswith(f"mne_img2brain.{room}"):
                continue
            functions = {name: thing} if inspect.isfunction(thing) else vars(thing)
            for inner, function in functions.items():
                function = getattr(function, "__func__", function)
                if inner.startswith("_") or not inspect.isfunction(function):
                    continue
                signature = inspect.signature(function)
                types = [p.annotation for p in signature.parameters.values()]
                types = (
                    [*types[1:], signature.return_annotation] if function is not thing else types
                )
                if inspect.Signature.empty in types:
                    missing.append(f"{room}.{name}.{inner}")
    assert not missing
