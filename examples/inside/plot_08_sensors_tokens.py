"""
Which sensors, which tokens does an encoder use?
================================================

A prediction that is good on average says neither which sensors carry it nor what in the image it
rests on. Four ways to ask, from the simplest on: leave sensors out, leave features out, look at
where the diffusion transformer *attends*, and follow the gradient of a response back to the
image. They need not agree, and where they do not, the simulated brain tells who is right: here it
is known that each hemisphere answers to the opposite half of the image.
"""

# %%
# Images, a recording, and embedded images
# --------------------------------------------
# Six hundred images to learn from, each shown once, and sixty others. An image becomes
# *tokens*: the whole image, and each cell of a 4 x 4 grid, described by the same features.

import matplotlib.pyplot as plt
import mne
import numpy as np
from sklearn.linear_model import RidgeCV

from mne_img2brain import Denoiser, DiffusionRegressor, GaborEmbedder, ImageToBrainEncoder
from mne_img2brain.datasets import simulate_epochs, simulate_images
from mne_img2brain.encoder.attribution import attention_maps, attribute_tokens
from mne_img2brain.metrics import identification_ranks, top_k

mne.set_log_level("WARNING")

SIZE, GRID = 64, 4
images, category = simulate_images(660, size=SIZE, random_state=0)
simulation = {"sfreq": 50.0, "tmin": -0.04, "tmax": 0.3, "random_state": 0}
epochs, truth = simulate_epochs(images, n_trials=1, snr=2.0, **simulation)
image_id = epochs.metadata["image_id"].to_numpy()
epochs = epochs[np.argsort(image_id)]  # trials in the order of the images

seen, new = np.arange(600), np.arange(600, 660)
embedder = GaborEmbedder(size=SIZE, n_scales=3, n_orientations=4, grid=GRID)
tokens = embedder.fit_transform(images)
print(f"tokens: {tokens.shape[1]} per image, {tokens.shape[2]} features each")

# %%
# Which sensors?
# --------------
# Ridge regression, fitted with ``picks`` of one region at a time, predicts the responses to the
# sixty new images. Two scores: r over these sensors, and how often the right one of the sixty is
# found by the recorded single trial. Chance is one in sixty.

ALPHAS = np.logspace(-1, 6, 15)
regions = {
    "frontal": ["Fp1", "Fp2", "F7", "F3", "Fz", "F4", "F8"],
    "central": ["FC5", "FC1", "FC2", "FC6", "C3", "Cz", "C4"],
    "parietal": ["CP5", "CP1", "CP2", "CP6", "P7", "P3", "Pz", "P4", "P8"],
    "occipital": ["PO7", "PO3", "POz", "PO4", "PO8", "O1", "Oz", "O2"],
    "all sensors": epochs.ch_names,
}
print(f"{'':12s} sensors   r with the truth   identified")
of_region = {}
for name, picks in regions.items():
    ridge = ImageToBrainEncoder(regressor=RidgeCV(ALPHAS), picks=picks)
    ridge.fit(tokens[seen], epochs[seen])
    r = ridge.score(tokens[new], truth[new])
    predicted = ridge.predict(tokens[new]).get_data(tmin=0.05)
    recorded = epochs[new].get_data(picks=picks, tmin=0.05)
    found = top_k(*identification_ranks(recorded, predicted, centre=True), 1).mean()
    print(f"{name:12s} {len(picks):5d} {r:16.2f} {found:15.0%}")
    of_region[name] = r, found

assert all(abs(r - of_region["all sensors"][0]) < 0.1 for r, _ in of_region.values())
assert all(found > 5 / 60 for _, found in of_region.values())

# %%
# Every region does about as well as all of them: an electrode sees the visual areas from wherever
# it is, and r does not ask how large a response is. A region that is predicted well is no sign that
# the image is processed under it.

# %%
# Which features?
# ---------------
# Tokens are arrays, so a group of features is left out by slicing. Each group alone, and all but
# that group: what is lost then is what no other feature can stand in for.

n_energies = embedder.n_scales * embedder.n_orientations
group = np.array(["Gabor energy"] * n_energies + ["luminance", "colour", "colour"] * 2)
print(f"{'':14s} alone   left out")
for name in ["Gabor energy", "luminance", "colour"]:
    scores = []
    for keep in (group == name, group != name):
        ridge = ImageToBrainEncoder(regressor=RidgeCV(ALPHAS))
        ridge.fit(tokens[seen][:, :, keep], epochs[seen])
        scores.append(ridge.score(tokens[new][:, :, keep], truth[new]))
    print(f"{name:14s} {scores[0]:5.2f} {scores[1]:9.2f}")
ridge.fit(tokens[seen], epochs[seen])
print(f"{'all features':14s} {ridge.score(tokens[new], truth[new]):5.2f}")

# %%
# An encoder to look into
# -----------------------
# By default the expected response comes from a regression and the diffusion transformer adds what
# single trials do around it. To look at how the transformer sees the image it must do everything
# itself, as in Xu et al. (2025): ``mean=None``. Its tokens have to say where they are:
# CLIP's do, Gabor tokens do not, so each cell gets columns of its own, and a column that names it.


def say_where(tokens):
    """Give every token its own columns: (n_images, n_tokens, n_tokens * (n_features + 1))."""
    n_images, n_tokens, n_features = tokens.shape
    placed = np.zeros((n_images, n_tokens, n_tokens, n_features + 1), np.float32)
    for k in range(n_tokens):
        placed[:, k, k, :-1] = (tokens[:, k] - mean[k]) / scale[k]
        placed[:, k, k, -1] = 1
    return placed.reshape(n_images, n_tokens, -1)


mean, scale = tokens[seen].mean(axis=0), tokens[seen].std(axis=0)
placed = say_where(tokens)
denoiser = Denoiser(
    whitening="scale", hidden_size=64, n_layers=1, patch_length=6, max_iter=600, batch_size=32,
    learning_rate=5e-3, ema_decay=0.99, n_iter_no_change=10,
)  # fmt: skip
regressor = DiffusionRegressor(mean=None, noise=denoiser, random_state=0)
encoder = ImageToBrainEncoder(regressor=regressor).fit(placed[seen], epochs[seen])
print(f"Was the denoiser kept? {isinstance(encoder.regressor_.noise_, Denoiser)}")
print(f"r with the truth: {encoder.score(placed[new], truth[new]):.2f}")

# %%
# Where it looks
# --------------
# A response token is one brain region in one stretch of time;
# :func:`~mne_img2brain.encoder.attribution.attention_maps` says how much each looks at each
# image token.
# Drawn on one image, for the occipital tokens of either hemisphere:

attention = attention_maps(encoder, placed[new])
print("attention:", attention.weights.shape, "images x regions x stretches of time x tokens")


def draw(axis, shown, cells, title, limit):
    """Draw values of cells on an image; the first token is the whole image and is left out."""
    where = {"extent": (0, GRID, GRID, 0)}
    axis.imshow(shown.mean(axis=2), cmap="gray", **where)
    cells = cells[1:].reshape(GRID, GRID)
    image = axis.imshow(cells, cmap="inferno", alpha=0.6, vmin=0, vmax=limit, **where)
    axis.set(xticks=[], yticks=[])
    axis.set_title(title, fontsize=9)
    return image


by_side = [attention.weights[:, attention.regions.index(f"{side} occipital")] for side in
           ("left", "right")]  # fmt: skip
between_sides = np.abs(by_side[0] - by_side[1]).mean()
between_times = np.abs(np.diff(by_side[0], axis=1)).mean()
print(f"attention changes by {between_times:.3f} in time, by {between_sides:.3f} across the head")
assert between_sides < 0.2 * between_times

one = int(np.flatnonzero(category[new] == "disc")[0])
rows = ["left occipital", "right occipital"]
figure, axes = plt.subplots(2, len(attention.times) + 1, figsize=(7, 4), layout="constrained")
for row, region in zip(axes, rows, strict=True):
    row[0].imshow(images[new][one])
    row[0].set(xticks=[], yticks=[])
    row[0].set_ylabel(region, fontsize=9)
    weights = attention.weights[one, attention.regions.index(region)]
    for axis, time, cells in zip(row[1:], attention.times, weights, strict=True):
        title = f"{1000 * time:.0f} ms"
        image = draw(axis, images[new][one], cells, title, weights[:, 1:].max())
    figure.colorbar(image, ax=row, label="attention", shrink=0.8)

# %%
# Attention differs between stretches of time and hardly between the hemispheres. Does the model
# not know that they see different halves? Attention cannot tell: it says from where values are
# taken, not what becomes of them.

# %%
# What drives a component
# -----------------------
# The whole way from tokens to the expected response is differentiable, so an amplitude can be
# followed back. The amplitude here is the mean over three sensors of one hemisphere around the
# first wave. :func:`~mne_img2brain.encoder.attribution.attribute_tokens` gives each token its part
# of the amplitude, beyond what the average image evokes; parts add up to what is predicted.

sides = {"left": ["PO7", "P7", "O1"], "right": ["PO8", "P8", "O2"]}
window = (epochs.times > 0.07) & (epochs.times < 0.15)
weights = {}
for side, names in sides.items():
    weights[side] = np.zeros((len(encoder.ch_names_), len(encoder.times_)))
    weights[side][np.ix_(np.isin(encoder.ch_names_, names), window)] = 1 / (3 * window.sum())
parts = {side: 1e6 * attribute_tokens(encoder, placed[new], weights[side]) for side in sides}

response = encoder.predict(placed[new]).get_data()
amplitude = 1e6 * np.einsum("ct,ict->i", weights["left"], response)
average = encoder.predict(placed[new].mean(axis=0, keepdims=True)).get_data()
baseline = 1e6 * np.einsum("ct,ict->", weights["left"], average)
print(f"image {one}: {amplitude[one]:.2f} µV, of which the average image {baseline:.2f} µV")
print(f"sum of the parts of its tokens: {parts['left'][one].sum():.2f} µV")
np.testing.assert_allclose(parts["left"].sum(axis=1), amplitude - baseline, atol=0.05)

# %%
# Cover it and see
# ----------------
# Another way asks the same of any encoder, differentiable or not, and of the brain: replace one
# cell of the image by the average colour, and see how much the amplitude changes. So the default
# encoder, whose expected response is a kernel regression without a gradient, can be asked as well.

default = ImageToBrainEncoder(regressor=DiffusionRegressor(max_iter=0, random_state=0))
default.fit(tokens[seen], epochs[seen])
scores = [one.score(known[new], truth[new]) for one, known in
          ((encoder, placed), (default, tokens))]  # fmt: skip
print(f"r with the truth, default mean: {scores[1]:.2f}")
assert scores[1] > scores[0]


def covered(shown_images):
    """Return images with one cell covered, (n_cells, n_images, height, width, 3)."""
    step = SIZE // GRID
    copies = np.repeat(shown_images[None], GRID**2, axis=0)
    for k in range(GRID**2):
        y, x = step * (k // GRID), step * (k % GRID)
        copies[k, :, y : y + step, x : x + step] = images.mean(axis=(0, 1, 2)).astype(np.uint8)
    return copies


def change(whole, parts):
    """Return SD over images of the change of amplitude, of either side, (2, 1 + n_cells)."""
    filters = 1e6 * np.stack([weights[side] for side in sides])
    moved = np.einsum("sct,kict->ski", filters, whole - parts).std(axis=2)
    return np.pad(moved, ((0, 0), (1, 0)))  # no value for the token of the whole image


copies = covered(images[new])
flat = copies.reshape(-1, SIZE, SIZE, 3)
shape = (GRID**2, len(new), len(encoder.ch_names_), len(encoder.times_))
flat_tokens = embedder.transform(flat)
of_encoder = encoder.predict(say_where(flat_tokens)).get_data().reshape(shape)
of_default = default.predict(flat_tokens).get_data().reshape(shape)
_, of_brain = simulate_epochs(np.concatenate([images, flat]), n_trials=1, **simulation)
of_brain = of_brain.get_data()
n = len(images)
first_wave = int(np.abs(attention.times - 0.1).argmin())
maps = {
    "attention": [
        attention.weights[:, attention.regions.index(region), first_wave].mean(axis=0)
        for region in rows
    ],
    "integrated\ngradient": [parts[side].std(axis=0) for side in sides],
    "covered:\ntransformer": change(response, of_encoder),
    "covered:\ndefault mean": change(default.predict(tokens[new]).get_data(), of_default),
    "covered:\nbrain": change(of_brain[new], of_brain[n:].reshape(shape)),
}

# %%
# All of them side by side: for each cell how much it moves the amplitude, as the SD over the sixty
# images (attention: the mean, at the first wave).

figure, axes = plt.subplots(2, len(maps), figsize=(10, 4.6), layout="constrained")
for column, (name, both) in zip(axes.T, maps.items(), strict=True):
    limit = max(cells[1:].max() for cells in both)
    for axis, cells, side in zip(column, both, sides, strict=True):
        image = axis.imshow(cells[1:].reshape(GRID, GRID), vmin=0, vmax=limit)
        axis.set(xticks=[], yticks=[])
        axis.set_title(name if side == "left" else "", fontsize=10)
    label = "share" if name == "attention" else "µV"
    figure.colorbar(image, ax=column, location="bottom", shrink=0.8, label=label)
for axis, side in zip(axes[:, 0], sides, strict=True):
    axis.set_ylabel(f"{side} sensors")

opposite = {}
for name, both in maps.items():
    halves = [cells[1:].reshape(GRID, 2, GRID // 2).sum(axis=(0, 2)) for cells in both]
    name = name.replace("\n", " ")
    opposite[name] = np.mean([half[1 - k] / half.sum() for k, half in enumerate(halves)])
    print(f"{name:21s} share of the opposite half of the image: {opposite[name]:.0%}")
for name in ("attention", "integrated gradient", "covered: transformer"):
    assert abs(opposite[name] - 0.5) < 0.03
assert 0.55 < opposite["covered: default mean"] < opposite["covered: brain"] - 0.1

# %%
# What to make of it
# ------------------
# Gradient and covering agree about the transformer: it answers to the whole image, whichever the
# hemisphere. The brain does not, and the default mean, which has learnt from the same trials, knows
# it in part, and predicts better. So these maps are right about the *model*; about the brain they
# are no better than the model is. Before a map is read as physiology, its encoder should predict
# as well as the best there is, and the map should survive a change of encoder.
