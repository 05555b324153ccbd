"""Gains of rhythms: found where they are, power kept, nothing where there is nothing."""

import numpy as np
import pytest
from numpy.testing import assert_allclose

from mne_img2brain.noise import gains
from mne_img2brain.noise.gains import BandGains
from mne_img2brain.noise.permutation import largest_excess

N, T = 1500, 64


@pytest.fixture
def rhythm(rng):
    """White noise in four sensors, and a rhythm of 10 cycles a trial with one pattern."""
    time = np.arange(T) / T
    pattern = np.array([1.0, -0.5, 0.2, 0.0])

    def make(gain):
        phase = rng.uniform(0, 2 * np.pi, (N, 1))
        # Gaussian: Rayleigh amplitude with uniform phase
        amplitude = rng.rayleigh(1.0, (N, 1)) * gain
        wave = 2 * amplitude * np.cos(2 * np.pi * 10 * time + phase)
        return wave[:, None] * pattern[:, None] + 0.3 * rng.standard_normal((N, 4, T))

    return make, pattern


def test_the_gain_of_a_rhythm_is_found(rhythm, rng, monkeypatch):
    monkeypatch.setattr(gains, "_N_SOURCES", 2)
    make, pattern = rhythm
    variance = 0.8  # of log power
    gain = np.exp(np.sqrt(variance) * rng.standard_normal((N, 1)) / 2 - variance / 4)
    model = BandGains().fit(np.fft.rfft(make(gain)), np.fft.rfft(make(1.0)), T)
    (octave,) = model.octaves_
    assert (octave["low"], octave["high"]) == (8, 16)
    assert_allclose(octave["diagonal"].max(), variance, rtol=0.3)
    found = octave["patterns"][:, octave["diagonal"].argmax()]
    assert abs(found @ pattern) / np.linalg.norm(found) / np.linalg.norm(pattern) > 0.98
    draws = make(1.0)
    out = model.apply(draws, rng.standard_normal((N, model.n_numbers)))
    # power stays, its variability is that of the rhythm with gains
    assert_allclose(out.var(), draws.var(), rtol=0.1)
    power = np.log(np.square(out).sum(axis=(1, 2)))
    assert power.var() > 1.3 * np.log(np.square(draws).sum(axis=(1, 2))).var()


@pytest.mark.parametrize("n_times", [48, 49])
def test_bins_have_the_variance_of_the_times(rng, n_times):
    """Parseval, less the mean; the Nyquist frequency, where there is one, counts once."""
    x = rng.standard_normal((5, 2, n_times))
    model = BandGains()
    model.n_times_ = n_times
    found = model._coordinates(np.fft.rfft(x), 1, n_times // 2 + 1)
    expected = np.square(x - x.mean(axis=2, keepdims=True)).sum(axis=2)
    assert_allclose(np.square(found).sum(axis=2), expected, rtol=1e-6)


def test_the_largest_excess_is_of_any_direction(rng):
    """It is as large whichever axes values are given along, and that of the labels exchanged."""
    real, drawn = rng.standard_normal((2, 40, 4)) @ rng.standard_normal((4, 4))
    turn = np.linalg.qr(rng.standard_normal((4, 4)))[0]
    found = largest_excess(real, drawn, np.random.default_rng(0), 20)
    turned = largest_excess(real @ turn, drawn @ turn, np.random.default_rng(0), 20)
    assert_allclose(turned, found)
    pooled, labels = np.concatenate([real, drawn]), np.tile(np.arange(80) < 40, (20, 1))
    labels = np.random.default_rng(0).permuted(labels, axis=1)
    covariance = [[np.cov(pooled[rows].T, bias=True) + np.outer(m := pooled[rows].mean(axis=0), m)
                   for rows in (label, ~label)] for label in labels]  # fmt: skip
    assert_allclose(found, [np.linalg.eigvalsh(a - b)[-1] for a, b in covariance])


def test_gaussian_trials_have_no_gains():
    found = 0
    for seed in range(20):
        rng = np.random.default_rng(seed)
        real, drawn = rng.standard_normal((2, 400, 6, T))
        model = BandGains().fit(np.fft.rfft(real), np.fft.rfft(drawn), T)
        found += bool(model.octaves_)
        if not model.octaves_:
            assert model.apply(drawn, np.empty((400, 0))) is drawn
    assert found <= 1


def test_few_trials_tell_nothing(rng):
    x = rng.standard_normal((50, 2, 16))
    assert BandGains().fit(np.fft.rfft(x), np.fft.rfft(x), 16).n_numbers == 0


def test_the_rank_is_kept(rhythm, rng):
    make, _ = rhythm
    gain = np.exp(rng.standard_normal((N, 1)) / 2)
    real, drawn = make(gain), make(1.0)
    real -= real.mean(axis=1, keepdims=True)
    drawn -= drawn.mean(axis=1, keepdims=True)
    model = BandGains().fit(np.fft.rfft(real), np.fft.rfft(drawn), T)
    assert model.n_numbers > 0
    out = model.apply(drawn, rng.standard_normal((N, model.n_numbers)))
    assert np.abs(out.mean(axis=1)).max() < 1e-10
