"""What is joined or compared was prepared alike: one check for lists, dicts and fits."""

import re
import warnings
from types import SimpleNamespace

import mne
import numpy as np
import pandas as pd
import pytest

from mne_img2brain.epochs import (
    ChannelScaler,
    check_like_fit,
    check_units,
    read_recording,
    signal_basis,
)

NAMES = "Fz Cz Pz P7 P8 O1 Oz O2".split()


def made(n=12, seed=0, kind="eeg", names=NAMES, scale=1e-5, tmin=-0.1, **kwargs):
    """Epochs with an offset of every trial, and something all sensors share."""
    rng = np.random.default_rng(seed)
    data = rng.standard_normal((n, len(names), 31)) + 2 * rng.standard_normal((n, 1, 31))
    data += 5 * rng.standard_normal((n, len(names), 1))
    info = mne.create_info(list(names), 100.0, kind)
    return mne.EpochsArray(scale * data, info, tmin=tmin, verbose="error", **kwargs)


def projected(epochs, apply=True):
    epochs.set_eeg_reference("average", projection=True, verbose="error")
    return epochs.apply_proj(verbose="error") if apply else epochs


def referenced(epochs):
    return epochs.set_eeg_reference("average", verbose="error")


def corrected(epochs, baseline=(None, 0)):
    return epochs.apply_baseline(baseline, verbose="error")


def ssp(epochs, seed=0, apply=True):
    """A projector as found in a recording's own data."""
    vector = np.random.default_rng(seed).standard_normal((1, len(epochs.ch_names)))
    vector /= np.linalg.norm(vector)
    proj = mne.Projection(
        data={"nrow": 1, "ncol": len(epochs.ch_names), "row_names": None,
              "col_names": list(epochs.ch_names), "data": vector},
        active=False, kind=mne.io.constants.FIFF.FIFFV_PROJ_ITEM_FIELD, desc="blinks",
        explained_var=0.9,
    )  # fmt: skip
    epochs.add_proj(proj, verbose="error")
    return epochs.apply_proj(verbose="error") if apply else epochs


def filtered(epochs, **limits):
    with epochs.info._unlock():
        epochs.info.update(limits)
    return epochs


def moved(epochs, z):
    trans = np.eye(4)
    trans[2, 3] = z
    with epochs.info._unlock():
        epochs.info["dev_head_t"] = mne.Transform("meg", "head", trans)
    return epochs


def undeclared(epochs):
    """Projected, but Info does not say so."""
    done = ssp(epochs)
    return mne.EpochsArray(
        done.get_data(), mne.create_info(done.ch_names, 100.0, "eeg"), tmin=-0.1, verbose="error"
    )


def by_hand(epochs):
    """Baseline-corrected, but MNE was not told."""
    data = corrected(epochs).get_data()
    return mne.EpochsArray(data, epochs.info, tmin=epochs.tmin, verbose="error")


def fit_on(epochs, n_subjects=1):
    """What a fit remembers of its data."""
    recording = read_recording(epochs)
    scaler = ChannelScaler().fit(recording.data, recording.ch_types)
    return SimpleNamespace(
        info_=recording.info,
        times_=recording.times,
        baseline_=recording.baseline,
        scaler_=scaler,
        basis_=signal_basis(recording.data, recording.info, scaler),
        n_training_subjects_=n_subjects,
    )


def concatenated(first, second):
    return mne.concatenate_epochs([first.copy(), second.copy()], verbose="error")


MEG = {"kind": "mag", "names": [f"MEG {n:04}" for n in range(8)], "scale": 1e-13}

# what MNE refuses to concatenate
REFUSED = {
    "projector waits": (lambda: projected(made()), lambda: projected(made(seed=1), False),
                        r"waiting to be applied in epochs\[1\] and applied in epochs\[0\]"),
    "projector is missing": (lambda: projected(made()), lambda: made(seed=1),
                             r"'Average EEG reference' is missing in epochs\[1\]"),
    "one more": (lambda: made(), lambda: projected(made(seed=1), False),
                 r"waiting to be applied in epochs\[1\] and missing in epochs\[0\]"),
    "another projector": (lambda: ssp(made()), lambda: ssp(made(seed=1), 1),
                          "'blinks' is missing in epochs"),
    "baseline": (lambda: corrected(made()), lambda: made(seed=1),
                 r"epochs\[1\] has the baseline None"),
    "another baseline": (lambda: corrected(made()), lambda: corrected(made(seed=1), (None, -0.05)),
                         r"has the baseline \(-0.1, -0.05\) and epochs\[0\] has \(-0.1, 0.0\)"),
    "times": (lambda: made(), lambda: made(seed=1).shift_time(0.002),
              "crop them to the same times"),
    "head": (lambda: moved(made(**MEG), 0.04), lambda: moved(made(seed=1, **MEG), 0.07),
             "position of the head.*maxwell_filter"),
}  # fmt: skip


@pytest.mark.parametrize("case", REFUSED)
def test_runs_that_mne_refuses_to_join_are_refused(case):
    first, second, match = REFUSED[case]
    with pytest.raises(ValueError, match="must|differs"):
        concatenated(first(), second())
    with pytest.raises(ValueError, match=match):
        read_recording([first(), second()])


@pytest.mark.parametrize(
    "make",
    [made, lambda **k: projected(made(**k)), lambda **k: corrected(ssp(made(**k))),
     lambda **k: referenced(made(**k)), lambda **k: moved(made(**MEG, **k), 0.04)],
)  # fmt: skip
def test_runs_that_are_alike_are_joined(make):
    first, second = make(), make(seed=1)
    expected = concatenated(first, second)
    recording = read_recording([first, second])
    # MNE 1.12 applies the projector to what is joined once more: a difference of rounding
    rtol = 0 if mne.utils.check_version("mne", "1.13") else 1e-11
    np.testing.assert_allclose(recording.data, expected.get_data(), rtol=rtol)
    assert [p["active"] for p in recording.info["projs"]] == [
        p["active"] for p in expected.info["projs"]
    ]
    check_like_fit(read_recording(second), fit_on(first))


def test_runs_that_mne_joins_but_differ():
    first, other = made(), filtered(made(seed=1), lowpass=20.0)
    with pytest.warns(RuntimeWarning, match="a low-pass of 20 Hz and .* of 50 Hz"):
        read_recording([first, other])
    with pytest.warns(RuntimeWarning, match="a high-pass of 0.5 Hz and .* of 0 Hz"):
        read_recording([first, filtered(made(seed=1), highpass=0.5)])
    with pytest.raises(ValueError, match="of type 'ecog'|another type .'ecog'"):
        read_recording([first, made(seed=1).set_channel_types({"Oz": "ecog"}, verbose="error")])
    with pytest.raises(ValueError, match=r"1e\+0?6 times as large as those of epochs\[0\]"):
        read_recording([first, made(scale=1e-5 * 1e6)])
    with pytest.raises(ValueError, match=r"[1-9](\.\d+)?e-0?[67] times as large as those of"):
        read_recording([first, made(scale=1e-5 * 1e-6)])
    with pytest.raises(ValueError, match="EEG reference .*the average, and not the average"):
        read_recording([first, referenced(made(seed=1))])
    # averages are smaller than trials; that is no other unit
    read_recording([first, made(seed=1, scale=1e-5 / 30)])


def test_a_warning_says_how_to_silence_it():
    runs = [made(), filtered(made(seed=1), lowpass=20.0)]
    with pytest.warns(RuntimeWarning, match="how the data were prepared") as caught:
        read_recording(runs)
    (pattern,) = re.findall(r"filterwarnings\('ignore', '(.*)'\)", str(caught[0].message))
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        warnings.filterwarnings("ignore", pattern)
        assert read_recording(runs).n_trials == 24


def test_trials_of_cross_validation_may_hold_artefacts():
    epochs = made()
    epochs._data[4] *= 1e3
    assert read_recording([epochs[i] for i in range(12)]).n_trials == 12
    # but are of one unit
    epochs._data[4] *= 1e3
    with pytest.raises(ValueError, match=r"epochs\[4\] are .*e\+0?[56] times as large"):
        read_recording([epochs[i].average() for i in range(12)])


def test_a_list_looks_at_each_info():
    """One Info does not stand for another of the same channel names."""
    with pytest.raises(ValueError, match="projector"):
        read_recording([made(), made(seed=1), projected(made(seed=2))])


# --- compared with a fit ---------------------------------------------------------------------


@pytest.mark.parametrize(
    ("fit", "test", "match"),
    [
        (corrected, lambda e: e, r"epochs has the baseline None and fit has .* use epochs.apply_b"),
        (lambda e: e, corrected, "fit on epochs with that baseline"),
        (projected, lambda e: e, "missing in epochs and applied in fit.*set_eeg_reference"),
        (projected, lambda e: projected(e, False), r"waiting .* use epochs.apply_proj\(\)"),
        (lambda e: e, projected, "applied in epochs and missing in fit.*not applied"),
        (lambda e: projected(e, False), projected, "applied in epochs and waiting .* in fit"),
        (ssp, lambda e: e, "'blinks' is missing in epochs and applied in fit"),
        (lambda e: e, ssp, "'blinks' is applied in epochs and missing in fit"),
        (lambda e: e, referenced, "EEG reference .*the average, and not the average"),
        (referenced, lambda e: e, "EEG reference .*not the average, and the average"),
    ],
)
def test_prepared_otherwise_than_the_fit(fit, test, match):
    with pytest.raises(ValueError, match=match):
        check_like_fit(read_recording(test(made(seed=1))), fit_on(fit(made())))


def test_the_remedies_work():
    fit = fit_on(projected(corrected(made())))
    test = made(seed=1).apply_baseline((-0.1, 0.0), verbose="error")
    with pytest.raises(ValueError, match="missing in epochs") as caught:
        check_like_fit(read_recording(test), fit)
    (remedy,) = re.findall(r"use (.*)\.$", str(caught.value))
    check_like_fit(read_recording(eval(remedy, {"epochs": test})), fit)


@pytest.mark.parametrize(
    ("fit", "test"),
    [
        (projected, referenced),
        (referenced, projected),
        (lambda e: projected(e, False), lambda e: e),
        (lambda e: e, lambda e: projected(e, False)),
        # corrected by hand: the data say so
        (corrected, by_hand),
        # the projector's work done without it
        (ssp, undeclared),
    ],
)  # fmt: skip
def test_the_same_data_said_otherwise_deserve_no_complaint(fit, test):
    # warnings are errors here
    assert check_like_fit(read_recording(test(made(seed=1))), fit_on(fit(made()))) is None


def test_picks_of_an_average_referenced_recording():
    """Of some sensors the data do not show the reference; what Info says counts."""
    fit = fit_on(projected(made()).pick(["O1", "Oz", "O2"]))
    check_like_fit(read_recording(referenced(made(seed=1)), ch_names=["O1", "Oz", "O2"]), fit)
    with pytest.raises(ValueError, match="missing in epochs"):
        check_like_fit(read_recording(made(seed=1), ch_names=["O1", "Oz", "O2"]), fit)


def test_an_interpolated_sensor_does_not_hide_the_reference():
    test = referenced(made(40, seed=1))
    test._data[:, 2] += 0.05 * test._data[:, 3]
    assert check_like_fit(read_recording(test), fit_on(referenced(made(40)))) is None


@pytest.mark.parametrize("factor", [1e6, 1e3, 1e-3, 1e-6])
def test_volts_against_microvolts(factor):
    with pytest.raises(ValueError, match="times as large as those of fit; give both in the same"):
        check_like_fit(read_recording(made(seed=1, scale=1e-5 * factor)), fit_on(made()))


def test_what_may_be_intended_is_a_warning():
    fit = fit_on(made())
    with pytest.warns(RuntimeWarning, match="epochs has a low-pass of 5 Hz and fit of 50 Hz"):
        check_like_fit(read_recording(filtered(made(seed=1), lowpass=5.0)), fit)
    with pytest.warns(RuntimeWarning, match="head.*another than in fit.*maxwell_filter"):
        check_like_fit(
            read_recording(moved(made(seed=1, **MEG), 0.07)), fit_on(moved(made(**MEG), 0.04))
        )
    custom = made(seed=1).set_eeg_reference(["Fz", "Cz"], verbose="error")
    with pytest.warns(RuntimeWarning, match="EEG reference .*by info, one set by you"):
        check_like_fit(read_recording(custom), fit)
    with pytest.warns(RuntimeWarning, match="'blinks' is missing in .*, where others were applied"):
        # projectors of another day
        check_like_fit(read_recording(ssp(made(seed=1), 1)), fit_on(ssp(made())))


# --- subjects --------------------------------------------------------------------------------


def test_subjects_differ_in_head_and_in_projectors_of_their_own():
    a, b = ssp(moved(made(**MEG), 0.04)), ssp(moved(made(seed=1, **MEG), 0.07), 1)
    assert read_recording({"a": a, "b": b}).info["projs"] == []
    fit = fit_on(moved(made(**MEG), 0.04), n_subjects=2)
    check_like_fit(read_recording(b), fit)
    check_like_fit(read_recording(b), fit_on(a), "subjects")


@pytest.mark.parametrize(
    ("other", "match"),
    [
        (lambda: corrected(made(seed=1)), r"epochs\['b'\] has the baseline \(-0.1, 0.0\)"),
        (lambda: projected(made(seed=1), False), "waiting to be applied in epochs\\['b'\\]"),
        (lambda: made(seed=1, scale=10.0), "times as large as those of epochs\\['a'\\]"),
    ],
)
def test_subjects_that_cannot_be_joined(other, match):
    first = made() if "waiting" not in match else projected(made())
    with pytest.raises(ValueError, match=match):
        read_recording({"a": first, "b": other()})
    with pytest.raises(ValueError, match=match.replace(r"epochs\['b'\]", "epochs").replace(
        "epochs\\['a'\\]", "fit"
    )):  # fmt: skip
        check_like_fit(read_recording(other()), fit_on(first), "subjects")


def test_units():
    with pytest.warns(RuntimeWarning, match="eeg data have a standard deviation of .* V"):
        check_units(read_recording(made(scale=1.0)))
    with pytest.warns(RuntimeWarning, match="mag data have a standard deviation of .* T"):
        check_units(read_recording(made(**{**MEG, "scale": 100.0})))
    with pytest.warns(RuntimeWarning, match="eeg data have a standard deviation of .* V"):
        check_units(read_recording(made(scale=1e-11)))  # microvolts divided by 1e6 twice
    check_units(read_recording(made()))
    check_units(read_recording(made(**MEG)))
    # who names the unit knows
    check_units(read_recording(made(scale=1.0, metadata=pd.DataFrame({"unit": ["sd"] * 12}))))


def test_a_trial_of_other_size_is_named(rng):
    """An artefact, or one run in other units, among many trials."""
    data = 1e-6 * rng.standard_normal((30, 3, 20))
    info = mne.create_info(["Oz", "O1", "O2"], 100.0, "eeg")
    data[7] *= 1e5
    with pytest.warns(RuntimeWarning, match=r"Trial 7 spans \d+ times .* at channel"):
        read_recording(mne.EpochsArray(data, info, verbose="error"))
    data[7] *= 1e-3  # a blink is no such thing
    read_recording(mne.EpochsArray(data, info, verbose="error"))
    counts = pd.DataFrame({"n_averaged": [1e18] * 30})
    with pytest.raises(ValueError, match=r"'n_averaged' of epochs is .*1e\+18.*; .* up to 1e\+06"):
        read_recording(mne.EpochsArray(data, info, metadata=counts, verbose="error"))
