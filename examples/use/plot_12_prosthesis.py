"""
What would the brain answer to phosphenes?
==========================================

A visual prosthesis stimulates the retina through a grid of electrodes. Its wearer does not see the
image that a camera takes but spots of light, *phosphenes*, one for each electrode. Would the
brain's response still tell one image from another, and how many electrodes does that take? An
encoder can be asked before anybody is implanted: render what the prosthesis shows, predict the
response to it, and compare it with the response to the intact image.

The answer rests on two assumptions, which nothing below can test. The rendering of phosphenes has
to be right, and the visual system has to answer to them as it would to the same image on a
screen. What *can* be tested, because the brain is simulated here, is a third one: that an encoder
which learnt from ordinary images is right about phosphenes, which it has never seen.
"""

# %%
# From an image to phosphenes
# ----------------------------
# The scoreboard model of `pulse2percept <https://pulse2percept.readthedocs.io>`__ (Beyeler et al.,
# 2017 and 2019) makes every electrode :math:`e` a Gaussian spot whose brightness is the electrode's
# amplitude :math:`a_e`,
#
# .. math:: I(x) = \sum_e a_e \exp\left(-\frac{\lVert x - x_e \rVert^2}{2 \rho^2}\right) .
#
# The grid always spans the image, 16 degrees of the visual field; more electrodes are closer to
# each other and make smaller spots. ``pip install "mne_img2brain[prosthesis]"`` brings
# pulse2percept. Without it the same formula is computed by hand below, on a flat retina.

import matplotlib.pyplot as plt
import mne
import numpy as np
from PIL import Image

from mne_img2brain import DiffusionRegressor, GaborEmbedder, ImageToBrainEncoder
from mne_img2brain.datasets import simulate_epochs, simulate_images
from mne_img2brain.metrics import identification_ranks, r_map, top_k
from mne_img2brain.viz import plot_phosphenes

try:
    from pulse2percept.implants import ElectrodeGrid
    from pulse2percept.implants.retina import RetinalImplant
    from pulse2percept.models.retina import ScoreboardModel
except ImportError:
    ScoreboardModel = None

mne.set_log_level("WARNING")
N_PIXELS, DEGREES, MICRONS = 96, 16, 270  # image's width; of visual field; of retina per degree


def make_prosthesis(n_side):
    """Return a function from amplitudes, (n_side, n_side), to what is seen, (96, 96)."""
    spacing = DEGREES * MICRONS / n_side
    rho = 0.35 * spacing
    half = DEGREES / 2
    if ScoreboardModel is not None:
        implant = RetinalImplant(ElectrodeGrid((n_side, n_side), spacing))
        model = ScoreboardModel(
            implant, rho=rho, xrange=(-half, half), yrange=(-half, half),
            step=DEGREES / (N_PIXELS - 1), min_current_spread=1e-3, n_threads=1, verbose=False,
        ).build()  # fmt: skip
        return lambda amplitudes: model.predict_percept(amplitudes.ravel()).data[..., 0]
    electrode = spacing * (np.arange(n_side) - (n_side - 1) / 2)
    pixel = np.linspace(-half, half, N_PIXELS) * MICRONS
    spot = np.exp(-((pixel[:, None] - electrode) ** 2) / (2 * rho**2))  # pixel x electrode
    return lambda amplitudes: spot @ amplitudes @ spot.T


def see(shown_images, n_side):
    """Return what wearers of a prosthesis with n_side x n_side electrodes see."""
    percept = make_prosthesis(n_side)
    seen = []
    for image in shown_images:
        grey = Image.fromarray(image).convert("L").resize((n_side, n_side), Image.Resampling.BOX)
        brightness = percept(np.asarray(grey) / 255)
        grey = np.clip(255 * brightness, 0, 255).astype(np.uint8)
        seen.append(np.repeat(grey[:, :, None], 3, axis=2))
    return np.stack(seen)


# %%
# An encoder that has seen ordinary images
# ------------------------------------------
# Three hundred images to learn from; forty others, as they are and through grids of 16 to 1024
# electrodes. The simulated brain looks at all of them, so that the true response to every percept
# is known; the encoder learns from the ordinary images alone. It is not asked for single trials
# here, so it needs no diffusion: ``max_iter=0``.

images, _ = simulate_images(340, size=N_PIXELS, random_state=0)
ordinary, new = images[:300], images[300:]
vision = {"intact": new}
for n_side in (4, 8, 16, 32):
    vision[f"{n_side**2} electrodes"] = see(new, n_side)
everything = np.concatenate([ordinary, *vision.values()])
epochs, truth = simulate_epochs(everything, n_trials=4, random_state=0)

image_id = epochs.metadata["image_id"].to_numpy()
learnt = np.flatnonzero(image_id < 300)
encoder = ImageToBrainEncoder(GaborEmbedder(), DiffusionRegressor(max_iter=0, random_state=0))
encoder.fit(everything, epochs[learnt], image_ids=image_id[learnt])

# %%
# What is seen, and the response to it
# ------------------------------------
# One image, and a sensor over occipital cortex. Black is the response to the intact image,
# repeated in every panel; dashed the response to what the prosthesis shows of it.

predicted = {name: encoder.predict(shown_images) for name, shown_images in vision.items()}
true = {name: truth[np.arange(300 + 40 * i, 340 + 40 * i)] for i, name in enumerate(vision)}
one = 1
plot_phosphenes(
    {name: shown_images[one] for name, shown_images in vision.items()},
    {name: epochs[one].average() for name, epochs in predicted.items()},
    title="Predicted responses",
    picks="PO8",
    show=False,
)

# %%
# The same from the simulated brain itself, which the encoder does not know:

plot_phosphenes(
    {name: shown_images[one] for name, shown_images in vision.items()},
    {name: epochs[one].average() for name, epochs in true.items()},
    title="True responses",
    picks="PO8",
    show=False,
)

# %%
# How different are the responses?
# --------------------------------
# Two questions. How far is the response to a percept from that to the intact image? The unit is
# the distance between the responses to two different intact images. And is it still the response
# to *that* image: of the forty responses to intact images, how often is the right one most
# similar to the response to the percept? One in forty is chance. Both are asked of the encoder and
# of the simulated brain.

after = slice(*np.searchsorted(truth.times, (0.05, 0.4)))


def judge(responses):
    """Return distance to the intact response, and how often the image is identified."""
    intact = responses["intact"].get_data()[:, :, after]
    others = np.mean(
        [np.sum((x - np.delete(intact, i, 0)) ** 2) / 39 for i, x in enumerate(intact)]
    )
    distance, right = {}, {}
    for name, one in responses.items():
        difference = one.get_data()[:, :, after] - intact
        distance[name] = np.sqrt(np.mean(np.sum(difference**2, axis=(1, 2))) / others)
        ranks = identification_ranks(one.get_data()[:, :, after], intact, centre=True)
        right[name] = top_k(*ranks, 1).mean()
    return distance, right


answers = {"encoder": judge(predicted), "simulated brain": judge(true)}
print(f"{'':16s} distance to intact    identified among 40")
print(f"{'':16s} encoder   brain       encoder   brain")
for name in vision:
    (d, i), (true_d, true_i) = ([part[name] for part in answer] for answer in answers.values())
    print(f"{name:16s} {d:7.2f} {true_d:7.2f}       {i:6.0%}  {true_i:6.0%}")
for distance, right in answers.values():
    assert list(distance.values())[1:] != sorted(list(distance.values())[1:], reverse=True)
    assert right["1024 electrodes"] > right["16 electrodes"] + 0.1

# %%
# The distance does not simply fall with the number of electrodes: no percept has colour, and all
# are crossed by the dark gaps between spots, which shifts the responses to all images alike. What
# tells one image from another is another matter.

# %%
# Where are they different?
# -------------------------
# The mean over the forty images of response to percept - response to intact image, as the wave
# over occipital cortex peaks. One scale for all maps.

time = 0.1
rows = {"encoder": predicted, "brain": true}
differences = {
    who: [
        mne.combine_evoked([responses[name].average(), responses["intact"].average()], [1, -1])
        for name in list(vision)[1:]
    ]
    for who, responses in rows.items()
}
at = truth.time_as_index(time)[0]
limit = 1e6 * max(np.abs(one.data[:, at]).max() for part in differences.values() for one in part)
figure, axes = plt.subplots(2, 4, figsize=(8, 4), layout="constrained")
for row, (who, part) in zip(axes, differences.items(), strict=True):
    for axis, difference, name in zip(row, part, list(vision)[1:], strict=True):
        difference.plot_topomap(
            time, axes=axis, vlim=(-limit, limit), colorbar=False, time_format="", show=False
        )
        axis.set_title(name if who == "encoder" else "", fontsize=10)
    row[0].set_ylabel(who)
scale = plt.cm.ScalarMappable(plt.Normalize(-limit, limit), cmap="RdBu_r")
figure.colorbar(scale, ax=axes, label="µV", shrink=0.7)
figure.suptitle(f"Percept − intact, {1000 * time:.0f} ms")

# %%
# And what differs from image to image, does it survive? Pearson's r across images, between
# responses to percepts and to the intact images; the mean over sensors and times after onset.

print(f"{'':8s}", "  ".join(name.removesuffix(" electrodes").rjust(5) for name in list(vision)[1:]))
survives = {}
for who, responses in rows.items():
    intact = responses["intact"].get_data()[:, :, after]
    values = [r_map(intact, responses[name].get_data()[:, :, after]) for name in list(vision)[1:]]
    survives[who] = [np.nanmean(r) for r in values]
    print(f"{who:8s}", "  ".join(f"{r:5.2f}" for r in survives[who]))
    assert survives[who] == sorted(survives[who])
    # what is lost is lost over occipital sensors
    lost = np.mean([np.abs(one.data[:, at]) for one in differences[who]], axis=0)
    occipital = np.isin(truth.ch_names, ["PO7", "PO3", "POz", "PO4", "PO8", "O1", "Oz", "O2"])
    assert lost[occipital].mean() > 3 * lost[~occipital].mean()
assert all(np.subtract(survives["encoder"], survives["brain"]) > 0.1)

# %%
# What to make of it
# ------------------
# More electrodes bring back more of what tells images apart, and what is lost is lost mostly over
# occipital sensors; encoder and simulated brain agree on both. They do not agree on how much is
# lost: the encoder is the more hopeful of the two. A grid of spots on black is unlike any image
# that it has learnt from, and what it does not know it answers with the average response. So trust
# the order of designs in such a study more than the size of their effects; where that matters,
# record responses to phosphenes drawn on a screen, and let the encoder learn from them too.
