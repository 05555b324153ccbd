"""
What do guidance and the number of steps do?
============================================

A diffusion model draws by removing noise from noise, a little at a time. Two numbers can be set
when drawing, without fitting again: in how many steps (``n_steps``), and how strongly the image
pulls (``guidance_scale``). Both come from image generation, where what counts is that an image
looks good. Here draws are to have the mean and the spread of recorded trials, so this page measures
what the two numbers do to mean and spread.
"""

# %%
# Diffusion alone
# ---------------
# The default :class:`~mne_img2brain.DiffusionRegressor` takes the expected response from a
# regression and leaves to diffusion what is left over. To see diffusion at work it is given
# everything here, as in the paper: ``mean=None``, and sensors only scaled
# (``whitening="scale"``). The model is small and trained for two hundred gradient steps, with a
# learning rate and an averaging of weights (``ema_decay``) to suit.

import matplotlib.pyplot as plt
import mne
import numpy as np

from mne_img2brain import Denoiser, DiffusionRegressor, GaborEmbedder, ImageToBrainEncoder
from mne_img2brain.baselines import RidgeBaseline
from mne_img2brain.datasets import simulate_epochs, simulate_images
from mne_img2brain.metrics import within_image_sd

mne.set_log_level("WARNING")

images, _ = simulate_images(260, random_state=0)
epochs, truth = simulate_epochs(images, n_trials=4, tmax=0.5, snr=0.5, random_state=0)
posterior = "P7 P3 Pz P4 P8 PO7 PO3 POz PO4 PO8 O1 Oz O2".split()
image_id = epochs.metadata["image_id"].to_numpy()
new = np.arange(260) >= 240
train = np.flatnonzero(~new[image_id])

denoiser = Denoiser(
    whitening="scale",
    hidden_size=64,
    n_layers=2,
    patch_length=24,
    max_iter=200,
    learning_rate=3e-3,
    ema_decay=0.95,
)
diffusion = DiffusionRegressor(mean=None, noise=denoiser, random_state=0)
encoder = ImageToBrainEncoder(GaborEmbedder(), diffusion, picks=posterior)
encoder.fit(images, epochs[train], image_ids=image_id[train])

history = encoder.regressor_.history_
print("Loss on held-out images, by gradient steps:")
for step, loss in zip(history.iterations, history.validation_losses, strict=True):
    print(f"  {step:4d}: {loss:.3f}")
print(f"The denoiser is used: {isinstance(encoder.regressor_.noise_, Denoiser)}")

# %%
# What there is to compare with: the recorded trials of the twenty new images, and their true
# responses.

real = epochs.copy().pick(posterior).get_data()
real_sd = within_image_sd([real[image_id == k] for k in np.flatnonzero(new)]).mean()
true = truth.copy().pick(posterior).get_data()[new]
true = true - true.mean(axis=0)
shape = (20, 16, *true.shape[1:])


def draw(**settings):
    """Return sixteen draws of every new image, always from the same noise."""
    draws = encoder.sample(images[new], n_draws=16, random_state=0, **settings)
    return draws.get_data().reshape(shape)


# %%
# Number of steps
# ---------------
# ``n_steps`` and ``solver`` are given to ``sample``. ``random_state`` fixes the
# noise that a draw starts from, so the same draw can be followed while it is made in more and more
# steps.

n_steps = [2, 3, 4, 6, 10, 16, 25]
spread, by_solver = {}, {}
for solver in ("ddim", "dpm"):
    for n in n_steps:
        by_solver[solver, n] = draw(solver=solver, n_steps=n)
        spread[solver, n] = within_image_sd(by_solver[solver, n]).mean() / real_sd

# %%
# On the left one draw, in the middle the standard deviation over draws, on the right how much the
# mean over all draws and images still changes.

figure, axes = plt.subplots(1, 3, figsize=(9, 3.1), layout="constrained")
sensor = encoder.ch_names_.index("PO8")
for n, color, width in [(2, "0.75", 3), (4, "0.5", 2), (10, "#56B4E9", 2), (25, "black", 1)]:
    one = 1e6 * by_solver["dpm", n][0, 0, sensor]
    axes[0].plot(encoder.times_, one, color=color, lw=width, label=f"{n} steps")
axes[0].set(xlabel="Time from image onset (s)", ylabel="PO8 (µV)", title="One draw")
axes[0].legend(frameon=False, fontsize=9)
for solver, style, color in (("dpm", "o-", "#0072B2"), ("ddim", "s--", "#D55E00")):
    ratios = [spread[solver, n] for n in n_steps]
    axes[1].plot(n_steps, ratios, style, color=color, label=solver)
    means = [by_solver[solver, n].mean(axis=(0, 1)) for n in n_steps]
    last = by_solver["dpm", 25].mean(axis=(0, 1))
    change = [np.sqrt(np.mean((m - last) ** 2) / np.mean(last**2)) for m in means]
    axes[2].plot(n_steps, 100 * np.array(change), style, color=color, label=solver)
    assert max(change) < 0.06
axes[1].axhline(1, color="0.45", lw=0.8, ls=":")
axes[1].set(ylabel="SD over draws / recorded", title="Spread", ylim=(0, 1.3))
axes[2].set(ylabel="Change from 25 dpm steps (%)", title="Mean over draws", ylim=(0, None))
for axis in axes[1:]:
    axis.set(xlabel="Denoiser evaluations (n_steps)")
    axis.legend(frameon=False, title="solver")

# %%
# In few steps draws are smoother and vary too little, while the mean over draws hardly changes:
# **the evoked response does not show that there were too few steps, the variance does.** The
# second-order solver ``dpm``, the default, settles with fewer steps than ``ddim``. The level it
# settles at is for the training to answer: after two hundred gradient steps it need not be 1.

for n in (4, 10, 25):
    ratios = {solver: round(float(spread[solver, n]), 2) for solver in ("dpm", "ddim")}
    print(f"{n:2d} steps, SD over draws / recorded: {ratios}")

for solver in ("ddim", "dpm"):
    assert spread[solver, 2] < 0.6 * spread[solver, 25]
assert abs(spread["dpm", 10] / spread["dpm", 25] - 1) < 0.05
assert abs(spread["ddim", 10] / spread["ddim", 25] - 1) > 0.05

# %%
# Guidance
# --------
# In training the image was now and then replaced by none (``condition_dropout``), so that the
# denoiser knows both: what to remove given the image, :math:`o_c`, and given none,
# :math:`o_\varnothing`. When drawing, the two are combined,
#
# .. math:: o_\varnothing + g\,(o_c - o_\varnothing).
#
# At :math:`g = 0` the image is ignored, 1 is the model as it was trained, and beyond 1 the effect
# of the image is exaggerated. With the same noise, the effect of an image is the mean of its
# draws less that of the same draws at :math:`g = 0`. How large is it beside the true one, and does
# it resemble it more?

scales = [0, 0.5, 1, 1.5, 2, 3, 4, 6]
draws = {g: draw(guidance_scale=float(g), n_steps=10) for g in scales}

size, likeness, width, error = [], [], [], []
for g in scales:
    effect = (draws[g] - draws[0]).mean(axis=1)
    effect -= effect.mean(axis=0)
    size.append(effect.std() / true.std())
    likeness.append(np.corrcoef(effect.ravel(), true.ravel())[0, 1] if g > 0 else np.nan)
    error.append(np.sqrt(np.mean((effect - true) ** 2)) / true.std())
    width.append(within_image_sd(draws[g]).mean() / real_sd)

# %%
# Size, likeness and error of the effect, and the spread of draws, against the guidance scale:

figure, axes = plt.subplots(1, 3, figsize=(9, 3.1), layout="constrained")
axes[0].plot(scales, size, "o-", color="#0072B2", label="effect of images / true")
axes[0].plot(scales, width, "s--", color="#D55E00", label="SD over draws / recorded")
axes[0].set(ylabel="Ratio", title="Size", ylim=(0, 2.5))
axes[0].axhline(1, color="0.45", lw=0.8, ls=":")
axes[0].legend(frameon=False, fontsize=9, loc="upper left")
axes[1].plot(scales, likeness, "o-", color="#0072B2")
axes[1].set(ylabel="r with the true effect", title="Likeness", ylim=(0, 1))
axes[2].plot(scales, error, "o-", color="#0072B2")
axes[2].set(ylabel="RMS error / true effect", title="Error", ylim=(0, None))
axes[2].axhline(1, color="0.45", lw=0.8, ls=":")
axes[2].text(scales[-1], 1.02, "no effect at all", ha="right", va="bottom", color="0.45", size=9)
for axis in axes:
    axis.axvline(1, color="0.45", lw=0.8, ls=":")
    axis.set(xlabel="guidance_scale")

# %%
# The effect of the image grows nearly in proportion to :math:`g`, the spread shrinks a little,
# and the likeness does not change: **guidance stretches what the model knows and adds nothing to
# it.**
# At 1 the effect is smaller than the true one because the model is unsure, and that is about the
# right size for what it knows: the error is least there. Guidance that makes the effect as large as
# the true one makes the error larger than that of a model without any effect. So leave
# ``guidance_scale=1`` for anything that is measured; use more to see what the model thinks a
# image does.

for g, large, like, wrong in list(zip(scales, size, likeness, error, strict=True))[1:]:
    print(f"guidance_scale {g:3.1f}: size {large:.2f}, r {like:.2f}, error {wrong:.2f}")

at = {g: k for k, g in enumerate(scales)}
assert 0.7 * 6 < size[at[6]] / size[at[1]] < 6
assert np.ptp(likeness[1:]) < 0.03
assert 0.85 < width[at[6]] / width[at[0]] < 1
assert size[at[1]] < 1
assert min(error) > error[at[1]] - 0.01
assert size[at[3]] > 1 < error[at[3]]

# %%
# Regression first
# ----------------
# The same three numbers for the default regressor and for ridge regression, from ``predict``. For
# the default regressor ``guidance_scale`` stretches the prediction in the same way.

for name, regressor in {
    "default": DiffusionRegressor(max_iter=0, random_state=0),
    "ridge": RidgeBaseline(),
}.items():
    other = ImageToBrainEncoder(GaborEmbedder(), regressor, picks=posterior)
    other.fit(images, epochs[train], image_ids=image_id[train])
    effect = other.predict(images[new]).get_data()
    effect -= effect.mean(axis=0)
    r = np.corrcoef(effect.ravel(), true.ravel())[0, 1]
    wrong = np.sqrt(np.mean((effect - true) ** 2)) / true.std()
    print(f"{name:8s}: size {effect.std() / true.std():.2f}, r {r:.2f}, error {wrong:.2f}")
    assert r > likeness[at[1]] + 0.1
    assert wrong < min(error)

# %%
# A regression finds more of what an image does than this small diffusion model. Longer training
# narrows the gap, but with recordings of a few thousand trials a regression is hard to beat; that
# is why the default leaves the expected response to one.
