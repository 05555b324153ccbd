"""
Do rhythms follow the image?
============================

An image changes rhythms as well as the average response: alpha power falls over visual cortex, more
for some images than for others, and gamma rises. Their phase differs from trial to trial, so they
are in no average, and ``predict`` cannot have them. ``sample`` and ``predict_power`` do. This page
learns such rhythms from a recording, compares them with the truth, and asks
:func:`~mne_img2brain.evaluate` what can be asked of any recording, where the truth is not known.
"""

# %%
# A recording
# -----------
# Three hundred images, eight trials each. ``rhythms`` says how much the power of alpha and gamma
# differs between images: an SD of 4 and 5 dB. How much it changes for each image is in the
# metadata of the truth.

from textwrap import fill

import matplotlib.pyplot as plt
import mne
import numpy as np

from mne_img2brain import DiffusionRegressor, GaborEmbedder, ImageToBrainEncoder, evaluate
from mne_img2brain.datasets import simulate_epochs, simulate_images

mne.set_log_level("WARNING")

images, _ = simulate_images(300, random_state=0)
epochs, truth = simulate_epochs(
    images,
    n_trials=8,
    tmin=-0.5,
    tmax=0.8,
    spectrum="eeg",
    rhythms={"alpha": 4.0, "gamma": 5.0},
    random_state=0,
)
image_id = epochs.metadata["image_id"].to_numpy()
new = np.arange(300) >= 220
seen_trials = np.flatnonzero(~new[image_id])
true = truth.metadata[new]
print(true[["alpha", "gamma"]].describe().loc[["mean", "std"]].round(1))

# %%
# Fit
# ---
# Nothing is to be switched on: what trials do around the expected response is divided into tiles
# of time and frequency, and the power of each is regressed on the image.

encoder = ImageToBrainEncoder(GaborEmbedder(), DiffusionRegressor(max_iter=0, random_state=0))
encoder.fit(images, epochs[seen_trials], image_ids=image_id[seen_trials])

# %%
# Expected power of new images
# ----------------------------
# ``predict_power`` gives an :class:`mne.time_frequency.EpochsTFRArray`, one epoch per image, and a
# baseline is MNE's. Its mean over the eighty new images, at a posterior sensor:

posterior = ["O1", "Oz", "O2", "PO7", "PO8", "POz"]
freqs = np.array([6, 8, 10, 12, 15, 20, 25, 30, 35, 40, 45])
power = encoder.predict_power(images[new], freqs=freqs, n_cycles=freqs / 4, n_draws=60)
baseline = (-0.3, -0.1)
power.average().apply_baseline(baseline, mode="logratio").plot(
    "Oz", tmin=-0.3, tmax=0.7, show=False
)
power

# %%
# Does it know which image?
# -------------------------
# For every new image: the expected change in dB, over posterior sensors while the rhythm lasts,
# against the true change of its sources. Other sources at the same sensors dilute the change, and
# a regression from few trials shrinks it, so the slope is below one.

windows = {"alpha": (10, 0.25, 0.5), "gamma": (40, 0.15, 0.4)}


def change_in_db(tfr, name):
    """Return the change of power from before onset for every epoch of an EpochsTFR."""
    freq, start, stop = windows[name]
    data = tfr.copy().pick(posterior).get_data(fmin=freq, fmax=freq)[:, :, 0].mean(axis=1)
    during = data[:, (tfr.times > start) & (tfr.times < stop)].mean(axis=1)
    before = data[:, (tfr.times > baseline[0]) & (tfr.times < baseline[1])].mean()
    return 10 * np.log10(during / before)


figure, axes = plt.subplots(1, 2, figsize=(8, 3.4), layout="constrained")
for axis, name in zip(axes, windows, strict=True):
    expected = change_in_db(power, name)
    r, slope = np.corrcoef(true[name], expected)[0, 1], np.polyfit(true[name], expected, 1)[0]
    axis.scatter(true[name], expected, s=14, color="black")
    axis.axline((0, 0), slope=1, color="0.6", lw=0.8, ls=":")
    axis.set(title=f"{name}: r {r:.2f}, slope {slope:.2f}", xlabel="True change (dB)")
    print(f"{name}: r across images {r:.2f}, slope {slope:.2f}")
    assert r > {"alpha": 0.8, "gamma": 0.6}[name]
    assert 0 < slope < 1
axes[0].set_ylabel("Expected change (dB)")

# %%
# Both are learnt, alpha better than gamma, which is weak at the sensors beside all else in these
# frequencies. What held-out images do not confirm is left out: with a gamma that differs less
# between images, or from fewer trials, every image is expected to have the same.
#
# Judged by recorded trials
# -------------------------
# A recording of your own has no truth. :func:`~mne_img2brain.evaluate` takes the average off the
# recorded trials of each new image, and off its draws, and compares what is left, sensor by sensor
# and time by time. Rows of ``recorded`` are of the recorded trials alone: by how much images differ
# in the power of each band. :doc:`/metrics` defines them all.

judged = evaluate(
    encoder,
    images[new],
    epochs[np.flatnonzero(new[image_id])],
    image_ids=image_id[new[image_id]] - 220,
    n_draws=20,
    bands={"alpha": (8, 13), "gamma": (35, 45)},
    classifiers={},
    random_state=0,
)
print(fill(judged.sentence, 88))
rows = judged.table[judged.table["metric"].str.contains("induced|coherence")]
print(rows[["encoder", "metric", "value", "ci_low", "ci_high", "ceiling"]].round(2).to_string())

assert judged.differ == {"alpha": True, "gamma": True}
for name in windows:
    row = rows.set_index("metric").loc[f"r of induced power, {name}"]
    assert 0 < row["ci_low"] < row["value"] < row["ceiling"] < 0.5
    assert judged.value(f"slope of induced power, {name}") > 1.2

# %%
# Draws of an image have its rhythms. These r are far below those with the truth, and so are their
# ceilings: a few trials say little about the power at a single sensor and time, and most sensors
# are far from either rhythm. The slope is above one: recorded images differ by more than their
# draws do.
#
# Over time and frequency
# -----------------------
# Power of recorded trials and of draws, each against its baseline, at posterior sensors; draws
# against recorded trials; and the power of images against that of their draws.

judged.plot_power(picks=posterior, show=False)

power_maps = {name: judged.tfr[name]["power"].copy().pick(posterior) for name in judged.tfr}
at_alpha = {}
for name, tfr in power_maps.items():
    change = tfr.apply_baseline(baseline, mode="logratio").data
    times = (tfr.times > 0.25) & (tfr.times < 0.5)
    band = (tfr.freqs > 9) & (tfr.freqs < 12)
    at_alpha[name] = 10 * change[:, band][..., times].mean()
    print(f"{name}: alpha changes by {at_alpha[name]:.1f} dB")

assert at_alpha["encoder"] < at_alpha["recorded"] < -0.5
assert at_alpha["recorded"] - at_alpha["encoder"] < 0.75

# %%
# On average over images draws lose alpha when recorded trials do, and a little more of it. Near
# 5 Hz they have about 1 dB more than recorded trials at 0.1 to 0.2 s, where the evoked response is:
# trials deviate from their prediction by noise and by its error, and draws have both.
