"""
Tutorial: fit, predict, compare
===============================

We record nothing here: images are drawn, and a simulated brain of which we know the true
response looks at them. Everything else is as with your own data: images and epochs go in, and
epochs come out.
"""

# %%
# Images and epochs
# -------------------
# Three hundred images of several kinds, each shown four times. The recording is EEG over
# real sensor positions; ``truth`` holds the response to every image without noise.

from pathlib import Path

import mne
import numpy as np
from sklearn.linear_model import RidgeCV

from mne_img2brain import Denoiser, DiffusionRegressor, GaborEmbedder, ImageToBrainEncoder
from mne_img2brain.datasets import simulate_epochs, simulate_images
from mne_img2brain.viz import plot_prediction, plot_score_joint

mne.set_log_level("WARNING")

images, category = simulate_images(300, random_state=0)
epochs, truth = simulate_epochs(images, n_trials=4, category=category, random_state=0)

# %%
# Sixty images are kept from the encoder, with all their trials.

image_id = epochs.metadata["image_id"].to_numpy()
new = np.arange(300) >= 240
seen_trials = np.flatnonzero(~new[image_id])
new_trials = np.flatnonzero(new[image_id])

# %%
# Fit
# ---
# The Gabor embedder needs no weights. ``image_ids`` says which image each trial answers to. The
# denoiser is small, so that this page is made in a minute on a laptop.

regressor = DiffusionRegressor(
    noise=Denoiser(hidden_size=64, n_layers=2, patch_length=24, max_iter=200, batch_size=64),
    random_state=0,
)
encoder = ImageToBrainEncoder(GaborEmbedder(), regressor)
encoder.fit(images, epochs[seen_trials], image_ids=image_id[seen_trials])

# %%
# The default has two parts. A kernel regression of the tokens *predicts*: it alone earns the r
# below. A diffusion transformer may *draw* what single trials do around the prediction; where it is
# no better than noise with the covariance of the recorded trials, as on the Gaussian noise of a
# simulation, it is not kept, and that noise is drawn.

kept = isinstance(encoder.regressor_.noise_, Denoiser)
print(f"The transformer is {'kept' if kept else 'not kept'}.")
assert not kept

# %%
# Predict images that were never shown
# --------------------------------------
# ``predict`` gives the expected response, one epoch per image, with the sensors, the units and
# the times of the training data. ``event_id`` names the conditions, so that ``generated["disc"]``
# works.

generated = encoder.predict(images[new], event_id=category[new].tolist())
generated

# %%
# So everything of MNE works on it.

evoked = generated.average()
evoked.comment = "generated"
evoked.plot_joint(times=[0.1, 0.17, 0.25], title="Generated response", show=False)

# %%
# The true response to the same images:

true = truth[np.flatnonzero(new)]
true_evoked = true.average()
true_evoked.plot_joint(times=[0.1, 0.17, 0.25], title="True response", show=False)

# %%
# How good is it?
# ---------------
# The average over images says little: a model that gives every image the same response gets
# it right. What counts is how responses differ from image to image: Pearson's r across the
# sixty images, for every sensor and time, averaged over sensors and over times after onset;
# beside it, ridge regression on the same embedding. Against single recordings r is limited by
# their noise; against the truth it is not.

ridge = ImageToBrainEncoder(GaborEmbedder(), RidgeCV(np.logspace(-1, 6, 15)))
ridge.fit(images, epochs[seen_trials], image_ids=image_id[seen_trials])
scores = {}
for name, one in {"default": encoder, "ridge": ridge}.items():
    recorded = one.score(images, epochs[new_trials], image_ids=image_id[new_trials])
    scores[name] = recorded, one.score(images[new], true)
    print("{:10s} r with the recording {:.2f}, with the truth {:.2f}".format(name, *scores[name]))
assert scores["default"][1] > scores["ridge"][1] > scores["ridge"][0]

# %%
# Where and when the prediction follows the true response of each image (without noise there is
# nothing to correlate before the response begins):

r = encoder.score_evoked(images[new], true).crop(0.05, None)
plot_score_joint(r, times=[0.1, 0.17, 0.25], show=False)

# %%
# Single trials
# -------------
# ``sample`` draws single trials: as variable as the recorded ones, not only right on average.

draws = encoder.sample(images[new], n_draws=4, random_state=0)
recorded = epochs[new_trials]
within = [
    np.sqrt(np.mean([d[i == k].var(axis=0, ddof=1) for k in np.unique(i)], axis=0))
    for d, i in [
        (draws.get_data(), draws.metadata["image_id"].to_numpy()),
        (recorded.get_data(), image_id[new_trials]),
    ]
]
ratio = np.median(within[0] / within[1])
print(f"SD between draws / SD between trials: {ratio:.2f}")
assert 0.95 < ratio < 1.05

# %%
# The figure of the README: the average of all recorded trials of the sixty images, and what was
# predicted for it.

figure = plot_prediction(evoked, recorded.average(), times=[0.1, 0.17, 0.25], show=False)
path = Path("mne_img2brain_quickstart.png")
figure.savefig(path, dpi=120)
print(f"Figure saved as {path} in the current folder")
