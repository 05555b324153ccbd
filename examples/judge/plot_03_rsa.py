"""
Are the same images alike to the model and to the brain? (RSA)
==============================================================

Two images are alike to the brain if they evoke like responses. Representational similarity
analysis (RSA) writes this down for all pairs of images, as a matrix of dissimilarities, and
compares matrices: of the brain with those of models, of one moment with another, or, here, of
generated with recorded responses. Generated epochs go into an RSA toolbox as recorded ones do.
This page uses rsatoolbox; mne-rsa takes MNE epochs directly.
"""

# %%
# A recording, an encoder, a baseline
# -----------------------------------
# Sixty images of five kinds are kept from both encoders. ``max_iter=0`` leaves out the training
# of the denoiser, which the expected response does not need.

import matplotlib.pyplot as plt
import mne
import numpy as np
from rsatoolbox.data import TemporalDataset
from rsatoolbox.rdm import RDMs, calc_rdm_movie, compare
from scipy.spatial.distance import pdist

from mne_img2brain import DiffusionRegressor, GaborEmbedder, ImageToBrainEncoder
from mne_img2brain.baselines import RidgeBaseline
from mne_img2brain.datasets import simulate_epochs, simulate_images
from mne_img2brain.viz import plot_rsa

mne.set_log_level("WARNING")

# One look for one thing, in all figures of this page.
LOOKS = {
    "true": {"color": "black", "ls": ":", "lw": 2},
    "recorded": {"color": "black", "lw": 2.5},
    "encoder": {"color": "#0072B2", "lw": 2},
    "ridge": {"color": "#D55E00", "ls": "--", "lw": 2},
    "draws": {"color": "#56B4E9", "ls": "-.", "lw": 2},
}

images, category = simulate_images(300, random_state=0)
epochs, truth = simulate_epochs(images, n_trials=4, snr=0.3, category=category, random_state=0)
image_id = epochs.metadata["image_id"].to_numpy()
new = np.arange(300) >= 240
seen_trials = np.flatnonzero(~new[image_id])
recorded = epochs[np.flatnonzero(new[image_id])]

encoders = {
    "encoder": DiffusionRegressor(max_iter=0, random_state=0),
    "ridge": RidgeBaseline(),
}
for name, regressor in encoders.items():
    encoder = ImageToBrainEncoder(GaborEmbedder(), regressor)
    encoders[name] = encoder.fit(images, epochs[seen_trials], image_ids=image_id[seen_trials])

# %%
# From epochs to dissimilarities
# ------------------------------
# A ``TemporalDataset`` takes the data, which image each epoch belongs to, and the times.
# ``calc_rdm_movie`` averages the epochs of an image and gives one matrix for every time bin: one
# minus the correlation, over sensors, of the responses to two images. Bins are 20 ms wide, and
# begin with the response: where there is none, noise-free responses have no pattern to correlate.

samples = np.flatnonzero(epochs.times > 0.055)
bins = [epochs.times[pair] for pair in samples[: 2 * (len(samples) // 2)].reshape(-1, 2)]
centres = np.mean(bins, axis=1)


def dissimilarities(epochs, image):
    """Return one matrix of dissimilarities between images for every time bin."""
    dataset = TemporalDataset(
        1e6 * epochs.get_data(),
        obs_descriptors={"image": image},
        channel_descriptors={"name": epochs.ch_names},
        time_descriptors={"time": epochs.times},
    )
    return calc_rdm_movie(dataset, method="correlation", descriptor="image", bins=bins)


# The images sorted by category, so that blocks in the matrices are categories.
order = np.argsort(category[new], kind="stable")
place = np.argsort(order)  # where each of the sixty images comes in that order
of_trial = place[recorded.metadata["image_id"].to_numpy() - 240]

movies = {
    "true": dissimilarities(truth[np.flatnonzero(new)], place),
    "recorded": dissimilarities(recorded, of_trial),
}
for name, encoder in encoders.items():
    movies[name] = dissimilarities(encoder.predict(images[new]), place)
for name, movie in movies.items():
    print(f"{name:8s}: {movie.n_rdm} matrices of {movie.n_cond} images")

# %%
# Matrices at 200 ms, which is a good moment for the prediction, as the next figure shows. Ranks of
# dissimilarities are drawn, because ranks are what is compared. A bright line is an image that is
# unlike most others. There are hardly any blocks on the diagonal: this simulated brain sees
# contrast, orientation and colour, and knows no categories.

when = np.abs(centres - 0.2).argmin()
figure, axes = plt.subplots(1, 4, figsize=(9, 2.6), layout="constrained")
for axis, (name, movie) in zip(axes, movies.items(), strict=True):
    matrix = movie.get_matrices()[when]
    ranks = matrix.ravel().argsort().argsort().reshape(matrix.shape) / matrix.size
    shown = axis.imshow(ranks, cmap="viridis", vmin=0, vmax=1)
    axis.set(title=f"{name}, {1000 * centres[when]:.0f} ms", xticks=[], xlabel="Image")
    axis.set_yticks([6, 18, 30, 42, 54], np.unique(category) if axis is axes[0] else [""] * 5)
figure.colorbar(shown, ax=axes, label="Rank of dissimilarity", shrink=0.8)

# %%
# Generated against recorded and true dissimilarities
# ---------------------------------------------------
# Spearman's correlation of dissimilarities over time. Against the recording it is limited by the
# noise of four trials. For an idea of how much, the recording's own two halves are compared, two
# trials each; a prediction without noise can do better than they.


def over_time(first, second):
    """Correlate two series of matrices, time bin by time bin."""
    return np.diag(compare(first, second, method="spearman"))


half = recorded.metadata["repetition"].to_numpy() < 2
halves = [dissimilarities(recorded[np.flatnonzero(h)], of_trial[h]) for h in (half, ~half)]

figure, axes = plt.subplots(1, 2, figsize=(8.5, 3.2), sharey=True, layout="constrained")
means = {}
for axis, other in zip(axes, ("recorded", "true"), strict=True):
    against = {name: (centres, over_time(movies[name], movies[other])) for name in encoders}
    ceiling = over_time(*halves) if other == "recorded" else None
    plot_rsa(against, ceiling, axes=axis, show=False)
    axis.set_title(f"Against {other} responses")
    means[other] = {name: similarity.mean() for name, (_, similarity) in against.items()}
    for name, mean in means[other].items():
        print(f"{name:8s} against {other:8s}: mean over time {mean:.2f}")
assert abs(means["recorded"]["encoder"] - means["recorded"]["ridge"]) < 0.03
assert means["true"]["encoder"] > means["true"]["ridge"] + 0.03

# %%
# Against the recording, encoder and ridge can hardly be told apart. Against the truth, which a real
# experiment does not have, the encoder is somewhat ahead.
#
# Models
# ------
# A model is a matrix too. Two models: the categories of the images, and the Gabor embedding that
# the encoders were given. Where does each fit the brain, and where the generated responses?

tokens = encoders["encoder"].embedder_.transform(images[new])[order]
features = tokens.reshape(len(tokens), -1)
kinds = category[new][order]
models = {
    "categories": pdist(kinds[:, None], lambda a, b: float(a[0] != b[0])),
    "Gabor embedding": pdist((features - features.mean(axis=0)) / (features.std(axis=0) + 1e-9)),
}
figure, axes = plt.subplots(1, 2, figsize=(8.5, 3.2), sharey=True, layout="constrained")
fits = {}
for axis, (name, vector) in zip(axes, models.items(), strict=True):
    model = RDMs(vector[None])
    for what in ("true", "recorded", "encoder"):
        fits[name, what] = compare(model, movies[what], method="spearman")[0]
        axis.plot(centres, fits[name, what], label=what, **LOOKS[what])
    axis.axhline(0, color="0.45", lw=0.8)
    axis.set(title=f"Model: {name}", xlabel="Time from image onset (s)")
axes[0].set_ylabel("Spearman correlation\nof dissimilarities")
axes[0].legend(frameon=False)

fit = {key: values.mean() for key, values in fits.items()}
assert all(abs(fit["categories", what]) < 0.05 for what in ("true", "recorded", "encoder"))
assert fit["Gabor embedding", "encoder"] > 0.3 + fit["Gabor embedding", "true"]
assert fit["Gabor embedding", "encoder"] > 0.3 + fit["Gabor embedding", "recorded"]

# %%
# Categories fit nothing. The embedding fits the generated responses far better than it fits the
# recorded ones, and better than the true ones. That is no finding about the brain: generated
# responses are a function of the embedding, and can hold nothing of an image that the embedding
# does not. **Comparing models on generated responses favours the model that generated them.**
# Compare models on recordings; use generated responses to plan which images to record.
#
# Noise in dissimilarities
# ------------------------
# Trial noise makes every pair of images look more different. ``predict`` has none; averages over
# as many draws as there are trials have nearly as much of it as the recording. What is still
# missing is signal: predicted responses differ less from image to image than true ones do.

draws = encoders["encoder"].sample(images[new], n_draws=4, random_state=0)
movies["draws"] = dissimilarities(draws, np.repeat(place, 4))

figure, axis = plt.subplots(figsize=(6, 3.2), layout="constrained")
level = {}
for name in ("recorded", "draws", "true", "encoder"):
    values = movies[name].dissimilarities.mean(axis=1)
    axis.plot(centres, values, label=name, **LOOKS[name])
    level[name] = values.mean()
axis.set(xlabel="Time from image onset (s)", ylabel="Mean dissimilarity (1 − r)", ylim=(0, None))
axis.legend(frameon=False)
print(", ".join(f"{name} {value:.2f}" for name, value in level.items()))
assert 0.85 < level["draws"] / level["recorded"] < 1
assert level["encoder"] < level["true"] < level["draws"] / 3
