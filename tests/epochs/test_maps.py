"""Maps without a unit: r is r in every figure of MNE."""

import matplotlib.pyplot as plt
import mne
import numpy as np
import pytest

from mne_img2brain.epochs import EvokedMap, read_maps, to_evoked_map


def sensors(kind):
    """EEG, or magnetometers and planar gradiometers, around a head."""
    if kind == "eeg":
        return mne.create_info(mne.channels.make_standard_montage("biosemi16").ch_names, 100.0,
                               "eeg").set_montage("biosemi16")  # fmt: skip
    info = mne.channels.read_meg_canonical_info("neuromag")
    info = mne.pick_info(info, [k for k in range(306) if k // 3 % 4 == 0], verbose="error")
    with info._unlock():
        info["sfreq"] = 100.0
    return info


@pytest.fixture(params=["eeg", "meg"])
def r(request, rng):
    """A map of r, 0.6 at most."""
    info = sensors(request.param)
    values = rng.uniform(0.1, 0.6, (len(info["ch_names"]), 20))
    values[0, 3] = 0.6
    return to_evoked_map(values, info, tmin=-0.05, comment="r across images")


@pytest.fixture(autouse=True)
def _closed():
    yield
    plt.close("all")


def shown(axes):
    """Values of lines in an axis, without those at one value or time."""
    lines = [np.asarray(line.get_ydata(), float) for line in axes.lines]
    return np.concatenate([y for y in lines if len(y) == 20])


def test_curves_show_r(r):
    figure = r.plot(show=False)
    for axes in figure.axes[: len(set(r.get_channel_types()))]:
        assert axes.get_ylabel() == "r across images"
        assert 0.4 < np.abs(shown(axes)).max() <= 0.6
    # as in MNE where the user says otherwise
    ch_type = r.get_channel_types()[0]
    one = r.copy().pick(ch_type)
    figure = one.plot(scalings={ch_type: 100.0}, units={ch_type: "%"}, show=False)
    assert figure.axes[0].get_ylabel() == "%"
    assert shown(figure.axes[0]).max() > 40


def test_topographies_and_joint_figures_show_r(r):
    for ch_type in set(r.get_channel_types()):
        one = r.copy().pick(ch_type)
        assert isinstance(one, EvokedMap)
        figure = one.plot_topomap(0.05, show=False)
        image = figure.axes[0].images[0]
        assert np.nanmax(image.get_array()) < 1
        assert figure.axes[-1].get_title() == "r across images"
        figure = one.plot_joint(times=[0.02, 0.05], show=False)
        if ch_type != "grad":  # two figures
            (curves,) = [a for a in figure.axes if a.get_ylabel() == "r across images"]
            assert 0.4 < shown(curves).max() <= 0.6
            limits = [axes.images[0].get_clim() for axes in figure.axes if axes.images]
            assert limits
            assert np.abs(limits).max() <= 1
        figure = one.plot_image(show=False)
        assert np.abs(figure.axes[0].images[0].get_clim()).max() <= 1


def test_tables_and_reports_show_r(r):
    table = r.to_data_frame()
    np.testing.assert_array_equal(table[r.ch_names].to_numpy().T, r.data)
    report = mne.Report(verbose="error")
    report.add_evokeds(r, titles="r", n_time_points=2)
    assert report.html


def test_sensors_without_a_value_are_left_out(r):
    values = r.data.copy()
    values[2] = np.nan
    values[:, :3] = np.nan  # nothing varies before onset
    some = to_evoked_map(values, r.info, tmin=-0.05, comment="r")
    one = some.copy().pick(r.get_channel_types()[2])
    n_lines = len(one.plot(show=False).axes[0].lines)
    assert n_lines == len(r.copy().pick(one.ch_names).plot(show=False).axes[0].lines) - 1
    assert one.plot_joint(times=[0.05], show=False) is not None
    assert one.plot_image(show=False) is not None
    assert np.isnan(some.to_data_frame()[r.ch_names[2]]).all()


def test_saved_maps_are_maps(r, tmp_path):
    response = to_evoked_map(1e-6 * r.data, sensors("meg" if "mag" in r else "eeg"), tmin=-0.05,
                             comment="encoder: predicted", unit=True)  # fmt: skip
    mne.write_evokeds(tmp_path / "maps-ave.fif", [r, response], verbose="error")
    again, average = read_maps(tmp_path / "maps-ave.fif")
    assert isinstance(again, EvokedMap)
    assert not isinstance(average, EvokedMap)
    assert again.comment == "r across images"
    np.testing.assert_allclose(again.data, r.data, rtol=1e-6)
    np.testing.assert_allclose(again.times, r.times, atol=1e-9)
    assert again.plot(show=False).axes[0].get_ylabel() == "r across images"
