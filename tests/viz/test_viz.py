import matplotlib.pyplot as plt
import mne
import numpy as np
import pytest

from mne_img2brain import viz
from mne_img2brain.datasets.things_shared import mark_unit
from mne_img2brain.epochs.regions import site_montage
from mne_img2brain.viz.topography import _head_outline

EASY = ["Fz", "Cz", "Pz", "Oz", "P7", "P8", "O1", "O2", "T7", "T8"]


@pytest.fixture(autouse=True)
def _close():
    yield
    plt.close("all")


def eeg(rng, positions=True, scale=1e-6):
    """Return an evoked response that peaks at 0.1 and 0.2 s."""
    info = mne.create_info(EASY, 100.0, "eeg")
    if positions:
        info.set_montage("easycap-M1")
    times = np.arange(-10, 60) / 100
    waves = np.exp(-(((times - 0.1) / 0.02) ** 2)) - 0.7 * np.exp(-(((times - 0.2) / 0.02) ** 2))
    data = rng.standard_normal((len(EASY), 1)) * waves
    return mne.EvokedArray(scale * data, info, tmin=-0.1, verbose=False)


def planar():
    """Return planar gradiometers: of each pair one holds 3, the other 4."""
    info = mne.channels.read_meg_canonical_info("neuromag")
    info = mne.pick_info(info, mne.pick_types(info, meg="grad")[:40])
    data = np.tile([[3e-13], [4e-13]], (20, 70)) * np.sin(np.linspace(0, 3, 70))
    evoked = mne.EvokedArray(data, info, tmin=-0.1, verbose=False)
    return evoked


def test_prediction_shows_units_times_and_difference(rng):
    recorded = eeg(rng)
    predicted = recorded.copy()
    predicted.data *= 0.5
    figure = viz.plot_prediction(predicted, recorded, show=False)
    there, expected = figure.axes[:2]
    assert there.get_ylabel() == "Amplitude (µV)"
    assert there.get_xlabel() == "Time from image onset (s)"
    lines = np.array([line.get_ydata() for line in there.lines[: len(EASY)]])
    np.testing.assert_allclose(lines, 1e6 * recorded.data)
    lines = np.array([line.get_ydata() for line in expected.lines[: len(EASY)]])
    np.testing.assert_allclose(lines, 5e5 * recorded.data)
    assert there.get_ylim() == expected.get_ylim()
    # the axis fits the data: nothing here is far below zero
    low, high = 1e6 * recorded.data.min(), 1e6 * recorded.data.max()
    assert there.get_ylim() == pytest.approx((low, high), abs=0.06 * (high - low))
    # The two peaks that were put in, for recorded, predicted and difference; then a colour bar.
    assert len(figure.axes) == 2 + 3 * 2 + 1
    assert [axis.get_title() for axis in figure.axes[2:4]] == ["100 ms", "200 ms"]
    assert [figure.axes[k].get_ylabel() for k in (2, 4, 6)] == [
        "Recorded",
        "Predicted",
        "Difference",
    ]
    assert figure.axes[-1].get_ylabel() == "µV"


def test_prediction_of_data_without_a_unit_claims_no_microvolts(rng):
    recorded = eeg(rng, scale=1.0)
    mark_unit(recorded.info, "whitened", "")
    figure = viz.plot_prediction(
        recorded, recorded, labels=("Training subjects", "Test subject"), show=False
    )
    assert figure.axes[0].get_ylabel() == "Amplitude (no unit)"
    np.testing.assert_allclose(figure.axes[0].lines[0].get_ydata(), recorded.data[0])
    assert figure.axes[-1].get_ylabel() == "no unit"
    assert figure.axes[1].get_title() == figure.axes[4].get_ylabel() == "Test subject"


def test_prediction_matches_sensors_by_name(rng):
    recorded = eeg(rng)
    shuffled = recorded.copy().reorder_channels(EASY[::-1])
    figure = viz.plot_prediction(shuffled, recorded, times=[0.1], show=False)
    first, second = (
        np.array([line.get_ydata() for line in axis.lines[: len(EASY)]]) for axis in figure.axes[:2]
    )
    np.testing.assert_array_equal(first, second)
    assert len(figure.axes) == 2 + 3 + 1
    with pytest.raises(ValueError, match="have different times: -0.1 to 0.5"):
        viz.plot_prediction(shuffled.crop(tmax=0.5), recorded, show=False)
    with pytest.raises(ValueError, match="no sensor of type 'mag' in common"):
        viz.plot_prediction(recorded, recorded, ch_type="mag", show=False)
    with pytest.raises(ValueError, match="times='best'"):
        viz.plot_prediction(recorded, recorded, times="best", show=False)


def test_no_topographies_without_positions(rng):
    evoked = eeg(rng, positions=False)
    assert len(viz.plot_prediction(evoked, evoked, show=False).axes) == 2
    assert len(viz.plot_score_joint(evoked, show=False).axes) == 1
    few = eeg(rng).pick(EASY[:4])
    assert len(viz.plot_prediction(few, few, show=False).axes) == 2


def test_planar_gradiometers(rng):
    evoked = planar()
    figure = viz.plot_prediction(evoked, evoked, times=[-0.05], show=False)
    assert figure.axes[0].get_ylabel() == "Amplitude (fT/cm)"
    # The root of the mean square of 3 and 4 is sqrt(12.5); in r it would be their mean.
    from mne_img2brain.viz.topography import _by_place, _one_per_place

    place, info = _one_per_place(evoked.info)
    assert len(info["ch_names"]) == 20
    column = evoked.data[:, 35:36] / evoked.data[0, 35]
    np.testing.assert_allclose(_by_place(3 * column, place, squared=True), np.sqrt(12.5))
    np.testing.assert_allclose(_by_place(3 * column, place), 3.5)
    evoked.data /= 1e-12
    viz.plot_score_joint(evoked, times=[-0.05], show=False)


def test_score_joint_has_no_unit(rng):
    r = eeg(rng, scale=0.2)
    r.comment = "r across images"
    r.data[3] = np.nan
    figure = viz.plot_score_joint(r, times=[0.1, 0.2], show=False)
    curves = figure.axes[0]
    assert curves.get_ylabel() == "Pearson r"
    # As they are, neither times 1e6 nor in microvolts; the bad sensor is left out.
    lines = np.array([line.get_ydata() for line in curves.lines[: len(EASY) - 1]])
    np.testing.assert_allclose(lines, np.delete(r.data, 3, axis=0))
    np.testing.assert_allclose(curves.lines[9].get_ydata(), np.nanmean(r.data, axis=0))
    assert figure.axes[-1].get_ylabel() == "r"
    assert figure.get_suptitle() == "r across images"
    bar = figure.axes[-1]
    assert bar.get_ylim()[0] == -bar.get_ylim()[1]
    # what is nowhere negative is drawn from zero
    r.data = np.abs(r.data)
    bar = viz.plot_score_joint(r, times=[0.1, 0.2], show=False).axes[-1]
    assert bar.get_ylim()[0] == 0
    r.data[:] = np.nan
    with pytest.raises(ValueError, match="nothing to draw"):
        viz.plot_score_joint(r, show=False)


def test_axes_go_in(rng):
    evoked = eeg(rng)
    figure, axes = plt.subplots(2, 3)
    assert viz.plot_prediction(evoked, evoked, times=[0.1], axes=axes, show=False) is figure
    figure, axes = plt.subplots(1, 4)
    assert viz.plot_score_joint(evoked, times=[0.1, 0.2], axes=axes, show=False) is figure
    figure, axis = plt.subplots()
    assert viz.plot_r_time(evoked, axes=axis, show=False) is figure
    with pytest.raises(ValueError, match="axes holds 1 axes; this figure needs 2"):
        viz.plot_calibration(np.ones(5), axes=axis, show=False)


def test_r_time_is_the_mean_over_sensors(rng):
    r = eeg(rng, scale=0.2)
    r.data[0] = np.nan
    ceiling = eeg(rng, scale=0.5)
    figure = viz.plot_r_time({"ridge": r}, ceiling, window=(0.05, 0.4), show=False)
    (axis,) = figure.axes
    np.testing.assert_allclose(axis.lines[0].get_ydata(), np.nanmean(r.data, axis=0))
    np.testing.assert_allclose(axis.lines[1].get_ydata(), np.clip(ceiling.data.mean(axis=0), 0, 1))
    names = [t.get_text() for t in axis.get_legend().texts]
    assert names == ["ridge", "noise ceiling", "window of the scores"]


def test_identification_in_percent():
    curve = {"ridge": (np.array([0.1, 0.2]), np.array([0.3, 0.5]))}
    n_way = {"ridge": (np.array([2, 10, 40]), np.array([0.9, 0.7, 0.5]))}
    figure = viz.plot_identification(curve, n_way, show=False)
    np.testing.assert_allclose(figure.axes[0].lines[0].get_ydata(), [30, 50])
    # Chance is one in forty.
    np.testing.assert_allclose(figure.axes[0].lines[1].get_ydata(), 2.5)
    np.testing.assert_allclose(figure.axes[1].lines[1].get_ydata()[[0, -1]], [50, 2.5])


def test_calibration_by_hand():
    # 10 % below all draws and 10 % above: the central 80 % of ranks hold 80 % of real values.
    figure = viz.plot_calibration({"a": [10, 20, 40, 20, 10]}, show=False)
    share = figure.axes[0].patches[0].get_data().values
    np.testing.assert_allclose(share, [0.5, 1, 2, 1, 0.5])
    levels, covered = figure.axes[1].lines[0].get_data()
    np.testing.assert_allclose(levels, [20, 60, 100])
    np.testing.assert_allclose(covered, [40, 80, 100])


def test_spectra_sd_and_rsa(rng):
    freqs = np.arange(1.0, 40)
    real = -10 * np.log10(freqs)
    figure = viz.plot_spectra(freqs, {"a": real + 2}, real, fmax=30, show=False)
    np.testing.assert_allclose(figure.axes[1].lines[0].get_ydata(), 2)
    assert figure.axes[0].get_xlim() == (1, 30)
    assert figure.axes[1].get_ylabel() == "Draws − real (dB)"
    times = np.arange(50) / 100
    figure = viz.plot_trial_sd(times, {"a": np.full(50, 0.9)}, np.ones(50), show=False)
    assert figure.axes[0].get_ylim()[0] == 0
    values = {"a": (times, np.full(50, 0.2)), "flat": (times, np.full(50, np.nan))}
    figure = viz.plot_rsa(values, np.full(50, 0.4), show=False)
    # What is not defined is not in the legend either.
    names = [t.get_text() for t in figure.axes[0].get_legend().texts]
    assert names == ["a", "two halves of the trials"]


def test_what_has_no_unit_is_not_called_microvolts(rng):
    recorded = eeg(rng, scale=2.0)
    recorded.info["description"] = "some recording; no unit: whitened or z-scored"
    figure = viz.plot_prediction(recorded, recorded, show=False)
    assert figure.axes[0].get_ylabel() == "Amplitude (no unit)"
    assert figure.axes[-1].get_ylabel() == "no unit"
    lines = np.array([line.get_ydata() for line in figure.axes[0].lines[: len(EASY)]])
    np.testing.assert_allclose(lines, recorded.data)


def test_score_joint_where_r_is_not_defined(rng):
    r = eeg(rng, scale=0.2)
    r.data[:, r.times < 0.05] = np.nan
    r.data[2, r.times < 0.15] = np.nan
    r.data[:, np.isclose(r.times, 0.3)] = np.nan
    figure = viz.plot_score_joint(r, times=[0.1, 0.3], show=False)
    mean = figure.axes[0].lines[len(EASY)].get_ydata()
    defined = np.isfinite(r.data).any(axis=0)
    np.testing.assert_array_equal(np.isfinite(mean), defined)
    np.testing.assert_allclose(mean[defined], np.nanmean(r.data[:, defined], axis=0))
    # A map of the nine sensors that have a value, and words where there is none.
    titles = [axis.get_title() for axis in figure.axes[1:3]]
    assert titles == ["100 ms", "300 ms"]
    assert len(figure.axes[1].images) == 1
    assert not figure.axes[2].images
    assert [text.get_text() for text in figure.axes[2].texts] == ["not defined"]
    # Peaks are looked for where there are values.
    figure = viz.plot_score_joint(r, show=False)
    assert "not defined" not in [text.get_text() for axis in figure.axes for text in axis.texts]


def test_phosphenes_show_what_a_percept_changes(rng):
    intact = eeg(rng)
    seen = intact.copy()
    seen.data *= 0.5
    image = np.zeros((8, 8, 3), np.uint8)
    image[2:4] = 255
    shown_images = {"intact": image, "16": np.full((6, 6), 0.25)}
    figure = viz.plot_phosphenes(shown_images, {"16": seen, "intact": intact}, show=False)
    assert [axis.get_title() for axis in figure.axes] == ["intact", "16", "", ""]
    np.testing.assert_array_equal(figure.axes[0].images[0].get_array(), image / 255)
    np.testing.assert_array_equal(figure.axes[1].images[0].get_array(), 0.25)
    # The strongest sensor, in microvolts; below the percept the intact response again.
    strongest = np.abs(intact.data).max(axis=1).argmax()
    assert figure.axes[2].get_ylabel() == f"{EASY[strongest]} (µV)"
    lines = [line.get_ydata() for line in figure.axes[3].lines]
    of_sensor = 1e6 * intact.data[strongest]
    np.testing.assert_allclose(lines[1], of_sensor)
    np.testing.assert_allclose(lines[2], of_sensor / 2)
    assert figure.axes[2].get_ylim() == figure.axes[3].get_ylim()
    legend = [text.get_text() for text in figure.axes[3].get_legend().texts]
    assert legend == ["intact", "as above"]
    # Several sensors are averaged; values above 1 are made to fit.
    figure, axes = plt.subplots(2, 2)
    shown_images["16"] = np.full((6, 6), 4.0)
    responses = {"intact": intact, "16": seen}
    viz.plot_phosphenes(shown_images, responses, picks=["O1", "O2"], axes=axes, show=False)
    assert axes[1, 0].get_ylabel() == "2 sensors (µV)"
    both = [EASY.index("O1"), EASY.index("O2")]
    np.testing.assert_allclose(
        axes[1, 0].lines[1].get_ydata(), 1e6 * intact.data[both].mean(axis=0)
    )
    assert axes[0, 1].images[0].get_array().max() == 1
    assert len(viz.plot_phosphenes(shown_images, show=False).axes) == 2


def test_phosphenes_that_do_not_match(rng):
    evoked = eeg(rng)
    shown_images = {"intact": np.zeros((4, 4)), "16": np.zeros((4, 4))}
    with pytest.raises(ValueError, match="Images without a response: 16"):
        viz.plot_phosphenes(shown_images, {"intact": evoked}, show=False)
    late = evoked.copy().crop(tmin=0)
    with pytest.raises(ValueError, match="'16' has other times or sensors than 'intact'"):
        viz.plot_phosphenes(shown_images, {"intact": evoked, "16": late}, show=False)
    with pytest.raises(ValueError, match=r"'intact' has shape \(4,\)"):
        viz.plot_phosphenes({"intact": np.zeros(4)}, show=False)
    with pytest.raises(ValueError, match="images is empty"):
        viz.plot_phosphenes({}, show=False)
    meg = mne.channels.read_meg_canonical_info("neuromag")
    meg = mne.EvokedArray(np.ones((len(meg["chs"]), 5)), meg, verbose=False)
    with pytest.raises(ValueError, match="which cannot be averaged"):
        viz.plot_phosphenes(
            shown_images, dict.fromkeys(shown_images, meg), picks=meg.ch_names[:3], show=False
        )


def test_sensors_of_a_template_head_stand_in_the_middle_of_its_outline():
    """Left and right, front and back are as far from the outline's middle as each other."""
    names = ["Fp1", "Fp2", "T7", "T8", "O1", "O2", "Cz", "Pz", "Fz"]
    info = mne.create_info(names, 100.0, "eeg").set_montage(site_montage())
    x, y, z, radius = _head_outline(info)
    at = {ch["ch_name"]: ch["loc"][:3] for ch in info["chs"]}
    ring = np.array([at[name] for name in names[:6]]) - (x, y, z)
    np.testing.assert_allclose(np.linalg.norm(ring[:, :2], axis=1), radius, rtol=0.2)
    np.testing.assert_allclose(ring.mean(axis=0), 0, atol=0.003)
    # the middle of MNE's template is not between the ears
    assert y > 0.01 or z > 0.02
    assert _head_outline(mne.pick_info(info, np.arange(1, 9))) is None


def rhythms(power):
    """Return power over five frequencies at two sensors, from -0.2 to 0.76 s."""
    info = mne.create_info(["Oz", "Pz"], 25.0, "eeg")
    times = np.arange(-5, 20) / 25
    return mne.time_frequency.AverageTFRArray(
        info, power * np.ones((2, 5, 25)), times, [6.0, 8.0, 10.0, 20.0, 40.0]
    )


def test_time_frequency_maps_are_in_decibel():
    late = np.where(np.arange(25) >= 5, 0.1, 1.0)
    figure = viz.plot_time_frequency(rhythms(late), rhythms(10.0), show=False)
    recorded, drawn, ratio = (axis.collections[0].get_array() for axis in figure.axes[:3])
    # Ten dB less after onset; draws that never change; ten times as much, then a hundred times.
    np.testing.assert_allclose(recorded, np.tile(10 * np.log10(late), (5, 1)), atol=1e-12)
    np.testing.assert_allclose(drawn, 0, atol=1e-12)
    np.testing.assert_allclose(ratio, np.tile(10 - 10 * np.log10(late), (5, 1)))
    assert figure.axes[0].get_xlabel() == "Time from image onset (s)"
    assert figure.axes[0].get_ylabel() == "Frequency (Hz)"
    assert [tick.get_text() for tick in figure.axes[0].get_yticklabels()] == ["10", "20", "40"]
    first = figure.axes[0].collections[0]
    assert first.get_cmap().name == "RdBu_r"
    assert first.get_clim() == (-10, 10)
    alike = viz.plot_time_frequency(rhythms(0.3), rhythms(0.2), kind="coherence", show=False)
    assert alike.axes[0].collections[0].get_cmap().name == "Reds"
    np.testing.assert_allclose(alike.axes[2].collections[0].get_array(), -0.1)
    with pytest.raises(TypeError, match="recorded is a ndarray"):
        viz.plot_time_frequency(late, rhythms(1.0))
    with pytest.raises(ValueError, match="same sensors"):
        viz.plot_time_frequency(rhythms(1.0), rhythms(1.0).pick(["Oz"]))


def test_power_calibration():
    power = {"alpha": ([-1.0, 1.0], [-2.0, 2.0]), "beta": ([-0.1, 0.1], [0.0, 0.0])}
    figure = viz.plot_power_calibration(power, differ={"alpha": True, "beta": False}, show=False)
    (axis,) = figure.axes
    assert [text.get_text() for text in axis.get_legend().texts] == [
        "alpha",
        "beta (no difference)",
    ]
    assert [line.get_alpha() for line in axis.lines[:2]] == [1.0, 0.3]
    np.testing.assert_allclose(axis.lines[0].get_ydata(), [-2, 2])
    with pytest.raises(ValueError, match="alpha"):
        viz.plot_power_calibration({"alpha": ([1.0, 2.0], [1.0])})
