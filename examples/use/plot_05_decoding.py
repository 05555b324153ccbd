"""
Can a decoder be trained on draws?
==================================

If draws are like recorded trials, a classifier can be trained on draws and used on recordings. That
is a test of the draws, and a use: the classifier can be trained for images nobody has been shown,
and with as many trials as one likes. Here it is done at every moment with
:class:`mne.decoding.SlidingEstimator`, and beside it stands what it has to be compared with:
training on recorded trials.
"""

# %%
# A recording
# -----------
# Images of two kinds, which a simulated brain answers differently because they differ in contrast
# and orientation. There are three sets of images: the encoder learns from the first, decoders are
# trained on the second, and everything is tested on recorded trials of the third.

import matplotlib.pyplot as plt
import mne
import numpy as np
from mne.decoding import SlidingEstimator
from sklearn.linear_model import LogisticRegression
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler

from mne_img2brain import DiffusionRegressor, GaborEmbedder, ImageToBrainEncoder
from mne_img2brain.baselines import RidgeGaussian
from mne_img2brain.datasets import simulate_epochs, simulate_images
from mne_img2brain.metrics import time_mask
from mne_img2brain.viz import plot_prediction

mne.set_log_level("WARNING")

images, category = simulate_images(1250, random_state=0)
two = np.isin(category, ["grating", "texture"])
images, category = images[two], category[two]
epochs, _ = simulate_epochs(images, n_trials=4, snr=0.5, category=category, random_state=0)
image_id = epochs.metadata["image_id"].to_numpy()

image = np.arange(len(images))
known = image < 200
planned = (image >= 200) & (image < 300)
tested = image >= 300
for purpose, chosen in {"encoder": known, "decoder": planned, "test": tested}.items():
    print(f"{chosen.sum()} images for the {purpose}")


def trials_of(shown_images):
    """Return the recorded trials of some images."""
    return epochs[np.flatnonzero(shown_images[image_id])]


# %%
# Two generators
# --------------
# The default regressor, without the training of its denoiser (``max_iter=0``): in the simulated
# noise there is nothing for it to find. And the baseline, ridge regression plus Gaussian noise.

regressors = {
    "encoder": DiffusionRegressor(max_iter=0, random_state=0),
    "ridge + noise": RidgeGaussian(),
}
draws = {}
for name, regressor in regressors.items():
    encoder = ImageToBrainEncoder(GaborEmbedder(), regressor)
    train = np.flatnonzero(known[image_id])
    encoder.fit(images, epochs[train], image_ids=image_id[train])
    draws[name] = encoder.sample(
        images[planned], n_draws=20, event_id=category[planned].tolist(), random_state=0
    )
draws["encoder"]

# %%
# ``event_id`` has named the conditions, so that draws are selected by them like recorded epochs.
# The mean difference of the two kinds of images, recorded and drawn:

differences = [
    mne.combine_evoked([one["grating"].average(), one["texture"].average()], weights=[1, -1])
    for one in (draws["encoder"], trials_of(planned))
]
plot_prediction(*differences, times=[0.11, 0.17, 0.22], title="Grating − texture", show=False)

# %%
# Decode at every time
# --------------------
# The same classifier, tested on the same recorded trials, is trained on
#
# - recorded trials of the hundred images, which is what one would otherwise have to record,
# - as many draws of these images, or five times as many,
# - the recorded trials that the encoder has learnt from, which one has in any case.


def decode(train, y):
    """Return the AUC of every time on recorded trials of the tested images."""
    classifier = make_pipeline(StandardScaler(), LogisticRegression(C=0.01))
    sliding = SlidingEstimator(classifier, scoring="roc_auc", verbose="error")
    test = trials_of(tested)
    sliding.fit(train.get_data(), y)
    return sliding.score(test.get_data(), test.metadata["category"] == "grating")


def is_grating(epochs):
    """Return whether each epoch is of a grating."""
    return epochs.events[:, 2] == epochs.event_id["grating"]


def first_draws(generated, n_draws):
    """Return some of the draws of each image."""
    return generated[np.flatnonzero(generated.metadata["draw"] < n_draws)]


sources = {
    "recorded": trials_of(planned),
    "recorded, for the encoder": trials_of(known),
    "draws": first_draws(draws["encoder"], 4),
    "draws, five times as many": draws["encoder"],
    "draws of ridge + noise": draws["ridge + noise"],
}
auc = {name: decode(one, is_grating(one)) for name, one in sources.items()}

# %%
# Over time, and its mean from 80 to 400 ms. Shaded is chance, two standard
# errors of independent trials either side.

looks = [("black", "-"), ("0.6", "-"), ("#56B4E9", "--"), ("#0072B2", "-."), ("#D55E00", ":")]
figure, axis = plt.subplots(figsize=(8, 3.8), layout="constrained")
inside = time_mask(epochs.times, 0.08, 0.4)
for (name, course), (color, style) in zip(auc.items(), looks, strict=True):
    label = f"{name} ({len(sources[name])})"
    axis.plot(epochs.times, course, color=color, ls=style, lw=2, label=label)
    print(f"{label:32s} mean AUC {course[inside].mean():.3f}, at the peak {course.max():.3f}")
n_test = tested.sum() / 2 * 4  # trials of each kind
error = np.sqrt((2 * n_test + 1) / (12 * n_test**2))
axis.axhspan(0.5 - 2 * error, 0.5 + 2 * error, color="0.93", zorder=-5)
axis.axvline(0, color="0.45", lw=0.8, ls=":")
axis.set(xlabel="Time from image onset (s)", ylabel="AUC on recorded trials")
axis.legend(frameon=False, title="Trained on (trials)", fontsize=9)

mean_auc = {name: course[inside].mean() for name, course in auc.items()}
assert max(mean_auc, key=mean_auc.get) == "recorded, for the encoder"
assert mean_auc["draws, five times as many"] > mean_auc["draws"] + 0.01
assert abs(auc["draws, five times as many"].max() - auc["recorded"].max()) < 0.03
from_truth, from_draws = (np.sqrt((d.data[:, inside] ** 2).mean()) for d in differences[::-1])
print(f"Grating − texture, RMS: {1e6 * from_draws:.2f} µV drawn, {1e6 * from_truth:.2f} recorded")
assert from_draws < from_truth

# %%
# Draws of images that the encoder has never met train a decoder that works on recordings. With
# five times as many draws as there were recorded trials, it does about as well at the peak as the
# decoder trained on recorded trials of the same images; with as many draws as recorded trials its
# mean AUC is lower. Noise of draws averages out like any other. What more draws cannot give is
# that the predicted difference between the kinds is smaller than the recorded one, as the
# topographies show.
#
# The best training set here is the one that the encoder has learnt from. Draws are made of it and
# hold nothing that it does not hold. So if recorded trials of your conditions are there, train on
# them; draws are for images and conditions that were not recorded, and for testing a generator.
