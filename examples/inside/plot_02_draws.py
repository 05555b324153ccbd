"""
Do draws look like single trials?
=================================

``predict`` gives the response to expect of an image, as an average over many trials would show
it. ``sample`` draws what single trials look like: the expected response plus all that makes one
trial differ from the next. If the draws are good they vary as much as recorded trials, have their
rhythms, and their scatter says how far a real trial is from the prediction. That can be checked
on images that were not in training, and is checked here.
"""

# %%
# A recording
# -----------
# Two hundred images, each shown four times to a simulated brain. Forty images are kept from
# the encoder. Epochs are a second long, so that they can hold a slow oscillation.

import matplotlib.pyplot as plt
import mne
import numpy as np

from mne_img2brain import Denoiser, DiffusionRegressor, GaborEmbedder, ImageToBrainEncoder
from mne_img2brain.datasets import simulate_epochs, simulate_images
from mne_img2brain.metrics import coverage, rank_histogram, within_image_sd
from mne_img2brain.viz import plot_calibration, plot_trial_sd

mne.set_log_level("WARNING")

images, _ = simulate_images(200, random_state=0)
epochs, _ = simulate_epochs(images, n_trials=4, tmin=-0.3, tmax=0.7, spectrum="eeg", random_state=0)

image_id = epochs.metadata["image_id"].to_numpy()
new = np.arange(200) >= 160
seen_trials = np.flatnonzero(~new[image_id])

# %%
# Fit
# ---
# The fit has two parts. A regression learns the expected response. What it leaves over of each
# trial is whitened: turned into numbers that are, as far as means and covariances can tell,
# independent Gaussian noise. A *denoiser* is then trained to find what is not Gaussian in them,
# or depends on the image. Drawing goes the other way: Gaussian noise passes through the denoiser
# a few times, and is given back the covariance of the trials.
#
# Where the denoiser is no better on images held out, it is not kept, and draws have the covariance
# of recorded trials, estimated from all of them or from *trial clusters*, a dozen trials each that
# are alike in their power. We let the denoiser try for forty gradient steps, to save time; on a
# recording of your own leave the default.

denoiser = Denoiser(hidden_size=64, n_layers=2, patch_length=24, max_iter=40)
regressor = DiffusionRegressor(noise=denoiser, random_state=0)
encoder = ImageToBrainEncoder(GaborEmbedder(), regressor)
encoder.fit(images, epochs[seen_trials], image_ids=image_id[seen_trials])

fitted = encoder.regressor_
untrained, trained = (fitted.history_.validation_losses[k] for k in (0, -1))
print(f"Loss on held-out images: {untrained:.4f} before training, {trained:.4f} after")
kept = isinstance(fitted.noise_, Denoiser)
print(f"The denoiser is {'kept' if kept else 'not kept'}.")
assert not kept

# %%
# That is as it should be: the noise of the simulation *is* Gaussian, and a network can only learn
# to leave it alone. Noise of real recordings is less regular, with muscle activity and blinks in
# some trials, alpha in others; that is what clusters are for.
#
# Draw
# ----
# Thirty-nine draws of each new image are epochs like any other; ``image_id`` and ``draw`` are in
# their metadata. Beside them, the recorded trials of the same images.

draws = encoder.sample(images[new], n_draws=39, random_state=0)
expected = encoder.predict(images[new])
recorded = epochs[np.flatnonzero(new[image_id])]
draws

# %%
# One image at one sensor, four trials each in grey. Single trials are mostly noise, drawn ones
# too. The mean of the draws comes close to the expected response, and the
# closer the more draws there are.

sensor = "PO8"
of_recorded = recorded.metadata["image_id"].to_numpy() - 160
of_draws = draws.metadata["image_id"].to_numpy()
microvolt = [
    1e6 * recorded.get_data(picks=sensor)[of_recorded == 0, 0],
    1e6 * draws.get_data(picks=sensor)[of_draws == 0, 0],
]
mean = 1e6 * expected.get_data(picks=sensor)[0, 0]

figure, axes = plt.subplots(1, 2, figsize=(9, 3.2), sharey=True, layout="constrained")
for axis, trials, title in zip(axes, microvolt, ("Recorded trials", "Draws"), strict=True):
    axis.plot(epochs.times, trials[:4].T, color="0.65", lw=0.9)
    axis.plot(epochs.times, trials.mean(axis=0), color="black", label=f"mean of {len(trials)}")
    axis.plot(epochs.times, mean, color="#D55E00", ls="--", lw=2, label="predict")
    axis.axvline(0, color="0.45", lw=0.8, ls=":")
    axis.set(title=f"{title} of one image", xlabel="Time from image onset (s)")
    axis.legend(frameon=False, loc="upper right")
axes[0].set_ylabel(f"{sensor} (µV)")

# %%
# Variance
# --------
# The standard deviation over the trials of an image, averaged over images; the plot is the mean
# over sensors, in units of the recorded trials' mean. ``n_averaged=4`` draws what averages over
# four trials look like: half the spread. Baseline correction makes the dip before onset, in both.

averages = encoder.sample(images[new], n_draws=39, n_averaged=4, random_state=1)


def by_image(trials, image):
    """Return the trials of each image."""
    data = trials.get_data()
    return [data[image == k] for k in range(40)]


real = by_image(recorded, of_recorded)
generated = {
    "draws": by_image(draws, of_draws),
    "draws, n_averaged=4": by_image(averages, of_draws),
}
real_sd = within_image_sd(real)
scale = real_sd.mean(axis=1)
curves = {
    name: (within_image_sd(trials).T / scale).mean(axis=1) for name, trials in generated.items()
}
plot_trial_sd(epochs.times, curves, (real_sd.T / scale).mean(axis=1), show=False)

for name, trials in generated.items():
    ratio = np.median(within_image_sd(trials) / real_sd)
    print(f"{name}: SD / recorded SD {ratio:.2f}")
    assert abs(ratio - (1 if name == "draws" else 0.5)) < 0.05

# %%
# Spectra
# -------
# Draws should have the rhythms of trials, the expected response should not: alpha waves are not
# locked to the image, and averages lose them. ``compute_psd`` is MNE's; its multitaper estimate
# would smear a peak of these short epochs over 8 Hz, so a narrower ``bandwidth`` is given.

posterior = ["O1", "Oz", "O2", "PO7", "PO8", "POz"]
figure, axis = plt.subplots(figsize=(6, 3.4), layout="constrained")
looks = {"recorded": ("black", "-", 3), "draws": ("#0072B2", "--", 1.8), "predict": ("0.5", ":", 2)}
levels = {}
for name, one in {"recorded": recorded, "draws": draws, "predict": expected}.items():
    psd = one.compute_psd(picks=posterior, fmin=2, fmax=45, bandwidth=2)
    levels[name] = 10 * np.log10(1e12 * psd.get_data().mean(axis=(0, 1)))
    color, style, width = looks[name]
    axis.plot(psd.freqs, levels[name], color=color, ls=style, lw=width, label=name)
axis.set(xlabel="Frequency (Hz)", ylabel="Power (dB re 1 µV²/Hz)", title="Posterior sensors")
axis.legend(frameon=False)
difference = levels["draws"] - levels["recorded"]
print(f"Draws differ from recorded trials by {np.abs(difference).max():.1f} dB at most")
alpha, below = (np.abs(psd.freqs - frequency).argmin() for frequency in (10, 6))
peak = {name: level[alpha] - level[below] for name, level in levels.items()}
print(", ".join(f"{name}: {height:+.1f} dB" for name, height in peak.items()), "at 10 Hz re 6 Hz")
assert min(peak["recorded"], peak["draws"]) > 3 > peak["predict"]
assert abs(difference[alpha]) < 1

# %%
# Time and frequency
# ------------------
# The same of power over time, from Morlet wavelets on single trials: ``compute_tfr`` on recorded
# and on generated epochs, four draws of each image, which are as many as there are recorded
# trials. Power is in decibel relative to the time before onset; the ends of the epochs, where
# wavelets reach over the edge, are left out.

freqs = np.arange(6, 41, 2)
settings = {
    "method": "morlet",
    "freqs": freqs,
    "n_cycles": freqs / 3,
    "picks": posterior,
    "average": True,
}
four_each = draws[np.flatnonzero(draws.metadata["draw"] < 4)]
power = {}
for name, one in {"Recorded": recorded, "Draws": four_each}.items():
    tfr = one.compute_tfr(**settings).apply_baseline((-0.2, -0.05), mode="logratio")
    tfr.crop(-0.2, 0.6)
    power[name] = 10 * tfr.data.mean(axis=0)
power["Difference"] = power["Draws"] - power["Recorded"]

figure, axes = plt.subplots(1, 3, figsize=(9, 3), sharey=True, layout="constrained")
limit = np.abs(power["Recorded"]).max()
for axis, (name, decibel) in zip(axes, power.items(), strict=True):
    shown = axis.pcolormesh(tfr.times, freqs, decibel, cmap="RdBu_r", vmin=-limit, vmax=limit)
    axis.contour(tfr.times, freqs, decibel, levels=[1, 2, 4], colors="black", linewidths=0.7)
    axis.axvline(0, color="0.3", lw=0.8, ls=":")
    axis.set(title=name, xlabel="Time from image onset (s)")
axes[0].set_ylabel("Frequency (Hz)")
figure.colorbar(shown, ax=axes, label="Power (dB re baseline)")
r = np.corrcoef(power["Recorded"].ravel(), power["Draws"].ravel())[0, 1]
print(f"Correlation of the two maps {r:.2f}")
assert r > 0.6

# %%
# Calibration
# -----------
# Is the scatter of draws as wide as real trials are far from the prediction? For every sensor and
# time the recorded value gets a rank among the 39 draws of its image. If recorded trials are
# drawn from the same distribution, all ranks are equally frequent, and a central interval of 90 %
# of the draws holds 90 % of the recorded values. Draws that are too narrow, such as averages taken
# for single trials, put recorded values at the ends.

ranks = {name: rank_histogram(trials, real, n_bins=20) for name, trials in generated.items()}
plot_calibration(ranks, show=False)

for name, trials in generated.items():
    inside = coverage(trials, real, level=0.9).mean()
    print(f"{name}: the 90 % interval holds {inside:.0%}")
    assert abs(inside - 0.9) < 0.03 if name == "draws" else inside < 0.75

# %%
# Calibration tests each sensor and time by itself, spectra and variances test second moments.
# :func:`mne_img2brain.evaluate` also has a classifier separate draws from recorded trials (the
# two-sample accuracy, 0.5 where it cannot), and puts ridge regression with Gaussian noise beside:
# on data like these it is hard to beat. Rhythms whose power follows the image have a page of their
# own, :ref:`sphx_glr_auto_examples_inside_plot_14_induced.py`.
