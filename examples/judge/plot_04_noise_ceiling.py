"""
How good can it get?
====================

A correlation of 0.2 may be poor, or all that the noise of the recording allows. This page puts
predictions beside three things: the noise ceiling, an estimate of what a perfect model would get;
chance; and a linear baseline, which every model should pass. One call does it: ``evaluate``.
"""

# %%
# Encoders to compare
# -------------------
# Three regressors on the same tokens of the same images: the default one, ridge regression, and
# one that answers every image with the average response. ``max_iter=0`` leaves out the training
# of the denoiser, which ``predict`` does not need. Eighty images, with eight trials each, are
# kept for the test; the others are trained on, with four of their trials.

import matplotlib.pyplot as plt
import mne
import numpy as np

from mne_img2brain import DiffusionRegressor, GaborEmbedder, ImageToBrainEncoder, evaluate
from mne_img2brain.baselines import MeanResponse, RidgeBaseline
from mne_img2brain.datasets import simulate_epochs, simulate_images
from mne_img2brain.metrics import r_map, time_mask
from mne_img2brain.viz import plot_identification, plot_r_time, plot_score_joint

mne.set_log_level("WARNING")

images, _ = simulate_images(320, random_state=0)
epochs, truth = simulate_epochs(images, n_trials=8, snr=0.4, random_state=0)
image_id = epochs.metadata["image_id"].to_numpy()
new = np.arange(320) >= 240
train = np.flatnonzero(~new[image_id] & (epochs.metadata["repetition"] < 4).to_numpy())
test = np.flatnonzero(new[image_id])

encoders = {
    "encoder": DiffusionRegressor(max_iter=0, random_state=0),
    "ridge": RidgeBaseline(),
    "mean response": MeanResponse(),
}
for name, regressor in encoders.items():
    encoder = ImageToBrainEncoder(GaborEmbedder(), regressor)
    encoders[name] = encoder.fit(images, epochs[train], image_ids=image_id[train])

# %%
# One call, one table
# -------------------
# All encoders are judged on the same trials, with the same random halves and the same resamples of
# images. ``evaluate`` refuses images that an encoder was trained on. Here only predictions are
# judged; ``n_draws`` would add rows on single-trial draws.

result = evaluate(
    encoders,
    images,
    epochs[test],
    image_ids=image_id[test],
    n_draws=0,
)
table = result.compare()
pcc = {name: result.value("pcc", name) for name in encoders}
assert pcc["mean response"] > 0.8 * pcc["encoder"]
table.round(2)

# %%
# The column ``chance`` is what a prediction gets that knows nothing of the image; ``ceiling`` is
# what the noise-free response would get. Look at the row ``pcc``, the correlation over sensors and
# times within one image: the mean response, which is the same for all images, comes close to
# the others. **Where the mean response scores well, it is not measured whether images are told
# apart.**
#
# r over time, and its ceiling
# ----------------------------
# Pearson's r across images with the mean of the recorded trials, for every sensor and time. The
# ceiling comes from the recording alone: how much more the means of images vary than the noise of
# their trials makes them says what the noise-free response would reach. In grey are times at which
# the recording does not distinguish the images; there is no ceiling there.

names = ("encoder", "ridge")
r = {name: result.maps[f"{name}: r"] for name in names}
plot_r_time(r, result.maps["ceiling of r"], window=result.window, show=False)
for name in names:
    print(
        f"{name:8s} r {result.value('r', name):.2f}, "
        f"{100 * result.value('r / ceiling', name):.0f} % of the ceiling"
    )

# %%
# The map of the ceiling says which sensors and times can be predicted at all:

plot_score_joint(
    result.maps["ceiling of r"], times=[0.11, 0.17, 0.25], title="Noise ceiling of r", show=False
)

# %%
# And what the encoder reaches of it:

plot_score_joint(r["encoder"], times=[0.11, 0.17, 0.25], title="r of the encoder", show=False)

# %%
# Is the ceiling right? In a simulation one can look: the true response, correlated with the mean of
# the recorded trials.

inside = time_mask(epochs.times, *result.window)
true = truth.get_data()[new]
trials = [epochs[np.flatnonzero(image_id == k)].get_data() for k in np.flatnonzero(new)]
recorded = np.stack([of_image.mean(axis=0) for of_image in trials])
estimated = result.table.query("metric == 'r'")["ceiling"].iloc[0]
reached = r_map(recorded, true)[:, inside].mean()
print(f"Ceiling, estimated from the recording: {estimated:.2f}")
print(f"r of the true response: {reached:.2f}")
assert abs(estimated - reached) < 0.05

# %%
# It is, within 0.05. A root taken sensor by sensor and time by time, and averaged then, would not
# be: of hardly any signal, the root of a noisy number is no use. So the distribution of ceilings
# over sensors and times is estimated first.
#
# Is one better than the other?
# -----------------------------
# Differences between encoders are paired: every resample holds the same images for both. An
# interval that holds zero says that eighty images do not tell them apart.

difference = result.difference("encoder", "ridge").set_index("metric")
assert difference.loc["r", "ci_low"] > 0
difference.loc[["r", "top-1", "top-5", "mean rank", "pairwise accuracy"]].round(3)

# %%
# Identification
# --------------
# A recorded response is compared with the predicted responses of all eighty images. How often is
# the right one the most similar? On the left in a sliding window, on the right in the whole window
# among fewer candidates, drawn at random.

curves = {name: result.curves[name] for name in names}
plot_identification(
    {name: of_one["identification"][:2] for name, of_one in curves.items()},
    {name: of_one["n-way"] for name, of_one in curves.items()},
    show=False,
)

# %%
# Equivalent number of trials
# ---------------------------
# The number that is easiest to grasp: how many recorded trials of an image have to be averaged
# before they predict its other trials as well as the model does? It is extrapolated from averages
# of up to half the trials.

worth = {name: result.value("equivalent trials", name) for name in encoders}
for name, n in worth.items():
    print(f"{name:14s} is worth {n:.0f} trials of an image")
assert worth["encoder"] > worth["ridge"] > worth["mean response"]

# %%
# That can be checked too: r with the true response, of averages over more and more trials and of
# the two models.

counts = np.arange(1, 9)
averages = [np.stack([of_image[:n].mean(axis=0) for of_image in trials]) for n in counts]

figure, axis = plt.subplots(figsize=(6, 3.2), layout="constrained")
of_averages = [r_map(true, y)[:, inside].mean() for y in averages]
axis.plot(counts, of_averages, "o-", color="black", label="average of recorded trials")
for name, (color, style) in zip(names, [("#0072B2", "-"), ("#D55E00", "--")], strict=True):
    predicted = encoders[name].predict(images[new]).get_data()
    level = r_map(true, predicted)[:, inside].mean()
    axis.axhline(level, color=color, ls=style, lw=2, label=name)
    assert level > max(of_averages)  # of all eight trials
axis.set(xlabel="Trials averaged", ylabel="r with the true response", xlim=(0.5, 8.5), ylim=(0, 1))
axis.legend(frameon=False)

# %%
# A prediction is worth many trials here because the simulated response depends on the image
# through few and simple features, trials are noisy, and the window holds late times with little
# signal, where averages of few trials are hardly more than noise. Predictions of real responses
# are worth less. And averages improve with every trial and end at the truth; a prediction stays
# where it is.
#
# ``result.report("evaluation.html")`` puts the table and all figures on one page.
