"""Canonical order, groups and held-out parts."""

import numpy as np
import pytest

from mne_img2brain.trials.splits import (
    canonical_order,
    distinct_rows,
    fold_of,
    held_out_groups,
    merge_groups,
)


def test_distinct_rows_do_not_depend_on_order(rng):
    x = rng.standard_normal((6, 3))[[0, 1, 2, 0, 3, 1, 4, 5]]
    x[2, 1] = np.nan
    first, index = distinct_rows(x)
    assert len(first) == 6
    np.testing.assert_array_equal(x[first][index], x)
    order = rng.permutation(len(x))
    first2, index2 = distinct_rows(x[order])
    np.testing.assert_array_equal(x[order][first2], x[first])
    np.testing.assert_array_equal(index2, index[order])


def test_canonical_order_undoes_any_shuffle_and_ignores_rounding(rng):
    y = rng.standard_normal((40, 3, 5))
    image = rng.integers(0, 4, 40)
    reference = y[canonical_order(y, image)]
    order = rng.permutation(40)
    shuffled = y[order] * (1 + 1e-15)
    again = shuffled[canonical_order(shuffled, image[order])]
    np.testing.assert_allclose(again, reference, rtol=1e-12)


def test_groups_join_images_but_never_split_one():
    image = np.array([0, 0, 1, 1, 2, 3])
    # image 0 is in concepts a and b, image 1 in b: the three are one group
    merged = merge_groups(image, ["a", "b", "b", "b", "c", "c"])
    assert len(set(merged[:4])) == 1
    assert merged[4] == merged[5] != merged[0]
    np.testing.assert_array_equal(merge_groups(image), image)
    with pytest.raises(ValueError, match="6 trials"):
        merge_groups(image, ["a", "b"])


def test_held_out_and_folds_keep_groups_whole(rng):
    groups = np.repeat(np.arange(20), 5)
    held = held_out_groups(groups, 0.2, rng)
    assert held.sum() == 20  # four groups of five
    fold = fold_of(groups, 5, rng)
    np.testing.assert_array_equal(np.bincount(fold), 20)
    for group in range(20):
        assert len(set(held[groups == group])) == 1
        assert len(set(fold[groups == group])) == 1
    assert set(fold_of(np.array([0, 0, 1]), 5, rng)) == {0, 1}
    with pytest.raises(ValueError, match="at least two"):
        held_out_groups(np.zeros(5, int), 0.2, rng)
