import numpy as np
import pytest
from sklearn.linear_model import Ridge
from small_regressors import make_regressor

from mne_img2brain import ImageToBrainEncoder
from mne_img2brain.datasets import simulate_epochs
from mne_img2brain.encoder.attribution import attention_maps, attribute_tokens


def fit(tokens, epochs, **parameters):
    """Fit a small denoiser that learns fast."""
    given = {
        "hidden_size": 16, "n_layers": 1, "n_heads": 2, "patch_length": 5, "max_iter": 40,
        "ema_decay": 0.8, "learning_rate": 5e-3, "random_state": 0, "device": "cpu",
    }  # fmt: skip
    regressor = make_regressor(None, **(given | parameters))
    return ImageToBrainEncoder(regressor=regressor).fit(tokens, epochs)


@pytest.fixture(scope="module")
def recording():
    """Return tokens and the responses to them, in a space of reduced rank."""
    tokens = np.random.default_rng(0).standard_normal((60, 4, 3)).astype(np.float32)
    epochs, _ = simulate_epochs(tokens, n_trials=1, snr=5.0, sfreq=25.0, tmax=0.4, random_state=0)
    order = np.argsort(epochs.metadata["image_id"].to_numpy())
    epochs = epochs[order].pick(["O1", "Oz", "O2", "PO7", "PO8", "Pz", "Fz"])
    return tokens, epochs.set_eeg_reference("average", verbose="error")


@pytest.fixture(scope="module", params=["covariance", "scale"])
def encoder(request, recording):
    """Return an encoder for each kind of whitening."""
    return fit(*recording, whitening=request.param)


def test_attributions_add_up_to_the_difference_that_is_predicted(encoder, recording):
    tokens, _ = recording
    some = tokens[:6]
    rng = np.random.default_rng(1)
    weights = rng.standard_normal((len(encoder.ch_names_), len(encoder.times_)))
    parts = attribute_tokens(encoder, some, weights, n_steps=64)
    assert parts.shape == (6, 4)

    def amplitude(tokens):
        return np.einsum("ct,ict->i", weights, encoder.predict(tokens).get_data(copy=False))

    expected = amplitude(some) - amplitude(some.mean(axis=0, keepdims=True))
    assert np.ptp(expected) > 0
    np.testing.assert_allclose(parts.sum(axis=1), expected, atol=0.01 * np.abs(expected).max())
    # A token that is as in the reference adds nothing; neither does a whole image that is.
    reference = some[0].copy()
    reference[2:] += 1
    parts = attribute_tokens(encoder, some[:1], weights, reference=reference)
    np.testing.assert_array_equal(parts[0, :2], 0)
    assert np.abs(parts[0, 2:]).min() > 0


def test_batches_and_equal_images_change_nothing(encoder, recording):
    tokens, _ = recording
    weights = np.ones((len(encoder.ch_names_), len(encoder.times_)))
    weights[0] = -3
    whole = attribute_tokens(encoder, tokens[[0, 1, 0]], weights, n_steps=5)
    parts = attribute_tokens(encoder, tokens[[0, 1, 0]], weights, n_steps=5, batch_size=2)
    np.testing.assert_allclose(parts, whole, atol=1e-5 * np.abs(whole).max())
    np.testing.assert_array_equal(whole[0], whole[2])
    maps = attention_maps(encoder, tokens[:3])
    one = attention_maps(encoder, tokens[:3], batch_size=1)
    np.testing.assert_allclose(maps.weights, one.weights, atol=1e-6)


def test_attention_maps_are_shares_of_real_tokens(encoder, recording):
    tokens, epochs = recording
    padded = tokens[:5].copy()
    padded[0, 3] = np.nan
    maps = attention_maps(encoder, padded)
    assert maps.weights.shape == (5, len(maps.regions), len(maps.times), 4)
    assert set(maps.regions) == set(encoder.regions_)
    np.testing.assert_allclose(maps.weights.sum(axis=-1), 1, rtol=1e-5)
    np.testing.assert_array_equal(maps.weights[0, ..., 3], 0)
    # The first token spans the first five times.
    assert maps.times[0] == pytest.approx(epochs.times[:5].mean())
    parts = attribute_tokens(encoder, padded, np.ones((7, len(epochs.times))))
    assert parts[0, 3] == 0
    assert np.isfinite(parts).all()


def test_what_cannot_be_looked_into(recording):
    tokens, epochs = recording
    weights = np.ones((7, len(epochs.times)))
    ridge = ImageToBrainEncoder(regressor=Ridge()).fit(tokens, epochs)
    with pytest.raises(TypeError, match="The regressor is a Ridge"):
        attention_maps(ridge, tokens)
    untrained = fit(tokens, epochs, max_iter=0)
    with pytest.raises(ValueError, match="The denoiser of this encoder was not kept"):
        attention_maps(untrained, tokens)
    encoder = fit(tokens, epochs, whitening="scale", max_iter=10)
    with pytest.raises(ValueError, match=r"weights has shape \(2,\); expected .*\(7, "):
        attribute_tokens(encoder, tokens, np.ones(2))
    with pytest.raises(ValueError, match=r"reference has shape \(3,\)"):
        attribute_tokens(encoder, tokens, weights, reference=np.ones(3))
    added = fit(tokens, epochs, whitening="scale", max_iter=10, conditioning="addition")
    with pytest.raises(ValueError, match="has no cross-attention"):
        attention_maps(added, tokens)
    encoder.regressor_.mean = Ridge()
    with pytest.raises(ValueError, match="which has no gradient"):
        attribute_tokens(encoder, tokens, weights)
    encoder.regressor_.mean = None
    encoder.regressor_.noise_.scheduler_.zero_terminal_snr = False
    with pytest.raises(ValueError, match="Without zero_terminal_snr"):
        attribute_tokens(encoder, tokens, weights)
