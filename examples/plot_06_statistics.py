"""
Statistics: n draws are not n subjects
======================================

Generated epochs are epochs, and every test of :mod:`mne.stats` runs on them. What its p-value means
is another question. It depends on what is counted as an observation, and draws come in any number.
This page runs a cluster permutation test between two kinds of images, shows how *not* to count,
and then tests what one usually wants to know, over subjects.
"""

# %%
# A recording and an encoder
# --------------------------
# Images of gratings and textures, forty of each kept from the encoder.

import matplotlib.pyplot as plt
import mne
import numpy as np
from mne.stats import (
    permutation_cluster_1samp_test,
    permutation_cluster_test,
    spatio_temporal_cluster_test,
)

from mne_img2brain import DiffusionRegressor, GaborEmbedder, ImageToBrainEncoder
from mne_img2brain.datasets import simulate_epochs, simulate_images

mne.set_log_level("WARNING")

images, category = simulate_images(700, random_state=0)
two = np.isin(category, ["grating", "texture"])
images, category = images[two], category[two]
epochs, _ = simulate_epochs(images, n_trials=3, snr=0.4, category=category, random_state=0)
image_id = epochs.metadata["image_id"].to_numpy()
new = np.arange(len(images)) >= 200
train = np.flatnonzero(~new[image_id])

encoder = ImageToBrainEncoder(GaborEmbedder(), DiffusionRegressor(max_iter=0, random_state=0))
encoder.fit(images, epochs[train], image_ids=image_id[train])

kind = category[new]
draws = encoder.sample(images[new], n_draws=64, event_id=kind.tolist(), random_state=0)
draws

# %%
# A test over images
# --------------------
# Four draws of every image, averaged: one observation is one image. The cluster test over
# sensors and times is MNE's, as on recorded data.

n_new = len(kind)
data = draws.get_data().reshape(n_new, 64, len(draws.ch_names), len(draws.times))
of_image = data[:, :4].mean(axis=1)
groups = [of_image[kind == one].transpose(0, 2, 1) for one in ("grating", "texture")]
adjacency, _ = mne.channels.find_ch_adjacency(draws.info, "eeg")
F, clusters, p_values, _ = spatio_temporal_cluster_test(
    groups, adjacency=adjacency, n_permutations=500, tail=1, seed=0, out_type="mask"
)
print(f"{len(p_values)} clusters, p = {np.sort(p_values).round(3)[:4]}")

# %%
# The difference, with the clusters of p < 0.05 marked:

significant = np.zeros_like(F, bool)
for mask, p in zip(clusters, p_values, strict=True):
    significant |= mask & (p < 0.05)
difference = mne.combine_evoked(
    [draws["grating"].average(), draws["texture"].average()], weights=[1, -1]
)
difference.plot_topomap(
    times=[0.11, 0.17, 0.22, 0.3],
    mask=significant.T,
    mask_params={"marker": "o", "markerfacecolor": "w", "markeredgecolor": "k", "markersize": 5},
    show=False,
)

# %%
# The sentence this supports: *the model predicts different responses to gratings and to textures,
# and would for other images of these kinds*. It says nothing about a population of people, for
# the model has learnt from one; nor whether the model is right.
#
# How not to count
# ----------------
# Now every draw is taken for an observation. There are as many as we like. Two comparisons:
# gratings with textures, and, as a control, twenty textures with twenty other textures, where there
# is nothing to be found. The data are the mean over parietal sensors; the test has no threshold
# to choose (TFCE).

channels = [draws.ch_names.index(name) for name in ("P3", "Pz", "P4", "POz")]
parietal = data[:, :, channels].mean(axis=2)
textures = np.flatnonzero(kind == "texture")
comparisons = {
    "gratings − textures": (np.flatnonzero(kind == "grating"), textures),
    "textures − other textures": (textures[::2], textures[1::2]),
}


def smallest_p(first, second):
    """Return the smallest p-value over time."""
    tfce = {"start": 0, "step": 1}
    _, _, p, _ = permutation_cluster_test(
        [first, second], threshold=tfce, n_permutations=500, seed=0
    )
    return p.min()


counts = [1, 2, 4, 8, 16, 32, 64]
p_of = {(name, what): [] for name in comparisons for what in ("draws", "images")}
for name, pair in comparisons.items():
    for n in counts:
        few = [parietal[shown_images, :n] for shown_images in pair]
        as_draws = [one.reshape(-1, one.shape[-1]) for one in few]
        as_pictures = [one.mean(axis=1) for one in few]
        p_of[name, "draws"].append(smallest_p(*as_draws))
        p_of[name, "images"].append(smallest_p(*as_pictures))

# %%
# Against the number of draws of each image, on logarithmic axes:

figure, axes = plt.subplots(1, 2, figsize=(8.5, 3.3), sharey=True, layout="constrained")
for axis, name in zip(axes, comparisons, strict=True):
    axis.plot(counts, p_of[name, "draws"], "o--", color="#D55E00", label="every draw counts")
    axis.plot(counts, p_of[name, "images"], "s-", color="black", label="every image counts")
    axis.axhline(0.05, color="0.45", lw=0.8, ls=":")
    axis.set(xscale="log", yscale="log", xlabel="Draws of each image", title=name)
    axis.set_xticks(counts, labels=counts)
    axis.minorticks_off()
axes[0].set_ylabel("Smallest p over time")
axes[1].legend(frameon=False)

# %%
# With enough draws everything is significant, down to the smallest p that five hundred
# permutations can give. Any two sets of images have somewhat different predicted responses, and
# draws measure the difference to any precision: p measures our patience. With images as
# observations more draws only take away the noise of the draws, and the control stays a control.
#
# Over subjects
# -------------
# For a statement about people the observation is a person: an encoder of each subject's own, the
# difference it predicts for the new images, and a test over subjects. ``predict`` is the mean
# already, so no draws are needed. Eight people are simulated anew. Beside the prediction, the same
# test on their recordings of the same images.

tokens = GaborEmbedder().fit_transform(images)
subjects, _ = simulate_epochs(
    images, n_trials=3, n_subjects=8, snr=0.4, category=category, random_state=1
)
predicted, recorded = [], []
for of_subject in subjects.values():
    image_id = of_subject.metadata["image_id"].to_numpy()
    train = np.flatnonzero(~new[image_id])
    encoder = ImageToBrainEncoder(regressor=DiffusionRegressor(max_iter=0, random_state=0))
    encoder.fit(tokens, of_subject[train], image_ids=image_id[train])
    expected = encoder.predict(tokens[new], event_id=kind.tolist())
    shown = of_subject[np.flatnonzero(new[image_id])]
    for one, differences in ((expected, predicted), (shown, recorded)):
        grating, texture = (one[name].average().data for name in ("grating", "texture"))
        differences.append((grating - texture)[channels].mean(axis=0))

# %%
# A cluster test against zero, over all flips of sign of the eight subjects:

figure, axes = plt.subplots(1, 2, figsize=(8.5, 3.3), sharey=True, layout="constrained")
for axis, (name, differences) in zip(
    axes, {"Predicted": predicted, "Recorded": recorded}.items(), strict=True
):
    differences = 1e6 * np.array(differences)
    _, clusters, p_values, _ = permutation_cluster_1samp_test(
        differences, threshold=2.4, n_permutations="all", out_type="mask", seed=0
    )
    axis.plot(epochs.times, differences.T, color="0.7", lw=0.8)
    axis.plot(epochs.times, differences.mean(axis=0), color="black", lw=2)
    axis.axhline(0, color="0.45", lw=0.8)
    for (mask,), p in zip(clusters, p_values, strict=True):
        if p < 0.05:
            axis.axvspan(*epochs.times[[mask.start, mask.stop - 1]], color="0.88", zorder=-5)
            print(
                f"{name}: {1000 * epochs.times[mask.start]:.0f} to "
                f"{1000 * epochs.times[mask.stop - 1]:.0f} ms, p = {p:.3f}"
            )
    axis.set(title=f"{name}, {len(differences)} subjects", xlabel="Time from image onset (s)")
axes[0].set_ylabel("Grating − texture, parietal (µV)")

# %%
# Grey lines are subjects; shaded are clusters of p < 0.05. Predictions are smoother than recordings
# and shrunken: each encoder leaves out what its subject's data did not show reliably. So the
# scatter of predicted subjects is not the scatter of people, and p comes out too small: the model
# is certain of a difference after 300 ms that the recordings do not show. Generated data are good
# for planning an experiment, for finding the images and times that are worth recording. The
# recording decides.
