"""Tokens in place of images: told apart by content, refused where they are none."""

import numpy as np
import pytest
import torch
from numpy.testing import assert_array_equal

from mne_img2brain.stimulus.stimuli import check_captions, content_keys, load_tokens, present


def test_equal_tokens_are_one_image(rng):
    tokens = rng.standard_normal((5, 2, 3)).astype(np.float32)
    tokens[1, 1] = np.nan  # padding
    tokens[2, 0, 0] = 0.0
    order = [3, 1, 3, 0, 1, 2]
    stimuli = present(tokens[order], None)
    assert_array_equal(stimuli.tokens, tokens[[3, 1, 0, 2]])
    assert stimuli.index.tolist() == [0, 1, 0, 2, 1, 3]
    assert len(stimuli) == len(stimuli.names) == 6
    # the same numbers of another type or layout, and the other zero, are the same content
    other = np.asfortranarray(tokens.astype(float))
    other[2, 0, 0] = -0.0
    other[1, 1] = -np.nan
    assert content_keys(other) == content_keys(tokens)
    assert content_keys(tokens[:, :, None].reshape(5, 2, 3)) == content_keys(tokens)
    assert content_keys(tokens[[0]].astype(np.float64) + 1e-3) != content_keys(tokens[[0]])


def test_tokens_are_not_copied_where_all_differ(rng):
    tokens = rng.standard_normal((5, 2, 3))
    assert present(tokens, None).tokens is tokens


@pytest.mark.parametrize(
    ("values", "match"),
    [(np.zeros((4, 3), int), "holds an array of int64; tokens are floats"),
     (np.zeros((4, 0, 3)), "holds no number")],
)  # fmt: skip
def test_files_that_hold_no_tokens(values, match, tmp_path):
    np.save(tmp_path / "tokens.npy", values)
    with pytest.raises(ValueError, match=match):
        load_tokens(tmp_path / "tokens.npy")


def test_a_file_without_content(tmp_path):
    (tmp_path / "tokens.npy").write_bytes(b"")
    with pytest.raises(ValueError, match="does not hold a plain array"):
        load_tokens(tmp_path / "tokens.npy")


def test_tensors_and_sets_are_named():
    with pytest.raises(TypeError, match=r"images is a Tensor.*\.numpy\(\).*n_tokens"):
        content_keys(torch.zeros(4, 2, 3))
    with pytest.raises(TypeError, match="captions is a set, which has no order"):
        check_captions({"a", "b"}, 2)
