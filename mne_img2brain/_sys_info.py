"""What is installed here."""

import importlib.metadata
import platform
import re


def sys_info() -> str:
    """Describe this installation, for a report of an error.

    Returns
    -------
    str
        The platform, the version of Python and of each package that this one depends on, and what
        PyTorch computes on. Nothing is downloaded, and nothing names a folder or a person.

    See Also
    --------
    mne.sys_info : The same for MNE-Python.

    Examples
    --------
    >>> from mne_img2brain import sys_info
    >>> "numpy" in sys_info()
    True
    """
    needed = [
        re.split(r"[^\w.-]", requirement)[0]
        for requirement in importlib.metadata.requires("mne_img2brain") or []
        if "extra ==" not in requirement
    ]
    lines = {"platform": platform.platform(), "python": platform.python_version()}
    for name in ["mne_img2brain", *needed, "torchvision"]:
        try:
            lines[name] = importlib.metadata.version(name)
        except importlib.metadata.PackageNotFoundError:
            lines[name] = "not installed"
    try:
        import torch
    except Exception as error:  # a broken installation is what is to be reported
        lines["device"] = f"cannot be imported: {error}"
    else:
        found = "cuda" if torch.cuda.is_available() else "cpu"
        lines["device"] = "mps" if torch.backends.mps.is_available() else found
    width = max(map(len, lines))
    return "\n".join(f"{name:{width}}  {value}" for name, value in lines.items())
