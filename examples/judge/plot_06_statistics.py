"""
What may be counted? Draws are not subjects
===========================================

Generated epochs are epochs, and every test of :mod:`mne.stats` runs on them. What its p-value means
is another question. It depends on what is counted as an observation, and draws come in any number.
This page runs a cluster permutation test between two kinds of images, shows how *not* to count,
and then tests what one usually wants to know, over subjects.
"""

# %%
# A recording and an encoder
# --------------------------
# Images of gratings and textures, a hundred of each kept from the encoder.

import matplotlib.pyplot as plt
import mne
import numpy as np
from mne.stats import permutation_cluster_1samp_test, spatio_temporal_cluster_test
from scipy.stats import ttest_ind

from mne_img2brain import DiffusionRegressor, GaborEmbedder, ImageToBrainEncoder
from mne_img2brain.datasets import simulate_epochs, simulate_images

mne.set_log_level("WARNING")

images, category = simulate_images(1000, random_state=0)
two = np.isin(category, ["grating", "texture"])
images, category = images[two], category[two]
epochs, _ = simulate_epochs(images, n_trials=3, snr=0.4, category=category, random_state=0)
image_id = epochs.metadata["image_id"].to_numpy()
new = np.arange(len(images)) >= 200
train = np.flatnonzero(~new[image_id])

encoder = ImageToBrainEncoder(GaborEmbedder(), DiffusionRegressor(max_iter=0, random_state=0))
encoder.fit(images, epochs[train], image_ids=image_id[train])

kind = category[new]
draws = encoder.sample(images[new], n_draws=32, event_id=kind.tolist(), random_state=0)
draws

# %%
# A test over images
# ------------------
# Four draws of every image, averaged: one observation is one image. The cluster test over
# sensors and times is MNE's, as on recorded data.

data = draws.get_data().reshape(len(kind), 32, len(draws.ch_names), len(draws.times))
of_image = data[:, :4].mean(axis=1)
groups = [of_image[kind == name].transpose(0, 2, 1) for name in ("grating", "texture")]
adjacency, _ = mne.channels.find_ch_adjacency(draws.info, "eeg")
F, clusters, p_values, _ = spatio_temporal_cluster_test(
    groups, adjacency=adjacency, n_permutations=500, tail=1, seed=0, out_type="mask"
)
print(
    f"{len(p_values)} clusters, {(p_values < 0.05).sum()} with p < 0.05: p = {p_values.min():.3f}"
)
assert p_values.min() < 0.05  # there is a cluster to be marked below

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
# Now every draw is taken for an observation. There are as many as we like. As a control, textures
# are compared with textures: the hundred images are parted at random into two halves of fifty,
# two hundred times, and there is nothing to be found. A test that keeps its promise has p < 0.05
# in 5 % of these comparisons. To keep it simple, the observation is one number, the mean over
# parietal sensors from 150 to 300 ms, and the test is a t-test.

channels = [draws.ch_names.index(name) for name in ("P3", "Pz", "P4", "POz")]
window = (draws.times >= 0.15) & (draws.times <= 0.3)
amplitude = data[kind == "texture"][:, :, channels][..., window].mean(axis=(2, 3))
rng = np.random.default_rng(0)
splits = [np.array_split(rng.permutation(len(amplitude)), 2) for _ in range(200)]

counts = [1, 2, 4, 8, 16, 32]
share = {"every draw counts": [], "every image counts": []}
for n in counts:
    few = amplitude[:, :n]
    p_draws = [ttest_ind(few[a].ravel(), few[b].ravel()).pvalue for a, b in splits]
    p_images = [ttest_ind(few[a].mean(axis=1), few[b].mean(axis=1)).pvalue for a, b in splits]
    share["every draw counts"].append(np.mean(np.array(p_draws) < 0.05))
    share["every image counts"].append(np.mean(np.array(p_images) < 0.05))

figure, axis = plt.subplots(figsize=(5.5, 3.3), layout="constrained")
for (name, values), look in zip(share.items(), ("o--", "s-"), strict=True):
    color = {"o--": "#D55E00", "s-": "black"}[look]
    axis.plot(counts, values, look, color=color, label=name)
    print(
        f"{name}: {values[0]:.0%} with one draw of each image, {values[-1]:.0%} with {counts[-1]}"
    )
axis.axhline(0.05, color="0.45", lw=0.8, ls=":")
axis.set(
    xscale="log",
    ylim=(0, None),
    xlabel="Draws of each image",
    ylabel="Comparisons with p < 0.05",
    title="Textures with other textures",
)
axis.yaxis.set_major_formatter("{x:.0%}")
axis.set_xticks(counts, labels=counts)
axis.minorticks_off()
axis.legend(frameon=False)

assert max(share["every image counts"]) < 0.1
assert share["every draw counts"][-1] > 4 * 0.05

# %%
# The dotted line is the 5 % that the test promises. Where every draw counts, more draws make
# more of the comparisons "significant", though nothing but chance parts the two halves. Any two
# sets of images have somewhat different predicted responses, and draws measure the difference to
# any precision. With images as observations more draws only take away the noise of the draws, and
# the test keeps its promise.
#
# Over subjects
# -------------
# For a statement about people the observation is a person: an encoder of each subject's own, the
# difference it predicts for the new images, and a test over subjects. ``predict`` is the mean
# already, so no draws are needed. Eight people are simulated anew, and see 280 of the images.
# Beside the prediction, the same test on their recordings of the same images.

images, new, kind = images[:280], new[:280], kind[:80]
tokens = GaborEmbedder().fit_transform(images)
subjects, _ = simulate_epochs(
    images, n_trials=3, n_subjects=8, snr=0.4, category=category[:280], random_state=1
)
differences = {"Predicted": [], "Recorded": []}
for of_subject in subjects.values():
    image_id = of_subject.metadata["image_id"].to_numpy()
    train = np.flatnonzero(~new[image_id])
    encoder = ImageToBrainEncoder(regressor=DiffusionRegressor(max_iter=0, random_state=0))
    encoder.fit(tokens, of_subject[train], image_ids=image_id[train])
    expected = encoder.predict(tokens[new], event_id=kind.tolist())
    shown = of_subject[np.flatnonzero(new[image_id])]
    for name, responses in (("Predicted", expected), ("Recorded", shown)):
        grating, texture = (responses[which].average().data for which in ("grating", "texture"))
        differences[name].append(1e6 * (grating - texture)[channels].mean(axis=0))
differences = {name: np.array(values) for name, values in differences.items()}

# %%
# A cluster test against zero, over all flips of sign of the eight subjects:

figure, axes = plt.subplots(1, 2, figsize=(8.5, 3.3), sharey=True, layout="constrained")
marked = {name: np.zeros(len(epochs.times), bool) for name in differences}
for axis, (name, values) in zip(axes, differences.items(), strict=True):
    _, clusters, p_values, _ = permutation_cluster_1samp_test(
        values, threshold=2.4, n_permutations="all", out_type="mask", seed=0
    )
    axis.plot(epochs.times, values.T, color="0.7", lw=0.8)
    axis.plot(epochs.times, values.mean(axis=0), color="black", lw=2)
    axis.axhline(0, color="0.45", lw=0.8)
    for (mask,), p in zip(clusters, p_values, strict=True):
        if p < 0.05:
            marked[name][mask] = True
            first, last = epochs.times[[mask.start, mask.stop - 1]]
            axis.axvspan(first, last, color="0.88", zorder=-5)
            print(f"{name}: {1000 * first:.0f} to {1000 * last:.0f} ms, p = {p:.3f}")
    axis.set(title=f"{name}, {len(values)} subjects", xlabel="Time from image onset (s)")
axes[0].set_ylabel("Grating − texture, parietal (µV)")

sd = {
    name: values[:, epochs.times > 0.05].std(axis=0).mean() for name, values in differences.items()
}
only_predicted = (marked["Predicted"] & ~marked["Recorded"]).mean()
print(f"SD over subjects: {sd['Predicted']:.2f} µV predicted, {sd['Recorded']:.2f} µV recorded")
print(f"{only_predicted:.0%} of the times are marked in the prediction alone")
assert sd["Predicted"] < sd["Recorded"]
assert only_predicted > 0

# %%
# Grey lines are subjects; shaded are clusters of p < 0.05. Predictions are smoother than recordings
# and shrunken: each encoder leaves out what its subject's data did not show reliably. So predicted
# subjects scatter less than recorded people, and p comes out too small: some times are marked in
# the prediction that the recordings do not show. Generated data are good for planning an
# experiment, for finding the images and times that are worth recording. The recording decides.
