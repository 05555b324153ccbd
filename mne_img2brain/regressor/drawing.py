"""What a fitted DiffusionRegressor expects, and the single trials it draws."""

from collections.abc import Callable, Iterator
from numbers import Real
from typing import TYPE_CHECKING

import numpy as np

from .._log import progress
from .._parameters import Integer, Number, check_given
from .._torch import seed_from
from ..diffusion.denoiser import N_TIMESTEPS
from ..diffusion.sampling import SOLVERS

if TYPE_CHECKING:
    from .._types import RandomState
    from ..diffusion import Denoiser
    from ..noise.subject_noise import SubjectNoise
    from .regressor import DiffusionRegressor

_MOST_GUIDANCE = 100  # times the effect of an image: more is a slip of the keyboard


def expected_response(
    regressor: "DiffusionRegressor", tokens: np.ndarray, subjects: np.ndarray | None
) -> np.ndarray:
    """Return the expected response to every image: (n_images, n_channels, n_times)."""
    if not _has_mean(regressor):
        return regressor.mean_.predict(tokens, subjects)
    expected, power = means_of(regressor, tokens, subjects)
    own = regressor.noise_.mean(tokens, subjects)
    return expected + _in_units(regressor, own, power, subjects)


def draw_responses(
    regressor: "DiffusionRegressor", tokens: np.ndarray, subjects: np.ndarray | None, n_draws: int,
    *, random_state: "RandomState", guidance_scale: float, n_averaged: int, n_steps: int | None,
    solver: str | None, eta: float, first_image: int,
) -> np.ndarray:  # fmt: skip
    """Draw responses; parameters as of :meth:`DiffusionRegressor.sample`."""
    if not isinstance(guidance_scale, Real) or not abs(guidance_scale) <= _MOST_GUIDANCE:
        raise ValueError(
            f"guidance_scale={guidance_scale!r}; give a number within {_MOST_GUIDANCE}: 0 "
            "ignores the image, 1 is no guidance, 2 doubles its effect."
        )
    check_given(
        n_draws=(n_draws, Integer(1)), n_averaged=(n_averaged, Integer(1)),
        first_image=(first_image, Integer(0)), solver=(solver, *sorted(SOLVERS), None),
        n_steps=(n_steps, Integer(1, N_TIMESTEPS), None), eta=(eta, Number(0, 1)),
    )  # fmt: skip
    if eta > 0 and solver == "dpm":
        raise ValueError(f"eta={eta!r}, but 'dpm' is deterministic; give solver='ddim' or 0.")
    expected, power = means_of(regressor, tokens, subjects)
    own = regressor.noise_.mean(tokens, subjects)
    if guidance_scale != 1:
        average = regressor.average_response_
        expected = average + guidance_scale * (expected - average)
    if _has_mean(regressor):
        expected = expected + _in_units(regressor, own, power, subjects)
    numbers = numbers_of(seed_from(random_state), n_draws, expected.shape[1:], first_image)
    image = np.repeat(np.arange(len(tokens)), n_draws)
    result = np.empty((len(image), *expected.shape[1:]))
    noise: SubjectNoise | Denoiser = regressor.noise_
    done = progress(len(image), "Drawing")
    # draws have the mean zero: the mean of what is returned is predict
    for draws, scatter in noise.draw(
        tokens, image, numbers, subject=subjects, own_mean=own, n_steps=n_steps, solver=solver,
        eta=eta, guidance_scale=guidance_scale,
    ):  # fmt: skip
        scatter = regressor.power_.multiply(scatter, power, image[draws], guidance_scale)
        scatter = scatter * np.sqrt(regressor.residual_averaged_ / n_averaged)
        result[draws] = expected[image[draws]] + scatter
        done(len(draws))
    return result.reshape(len(tokens), n_draws, *regressor.target_shape_)


def numbers_of(
    seed: int, n_draws: int, shape: tuple[int, ...], first_image: int = 0
) -> Callable[[np.ndarray], Iterator[np.ndarray]]:
    """Return what gives draws numbers that depend on nothing but the seed, the image and the draw.

    n_draws: draws of each image; draw ``i`` is of the image at position ``i // n_draws``.
    Returns a function of draws (n,) that yields standard normal numbers (n, *shape) without end.
    """

    def numbers(draws: np.ndarray) -> Iterator[np.ndarray]:
        keys = [divmod(int(draw), n_draws) for draw in draws + first_image * n_draws]
        seeds = [np.random.SeedSequence(seed, spawn_key=key) for key in keys]
        running = [np.random.default_rng(one) for one in seeds]
        while True:
            yield np.stack([one.standard_normal(shape, np.float32) for one in running])

    return numbers


def means_of(
    regressor: "DiffusionRegressor", tokens: np.ndarray, subjects: np.ndarray | None
) -> tuple[np.ndarray, np.ndarray]:
    """Return the mean regressor's prediction, and the scores of power that follows images."""
    expected, power = regressor.mean_.predict_with(regressor.power_.regressor_, tokens, subjects)
    return expected, np.zeros((len(tokens), 0)) if power is None else power[:, 0]


def _has_mean(regressor: "DiffusionRegressor") -> bool:
    """Tell whether the transformer's own mean belongs to the response: there is no other."""
    return bool(getattr(regressor.noise_, "mean_weight_", 0))


def _in_units(
    regressor: "DiffusionRegressor", own: np.ndarray, power: np.ndarray, subjects: np.ndarray | None
) -> np.ndarray:
    """Return the transformer's own mean in the unit of the response."""
    residuals = regressor.noise_.residuals(own, subjects)
    return regressor.power_.multiply(residuals, power, np.arange(len(own)))
