"""
Which images should be recorded next?
=====================================

An hour in the laboratory shows a few hundred images; an encoder looks at a thousand in seconds.
So let it choose: images that should drive a component most, or images on which two accounts of
the response disagree, so that recording them decides between the two. The brain is simulated here,
which is why the choice can be checked at once.
"""

# %%
# An encoder and a thousand candidates
# ------------------------------------
# Three hundred images were recorded. A thousand others are candidates for the next experiment.

from time import perf_counter

import matplotlib.pyplot as plt
import mne
import numpy as np
from sklearn.linear_model import RidgeCV

from mne_img2brain import DiffusionRegressor, GaborEmbedder, ImageToBrainEncoder
from mne_img2brain.datasets import simulate_epochs, simulate_images

mne.set_log_level("WARNING")

images, _ = simulate_images(1300, size=64, random_state=0)
simulation = {"tmax": 0.4, "random_state": 0}
epochs, truth = simulate_epochs(images, n_trials=3, **simulation)
image_id = epochs.metadata["image_id"].to_numpy()
recorded = np.flatnonzero(image_id < 300)
epochs, image_id = epochs[recorded], image_id[recorded]
candidates = images[300:]

embedder = GaborEmbedder(size=64)
known_tokens = embedder.fit_transform(images[:300])
encoder = ImageToBrainEncoder(embedder, DiffusionRegressor(max_iter=0, random_state=0))
encoder.fit(known_tokens, epochs, image_ids=image_id)

# %%
# Ask about all of them
# ---------------------
# Embedding images takes most of the time, so do it once: ``predict`` takes the tokens in place of
# the images, and every further question costs a moment. Only the mean is needed to choose;
# nothing is sampled.

start = perf_counter()
tokens = embedder.transform(candidates)
embedded = perf_counter()
predicted = encoder.predict(tokens)
done = perf_counter()
print(f"{len(candidates)} images: {embedded - start:.1f} s to embed, "
      f"{done - embedded:.1f} s to predict")  # fmt: skip

# %%
# Which images drive the component?
# -----------------------------------
# The component is a negative wave over temporo-occipital sensors around 170 ms, like the N170: the
# mean of four sensors over 40 ms. Any function of :class:`mne.Epochs` would do in its place.


def component(epochs):
    """Return the amplitude of every epoch, in µV; larger is more negative."""
    data = epochs.get_data(picks=["P7", "PO7", "P8", "PO8"], tmin=0.15, tmax=0.19)
    return -1e6 * data.mean(axis=(1, 2))


amplitude, true_amplitude = component(predicted), component(truth[np.arange(300, 1300)])
order = np.argsort(amplitude)
chosen = order[-20:]

figure, axes = plt.subplots(2, 8, figsize=(9, 2.9), layout="constrained")
for row, which in zip(axes, (order[:-9:-1], order[:8]), strict=True):
    for axis, k in zip(row, which, strict=True):
        axis.imshow(candidates[k])
        axis.set(xticks=[], yticks=[])
        axis.set_title(f"{round(amplitude[k], 1) + 0.0} µV", fontsize=9)
for axis, label in zip(axes[:, 0], ("strongest", "weakest"), strict=True):
    axis.set_ylabel(label)
figure.suptitle("Predicted size of the negative wave")

# %%
# The responses to the two ends, as predicted, and as the brain really gives them:

figure, axes = plt.subplots(1, 2, figsize=(8, 3), layout="constrained", sharey=True)
for axis, source, title in zip(axes, (predicted, truth[np.arange(300, 1300)]),
                               ("Predicted", "True"), strict=True):  # fmt: skip
    for which, label, style in ((chosen, "20 strongest", "-"), (order[:20], "20 weakest", "--"),
                                (np.arange(1000), "all 1000", ":")):  # fmt: skip
        course = source[which].average().get_data(picks=["P7", "PO7", "P8", "PO8"]).mean(axis=0)
        axis.plot(source.times, 1e6 * course, style, label=label)
    axis.axvspan(0.15, 0.19, color="0.93", zorder=-1)
    axis.set(xlabel="Time from image onset (s)", title=title)
axes[0].set_ylabel("P7, PO7, P8, PO8 (µV)")
axes[0].legend(frameon=False)

contrast = candidates.mean(axis=3).std(axis=(1, 2))
print(f"SD of the grey pixels: chosen {contrast[chosen].mean():.0f}, all {contrast.mean():.0f}")
assert contrast[chosen].mean() < 0.8 * contrast.mean()
before = predicted.get_data(picks=["P7", "PO7", "P8", "PO8"], tmin=0.09, tmax=0.13).mean((1, 2))
assert before[chosen].mean() < 0.5 * before.mean()

# %%
# The figures also say what the encoder has found. Images of low contrast come first, and what
# they lack is the positive wave before: the mean over a window takes the tail of its neighbour with
# it. Had the question been about the negative wave itself, a measure from peak to peak would
# have been the one to maximise. Look at the responses before you book the laboratory.

# %%
# Was it worth it?
# ----------------
# The chosen images are judged by the brain: against the average candidate, and against the best
# twenty that there are. The prediction for what was chosen is not to be taken at its word: of a
# thousand images those come first that are strong *or* overestimated (the winner's curse).

best = np.sort(true_amplitude)[-20:].mean()
gained = (true_amplitude[chosen].mean() - true_amplitude.mean()) / (best - true_amplitude.mean())
print(f"{'':22s} predicted   true")
print(f"{'average candidate':22s} {amplitude.mean():6.2f} {true_amplitude.mean():9.2f} µV")
print(f"{'20 chosen':22s} {amplitude[chosen].mean():6.2f} {true_amplitude[chosen].mean():9.2f} µV")
print(f"{'20 truly strongest':22s} {'':6s} {best:9.2f} µV")
print(f"the choice reaches {gained:.0%} of what could be gained")
print(f"r of predicted and true amplitudes: {np.corrcoef(amplitude, true_amplitude)[0, 1]:.2f}")
assert gained > 0.7
assert amplitude[chosen].mean() > true_amplitude[chosen].mean() + 0.1  # the winner's curse
assert abs(amplitude.mean() - true_amplitude.mean()) < 0.1

# %%
# Which images tell two models apart?
# -------------------------------------
# Two accounts of the same component: it answers to oriented contrast, or to colour and luminance.
# Each is ridge regression on its own features, from the same recordings. Over ordinary images
# they may predict equally well and still be different models.

n_energies = embedder.n_scales * embedder.n_orientations
features = {"contrast": slice(0, n_energies), "colour": slice(n_energies, None)}
accounts = {}
for name, keep in features.items():
    account = ImageToBrainEncoder(regressor=RidgeCV(np.logspace(-1, 6, 15)))
    account.fit(known_tokens[:, :, keep], epochs, image_ids=image_id)
    accounts[name] = component(account.predict(tokens[:, :, keep]))
    r = np.corrcoef(accounts[name], true_amplitude)[0, 1]
    print(f"{name:9s} r with the true amplitudes {r:.2f}")
first, second = accounts.values()

# %%
# *Controversial stimuli* (Golan et al., 2020) are those on which the two disagree most: half of
# them stronger for the one account, half for the other. Images taken at random serve as the
# comparison.

difference = (first - first.mean()) / first.std() - (second - second.mean()) / second.std()


def most_controversial(among, n):
    """Return the n candidates on which the accounts differ most, half in either direction."""
    ranked = among[np.argsort(difference[among])]
    return np.concatenate([ranked[: n // 2], ranked[-(n // 2) :]])


shown = most_controversial(np.arange(1000), 20)
figure, axis = plt.subplots(figsize=(4.6, 4.2), layout="constrained")
axis.scatter(first, second, s=6, color="0.6", label="candidates")
axis.scatter(first[shown], second[shown], s=30, marker="s", facecolor="none", edgecolor="#D55E00",
             label="20 most controversial")  # fmt: skip
axis.set(xlabel="contrast account (µV)", ylabel="colour and luminance account (µV)")
axis.legend(frameon=False)

# %%
# Now record twenty images, four trials each, and ask which account the amplitudes follow. One
# such experiment may be lucky, so it is repeated five hundred times, each time with new noise and
# from five hundred of the candidates: twenty of them at random, or the twenty most controversial.

rng = np.random.default_rng(0)
per_trial = component(epochs) - component(truth)[image_id]
noise_sd = per_trial.std() / np.sqrt(4)


def experiment(which):
    """Return how much better the contrast account predicts measured amplitudes, in r."""
    measured = true_amplitude[which] + noise_sd * rng.standard_normal(len(which))
    return np.subtract(*(np.corrcoef(one[which], measured)[0, 1] for one in (first, second)))


outcomes = {"random": [], "controversial": []}
for _ in range(500):
    among = rng.choice(1000, 500, replace=False)
    outcomes["random"].append(experiment(among[:20]))
    outcomes["controversial"].append(experiment(most_controversial(among, 20)))
on_all = np.subtract(*(np.corrcoef(one, true_amplitude)[0, 1] for one in (first, second)))
print(f"on all candidates, without noise: r(contrast) - r(colour) = {on_all:+.2f}")
for name, values in list(outcomes.items()):
    right = np.mean(np.sign(values) == np.sign(on_all))
    outcomes[name] = np.mean(values), np.std(values), right
    print(f"{name:14s} difference {np.mean(values):+.2f} (SD {np.std(values):.2f}); "
          f"the better account wins in {right:.0%} of experiments")  # fmt: skip
at_random, on_chosen = outcomes["random"], outcomes["controversial"]
assert abs(on_chosen[0]) > abs(at_random[0])
assert on_chosen[1] > at_random[1]
assert on_chosen[2] > at_random[2]

# %%
# On controversial images the accounts lie further apart, and the experiment decides more often.
# It is no magic: where two accounts disagree most, both are likely to be wrong, which is why the
# outcome also varies more. And an image chosen with an encoder tests that encoder's neighbourhood
# of models; keep some images taken at random in every experiment, so that the answer to a
# question nobody thought of can still be found.
