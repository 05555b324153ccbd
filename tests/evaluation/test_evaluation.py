import re
from pathlib import Path
from types import SimpleNamespace

import matplotlib.pyplot as plt
import mne
import numpy as np
import pandas as pd
import pytest
from sklearn.discriminant_analysis import LinearDiscriminantAnalysis
from sklearn.preprocessing import FunctionTransformer

from mne_img2brain import ImageToBrainEncoder, evaluate
from mne_img2brain.baselines import MeanResponse, RidgeBaseline, RidgeGaussian
from mne_img2brain.epochs import EvokedMap
from mne_img2brain.evaluation import TrialConvNet, ceilings, induced, material
from mne_img2brain.metrics import (
    coverage,
    crps,
    difference_wave_r,
    identification_ranks,
    mse,
    r_map,
    sd_ratio,
    time_mask,
    window_mean,
)
from mne_img2brain.stimulus.images import image_list

NAMES = ["P7", "P3", "Pz", "P4", "P8", "O1", "Oz", "O2"]
N_IMAGES, N_TRIALS, N_TIMES = 24, 8, 40
FAST = {"n_splits": 5, "n_bootstrap": 50, "classifiers": {"lda": LinearDiscriminantAnalysis()}}


class FakeEncoder:
    """An encoder that knows the true response to an image, which its first pixel numbers."""

    def __init__(self, truth, info, seen=(), sd=1e-6):
        self.truth, self.info_, self.sd = truth, info, sd
        self.ch_names_ = list(info["ch_names"])
        self.times_ = np.arange(N_TIMES) / 50 - 0.1
        self.training_image_keys_ = list(seen)
        self.calls = []

    def predict(self, images, subject=None):
        return self._epochs(self.truth[[image[0, 0, 0] for image in images]])

    def _epochs(self, data):
        return mne.EpochsArray(data, self.info_, tmin=self.times_[0], verbose=False)


class FakeGenerator(FakeEncoder):
    """The same with white noise for draws."""

    def sample(self, images, n_draws=1, random_state=None, guidance_scale=1.0, n_averaged=1):
        self.calls.append((len(images), random_state, n_averaged))
        rng = np.random.default_rng(random_state)
        mean = self.predict(images).get_data(copy=True)
        noise = rng.standard_normal((len(mean), n_draws, *mean.shape[1:])) * self.sd
        draws = mean[:, None] + noise / np.sqrt(n_averaged)
        return self._epochs(draws.reshape(-1, *mean.shape[1:]))


@pytest.fixture
def info():
    info = mne.create_info(NAMES, 50.0, "eeg")
    info.set_montage("easycap-M1")
    return info


@pytest.fixture
def truth(rng):
    """Responses of 1 µV that differ between images, after onset."""
    responses = 1e-6 * rng.standard_normal((N_IMAGES, len(NAMES), N_TIMES))
    responses[..., :5] = 0
    return responses


@pytest.fixture
def shown_images():
    return [np.full((4, 4, 3), number, np.uint8) for number in range(N_IMAGES)]


@pytest.fixture
def trials(rng, truth):
    return truth[:, None] + 1e-6 * rng.standard_normal((N_IMAGES, N_TRIALS, *truth.shape[1:]))


@pytest.fixture
def epochs(trials, info):
    return mne.EpochsArray(trials.reshape(-1, len(NAMES), N_TIMES), info, tmin=-0.1, verbose=False)


def assert_on_the_page(result):
    """Every row of the table has its name on the page on metrics."""
    page = (Path(__file__).parents[2] / "doc" / "metrics.rst").read_text()
    names = re.findall(r"``([^`]+)``", page)
    patterns = [re.sub(r"<\w+>", ".+", re.escape(name)) for name in names]
    for metric in result.table["metric"].unique():
        assert any(re.fullmatch(pattern, metric) for pattern in patterns), metric


IDS = np.repeat(np.arange(N_IMAGES), N_TRIALS)


def test_values_are_those_of_the_metrics(truth, info, shown_images, trials, epochs):
    encoder = FakeGenerator(truth, info)
    result = evaluate(encoder, shown_images, epochs, image_ids=IDS, n_draws=39, **FAST)
    times, mean = encoder.times_, trials.mean(axis=1)
    r = r_map(mean, truth)
    np.testing.assert_allclose(result.maps["encoder: r"].data, r)
    np.testing.assert_allclose(result.maps["recorded"].data, mean.mean(axis=0))
    assert result.value("r") == pytest.approx(window_mean(r, times, 0.05, 0.6))
    row = result.table.set_index("metric").loc["r"]
    # Signal and noise have the same SD: 8 trials leave 8 / 9 of the variance to the signal.
    assert row["ceiling"] == pytest.approx(np.sqrt(8 / 9), abs=0.01)
    ceiling = result.maps["ceiling of r"].data
    assert row["ceiling"] == pytest.approx(window_mean(ceiling, times, 0.05, 0.6))
    # The response is zero before onset: there is no ceiling, and not one of zero.
    assert np.isnan(ceiling[:, times < 0]).all()
    assert row["ci_low"] < row["value"] < row["ci_high"]
    # The truth itself reaches the ceiling.
    assert result.value("r / ceiling") == pytest.approx(1, abs=0.05)
    scale = mean.std(axis=(0, 2))[:, None]
    assert result.value("mse") == pytest.approx(mse(mean / scale, truth / scale))
    inside = time_mask(times, 0.05, 0.6)
    # So it does within images: nothing but the noise of the average is left.
    for metric in ("mse", "pcc"):
        row = result.table.set_index("metric").loc[metric]
        assert row["ceiling"] == pytest.approx(row["value"], rel=0.05)
    better, equal = identification_ranks(mean[..., inside], truth[..., inside])
    assert result.value("mean rank") == np.mean(1 + better + equal / 2)
    assert result.value("top-1") == 1
    # Draws have the noise of the trials: everything is as it should be.
    for metric, goal, within in (
        ("SD / real", 1, 0.03),
        ("coverage of the 90 % interval", 0.9, 0.01),
        ("mean of draws within 2 SE of prediction", 0.95, 0.02),
        ("power / real, alpha", 0, 0.3),
        ("two-sample accuracy, lda", 0.5, 0.1),
    ):
        assert result.value(metric) == pytest.approx(goal, abs=within), metric
    # ... and as good as real trials are to real trials, for as many trials as are compared.
    table = result.table.set_index("metric")
    for metric, within in (
        ("channel covariance: distance to real", 0.3),
        ("lag-1 autocorrelation", 0.02),
        ("energy score", 0.01),
        ("CRPS", 0.01),
    ):
        row = table.loc[metric]
        assert row["value"] == pytest.approx(row["ceiling"], abs=within * (1 + row["ceiling"]))


def test_draws_are_those_of_the_encoder(truth, info, shown_images, trials, epochs):
    encoder = FakeGenerator(truth, info, sd=0.7e-6)
    result = evaluate(encoder, shown_images, epochs, image_ids=IDS, n_draws=20, **FAST)
    ((n_images, seed, n_averaged),) = encoder.calls
    assert (n_images, n_averaged) == (N_IMAGES, 1)
    draws = encoder.sample(shown_images, 20, random_state=seed).get_data(copy=True)
    draws = draws.reshape(N_IMAGES, 20, len(NAMES), N_TIMES)
    inside = time_mask(encoder.times_, 0, 0.6)
    expected = np.median(sd_ratio(draws, trials)[:, inside])
    assert result.value("SD / real") == pytest.approx(expected)
    expected = coverage(draws, trials)[:, inside].mean()
    assert result.value("coverage of the 90 % interval") == pytest.approx(expected)
    # 0.7 of the amplitude is 20 log10(0.7) dB of what is noise, and half of the power is noise.
    assert -3.1 < result.value("power / real, alpha") < -0.5


def test_large_requests_are_cut_and_their_noise_differs(
    truth, info, shown_images, epochs, monkeypatch
):
    encoder = FakeGenerator(truth, info)
    recorded = material.gather({"a": encoder}, shown_images, epochs, IDS)
    monkeypatch.setattr(material, "_NUMBERS_PER_CALL", 10 * 5 * len(NAMES) * N_TIMES)
    draws = material.draws(encoder, recorded, 5, 0)
    assert [n for n, _, _ in encoder.calls] == [10, 10, 4]
    noise = draws - truth[:, None]
    assert abs(np.corrcoef(noise[0, 0].ravel(), noise[10, 0].ravel())[0, 1]) < 0.3


def test_training_images_are_refused(truth, info, shown_images, epochs):
    seen = image_list(shown_images[3:5]).content_keys()
    encoder = FakeEncoder(truth, info, seen)
    with pytest.raises(ValueError, match="2 of the 24 images .first at position 3.* in the fit of"):
        evaluate(encoder, shown_images, epochs, image_ids=IDS)
    with pytest.warns(RuntimeWarning, match="says nothing about new images"):
        evaluate(encoder, shown_images, epochs, image_ids=IDS, allow_training_images=True, **FAST)


def test_one_image_per_trial_is_the_same(truth, info, shown_images, epochs):
    encoder = FakeEncoder(truth, info)
    by_id = evaluate(encoder, shown_images, epochs, image_ids=IDS, **FAST)
    by_trial = evaluate(encoder, [shown_images[i] for i in IDS], epochs, **FAST)
    pd.testing.assert_frame_equal(by_id.table, by_trial.table)
    assert by_trial.n_images == N_IMAGES
    assert by_trial.n_trials == [N_TRIALS] * N_IMAGES


def test_encoders_are_compared_on_the_same_resamples(rng, truth, info, shown_images, epochs):
    worse = truth + 1e-6 * rng.standard_normal(truth.shape)
    encoders = {
        "true": FakeGenerator(truth, info),
        "again": FakeEncoder(truth, info),
        "worse": FakeEncoder(worse, info),
        "mean": FakeEncoder(np.repeat(truth.mean(axis=0, keepdims=True), N_IMAGES, axis=0), info),
    }
    result = evaluate(encoders, shown_images, epochs, image_ids=IDS, n_draws=20, **FAST)
    assert result.encoders == list(encoders)
    # The same encoder twice: paired, so that nothing at all is left.
    same = result.difference("true", "again")
    np.testing.assert_array_equal(same[["difference", "ci_low", "ci_high", "se"]], 0)
    gain = result.difference("true", "worse").set_index("metric").loc["r"]
    assert 0 < gain["ci_low"] < gain["difference"] < gain["ci_high"]
    wide = result.compare()
    assert wide.loc["r", "mean"] == 0
    assert wide.loc["mean rank", "mean"] == wide.loc["mean rank", "chance"] == 12.5
    assert wide.loc["top-1", "mean"] == pytest.approx(1 / N_IMAGES)
    # Rows on draws are there for encoders that draw, and for them alone.
    assert np.isfinite(wide.loc["SD / real", "true"])
    assert np.isnan(wide.loc["SD / real", "again"])
    assert list(result.table.columns[:5]) == ["encoder", "metric", "value", "ci_low", "ci_high"]
    assert not result.table.duplicated(["encoder", "metric"]).any()
    with pytest.raises(KeyError, match="no metric 'R2'"):
        result.value("R2")
    with pytest.raises(KeyError, match="no encoder 'none'"):
        result.difference("true", "none")


def test_sensors_by_name_bads_left_out(truth, info, shown_images, epochs):
    encoder = FakeEncoder(truth, info)
    expected = evaluate(encoder, shown_images, epochs, image_ids=IDS, **FAST)
    shuffled = epochs.copy().reorder_channels(NAMES[::-1])
    result = evaluate(encoder, shown_images, shuffled, image_ids=IDS, **FAST)
    pd.testing.assert_frame_equal(result.table, expected.table)
    shuffled.info["bads"] = ["Pz"]
    with pytest.warns(RuntimeWarning, match="marked as bad in epochs are left out: Pz"):
        result = evaluate(encoder, shown_images, shuffled, image_ids=IDS, **FAST)
    names = [name for name in NAMES if name != "Pz"]
    assert result.maps["encoder: r"].ch_names == names
    np.testing.assert_allclose(
        result.maps["encoder: r"].data, expected.maps["encoder: r"].copy().pick(names).data
    )


def test_averages(truth, info, shown_images, trials, epochs):
    halves = trials.reshape(N_IMAGES, 2, 4, len(NAMES), N_TIMES).mean(axis=2)
    frame = pd.DataFrame({"n_averaged": [4] * 2 * N_IMAGES})
    averages = mne.EpochsArray(
        halves.reshape(-1, len(NAMES), N_TIMES), info, tmin=-0.1, metadata=frame, verbose=False
    )
    ids = np.repeat(np.arange(N_IMAGES), 2)
    encoder = FakeGenerator(truth, info)
    result = evaluate(encoder, shown_images, averages, image_ids=ids, n_draws=20, **FAST)
    # Draws are averages of four as well, and vary as these do.
    assert encoder.calls[0][2] == 4
    assert result.value("SD / real") == pytest.approx(1, abs=0.05)
    averages.metadata["n_averaged"] = [4, 2] * N_IMAGES
    with pytest.warns(RuntimeWarning, match="different numbers of trials: draws are not judged"):
        result = evaluate(encoder, shown_images, averages, image_ids=ids, n_draws=20, **FAST)
    # The mean of an image weighs its averages.
    weighted = (4 * halves[:, 0] + 2 * halves[:, 1]) / 6
    np.testing.assert_allclose(result.maps["encoder: r"].data, r_map(weighted, truth))
    # One trial an image: no ceiling, no draws; predictions are judged all the same.
    with pytest.warns(RuntimeWarning, match="two trials or more: draws are not judged"):
        single = evaluate(encoder, shown_images, epochs[::N_TRIALS], n_draws=20, **FAST)
    assert np.isnan(single.table.set_index("metric").loc["r", "ceiling"])


def test_maps_have_the_times_of_the_recording_and_their_unit(truth, info, shown_images, epochs):
    encoder = FakeEncoder(truth, info)
    encoder.times_ = encoder.times_ + 0.0037
    epochs = epochs.copy().shift_time(0.0037)
    maps = evaluate(encoder, shown_images, epochs, image_ids=IDS, **FAST).maps
    for name, one in maps.items():
        np.testing.assert_allclose(one.times, epochs.times, rtol=1e-14, atol=1e-15)
        assert isinstance(one, EvokedMap) == (name not in ("recorded", "encoder: predicted"))


def test_the_fit_that_differs_is_named(truth, info, shown_images, epochs):
    encoders = {"one": FakeEncoder(truth, info), "other": FakeEncoder(truth, info)}
    encoders["other"].baseline_ = (-0.1, 0.0)
    with pytest.raises(ValueError, match="baseline None and fit of 'other' has"):
        evaluate(encoders, shown_images, epochs, image_ids=IDS, **FAST)
    with pytest.raises(ValueError, match="names a metadata column, .* leave image_ids out"):
        evaluate(encoders["one"], "path", epochs, image_ids=IDS, **FAST)


def test_components(truth, info, shown_images, trials, epochs):
    bump = 5e-6 * np.exp(-(((np.arange(N_TIMES) / 50 - 0.1 - 0.16) / 0.03) ** 2))
    shape = np.zeros((len(NAMES), 1))
    shape[4] = -1.0
    data = epochs.get_data(copy=True) + shape * bump
    epochs = mne.EpochsArray(data, info, tmin=-0.1, verbose=False)
    encoder = FakeEncoder(0.1 * truth + 0.6 * shape * bump, info)
    windows = {"N170": (0.1, 0.22, "neg")}
    result = evaluate(encoder, shown_images, epochs, image_ids=IDS, components=windows, **FAST)
    assert_on_the_page(result)
    assert result.value("N170 at P8: latency") == pytest.approx(0.16, abs=0.021)
    assert result.value("N170 at P8: amplitude / real") == pytest.approx(0.6, abs=0.1)


def test_decoding_and_memory(rng, truth, info, shown_images, trials, epochs):
    labels = np.arange(N_IMAGES) % 2
    shift = np.where(labels, 1e-6, 0)[:, None, None]
    data = (trials + shift[:, None]).reshape(-1, len(NAMES), N_TIMES)
    epochs = mne.EpochsArray(data, info, tmin=-0.1, verbose=False)
    fresh = (truth + shift)[IDS] + 1e-6 * rng.standard_normal(data.shape)
    fresh = mne.EpochsArray(fresh, info, tmin=-0.1, verbose=False)
    encoders = {
        "true": FakeGenerator(truth + shift, info),
        "blind": FakeGenerator(np.zeros_like(truth), info),
    }
    result = evaluate(
        encoders,
        shown_images,
        epochs,
        image_ids=IDS,
        labels=labels,
        n_draws=N_TRIALS,
        training_epochs=fresh,
        **FAST,
    )
    assert result.value("r of the difference wave", "true") > 0.9
    assert_on_the_page(result)
    table = result.table.query("metric == 'decoding, trained on draws'").set_index("encoder")
    assert table.loc["true", "ceiling"] > 0.9
    assert table.loc["true", "value"] > 0.9
    assert abs(table.loc["blind", "value"] - 0.5) < 0.3
    # Trials of an image differ by a variance of 1 + 1, draws without its response by one or two
    # more: a root of 3 / 2 at least, less what choosing the nearest of many takes off.
    metric = "distance to nearest training trial / real"
    assert result.value(metric, "true") == pytest.approx(1, abs=0.02)
    assert 1.1 < result.value(metric, "blind") < 1.3
    with pytest.raises(ValueError, match="There are 3 labels for 24 images"):
        evaluate(encoders, shown_images, epochs, image_ids=IDS, labels=labels[:3])
    with pytest.raises(TypeError, match="labels is a set, which has no order"):
        evaluate(encoders, shown_images, epochs, image_ids=IDS, labels=set(range(24)))
    with pytest.raises(ValueError, match=r"labels\[3\] is None \(1 of 24 are missing\)"):
        evaluate(encoders, shown_images, epochs, image_ids=IDS, labels=[*"aba", None, *"b" * 20])


def test_report(tmp_path, truth, info, shown_images, epochs):
    encoders = {"ours": FakeGenerator(truth, info), "<b>": FakeEncoder(0 * truth, info)}
    result = evaluate(encoders, shown_images, epochs, image_ids=IDS, n_draws=19, **FAST)
    fname = tmp_path / "report.html"
    report = result.report(fname)
    assert isinstance(report, mne.Report)
    titles = [element.name for element in report._content]
    assert titles[0] == "Table"
    assert_on_the_page(result)
    for expected in (
        "ours: evoked responses",
        "r over time",
        "ours: r of every sensor",
        "Identification",
        "Representational similarity",
        "Trial-to-trial variability",
        "Spectra",
        "Calibration",
        "ours: induced power",
        "ours: inter-trial coherence",
    ):
        assert expected in titles
    page = fname.read_text(encoding="utf-8")
    assert "mean rank" in page
    assert "&lt;b&gt;" in page
    # What is said of recorded trials alone: these have no rhythms.
    assert result.differ
    assert not any(result.differ.values())
    row = result.table.query("metric == 'images differ in induced power, alpha'").iloc[0]
    assert row["encoder"] == "recorded"
    assert f"<td>no, {row['value']:.3g}</td>" in page
    assert repr(result).startswith("<Evaluation | ours, <b>: 24 images, 192 trials")
    # One sentence on top, made of the numbers of the table; a notebook shows the same.
    row = result.table.query("encoder == 'ours' and metric == 'r'").iloc[0]
    assert result.sentence == (
        f"ours predicts how responses to images differ: r = {row['value']:.2f} "
        f"({row['ci_low']:.2f} to {row['ci_high']:.2f}), "
        f"{100 * row['value'] / row['ceiling']:.0f} % of the noise ceiling of "
        f"{row['ceiling']:.2f}; <b> reaches 0.00 (less)."
    )
    assert "&lt;b&gt; reaches 0.00 (less)" in page
    assert "&lt;b&gt; reaches 0.00 (less)" in result._repr_html_()
    pd.testing.assert_frame_equal(result.to_data_frame(), result.table)
    assert result.to_data_frame() is not result.table


def test_figures_of_an_evaluation(truth, info, shown_images, epochs):
    encoders = {"ours": FakeGenerator(truth, info), "blind": FakeEncoder(0 * truth, info)}
    result = evaluate(encoders, shown_images, epochs, image_ids=IDS, n_draws=19, **FAST)
    figure = result.plot_r_time(show=False)
    np.testing.assert_allclose(
        figure.axes[0].lines[0].get_ydata(), result.maps["ours: r"].data.mean(axis=0)
    )
    legend = [text.get_text() for text in figure.axes[0].get_legend().texts]
    # The response is zero before onset: grey there.
    assert legend == [
        "ours", "blind", "noise ceiling", "images not distinguished", "window of the scores"
    ]  # fmt: skip
    figure = result.plot_identification(show=False)
    np.testing.assert_allclose(
        figure.axes[0].lines[0].get_ydata(), 100 * result.curves["ours"]["identification"][1]
    )
    assert len(result.plot_calibration(show=False).axes) == 2
    plt.close("all")
    del encoders["ours"]
    result = evaluate(encoders, shown_images, epochs, image_ids=IDS, **FAST)
    with pytest.raises(ValueError, match="No draws were judged: evaluate with n_draws"):
        result.plot_calibration()
    assert result.sentence.startswith("blind does not predict how responses to images differ")


def test_real_encoders_on_tokens(rng, truth, info, trials, epochs):
    # Tokens that carry the response linearly: ridge reads it, the mean cannot.
    tokens = rng.standard_normal((200, 3, 6)).astype(np.float32)
    weights = 1e-6 * rng.standard_normal((6, len(NAMES), N_TIMES))
    y = np.tensordot(tokens[:, 0], weights, 1)
    y = y[:, None] + 2e-6 * rng.standard_normal((200, 4, len(NAMES), N_TIMES))
    recorded = mne.EpochsArray(y.reshape(-1, len(NAMES), N_TIMES), info, tmin=-0.1, verbose=False)
    ids = np.repeat(np.arange(200), 4)
    encoders = {}
    for name, regressor in {
        "gaussian": RidgeGaussian(),
        "ridge": RidgeBaseline(tokens="first"),
        "mean": MeanResponse(),
    }.items():
        encoder = ImageToBrainEncoder(FunctionTransformer(), regressor)
        encoders[name] = encoder.fit(tokens[:160], recorded[:640], image_ids=ids[:640])
    result = evaluate(
        encoders, tokens[160:], recorded[640:], image_ids=ids[:160], n_draws=20, **FAST
    )
    assert result.value("r", "ridge") > 0.7
    assert result.value("top-1", "gaussian") > 0.9
    assert result.value("mean rank", "mean") == 20.5
    assert result.value("SD / real", "gaussian") == pytest.approx(1.05, abs=0.07)
    assert "SD / real" not in result.table.query("encoder == 'ridge'")["metric"].tolist()
    # What each reached within its fit is in the report.
    assert np.isnan(result.cross_validated["mean"])
    r = encoders["ridge"].cross_validated_r_
    assert result.cross_validated["ridge"] == r > 0.5
    assert "Cross-validated r within the fit: gaussian" in result._repr_html_()
    assert f"ridge {r:.3f}." in result._repr_html_()
    with pytest.raises(ValueError, match="40 of the 40 images"):
        evaluate(encoders, tokens[:40], recorded[:160], image_ids=ids[:160])


def test_errors(truth, info, shown_images, epochs):
    encoder = FakeEncoder(truth, info)
    with pytest.raises(ValueError, match="empty dict"):
        evaluate({}, shown_images, epochs)
    with pytest.raises(ValueError, match="n_draws=1"):
        evaluate(encoder, shown_images, epochs, n_draws=1)
    with pytest.raises(ValueError, match="There are 2 distinct images; .* at least three"):
        evaluate(encoder, shown_images[:2], epochs[: 2 * N_TRIALS], image_ids=IDS[: 2 * N_TRIALS])
    with pytest.raises(ValueError, match=r"fitted on 40 from -0\.1 to 0\.68 s"):
        evaluate(encoder, shown_images, epochs.copy().crop(0, None), image_ids=IDS)
    other = FakeEncoder(truth, mne.create_info([f"x{n}" for n in NAMES], 50.0, "eeg"))
    with pytest.raises(ValueError, match="no sensor in common"):
        evaluate({"a": encoder, "b": other}, shown_images, epochs, image_ids=IDS)


def test_conv_net_tells_shapes_apart(rng):
    # Same spectrum and covariance, other shape: time runs backwards. Features do not see it.
    sawtooth = np.tile(np.linspace(-1, 1, 20), 3)
    phase = rng.integers(0, 20, 400)
    trials = np.stack([np.roll(sawtooth, p) for p in phase])[:, None] * np.ones((1, 2, 1))
    trials[200:] = trials[200:, :, ::-1]
    trials = 1e-6 * (trials + 0.3 * rng.standard_normal(trials.shape))
    labels = np.repeat(["forth", "back"], 200)
    order = rng.permutation(400)
    train, test = order[:300], order[300:]
    net = TrialConvNet(n_passes=15, device="cpu").fit(trials[train], labels[train])
    assert (net.predict(trials[test]) == labels[test]).mean() > 0.85
    again = TrialConvNet(n_passes=15, device="cpu").fit(trials[train], labels[train])
    np.testing.assert_array_equal(
        net.decision_function(trials[test]), again.decision_function(trials[test])
    )
    with pytest.raises(ValueError, match="y holds 1 labels"):
        TrialConvNet().fit(trials[:5], labels[:5])


def test_subjects(rng, truth, info, shown_images, trials):
    """Three subjects with noise of their own, one of them without a sensor."""

    class Known(FakeGenerator):
        subjects_ = ("s1", "s2")

        def predict(self, images, subject=None):
            self.asked.append(subject)
            return super().predict(images)

        def sample(self, *args, subject=None, **kwargs):
            return super().sample(*args, **kwargs)

    recordings = {}
    for name in ("s1", "s2", "s3"):
        y = truth[:, None] + 1e-6 * rng.standard_normal(trials.shape)
        y = y.reshape(-1, len(NAMES), N_TIMES)
        recordings[name] = mne.EpochsArray(y, info, tmin=-0.1, verbose=False)
    encoder = Known(truth, info)
    encoder.asked = []
    blind = FakeEncoder(np.zeros_like(truth), info)
    encoders = {"known": encoder, "blind": blind}
    with pytest.warns(RuntimeWarning, match="does not know the subject 's3': its average"):
        result = evaluate(encoders, shown_images, recordings, image_ids=IDS, n_draws=20, **FAST)
    # The encoder is asked for the subjects it knows, and for the average subject else.
    assert set(encoder.asked) == {"s1", "s2", None}
    values = [result.subjects[name].value("r", "known") for name in recordings]
    assert result.value("r") == pytest.approx(np.mean(values))
    row = result.table.query("encoder == 'known' and metric == 'r'").iloc[0]
    # Over three subjects the bootstrap stays between the least and the largest of them.
    assert min(values) <= row["ci_low"] < row["ci_high"] <= max(values)
    assert row["n"] == 3
    maps = [part.maps["known: r"].data for part in result.subjects.values()]
    np.testing.assert_allclose(result.maps["known: r"].data, np.mean(maps, axis=0))
    assert result.difference("known", "blind").set_index("metric").loc["r", "ci_low"] > 0
    assert "3 subjects" in repr(result)
    assert "Calibration" in [element.name for element in result.report()._content]
    with pytest.raises(ValueError, match="its keys are the subjects"):
        evaluate(encoders, shown_images, recordings, image_ids=IDS, subject="s1")


@pytest.mark.parametrize(("n_images", "n_trials"), [(30, 2), (12, 4), (60, 4)])
def test_ceilings_are_what_the_truth_reaches(n_images, n_trials):
    """Five features drive 12 sensors; trials have three times the SD of the response."""
    info = mne.create_info(12, 50.0, "eeg")
    reached = {}
    for seed in range(4):
        rng = np.random.default_rng(seed)
        weights = rng.standard_normal((5, 12, N_TIMES)) / np.sqrt(5)
        truth = np.tensordot(rng.standard_normal((n_images, 5)), weights, 1)
        noise = rng.standard_normal((n_images, n_trials, *truth.shape[1:]))
        trials = 1e-6 * (truth[:, None] + 3 * noise)
        epochs = mne.EpochsArray(trials.reshape(-1, 12, N_TIMES), info, tmin=-0.1, verbose=False)
        images = [np.full((4, 4, 3), number, np.uint8) for number in range(n_images)]
        result = evaluate(
            FakeEncoder(1e-6 * truth, info),
            images,
            epochs,
            image_ids=np.repeat(np.arange(n_images), n_trials),
            **FAST,
        )
        for row in result.table.itertuples():
            reached.setdefault(row.metric, []).append(
                (row.value, row.ceiling, row.ceiling_low, row.ceiling_high)
            )
    reached = {metric: np.mean(rows, axis=0) for metric, rows in reached.items()}
    value, ceiling, _, _ = reached["r"]
    assert ceiling == pytest.approx(value, abs=0.05)
    assert reached["r / ceiling"][0] == pytest.approx(1, abs=0.1)
    value, ceiling, _, _ = reached["mse"]
    assert ceiling == pytest.approx(value, rel=0.03)
    value, ceiling, _, _ = reached["pcc"]
    assert ceiling == pytest.approx(value, abs=0.05)
    value, ceiling, low, high = reached["rsa"]
    assert low < value < high
    assert low < ceiling < high
    for metric in ("top-1", "top-5", "mean rank", "pairwise accuracy"):
        value, _, low, high = reached[metric]
        assert low <= value <= high, metric
        assert low < high


def test_ceiling_of_the_difference_wave():
    found, reached = [], []
    for seed in range(30):
        rng = np.random.default_rng(seed)
        truth = 0.3 * rng.standard_normal((30, 6, 20))
        trials = truth[:, None] + rng.standard_normal((30, 3, 6, 20))
        labels = np.arange(30) % 3 == 0
        mean = trials.mean(axis=1)
        weights = [np.ones(3)] * 30
        recorded = SimpleNamespace(trials=list(trials), weights=weights, mean=mean, labels=labels)
        found.append(ceilings.difference_wave(recorded, np.arange(20) > 2))
        reached.append(difference_wave_r(mean[..., 3:], labels, truth[..., 3:], labels))
    assert np.nanmean(found) == pytest.approx(np.mean(reached), abs=0.03)


def test_noise_has_no_ceiling(rng, truth, info, shown_images):
    noise = 1e-6 * rng.standard_normal((N_IMAGES * N_TRIALS, len(NAMES), N_TIMES))
    epochs = mne.EpochsArray(noise, info, tmin=-0.1, verbose=False)
    with pytest.warns(RuntimeWarning, match="these recordings do not distinguish these images"):
        result = evaluate(FakeEncoder(truth, info), shown_images, epochs, image_ids=IDS, **FAST)
    table = result.table.set_index("metric")
    assert "r / ceiling" not in table.index
    for metric in ("r", "rsa", "top-1", "mean rank", "pairwise accuracy"):
        assert table.loc[metric, ["ceiling", "ceiling_low", "ceiling_high"]].isna().all(), metric
    assert np.isnan(result.maps["ceiling of r"].data).all()
    assert np.isnan(result.maps["encoder: r / ceiling"].data).all()
    assert "no noise ceiling, for these recordings do not distinguish" in result.sentence
    legend = result.plot_r_time(show=False).axes[0].get_legend().texts
    assert [text.get_text() for text in legend] == [
        "encoder", "images not distinguished", "window of the scores"
    ]  # fmt: skip
    plt.close("all")


def rhythmic(rng, n_trials, gain, info, locked=0.0):
    """White noise and alpha after onset at three sensors, ``gain`` dB stronger in each image."""
    times = np.arange(N_TIMES) / 50 - 0.1
    y = 1e-6 * rng.standard_normal((len(gain), n_trials, len(NAMES), N_TIMES))
    phase = rng.random((len(gain), n_trials, 1)) * 2 * np.pi * (1 - locked)
    size = rng.rayleigh(1.5e-6, phase.shape) * 10 ** (gain[:, None, None] / 20)
    wave = size * np.sin(2 * np.pi * 10 * times + phase) * (times > 0)
    y[:, :, -3:] += wave[:, :, None]
    return y


class FakeRhythms(FakeGenerator):
    """An encoder whose draws have alpha of a gain of their own."""

    def sample(self, images, n_draws=1, random_state=None):
        rng = np.random.default_rng(random_state)
        y = rhythmic(rng, n_draws, self.sd[[i[0, 0, 0] for i in images]], self.info_)
        return self._epochs(y.reshape(-1, len(NAMES), N_TIMES))


def test_induced_power_of_draws_that_know_it(info):
    """The truth reaches the ceiling with a slope of one; half of the contrast has twice that."""
    n_images, n_trials = 60, 10
    rng = np.random.default_rng(0)
    gain = 4 * rng.standard_normal(n_images)
    images = [np.full((4, 4, 3), number, np.uint8) for number in range(n_images)]
    y = rhythmic(rng, n_trials, gain, info)
    epochs = mne.EpochsArray(y.reshape(-1, len(NAMES), N_TIMES), info, tmin=-0.1, verbose=False)
    flat = np.zeros((n_images, len(NAMES), N_TIMES))
    encoders = {
        name: FakeRhythms(flat, info, sd=sd)
        for name, sd in (("true", gain), ("half", gain / 2), ("blind", 0 * gain))
    }
    ids = np.repeat(np.arange(n_images), n_trials)
    result = evaluate(encoders, images, epochs, image_ids=ids, n_draws=30, **FAST)
    assert result.differ["alpha"]
    rows = result.table.set_index(["encoder", "metric"])
    r = rows.loc[("true", "r of induced power, alpha")]
    assert r["ceiling"] > 0.25  # three of eight sensors have alpha
    assert r["value"] == pytest.approx(r["ceiling"], abs=0.03)
    # One cell has an SD of 0.13 over 60 images; three of eight sensors share a rhythm: 0.05.
    assert abs(result.value("r of induced power, alpha", "blind")) < 0.15
    assert result.value("slope of induced power, alpha", "true") == pytest.approx(1, abs=0.15)
    assert result.value("slope of induced power, alpha", "half") == pytest.approx(2, abs=0.5)
    with pytest.raises(KeyError, match="slope of induced power"):
        result.value("slope of induced power, alpha", "blind")
    # A proper score: the truth scores as real trials do, and better than the others.
    score = rows.xs("CRPS of induced power", level="metric")
    assert score.loc["true", "value"] == pytest.approx(score.loc["true", "ceiling"], rel=0.01)
    assert score.loc["true", "value"] < score.loc["half", "value"] < score.loc["blind", "value"]
    gains = result.difference("true", "half").set_index("metric")
    assert gains.loc["CRPS of induced power", "ci_high"] < 0
    assert rows.loc[("recorded", "images differ in induced power, alpha"), "ci_low"] > 0
    assert "images differ in induced power, alpha" not in result.compare().index
    assert "Images differ in induced " in result.sentence
    assert f"{r['value']:.2f} in alpha (ceiling {r['ceiling']:.2f})" in result.sentence
    assert "; draws of blind follow with r = " in result.sentence
    figure = result.plot_power("half", show=False)
    titles = [axis.get_title() for axis in figure.axes[:3]]
    assert titles == ["Recorded", "Draws", "Draws / recorded"]
    # Half of the contrast: the recorded power of images rises by two dB for each of the draws'.
    line = figure.axes[3].lines[list(result.curves["half"]["power"]).index("alpha")]
    assert np.polyfit(line.get_xdata(), line.get_ydata(), 1)[0] == pytest.approx(2, abs=0.5)
    # White noise of 1 uV outside of alpha, the onset of which has all frequencies.
    power = result.tfr["recorded"]["power"]
    late = power.data[:, power.freqs > 16].mean(axis=(0, 1))[power.times > 0.2]
    np.testing.assert_allclose(late, 1e-12, rtol=0.06)
    plt.close("all")
    with pytest.raises(ValueError, match="'other' was not judged: that needs n_draws of 4"):
        result.plot_power("other")


def test_induced_power_wants_trials_draws_and_time(truth, info, shown_images, epochs):
    encoder = FakeGenerator(truth, info)
    few = np.tile(np.arange(N_TRIALS) < 3, N_IMAGES)
    given = {
        "draws": (epochs, IDS, {"n_draws": 3}),
        "trials": (epochs[few], IDS[few], {"n_draws": 4}),
        "time": (epochs, IDS, {"n_draws": 4, "bands": {"slow": (1, 2)}}),
    }
    for what, (trials, ids, options) in given.items():
        result = evaluate(encoder, shown_images, trials, image_ids=ids, **options, **FAST)
        assert not result.table["metric"].str.contains("of induced").any(), what
        assert bool(result.differ) == (what == "draws")  # that is of recorded trials alone
        with pytest.raises(ValueError, match="was not judged"):
            result.plot_power()
    with pytest.raises(ValueError, match="named 'recorded'"):
        evaluate({"recorded": encoder}, shown_images, epochs, image_ids=IDS)


def test_images_alike_in_power_are_called_alike():
    """Evoked responses differ and trials differ in size, but no image from another in power.

    Each band is tested at 1 %: of 40 recordings at most 5 are misjudged, by chance alone, with a
    probability of 0.99 where 5 % are.
    """
    info = mne.create_info(4, 50.0, "eeg")
    wrong = 0
    for seed in range(40):
        rng = np.random.default_rng(seed)
        trials = [
            rng.standard_normal((1, 4, N_TIMES))
            + rng.lognormal(0, 0.4, (n, 1, 1)) * rng.standard_normal((n, 4, N_TIMES)).cumsum(axis=2)
            for n in rng.integers(4, 10, 30)
        ]
        recorded = SimpleNamespace(
            trials=trials, times=np.arange(N_TIMES) / 50 - 0.1, sfreq=50.0, info=info
        )
        options = SimpleNamespace(draw_window=(0, 0.6), bands=None, seed=seed)
        wrong += any(induced.RealRhythms(recorded, np.ones(4), options).differ.values())
    assert wrong <= 5


def test_phases_alike(rng, info):
    """Coherence of locked alpha is that of any number of trials, and zero without."""
    gain = np.zeros(20)
    found = {}
    for locked in (0.0, 1.0):
        for n_trials in (4, 16):
            y = rhythmic(rng, n_trials, gain, info, locked)[:, :, -3:]
            recorded = SimpleNamespace(
                times=np.arange(N_TIMES) / 50 - 0.1, sfreq=50.0, info=mne.pick_info(info, [5, 6, 7])
            )
            plan = induced.make_plan(recorded, np.full(3, 1e-6), (0.2, 0.5), {"alpha": (9, 11)})
            rhythms = induced.measure([*y], plan, 0, "")
            alpha = (plan.freqs > 9) & (plan.freqs < 11)
            found[locked, n_trials] = rhythms.coherence[:, alpha][..., plan.inside].mean()
    assert abs(found[0.0, 4]) < 0.05
    assert abs(found[0.0, 16]) < 0.05
    assert found[1.0, 4] > 0.5
    assert found[1.0, 4] == pytest.approx(found[1.0, 16], abs=0.06)


def test_crps_of_power_is_that_of_independent_draws(rng):
    """Pairs of different halves give the expectation of the fair score of all pairs."""
    draws, trials = rng.standard_normal((300, 1, 2, 8)), 0.5 + rng.standard_normal((40, 1, 2, 8))
    split = [(np.arange(150), np.arange(150, 300))], [(np.arange(20), np.arange(20, 40))]
    one, other = (
        SimpleNamespace(trials=[y], split=s) for y, s in zip((draws, trials), split, strict=True)
    )
    scores, best = induced._crps(one, other)
    expected = crps(draws[None, :, 0], trials[None, :, 0]).mean()
    assert scores[0] == pytest.approx(expected, abs=0.01)
    assert best == pytest.approx(1 / np.sqrt(np.pi), abs=0.05)
