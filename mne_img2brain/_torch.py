"""Where tensors live, and random numbers that depend on no device."""

import contextlib
import importlib.util
import os
from collections.abc import Callable, Iterator
from typing import TYPE_CHECKING, Any

import numpy as np
import torch

if TYPE_CHECKING:
    from ._types import RandomState


def resolve_device(device: str = "auto") -> torch.device:
    """Turn ``"auto"`` into the accelerator that is there, else the CPU."""
    there = torch.accelerator.current_accelerator() if torch.accelerator.is_available() else None
    if device is None or str(device) == "auto":
        if there is None:
            return torch.device("cpu")
        # of several processes on one machine each has an accelerator of its own
        local = os.environ.get("LOCAL_RANK")
        return torch.device(there.type if local is None else f"{there.type}:{local}")
    try:
        device = torch.device(device)
    except (RuntimeError, TypeError) as error:
        raise ValueError(
            f"device={device!r} is not a device PyTorch knows; give 'auto', 'cpu', 'cuda', "
            "'cuda:0' or 'mps'."
        ) from error
    if device.type != "cpu" and (there is None or there.type != device.type):
        raise ValueError(
            f"device={str(device)!r} was asked for, but this machine has no such device; "
            "give device='auto' or 'cpu'."
        )
    return device


@contextlib.contextmanager
def evaluating(module: torch.nn.Module) -> Iterator[Any]:
    """Put ``module`` into evaluation mode without gradients, and back again."""
    was_training = module.training
    module.eval()
    try:
        with torch.no_grad():
            yield module
    finally:
        module.train(was_training)


def accelerated(module: torch.nn.Module, *, reduced: bool = False) -> Callable:
    """Return a module as a function that is compiled on CUDA.

    Compilation costs half a minute and halves the time of a call there; on a CPU it costs as much
    and gains nothing.

    reduced: whether products are computed in bfloat16 on CUDA: good enough for a gradient, but
        draws would differ by a hundredth of their SD from those on a CPU.
    """
    if next(module.parameters()).device.type != "cuda":
        return module
    # Triton is what the compiler writes in; not every build of PyTorch brings it.
    compiled = torch.compile(module) if importlib.util.find_spec("triton") else module

    def call(*arguments: Any) -> torch.Tensor:
        with torch.autocast("cuda", torch.bfloat16, enabled=reduced):
            return compiled(*arguments).float()

    return call


def rows_on(device: str | torch.device, values: Any) -> Callable:
    """Return a function that gives rows of an array as tensors on a device.

    An accelerator gets all of them at once, where they take no more than a third of its free
    memory.

    values (n_rows, ...): anything with a shape that gives rows of numbers.
    Returns: ``rows_of(rows)``, with rows an array of int, returns float32.
    """
    device = torch.device(device)

    def fetch(rows: np.ndarray) -> torch.Tensor:
        return torch.as_tensor(np.asarray(values[rows], dtype=np.float32))

    if device.type == "cpu":
        return fetch
    n_bytes = 4 * int(np.prod(values.shape))
    if device.type != "cuda" or n_bytes > torch.cuda.mem_get_info(device)[0] / 3:
        return lambda rows: fetch(rows).to(device)
    resident = torch.empty(tuple(values.shape), device=device)
    for start in range(0, len(resident), 256):
        rows = np.arange(start, min(start + 256, len(resident)))
        resident[rows[0] : rows[-1] + 1] = fetch(rows)
    return lambda rows: resident[torch.as_tensor(rows, device=device)]


@contextlib.contextmanager
def seeded_init(seed: int, device: str | torch.device = "cpu") -> Iterator[None]:
    """Let ``torch.nn`` draw from ``seed`` and leave the global generators as they were.

    ``torch.nn.init`` and dropout draw from the global generators only; this forks them, so that
    nothing outside notices.
    """
    device = torch.device(device)
    on_mps = device.type == "mps"  # one generator, which fork_rng does not know
    indexed = [] if device.type in ("cpu", "mps") else [device]
    kind = device.type if indexed else "cuda"
    before = torch.mps.get_rng_state() if on_mps else None
    with torch.random.fork_rng(devices=indexed, device_type=kind):
        torch.random.default_generator.manual_seed(int(seed))
        if on_mps:
            torch.mps.manual_seed(int(seed))
        elif indexed:
            module = torch.get_device_module(device)
            with module.device(device):
                module.manual_seed(int(seed))
        try:
            yield
        finally:
            if before is not None:
                torch.mps.set_rng_state(before)


def seed_from(random_state: "RandomState") -> int:
    """Draw one 32-bit seed from what scikit-learn calls a ``random_state``."""
    if random_state is None:
        return int(np.random.SeedSequence().generate_state(1)[0])
    if isinstance(random_state, np.random.Generator):
        return int(random_state.integers(2**32))
    if isinstance(random_state, np.random.RandomState):
        return int(random_state.randint(2**32, dtype=np.uint32))
    if isinstance(random_state, (int, np.integer)) and not isinstance(random_state, bool):
        if random_state < 0:
            raise ValueError(f"random_state={random_state} is negative; give an int >= 0 or None.")
        return int(random_state)
    raise ValueError(
        f"random_state={random_state!r} is a {type(random_state).__name__}; give None, an int, "
        "a numpy.random.Generator or a numpy.random.RandomState."
    )
