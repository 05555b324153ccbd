"""
Do rhythms follow the image?
============================

An image changes rhythms as well as the average response: alpha power falls over visual cortex, more
for some images than for others, and gamma rises. Their phase differs from trial to trial, so they
are in no average, and ``predict`` cannot have them. ``sample`` and ``predict_power`` do. This page
learns such rhythms from a recording, and compares draws, recorded trials and the truth.
"""

# %%
# A recording
# -----------
# Three hundred images, four trials each. ``rhythms`` says how much the power of alpha and gamma
# differs between images: an SD of 4 and 3 dB. How much it changes for each image is in the
# metadata of the truth.

import matplotlib.pyplot as plt
import mne
import numpy as np

from mne_img2brain import DiffusionRegressor, GaborEmbedder, ImageToBrainEncoder
from mne_img2brain.datasets import simulate_epochs, simulate_images

mne.set_log_level("WARNING")

images, _ = simulate_images(300, random_state=0)
epochs, truth = simulate_epochs(
    images,
    n_trials=4,
    tmin=-0.5,
    tmax=0.8,
    spectrum="eeg",
    rhythms={"alpha": 4.0, "gamma": 3.0},
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
    assert r > 0.8 if name == "alpha" else r < 0.3
    assert -0.1 < slope < 1
axes[0].set_ylabel("Expected change (dB)")

# %%
# Alpha is learnt. Gamma is not: at the sensors it is weak beside all else in these frequencies,
# four trials of an image say little about it, and what held-out images do not confirm is left out.
# Every image is then expected to have the same gamma. More trials, or sensors nearer to it, decide.
#
# Draws and recorded trials
# -------------------------
# The same with ``compute_tfr`` on single trials, as on any epochs: four draws of each new image
# and its four recorded trials. Of the new images, the twenty with the largest true alpha are
# compared with the twenty with the smallest; neither has been shown to the encoder.

draws = encoder.sample(images[new], n_draws=4, random_state=0)
recorded = epochs[np.flatnonzero(new[image_id])]
of_epoch = {
    "Recorded": recorded.metadata["image_id"].to_numpy() - 220,
    "Draws": draws.metadata["image_id"].to_numpy(),
}
order = np.argsort(true["alpha"].to_numpy())
few, many = order[:20], order[-20:]

figure, axes = plt.subplots(1, 2, figsize=(8.5, 3.3), sharey=True, layout="constrained")
maps, between = {}, {}
for axis, (name, trials) in zip(axes, {"Recorded": recorded, "Draws": draws}.items(), strict=True):
    tfr = trials.compute_tfr("morlet", freqs, n_cycles=freqs / 4, picks=posterior)
    mean = {
        kind: tfr.data[np.isin(of_epoch[name], chosen)].mean(axis=(0, 1))
        for kind, chosen in {"few": few, "many": many}.items()
    }
    maps[name] = 10 * np.log10(mean["many"] / mean["few"])
    inside = (tfr.times > -0.3) & (tfr.times < 0.65)
    shown = axis.pcolormesh(
        tfr.times[inside], freqs, maps[name][:, inside], cmap="RdBu_r", vmin=-6, vmax=6
    )
    axis.axvline(0, color="0.3", lw=0.8, ls=":")
    axis.set(title=name, xlabel="Time from image onset (s)")
    during = (tfr.times > 0.25) & (tfr.times < 0.5)
    between[name] = maps[name][freqs == 10][0, during].mean()
    print(f"{name}: alpha power differs by {between[name]:.1f} dB between the two kinds of image")
axes[0].set_ylabel("Frequency (Hz)")
figure.colorbar(shown, ax=axes, label="Much − little alpha (dB)")

assert between["Recorded"] > between["Draws"] > 1

# %%
# Draws differ where recorded trials do, in alpha after onset, by less than these. On a recording of
# your own the same comparison on held-out trials says whether its rhythms follow the image.
