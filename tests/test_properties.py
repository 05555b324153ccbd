"""What holds for whatever is given: shapes, sampling rates, channel mixes, orders, units."""

import pickle

import mne
import numpy as np
import pandas as pd
import pytest
import threadpoolctl
import torch
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as nps
from numpy.testing import assert_allclose, assert_array_equal
from PIL import Image
from sklearn.linear_model import Ridge
from small_regressors import make_regressor

from mne_img2brain import Denoiser, GaborEmbedder, ImageToBrainEncoder, read_encoder
from mne_img2brain.baselines import RidgeGaussian
from mne_img2brain.datasets.restricted_pickle import read_pickle
from mne_img2brain.encoder.saving import pack, unpack
from mne_img2brain.stimulus.images import image_list, load_rgb

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


def assert_close(found, expected, atol):
    """Compare responses, each sensor by its own size."""
    scale = np.abs(expected).max(axis=(0, 2), keepdims=True)
    assert_allclose(found / scale, expected / scale, atol=atol)


REGRESSORS = {
    "ridge": Ridge(),
    "ridge with noise": RidgeGaussian(alphas=(1.0, 10.0)),
    "default without transformer": make_regressor(max_iter=0, device="cpu", random_state=0),
    "transformer": make_regressor(
        Ridge(), hidden_size=16, n_layers=1, n_heads=2, max_iter=3, whitening="scale",
        device="cpu", random_state=0,
    ),
}  # fmt: skip


@pytest.mark.parametrize("name", REGRESSORS)
@settings(quick, max_examples=3)
@given(recordings(), st.sampled_from([1e-3, 7.0]))
def test_order_and_units_of_what_is_fitted_do_not_matter(name, recording, factor):
    """Trials in any order, images in any order, one recording or two, volts or others."""
    tokens, epochs, rng = recording
    if name.startswith(("default", "transformer")):  # which need some trials more
        epochs = mne.concatenate_epochs([epochs, epochs.copy()], verbose="error")
        epochs._data = epochs.get_data(copy=True) * rng.uniform(0.9, 1.1, (len(epochs), 1, 1))
    regressor, atol = REGRESSORS[name], max(rounding(tokens), 1e-7)
    encoder = fit(tokens, epochs, regressor)
    expected = encoder.predict(tokens).get_data(copy=False)
    scaled = epochs.copy()
    scaled._data = scaled.get_data(copy=True) * factor
    larger = fit(tokens, scaled, regressor)
    assert_close(larger.predict(tokens).get_data(copy=False) / factor, expected, atol)
    if name != "ridge":
        draws, larger_draws = (
            one.sample(tokens, 2, random_state=3).get_data(copy=False) for one in (encoder, larger)
        )
        assert_close(larger_draws / factor, draws, max(atol, 1e-4))
    trials, images = rng.permutation(len(epochs)), rng.permutation(len(tokens))
    turned = epochs[trials]
    by_trials = fit(tokens, turned, regressor)
    assert_close(by_trials.predict(tokens).get_data(copy=False), expected, atol)
    turned.metadata = turned.metadata.assign(image=np.argsort(images)[turned.metadata["image"]])
    by_images = fit(tokens[images], turned, regressor)
    assert_close(by_images.predict(tokens).get_data(copy=False), expected, atol)
    half = len(epochs) // 2
    parts = ImageToBrainEncoder(None, regressor).fit(
        tokens, [epochs[:half], epochs[half:]], image_ids="image"
    )
    assert_close(parts.predict(tokens).get_data(copy=False), expected, atol)


@pytest.fixture(scope="module")
def diffusing():
    """A fitted encoder of EEG and MEG whose transformer was kept, and tokens."""
    rng = np.random.default_rng(5)
    tokens = rng.standard_normal((20, 2, 4))
    image = np.repeat(np.arange(20), 3)
    kinds = ["eeg", "eeg", "mag", "grad", "grad"]
    y = np.tensordot(tokens[:, 0], rng.standard_normal((4, 5, 12)), 1)[image]
    y += rng.standard_normal(y.shape)
    y *= np.array([SIZE[kind] for kind in kinds])[:, None]
    info = mne.create_info([f"{kind}{i}" for i, kind in enumerate(kinds)], 50.0, kinds)
    epochs = mne.EpochsArray(
        y, info, tmin=-0.04, metadata=pd.DataFrame({"image": image}), verbose="error"
    )
    regressor = make_regressor(
        None, hidden_size=16, n_layers=1, n_heads=2, max_iter=20, whitening="scale",
        learning_rate=1e-2, ema_decay=0.5, device="cpu", random_state=0,
    )  # fmt: skip
    encoder = fit(tokens, epochs, regressor)
    assert isinstance(encoder.regressor_.noise_, Denoiser)
    return encoder, tokens


@pytest.mark.parametrize("device", ["cpu", pytest.param("auto", marks=pytest.mark.gpu)])
@settings(quick, max_examples=5)
@given(
    st.lists(st.integers(1, 19), max_size=4), st.integers(1, 30), st.integers(1, 2),
    st.integers(1, 2), st.integers(0, 2**31), st.sampled_from([1.0, 1.5]),
)  # fmt: skip
def test_batches_threads_and_device_do_not_matter(
    diffusing, device, cuts, batch_size, n_threads, n_draws, seed, scale
):
    encoder, tokens = diffusing
    noise = encoder.regressor_.noise_
    expected = encoder.predict(tokens).get_data(copy=False)
    options = {"random_state": seed, "guidance_scale": scale, "n_steps": 2}
    draws = encoder.sample(tokens, n_draws + 1, **options).get_data(copy=False)
    draws = draws.reshape(20, n_draws + 1, *draws.shape[1:])[:, :n_draws]
    edges = [0, *sorted(set(cuts)), 20]
    before, threads = noise.batch_size, torch.get_num_threads()
    try:
        noise.batch_size = batch_size
        noise.to(device)
        torch.set_num_threads(n_threads)
        with threadpoolctl.threadpool_limits(n_threads):
            parts = [
                (
                    encoder.predict(tokens[a:b]),
                    encoder.sample(tokens[a:b], n_draws, first_image=a, **options),
                )
                for a, b in zip(edges, edges[1:], strict=False)
            ]
    finally:
        noise.batch_size = before
        noise.to("cpu")
        torch.set_num_threads(threads)
    means, drawn = (
        np.concatenate([p.get_data(copy=False) for p in some]) for some in zip(*parts, strict=True)
    )
    tolerance = 1e-5 if device == "cpu" else 1e-3
    assert_close(means, expected, tolerance)
    assert_close(drawn, draws.reshape(-1, *draws.shape[2:]), tolerance)


columns = st.sampled_from([
    ["a", "ä", "", "x y"], [1, -2, 3, 2**40], [0.5, np.nan, np.inf, -0.0], ["a", None, "b", None],
    [True, False, True, True], pd.Categorical(["u", "v", "u", "v"], categories=["v", "u", "w"]),
    pd.to_datetime(["2020-01-01"] * 4), [(1, 2), "x", None, 3.0],
])  # fmt: skip


@quick
@given(st.dictionaries(st.text(st.characters(codec="utf-8"), min_size=1, max_size=5), columns),
       st.permutations(range(4)), st.sampled_from(["array", "image", "path", "str"]))  # fmt: skip
def test_metadata_and_images_of_any_kind(shown, table, order, kind):
    encoder, images, expected = shown()
    metadata = pd.DataFrame({name: values for name, values in table.items()})
    options = {"metadata": metadata} if len(table) else {}
    found = encoder.predict([images[kind][i] for i in order], **options)
    assert_allclose(found.get_data(), expected[order], rtol=1e-9, atol=0)
    draws = encoder.sample([images["mixed"][i] for i in order], 2, **options)
    for name in metadata:
        for made, rows in ((found, range(4)), (draws, np.repeat(range(4), 2))):
            pd.testing.assert_series_equal(
                made.metadata[name], metadata[name].iloc[rows].reset_index(drop=True)
            )


@pytest.fixture(scope="module")
def shown(tmp_path_factory):
    """A fitted encoder, four images in every form, and the responses to them."""
    folder, rng = tmp_path_factory.mktemp("images"), np.random.default_rng(2)
    arrays = rng.integers(0, 256, (12, 16, 16, 3), dtype=np.uint8)
    info = mne.create_info(3, 50.0, "eeg")
    epochs = mne.EpochsArray(1e-6 * rng.standard_normal((12, 3, 5)), info, verbose="error")
    encoder = ImageToBrainEncoder(
        GaborEmbedder(size=16, n_scales=2), RidgeGaussian(alphas=(1.0, 10.0))
    ).fit(arrays, epochs)
    images = {"array": list(arrays[:4]), "image": [Image.fromarray(one) for one in arrays[:4]]}
    images["path"] = [folder / f"{i}.png" for i in range(4)]
    for image, path in zip(images["image"], images["path"], strict=True):
        image.save(path)
    images["str"] = [str(path) for path in images["path"]]
    images["mixed"] = [images[kind][i] for i, kind in enumerate(("str", "array", "path", "image"))]
    expected = encoder.predict(arrays[:4]).get_data()
    return lambda: (encoder, images, expected)


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
    assert (
        len(
            set(
                image_list(
                    [array, image, tmp_path / "x.png", str(tmp_path / "x.png")]
                ).content_keys()
            )
        )
        == 1
    )
