"""Check that the sdist and the wheel in a folder hold what they should, and nothing else."""

import sys
import tarfile
import zipfile
from pathlib import Path

root = Path(__file__).parents[1]
(wheel,) = Path(sys.argv[1]).glob("*.whl")
(sdist,) = Path(sys.argv[1]).glob("*.tar.gz")

package = {
    path.relative_to(root).as_posix()
    for path in (root / "mne_img2brain").rglob("*")
    if path.is_file() and "__pycache__" not in path.parts
}
inside = set(zipfile.ZipFile(wheel).namelist())
about = {name for name in inside if ".dist-info/" in name}
if inside - about != package:
    sys.exit(f"{wheel.name} and mne_img2brain/ differ: {sorted((inside - about) ^ package)}")
for name in ("entry_points.txt", "licenses/LICENSE", "METADATA"):
    if not any(entry.endswith(name) for entry in about):
        sys.exit(f"{wheel.name} lacks {name}.")

in_sdist = {name.split("/", 1)[-1] for name in tarfile.open(sdist).getnames()}
wanted = package | {"README.md", "LICENSE", "CITATION.cff", "pyproject.toml", "tests/conftest.py"}
if wanted - in_sdist:
    sys.exit(f"{sdist.name} lacks {sorted(wanted - in_sdist)}.")
unwanted = {"doc/_build", "doc/auto_examples", "doc/generated", ".venv", ".git"} & in_sdist
if unwanted:
    sys.exit(f"{sdist.name} holds {sorted(unwanted)}.")
