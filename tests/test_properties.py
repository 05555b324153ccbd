"""What holds for whatever is given: shapes, sampling rates, channel mixes, orders, units."""

import pickle

import mne
import numpy as np
import pandas as pd
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as nps
from numpy.testing import assert_allclose, assert_array_equal
from PIL import Image
from sklearn.linear_model import Ridge

from mne_img2brain import ImageToBrainEncoder, read_encoder
from mne_img2brain.baselines import RidgeGaussian
from mne_img2brain.datasets.restricted_pickle import read_pickle
from mne_img2brain.encoder.saving import pack, unpack
from mne_img2brain.stimulus.images import image_keys, load_rgb

quick = settings(
    max_examples=20, deadline=None, derandomize=True,
    suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow],
)  # fmt: skip
SIZE = {"eeg": 1e-6, "mag": 1e-13, "grad": 1e-12}


@st.composite
def recordings(draw):
    """Tokens, epochs of any mix, rate, start and baseline, and which image each epoch is of."""
    kinds = draw(st.lists(st.sampled_from(sorted(SIZE)), min_size=1, max_size=6))
    n_images, n_trials = draw(st.integers(3, 8)), draw(st.integers(1, 3))
    sfreq = draw(st.sampled_from([20.0, 83.33, 100.0, 512.0, 1000 / 3]))
    n_times, first = draw(st.integers(5, 14)), draw(st.integers(-6, 0))
    seed = draw(st.integers(0, 2**20))
    rng = np.random.default_rng(seed)
    width = (draw(st.integers(1, 3)), draw(st.integers(1, 4)))
    tokens = rng.standard_normal((n_images, *width)).astype(draw(st.sampled_from(["f4", "f8"])))
    image = rng.permutation(np.repeat(np.arange(n_images), n_trials))
    info = mne.create_info([f"{kind}{i}" for i, kind in enumerate(kinds)], sfreq, kinds)
    signal = np.einsum("if,fct->ict", tokens.reshape(n_images, -1),
                       rng.standard_normal((np.prod(width), len(kinds), n_times)))  # fmt: skip
    data = signal[image] + rng.standard_normal((len(image), len(kinds), n_times))
    data *= np.array([SIZE[kind] for kind in kinds])[:, None]
    metadata = pd.DataFrame({"image": image, "note": draw(st.sampled_from(["a", "ä", "x y"]))})
    epochs = mne.EpochsArray(data, info, tmin=first / sfreq, metadata=metadata, verbose="error")
    if draw(st.booleans()) and first < 0:
        epochs.apply_baseline((None, 0), verbose="error")
    return tokens, epochs, rng


def fit(tokens, epochs, regressor=None):
    encoder = ImageToBrainEncoder(None, Ridge() if regressor is None else regressor)
    return encoder.fit(tokens, epochs, image_ids="image")


pytestmark = [
    pytest.mark.filterwarnings(f"ignore:{text}")
    for text in ("The last time of epochs", "There are .* distinct images", "No brain region")
]


def rounding(tokens):
    """Tokens in single precision are regressed in it; the documentation says 1e-5."""
    return 1e-5 if tokens.dtype == np.float32 else 1e-9


@quick
@given(recordings())
def test_predictions_keep_info_times_order_and_scale(recording):
    tokens, epochs, rng = recording
    encoder = fit(tokens, epochs)
    expected = encoder.predict(tokens)
    assert expected.ch_names == epochs.ch_names
    assert expected.get_channel_types() == epochs.get_channel_types()
    assert expected.info["sfreq"] == epochs.info["sfreq"]
    assert_array_equal(expected.times, epochs.times)
    assert expected.baseline == epochs.baseline
    assert len(expected) == len(expected.metadata) == len(tokens)
    data = expected.get_data(copy=False)
    # in any order, and one at a time
    order = rng.permutation(len(tokens))
    scale = np.abs(data).max(axis=(0, 2), keepdims=True)
    some = encoder.predict(tokens[order]).get_data(copy=False)
    assert_allclose(some / scale, data[order] / scale, atol=rounding(tokens))
    one = encoder.predict(tokens[1:2]).get_data(copy=False)
    assert_allclose(one / scale, data[1:2] / scale, atol=rounding(tokens))


@quick
@given(recordings(), st.sampled_from([1e-3, 0.5, 7.0]))
def test_units_and_the_order_of_channels_do_not_matter(recording, factor):
    tokens, epochs, rng = recording
    data = fit(tokens, epochs).predict(tokens).get_data(copy=False)
    scale = np.abs(data).max(axis=(0, 2), keepdims=True)
    scaled = epochs.copy()
    scaled._data = scaled.get_data(copy=True) * factor
    by_factor = fit(tokens, scaled).predict(tokens).get_data(copy=False)
    assert_allclose(by_factor / factor / scale, data / scale, atol=rounding(tokens))
    order = rng.permutation(len(epochs.ch_names))
    turned = epochs.copy().reorder_channels([epochs.ch_names[i] for i in order])
    by_order = fit(tokens, turned).predict(tokens).get_data(copy=False)
    assert_allclose(
        by_order / scale[:, order], data[:, order] / scale[:, order], atol=rounding(tokens)
    )


@settings(quick, max_examples=8)
@given(recordings(), st.integers(1, 4), st.integers(0, 2**31))
def test_draws_are_a_prefix_of_more_draws_and_survive_a_save(tmp_path_factory, recording, k, seed):
    tokens, epochs, _ = recording
    encoder = fit(tokens, epochs, RidgeGaussian(alphas=(1.0, 10.0)))
    fewer = encoder.sample(tokens, k, random_state=seed)
    more = encoder.sample(tokens, k + 1, random_state=seed)
    rows = np.flatnonzero(more.metadata["draw"] < k)
    assert_array_equal(more.get_data(copy=False)[rows], fewer.get_data(copy=False))
    assert len(np.unique(more.events[:, 0])) == len(more)
    folder = tmp_path_factory.mktemp("saved") / "e"
    encoder.save(folder)
    back = read_encoder(folder)
    again = back.sample(tokens, k, random_state=seed)
    assert_allclose(again.get_data(copy=False), fewer.get_data(copy=False), rtol=1e-9, atol=1e-25)
    assert back.info_["sfreq"] == encoder.info_["sfreq"]
    assert_array_equal(again.times, fewer.times)


finite = st.floats(allow_nan=False)
plain = st.one_of(st.none(), st.booleans(), st.integers(-(2**70), 2**70), finite, st.text())
arrays = nps.arrays(
    st.sampled_from(["f4", "f8", "i2", "u1", "?", "i8"]),
    nps.array_shapes(min_dims=0, max_dims=3, min_side=0, max_side=4),
)
nested = st.recursive(
    st.one_of(plain, arrays),
    lambda inner: st.one_of(
        st.lists(inner, max_size=4),
        st.dictionaries(st.text(max_size=5), inner, max_size=4),
        st.tuples(inner, inner),
    ),
    max_leaves=12,
)


def same(first, second):
    """Compare nested containers."""
    if isinstance(second, np.ndarray):
        assert isinstance(first, np.ndarray)
        assert first.dtype == second.dtype
        assert_array_equal(first, second)
    elif isinstance(second, dict):
        assert list(first) == list(second)
        assert all(same(first[key], second[key]) for key in second)
    elif isinstance(second, (list, tuple)):
        assert type(first) is type(second)
        assert len(first) == len(second)
        assert all(same(a, b) for a, b in zip(first, second, strict=True))
    else:
        assert type(first) is type(second)
        assert first == second
    return True


@settings(quick, max_examples=100)
@given(nested)
def test_what_is_packed_is_unpacked(value):
    import json

    found: dict = {}
    text = json.dumps(pack({"value": value}, found), allow_nan=False)
    assert same(unpack(json.loads(text), found), {"value": value})


@settings(quick, max_examples=100)
@given(nested, st.integers(0, 5))
def test_what_is_pickled_is_read(tmp_path, value, protocol):
    # strings that are no UTF-8 are none in the older protocols
    (tmp_path / "x.pkl").write_bytes(pickle.dumps([value], protocol=protocol))
    assert same(read_pickle(tmp_path / "x.pkl")[0], [value])


@quick
@given(
    st.sampled_from([(), (1,), (3,), (4,)]),
    st.tuples(st.integers(1, 20), st.integers(1, 20)),
    st.integers(0, 2**20),
)
def test_an_image_is_the_same_as_array_image_and_file(tmp_path, channels, size, seed):
    array = np.random.default_rng(seed).integers(0, 256, (*size, *channels), dtype=np.uint8)
    shown = load_rgb(array)
    assert shown.mode == "RGB"
    assert shown.size == size[::-1]
    if channels == (3,):
        assert_array_equal(np.asarray(shown), array)
    image = Image.fromarray(array[..., 0] if channels == (1,) else array)
    image.save(tmp_path / "x.png")
    assert len(set(image_keys([array, image, tmp_path / "x.png", str(tmp_path / "x.png")]))) == 1
