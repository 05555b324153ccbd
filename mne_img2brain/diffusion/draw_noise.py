"""The noise that a draw starts from."""

import numpy as np


class DrawNoise:
    """Standard normal numbers that depend on nothing but the seed, the picture and the draw.

    Parameters
    ----------
    seed : int
        The seed of all draws.
    n_draws : int
        Draws of each picture; draw ``i`` is of the picture at position ``i // n_draws``.
    shape : tuple
        (n_channels, n_times)
    """

    def __init__(self, seed: int, n_draws: int, shape: tuple[int, int]) -> None:
        self.seed = seed
        self.n_draws = n_draws
        self.shape = shape
        self._running = []

    def __call__(self, draws: np.ndarray, step: int) -> np.ndarray:
        """Return the numbers that a batch of draws meets at a step, in the order of the steps."""
        if step == 0:
            self._running = [
                np.random.default_rng(
                    np.random.SeedSequence(self.seed, spawn_key=divmod(int(draw), self.n_draws))
                )
                for draw in draws
            ]
        return np.stack([one.standard_normal(self.shape, np.float32) for one in self._running])
