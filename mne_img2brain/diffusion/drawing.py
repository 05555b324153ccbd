"""What a trained denoiser makes of noise: its mean, and draws, a batch at a time."""

from collections.abc import Callable, Iterator
from typing import TYPE_CHECKING

import numpy as np
import torch

from .._torch import accelerated, evaluating
from .memory import Halving
from .sampling import ddim, dpm_solver, guided

if TYPE_CHECKING:
    from .denoiser import Denoiser
    from .dit import Condition

SOLVERS = {"ddim": ddim, "dpm": dpm_solver}
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

        def noise(draws: np.ndarray, step: int) -> np.ndarray:
            return start[step, draws % _N_DRAWS]

        for draws, drawn in draw_whitened(denoiser, tokens, image, noise, subject, 50, "ddim"):
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
    denoiser: "Denoiser", tokens: np.ndarray, image_index: np.ndarray, noise: Callable,
    subject: np.ndarray | None, n_steps: int | None = None, solver: str | None = None,
    eta: float = 0.0, guidance_scale: float = 1.0,
) -> Iterator[tuple[np.ndarray, np.ndarray]]:  # fmt: skip
    """Draw in whitened space, batch by batch."""
    paper = denoiser.scheduler_.prediction_type == "noise"
    solver = solver or ("ddim" if paper else "dpm")
    n_steps = n_steps or (50 if solver == "ddim" else 25)
    device = denoiser.network_.device
    timesteps = denoiser.scheduler_.timesteps(n_steps, min_signal=0.1 if paper else 0.0)
    network = accelerated(denoiser.network_)
    with evaluating(denoiser.network_):
        nothing = denoiser.network_.null_condition(1)
        by_images, by_draws = Halving(denoiser.batch_size), Halving(denoiser.batch_size)

        def project(images: np.ndarray) -> tuple[np.ndarray, "Condition"]:
            return images, _condition(denoiser, tokens[images])

        # a few images at a time: they are projected once, for all draws and steps
        for images, condition in by_images(project, np.arange(len(tokens))):
            first, last = np.searchsorted(image_index, [images[0], images[-1] + 1])

            def draw(
                draws: np.ndarray, condition: "Condition" = condition, start: int = images[0]
            ) -> tuple[np.ndarray, np.ndarray]:
                given = torch.as_tensor(image_index[draws] - start, device=device)
                x = torch.as_tensor(noise(draws, 0), device=device)
                power = None
                if denoiser.power_ is not None:
                    numbers = noise(draws, 1).reshape(len(draws), -1)
                    power = torch.as_tensor(denoiser.power_.draw(numbers), device=device)
                whose = _rows(subject, image_index[draws], device)
                call = _guide(
                    network, condition[given], nothing[torch.zeros_like(given)], whose, power,
                    guidance_scale,
                )  # fmt: skip

                def later(step: int) -> torch.Tensor:
                    return torch.as_tensor(noise(draws, step + 1), device=device)

                x = SOLVERS[solver](
                    call, x, denoiser.scheduler_,
                    timesteps, eta=eta, noise=later if eta > 0 else None,
                )  # fmt: skip
                return draws, x.cpu().numpy()

            yield from by_draws(draw, np.arange(first, last))


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
