"""What a trained denoiser makes of noise: its mean, and draws, a batch at a time."""

from collections.abc import Callable, Iterator
from typing import TYPE_CHECKING

import numpy as np
import torch

from .._torch import accelerated, evaluating
from .memory import Halving
from .sampling import DEFAULT_STEPS, SOLVERS, guided

if TYPE_CHECKING:
    from .denoiser import Denoiser
    from .dit import Condition

_N_DRAWS = 8  # whose mean is taken where no timestep is pure noise


def mean_residuals(
    denoiser: "Denoiser", tokens: np.ndarray, subject: np.ndarray | None
) -> np.ndarray:
    """Return the mean of whitened residuals; see :meth:`Denoiser.mean`."""
    network, scheduler, shape = denoiser.network_, denoiser.scheduler_, denoiser.shape_
    means = np.zeros((len(tokens), *shape), dtype=np.float32)
    if not scheduler.zero_terminal_snr:
        # the mean of draws, from noise that is the same for every image
        start = np.random.default_rng(0).standard_normal((2, _N_DRAWS, *shape), dtype=np.float32)
        image = np.repeat(np.arange(len(tokens)), _N_DRAWS)

        def numbers(draws: np.ndarray) -> Iterator[np.ndarray]:
            return iter(start[:, draws % _N_DRAWS])

        for draws, drawn in draw_whitened(denoiser, tokens, image, numbers, subject, solver="ddim"):
            np.add.at(means, image[draws], drawn / _N_DRAWS)
        return means
    last = scheduler.n_timesteps - 1

    def predict(rows: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        condition = _condition(denoiser, tokens[rows])
        # The expected input at pure noise is zero; the prediction there is the mean.
        x = torch.zeros(len(condition), *shape, device=network.device)
        timestep = torch.full((len(x),), last, device=network.device)
        output = network(x, timestep, condition, _rows(subject, rows, network.device))
        x0, _ = scheduler.predict_x0_noise(output, x, last)
        return rows, x0.cpu().numpy()

    with evaluating(network):
        for rows, x0 in Halving(denoiser.batch_size)(predict, np.arange(len(tokens))):
            means[rows] = x0
    return means


def draw_whitened(
    denoiser: "Denoiser", tokens: np.ndarray, image_index: np.ndarray, numbers: Callable,
    subject: np.ndarray | None, n_steps: int | None = None, solver: str | None = None,
    eta: float = 0.0, guidance_scale: float = 1.0,
) -> Iterator[tuple[np.ndarray, np.ndarray]]:  # fmt: skip
    """Draw in whitened space, batch by batch."""
    paper = denoiser.scheduler_.prediction_type == "noise"
    solver = solver or ("ddim" if paper else "dpm")
    timesteps = denoiser.scheduler_.timesteps(
        n_steps or DEFAULT_STEPS[solver], min_signal=0.1 if paper else 0.0
    )
    network, device = accelerated(denoiser.network_), denoiser.network_.device

    def draw(draws: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        images, place = np.unique(image_index[draws], return_inverse=True)
        given = torch.as_tensor(place, device=device)
        nothing = denoiser.network_.null_condition(1)[torch.zeros_like(given)]
        # what draws start from, what their power comes from, and what they meet later
        own, power = numbers(draws), None
        start = torch.as_tensor(next(own), device=device)
        if denoiser.power_ is not None:
            scores = denoiser.power_.draw(next(own).reshape(len(draws), -1))
            power = torch.as_tensor(scores, device=device)
        later = (torch.as_tensor(fresh, device=device) for fresh in own)
        call = _guide(
            network, _condition(denoiser, tokens[images])[given], nothing,
            _rows(subject, image_index[draws], device), power, guidance_scale,
        )  # fmt: skip
        x = SOLVERS[solver](call, start, denoiser.scheduler_, timesteps, eta=eta, noise=later)
        return draws, x.cpu().numpy()

    with evaluating(denoiser.network_):
        yield from Halving(denoiser.batch_size)(draw, np.arange(len(image_index)))


def _condition(denoiser: "Denoiser", tokens: np.ndarray) -> "Condition":
    """Project the images to keys and values, once."""
    scaled = denoiser.scaled_.of(tokens)
    device = denoiser.network_.device
    parts = torch.as_tensor(scaled[:], device=device)
    return denoiser.network_.encode_condition(parts, torch.as_tensor(scaled.mask))


def _guide(
    network: Callable,
    of_image: "Condition",
    of_nothing: "Condition",
    subject: torch.Tensor | None,
    power: torch.Tensor | None,
    guidance_scale: float,
) -> Callable:
    """Return a network as a callable of noisy responses and timestep, guided."""
    if guidance_scale == 1:
        return lambda x, timestep: network(x, timestep, of_image, subject, power)
    condition = of_image.join(of_nothing)
    further = [None if one is None else torch.cat([one, one]) for one in (subject, power)]

    def both(x: torch.Tensor, timestep: torch.Tensor) -> tuple[torch.Tensor, ...]:
        """Denoise with and without the image, in one call."""
        doubled = torch.cat([x, x]), torch.cat([timestep, timestep])
        return network(*doubled, condition, *further).chunk(2)

    return guided(both, guidance_scale)


def _rows(
    subject: np.ndarray | None, rows: np.ndarray | slice, device: torch.device
) -> torch.Tensor | None:
    return None if subject is None else torch.as_tensor(subject[rows], device=device)
