import numpy as np
import pytest

from mne_img2brain.trials.pooling import pool_tokens


def test_class_token_mean_and_last():
    # By hand: tokens 1, 2, 4 and a padded one; the mean of the rest is 3, the last valid is 4.
    tokens = np.array([1.0, 2.0, 4.0, np.nan])[None, :, None]
    np.testing.assert_array_equal(pool_tokens(tokens), [[1, 3]])
    np.testing.assert_array_equal(pool_tokens(tokens, last=True), [[1, 3, 4]])


def test_padding_is_not_pooled(rng):
    tokens = rng.standard_normal((5, 7, 3))
    n_valid = np.array([1, 2, 5, 6, 7])
    padded = np.where((np.arange(7) < n_valid[:, None])[..., None], tokens, np.nan)
    for n, image, pooled in zip(n_valid, tokens, pool_tokens(padded, last=True), strict=True):
        np.testing.assert_array_equal(pooled, pool_tokens(image[None, :n], last=True)[0])
    # An image with one token: it is class token, mean and last in one.
    np.testing.assert_array_equal(pool_tokens(padded, last=True)[0], np.tile(tokens[0, 0], 3))


def test_table_passes_and_grid_is_flattened(rng):
    table = rng.standard_normal((4, 6))
    np.testing.assert_array_equal(pool_tokens(table), table)
    grid = rng.standard_normal((4, 2, 3, 5))
    np.testing.assert_array_equal(pool_tokens(grid), pool_tokens(grid.reshape(4, 6, 5)))


@pytest.mark.parametrize(
    ("given", "returned"), [("f2", "f8"), ("f4", "f4"), ("f8", "f8"), ("i4", "f8")]
)
def test_dtype(given, returned):
    assert pool_tokens(np.ones((2, 3, 4), given)).dtype == returned


def test_errors():
    with pytest.raises(ValueError, match=r"shape \(3,\); expected \(n_images, n_features\)"):
        pool_tokens(np.ones(3))
    tokens = np.ones((3, 2, 2))
    tokens[1] = np.nan
    with pytest.raises(ValueError, match="Image 1 .* has no valid token"):
        pool_tokens(tokens)
