"""Weights on the Hugging Face Hub: are they here, how large are they, can they be had."""

from fnmatch import fnmatch
from pathlib import Path

from .._log import logger

_TIMEOUT = 10.0  # seconds


def missing_bytes(repo: str, names: str = "*") -> int:
    """Return how much has to be downloaded of a model; 0 where it is here."""
    from huggingface_hub import HfApi, snapshot_download

    if Path(repo).exists() or not repo:
        return 0
    try:
        here = Path(snapshot_download(repo, local_files_only=True))
        if any(here.rglob(f"{names}.safetensors")) or any(here.rglob(f"{names}.bin")):
            return 0
    except (OSError, ValueError):
        pass  # nothing of it is here
    try:
        files = HfApi().model_info(repo, files_metadata=True, timeout=_TIMEOUT).siblings or []
    except Exception as error:
        # whatever a network can do: no name, no route, a proxy's page, a gate
        raise OSError(
            f"The weights of {repo!r} are not in the Hugging Face cache and cannot be downloaded "
            f"({first_line(error)}). Where there is a network: hf download {repo}; then copy the "
            "cache (HF_HOME) here."
        ) from error
    sizes = {file.rfilename: file.size or 0 for file in files}
    for suffix in (".safetensors", ".bin"):
        chosen = [size for name, size in sizes.items() if fnmatch(name, names + suffix)]
        if chosen:
            return sum(chosen)
    return 0


def first_line(error: Exception) -> str:
    """Return the first line of what an error says."""
    return (str(error).splitlines() or [type(error).__name__])[0][:200]


def announce(repo: str, names: str = "*", *, without: str) -> None:
    """Say how large a download will be, and fail at once where there can be none."""
    try:
        size = missing_bytes(repo, names)
    except OSError as error:
        raise OSError(f"{error} {without}") from error
    if size:
        logger.info("Downloading %.1f GB of weights, %s. %s", size / 1e9, repo, without)


def clip_repo(model: str, pretrained: str | None) -> str:
    """Return where on the hub open_clip finds weights; empty where it does not look there."""
    if model.startswith("hf-hub:"):
        return model.removeprefix("hf-hub:")
    if ":" in model or Path(str(pretrained)).is_file():
        return ""
    import open_clip

    return (open_clip.get_pretrained_cfg(model, pretrained) or {}).get("hf_hub", "").strip("/")
