"""
Can a new subject be learnt from a few minutes?
===============================================

An encoder that was fitted to several people knows what images do to an average brain. A new
person has other folds, another cap and other noise. This page learns that person from as little as
possible, and asks when it is worth it.
"""

# %%
# Five people look at the same images
# -------------------------------------
# The simulated subjects have the same sources, but these point elsewhere and are stronger or
# weaker in every head (``subject_spread=2`` makes them differ more than the default does), and
# their noise has another size. Four of them are known; the fifth comes later.

import matplotlib.pyplot as plt
import mne
import numpy as np

from mne_img2brain import DiffusionRegressor, GaborEmbedder, ImageToBrainEncoder
from mne_img2brain.datasets import simulate_epochs, simulate_images
from mne_img2brain.metrics import r_map
from mne_img2brain.viz import plot_prediction

mne.set_log_level("WARNING")

images, _ = simulate_images(460, random_state=0)
epochs, truth = simulate_epochs(
    images, n_trials=2, n_subjects=5, subject_spread=2.0, random_state=0
)
*known, new = epochs


def trials_of(subject, shown_images):
    """Return the trials of some images, and the image of each."""
    image = epochs[subject].metadata["image_id"].to_numpy()
    rows = np.flatnonzero(np.isin(image, shown_images))
    return epochs[subject][rows], image[rows]


# %%
# The shared encoder
# ------------------
# A dict of epochs tells ``fit`` whose trials they are. Each subject gets a *spatial layer*: a
# matrix that says how its sensors mix what is shared. No denoiser is trained here, so that the
# page is made quickly: single trials are then drawn with the covariance of each subject's own.

regressor = DiffusionRegressor(max_iter=0, random_state=0)
parts = {subject: trials_of(subject, np.arange(240)) for subject in known}
encoder = ImageToBrainEncoder(GaborEmbedder(), regressor)
encoder.fit(
    images,
    {subject: part[0] for subject, part in parts.items()},
    image_ids=np.concatenate([part[1] for part in parts.values()]),
)
print("Subjects:", ", ".join(encoder.subjects_))

# %%
# Learning curve
# --------------
# The new subject sees more and more images, twice each; at two seconds a trial, a hundred
# images are seven minutes. Three encoders predict a hundred images that none has seen:
#
# - *not adapted*: the average of the four subjects;
# - *adapted*: ``encoder.adapt(images, epochs, subject="...")``;
# - *alone*: fitted to the new subject's trials and nothing else.
#
# What is compared is the true response of the new subject, which only a simulation has. Two
# numbers say different things: the error of the response in microvolts, average waveform included,
# and r across images, which asks only how images differ.

test = np.arange(360, 460)
true = truth[new][test]
order = np.random.default_rng(0).permutation(np.arange(240, 360))
after = true.times > 0.05


def judge(generated):
    """Return RMS error and r across images, each per image-resample for the intervals."""
    y, t = (one.get_data()[..., after] * 1e6 for one in (generated, true))
    picks = np.random.default_rng(1).integers(len(y), size=(100, len(y)))
    error = np.sqrt(np.mean((y - t) ** 2, axis=(1, 2)))
    scores = []
    for pick in [np.arange(len(y)), *picks]:
        # a prediction that is the same for every image has r 0
        scores.append([error[pick].mean(), r_map(t[pick], y[pick]).mean()])
    value, resampled = scores[0], np.array(scores[1:])
    return value, np.percentile(resampled, [2.5, 97.5], axis=0)


sizes = [10, 25, 50, 100]
curves = {"not adapted": {}, "adapted": {}, "alone": {}}
plain = judge(encoder.predict(images[test]))
for size in sizes:
    few, image = trials_of(new, order[:size])
    name = f"new, {size} images"
    encoder.adapt(images, few, subject=name, image_ids=image)
    alone = ImageToBrainEncoder(GaborEmbedder(), regressor).fit(images, few, image_ids=image)
    curves["not adapted"][size] = plain
    curves["adapted"][size] = judge(encoder.predict(images[test], subject=name))
    curves["alone"][size] = judge(alone.predict(images[test]))

figure, axes = plt.subplots(1, 2, figsize=(9, 3.6), layout="constrained", sharex=True)
styles = {"not adapted": ("0.5", ":"), "adapted": ("C0", "-"), "alone": ("C1", "--")}
for name, curve in curves.items():
    colour, line = styles[name]
    for k, ax in enumerate(axes):
        value = np.array([curve[size][0][k] for size in sizes])
        low, high = np.array([curve[size][1][:, k] for size in sizes]).T
        ax.plot(sizes, value, line, color=colour, marker="o", label=name)
        ax.fill_between(sizes, low, high, color=colour, alpha=0.2, lw=0)
axes[0].set(ylabel="RMS error (µV)", ylim=(0, None), xlabel="Images of the new subject")
axes[1].set(ylabel="r across images", xlabel="Images of the new subject")
axes[0].legend()
figure

# %%
# The warnings come from fits to few trials of the new subject alone: nothing about images can be
# learnt from these. The shaded bands are 95 % intervals over the hundred images. In numbers, with
# 100 images to learn from:

for name, curve in curves.items():
    (error, r), interval = curve[100]
    print(
        f"{name:12s} error {error:.2f} µV ({interval[0, 0]:.2f} to {interval[1, 0]:.2f}), "
        f"r {r:.2f} ({interval[0, 1]:.2f} to {interval[1, 1]:.2f})"
    )

# %%
# Held to what the curves show:

error, r = ({n: [c[s][0][k] for s in sizes] for n, c in curves.items()} for k in (0, 1))
assert all(np.array(error["adapted"]) < error["not adapted"])
assert all(np.array(r["adapted"]) > np.array(r["not adapted"]) - 0.02)
assert all(np.array(r["adapted"]) > r["alone"])

# %%
# The average waveform is learnt first, and the error falls at once: ten images are better than
# the average of strangers. How images differ takes more trials; until there are enough, the
# layer leaves the shared response as it is, so that r is at most 0.02 below that without adapting.
# Training alone has to learn everything from these images: here its r is lower with any number of
# them.

# %%
# Is it the new subject's topography?
# -----------------------------------
# The response to one unseen image: true, and predicted by the adapted encoder.

shown = 0
adapted = encoder.predict(images[test[[shown]]], subject="new, 100 images").average()
plot_prediction(
    adapted, true[shown].average(), times=[0.1, 0.17, 0.25],
    labels=("True", "Adapted"), show=False,
)  # fmt: skip

# %%
# The others are not forgotten: what is shared was frozen, and predictions for the four subjects,
# and for the average, are the same to the last bit as before.
#
# Single trials of the new subject have its own noise:

recorded, image = trials_of(new, test)
draws = encoder.sample(images[test], 2, subject="new, 100 images", random_state=0)
within = [
    np.sqrt(np.mean([d[i == k].var(axis=0, ddof=1) for k in np.unique(i)], axis=0))
    for d, i in [
        (draws.get_data(), draws.metadata["image_id"].to_numpy()),
        (recorded.get_data(), image),
    ]
]
ratio = np.median(within[0] / within[1])
print(f"SD between draws / SD between trials: {ratio:.2f}")
assert 0.95 < ratio < 1.05
