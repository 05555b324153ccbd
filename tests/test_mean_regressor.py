import numpy as np
from sklearn.linear_model import Ridge

from mne_img2brain.mean_regressor import KernelMeanRegressor


def _trials(rng, n_images=30, n_repeats=3, n_features=8, n_targets=5):
    """Linear truth with noise, trials in random order."""
    image = rng.permutation(np.repeat(np.arange(n_images), n_repeats))
    x = rng.standard_normal((n_images, n_features))
    y = x @ rng.standard_normal((n_features, n_targets)) + 1
    return x[image], y[image] + rng.standard_normal((len(image), n_targets))


def test_fixed_penalty_is_ridge(rng):
    x, y = _trials(rng)
    weight = rng.uniform(0.5, 3, len(x))
    ours = KernelMeanRegressor("linear", penalty=7.0, standardize=False).fit(x, y, weight)
    reference = Ridge(alpha=7.0).fit(x, y, weight)
    new = rng.standard_normal((6, 8))
    np.testing.assert_allclose(ours.predict(new), reference.predict(new), rtol=1e-8)
