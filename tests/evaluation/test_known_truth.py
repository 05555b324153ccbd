"""Ceilings of identification, decoding and components, and equivalent trials, where truth is known.

That of r and its kin is held by ``test_evaluation`` and ``metrics/test_reliability``.
"""

import tracemalloc
from types import SimpleNamespace

import numpy as np
import pytest
from scipy.stats import norm
from sklearn.linear_model import LogisticRegression

from mne_img2brain.evaluation import ceilings, decoding, predictions
from mne_img2brain.metrics import (
    equivalent_trials,
    identification_ranks,
    ncsnr,
    pairwise_accuracy,
    top_k,
)

DESIGNS = [(12, 2), (12, 20), (60, 4), (120, 2)]


def record(n_images, n_trials, signal, seed, shape=(4, 10)):
    """Return truth and trials whose noise has the SD 1."""
    rng = np.random.default_rng(seed)
    truth = signal * rng.standard_normal((n_images, *shape))
    return truth, truth[:, None] + rng.standard_normal((n_images, n_trials, *shape))


def as_recorded(trials):
    """Return what the ceilings ask of a recording."""
    return SimpleNamespace(trials=list(trials), mean=trials.mean(axis=1))


def identify(recorded, predicted):
    """Return the scores of identification."""
    better, equal = identification_ranks(recorded, predicted)
    return {
        "top-1": top_k(better, equal, 1).mean(),
        "mean rank": (1 + better + equal / 2).mean(),
        "pairwise accuracy": pairwise_accuracy(recorded, predicted),
    }


@pytest.mark.parametrize("signal", [0.25, 0.5, 1.0])
@pytest.mark.parametrize(("n_images", "n_trials"), DESIGNS)
def test_identification(n_images, n_trials, signal):
    """The lower end is what another recording of half the trials gets; the truth is above it."""
    found, known, reached = [], [], []
    everything = np.ones(10, bool)
    for seed in range(8):
        truth, trials = record(n_images, n_trials, signal, seed)
        found.append(ceilings.identification(as_recorded(trials), everything, seed))
        half, other = (
            truth + np.sqrt(2 / n_trials) * record(n_images, 1, 0, 100 * k + seed)[1][:, 0]
            for k in (1, 2)
        )
        known.append(identify(half, other))
        reached.append(identify(trials.mean(axis=1), truth))
    for metric in known[0]:
        of = [np.array([row[metric] for row in rows]) for rows in (found, known, reached)]
        # 0.002 of nine comparisons by chance: 3.5 standard errors of the difference of two means.
        error = np.sqrt((of[0].var(ddof=1) + of[1].var(ddof=1)) / 8)
        assert abs(of[0].mean() - of[1].mean()) < 3.5 * error + 1e-3, metric
        low, high = sorted((of[0].mean(), 1.0))
        assert low - 1e-9 <= of[2].mean() <= high + 1e-9, metric


def test_identification_without_noise():
    truth, _ = record(20, 1, 1.0, 0)
    found = ceilings.identification(as_recorded(truth[:, None].repeat(4, axis=1)), slice(None), 0)
    assert found == {"top-1": 1, "top-5": 1, "mean rank": 1, "pairwise accuracy": 1}


@pytest.mark.parametrize("worth", [2.0, 8.0])
@pytest.mark.parametrize(("n_images", "n_trials"), [(12, 4), (12, 20), (60, 4), (200, 4)])
def test_equivalent_trials(n_images, n_trials, worth):
    found, of_truth = [], []
    for seed in range(10):
        truth, trials = record(n_images, n_trials, 0.5, seed, (6, 20))
        noise = record(n_images, 1, 0, 100 + seed, (6, 20))[1][:, 0]
        given = {"n_splits": 5, "random_state": seed}
        found.append(equivalent_trials(truth + noise / np.sqrt(worth), trials, **given).n_trials)
        of_truth.append(equivalent_trials(truth, trials, **given).n_trials)
    assert np.median(found) == pytest.approx(worth, rel=0.25)
    # No number of trials is what the truth itself is; few say at least that it is very many.
    assert np.median(of_truth) > 2 * worth


def test_ceilings_and_halves_take_no_copy_of_all_trials():
    truth, trials = record(30, 80, 1.0, 0, shape=(20, 100))
    recorded = SimpleNamespace(
        trials=list(trials),
        mean=trials.mean(axis=1),
        weights=[np.ones(80)] * 30,
        times=np.arange(-0.2, 0.8, 0.01),
    )
    inside = (recorded.times > 0.1) & (recorded.times < 0.5)
    tracemalloc.start()
    found = ceilings.find_ceilings(recorded, inside, 10, 0)
    ceilings.within_images(recorded, np.ones((20, 1)))
    ncsnr(trials)
    equivalent_trials(truth, recorded.trials, mask=inside, n_splits=5)
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert found.known
    assert found.identification["top-1"] == 1
    assert peak < 0.8 * trials.nbytes  # with what is imported on first use


def test_decoding():
    """Classes 2 apart in one sensor of SD 1: no decoder has a better AUC than Phi(2 / sqrt(2))."""
    labels, ends = np.arange(30) % 2, []
    for seed in range(6):
        rng = np.random.default_rng(seed)
        shift = 2.0 * labels[:, None, None, None]
        trials, draws = (shift + rng.standard_normal((30, 20, 1, 1)) for _ in "ab")
        rows = []
        table = SimpleNamespace(add=lambda name, value, **row: rows.append((value, row["ceiling"])))  # noqa: B023
        decoding.judge_usefulness(table, draws, list(trials), labels, LogisticRegression(), 5, seed)
        ends += rows
    value, ceiling = np.mean(ends, axis=0)
    # 600 trials in all: an AUC has a standard error of 0.012, six of them of 0.005.
    assert ceiling == pytest.approx(norm.cdf(np.sqrt(2)), abs=0.015)
    assert value == pytest.approx(ceiling, abs=0.005)


def test_components():
    """A peak at 0.17 s and -4, in noise of which the average of 200 trials leaves 0.07."""
    times = np.arange(0, 0.4, 0.01)
    wave = -4 * np.exp(-(((times - 0.17) / 0.03) ** 2))
    truth = np.stack([0.3 * wave, wave])
    found = {"latency": [], "amplitude / real": []}
    for seed in range(10):
        noise = np.random.default_rng(seed).standard_normal((20, 10, *truth.shape))
        recorded = SimpleNamespace(
            mean=(truth + noise).mean(axis=1), times=times, info={"ch_names": ["Pz", "P8"]}
        )
        table = SimpleNamespace(
            add=lambda name, value, **row: found[name.split(": ")[1]].append(
                (value, row["ceiling"])
            )  # noqa: B023
        )
        predictions._components(table, recorded, truth[None], {"N170": (0.1, 0.25, "neg")})
    value, ceiling = np.transpose(found["latency"])
    np.testing.assert_allclose(value, 0.17)
    assert ceiling.mean() == pytest.approx(0.17, abs=0.003)
    value, ceiling = np.transpose(found["amplitude / real"])
    np.testing.assert_array_equal(ceiling, 1)
    assert value.mean() == pytest.approx(1, abs=0.03)
