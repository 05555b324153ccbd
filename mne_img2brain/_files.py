"""A file or a set of files whole, or not at all; and files of others, looked at before use.

What is written goes to another name first, is pushed to the disk, and is then moved to its own
name, which the file system does in one step. A process killed on the way leaves the old files,
and leftovers that the next writer sweeps away: a lock that died with its holder tells which.
"""

import contextlib
import errno
import hashlib
import mmap
import os
import secrets
import shutil
import time
from collections.abc import Callable, Iterator
from pathlib import Path

try:
    import fcntl
except ImportError:  # Windows, where a file that is open cannot be removed
    fcntl = None  # type: ignore[assignment]

_PART, _STAGING = ".part-", ".saving-"
_PATIENCE = 120  # seconds that a writer waits for another


def as_path(path: object, name: str = "fname") -> Path:
    """Return a path, or say that something is none."""
    if not isinstance(path, (str, os.PathLike)) or isinstance(os.fspath(path), bytes):
        raise TypeError(f"{name} is a {type(path).__name__}, {path!r}; give the path of a file.")
    if not os.fspath(path) or "\0" in os.fspath(path):
        raise ValueError(f"{name}={os.fspath(path)!r} is not the name of a file.")
    return Path(path)


@contextlib.contextmanager
def whole_file(path: str | os.PathLike) -> Iterator[Path]:
    """Write a file in one step: whole, or not at all.

    path: the file. Folders on the way are made; a link stays, what it points to is replaced.
    """
    path = Path(os.path.realpath(path))
    with naming(path):
        path.parent.mkdir(parents=True, exist_ok=True)
        _sweep_parts(path.parent)
        part = path.with_name(f"{_PART}{secrets.token_hex(6)}-{path.name[-100:]}")
        # not mkstemp, whose files nobody else may read
        with part.open("xb") as held:
            _try_lock(held.fileno())
            try:
                yield part
                sync(part)
                os.replace(part, path)
                sync(path.parent)
            finally:
                part.unlink(missing_ok=True)


def write_text(path: str | os.PathLike, text: str) -> None:
    """Write a text file in one step: whole, or not at all."""
    with whole_file(path) as part:
        part.write_text(text, encoding="utf-8")


def write_together(folder: Path, writers: dict[str, Callable[[Path], None]]) -> None:
    """Write files that belong together; others in the folder stay.

    A process that stops on the way leaves the old files, or the new ones, part of them under their
    names and part in a folder beside them: :func:`places` says where to look.

    writers: name -> function that is given the path to write to, in the order in which files get
        their names. The last is the one that says of what the others are, by :func:`digest` say.
    """
    folder = Path(os.path.realpath(folder))
    with _made(folder):
        with naming(folder):
            with _locked(folder) as alone:
                for left in _stagings(folder):
                    if alone and not (left / list(writers)[-1]).exists():
                        shutil.rmtree(left, ignore_errors=True)  # stopped before it was whole
                staging = folder / f"{_STAGING}{secrets.token_hex(6)}"
                staging.mkdir()
                try:
                    for name, write in writers.items():
                        with naming(folder / name):
                            (staging / name).touch()
                            mode = (staging / name).stat().st_mode
                            write(staging / name)
                            os.chmod(
                                staging / name, mode
                            )  # as umask has it, whichever process wrote
                            sync(staging / name)
                    sync(staging)
                except BaseException:
                    shutil.rmtree(staging, ignore_errors=True)
                    raise
                for name in writers:
                    os.replace(staging / name, folder / name)
                sync(folder)
                for left in _stagings(folder):
                    if alone or left == staging:
                        shutil.rmtree(left, ignore_errors=True)


@contextlib.contextmanager
def _made(folder: Path, keep: bool = True) -> Iterator[None]:
    """Make a folder; where the block fails, it is not there afterwards if it was not before."""
    made: list[Path] = []
    try:
        with naming(folder):
            for missing in [one for one in (*reversed(folder.parents), folder) if not one.exists()]:
                missing.mkdir()
                made.append(missing)
        yield
        for one in made:
            sync(one.parent)
        made = made if not keep else []
    finally:
        for one in reversed(made):
            with contextlib.suppress(OSError):
                one.rmdir()  # unless something is in it


def try_folder(folder: Path) -> None:
    """Raise where files cannot be written to a folder, before the work they are of."""
    folder = Path(os.path.realpath(folder))
    with _made(folder, keep=False), naming(folder):
        probe = folder / f"{_PART}{secrets.token_hex(6)}"
        try:
            probe.write_bytes(bytes(4096))
        finally:
            if folder.is_dir():
                probe.unlink(missing_ok=True)


def places(folder: Path) -> list[list[Path]]:
    """Where complete sets of files may be: the folder itself, and where a writer stopped.

    Returns: of each set, the folder of the file that says of what the others are, then those to
        look for others in.
    """
    return [[folder], *([staging, folder] for staging in _stagings(folder))]


def _stagings(folder: Path) -> list[Path]:
    return sorted(folder.glob(f"{_STAGING}*"))


def holds_nothing(folder: Path) -> bool:
    """Tell whether a folder is empty but for what a writer left that was stopped."""
    return not any(not path.name.startswith((_STAGING, _PART)) for path in folder.iterdir())


def digest(path: Path) -> dict[str, int | str]:
    """Return the size and the SHA-256 of a file."""
    with path.open("rb") as stream:
        found = hashlib.file_digest(stream, "sha256")
    return {"bytes": path.stat().st_size, "sha256": found.hexdigest()}


def sync(path: Path) -> None:
    """Push a file or the names in a folder to the disk, that a loss of power spares them."""
    if path.is_dir() and os.name == "nt":
        return
    handle = os.open(path, os.O_RDWR if os.name == "nt" else os.O_RDONLY)
    try:
        os.fsync(handle)
    except OSError as error:
        if error.errno not in (errno.EINVAL, errno.ENOTSUP):  # file systems without it
            raise
    finally:
        os.close(handle)


@contextlib.contextmanager
def naming(path: Path) -> Iterator[None]:
    """Let errors of the operating system name the file that could not be written."""
    try:
        yield
    except OSError as error:
        if getattr(error, "named", False):
            raise
        # the first on the way that is not a folder
        above = next((one for one in path.parents if one.exists()), path.parent)
        if os.path.isfile(path) and isinstance(error, NotADirectoryError):
            above = path
        reason = f"{above} is a file" if above.is_file() else error.strerror or str(error)
        kept = " What was there before is kept." if os.path.lexists(path) else ""
        kind = type(error) if type(error).__module__ == "builtins" else OSError
        new = kind(f"{path} could not be written: {reason}.{kept}")
        new.errno, new.named = error.errno, True  # type: ignore[attr-defined]
        raise new from error


@contextlib.contextmanager
def _locked(folder: Path) -> Iterator[bool]:
    """Let one writer at a time into a folder; False where the file system knows no locks."""
    if fcntl is None:
        yield False
        return
    handle = os.open(folder, os.O_RDONLY)
    try:
        began = time.monotonic()
        while not (alone := _try_lock(handle)):
            if alone is None:
                break
            if time.monotonic() - began > _PATIENCE:
                raise TimeoutError(errno.ETIMEDOUT, "another process is writing to it")
            time.sleep(0.01)
        yield bool(alone)
    finally:
        os.close(handle)


def _try_lock(handle: int) -> bool | None:
    """Lock an open file until it is closed; None where that cannot be done."""
    if fcntl is None:
        return None
    try:
        fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    except OSError:
        return None
    return True


def _sweep_parts(folder: Path) -> None:
    """Remove what writers left that were killed: nobody holds its lock."""
    for left in folder.glob(f"{_PART}*"):
        # the process that made it needs a moment to lock it
        with contextlib.suppress(OSError):
            if time.time() - left.stat().st_mtime > 5:
                with left.open("rb") as stream:
                    gone = _try_lock(stream.fileno())
                if gone or fcntl is None:
                    left.unlink()


def check_fif_file(path: Path, label: str) -> None:
    """Refuse a file that MNE cannot read as FIF, or would read for ever; compressed ones pass."""
    if not path.stat().st_size:
        raise ValueError(f"{label} is empty; fetch or copy it again.")
    with path.open("rb") as stream:
        if stream.read(2) == b"\x1f\x8b":
            return
        with mmap.mmap(stream.fileno(), 0, access=mmap.ACCESS_READ) as content:
            check_fif(content, label)


def check_fif(content: bytes | mmap.mmap, name: str) -> None:
    """Refuse what MNE cannot read as a FIF file, or would read for ever.

    Each tag of a FIF file says where the next one is. MNE follows them: backwards too, without
    end.
    """
    at, kind, n_tags = 0, 0, 0
    while at != -1:
        header = content[at : at + 16]
        if len(header) == 0 and n_tags:
            return  # the last tag need not say that it is the last
        kind, _, size, following = (
            int.from_bytes(header[i : i + 4], "big", signed=True) for i in range(0, 16, 4)
        )
        n_tags += 1
        # 100 is the file's identity, 101 where a list of all tags is, which MNE does not write
        fits = len(header) == 16 and 0 <= size <= len(content) - at - 16 and following >= -1
        if n_tags <= 2:
            fits = fits and kind == 99 + n_tags
        if n_tags == 2:
            where = int.from_bytes(content[at + 16 : at + 20], "big", signed=True)
            listed = content[where : where + 16] if where > 0 else b""
            n_bytes = int.from_bytes(listed[8:12], "big")
            if listed[:4] == b"\0\0\0\x66" and 0 < n_bytes <= len(content) - where - 16:
                return  # MNE takes the list, and follows the tags where it finds none
        if not fits or 0 < following < at + 16 + size:
            raise ValueError(f"{name} is no FIF file, or damaged near byte {at}.")
        at = at + 16 + size if following == 0 else following
