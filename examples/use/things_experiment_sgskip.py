"""
How is the whole experiment run on THINGS?
==========================================

This page is not run when the documentation is built: the recordings take tens of gigabytes, the
images may not be passed on, and the weights of CLIP have to be downloaded once. :doc:`/data` says
where everything is to be had. Below is what a run of your own would be: fit one subject on sixteen
thousand images, predict the responses to two hundred images of concepts that were never seen,
and judge them beside baselines and noise ceilings. The tables and figures of the paper, for all
subjects, are made by one command:

.. code-block:: bash

    python -m mne_img2brain reproduce things-eeg2 --data-dir THINGS-EEG2 --out results
"""

# %%
# Read one subject
# ----------------
# The reader takes any of the forms in which THINGS-EEG2 circulates and finds images beside the
# recordings. Training responses are means over the four trials of an image; of the test images
# the eighty single trials are wanted, for noise ceilings and for judging draws. They stay on disk
# until somebody asks for them.

from pathlib import Path

import mne
import numpy as np

from mne_img2brain import (
    ClipEmbedder,
    DiffusionRegressor,
    ImageToBrainEncoder,
    evaluate,
    read_encoder,
)
from mne_img2brain.baselines import MeanResponse, RidgeGaussian
from mne_img2brain.datasets import things_eeg2, things_meg
from mne_img2brain.viz import plot_prediction, plot_score_joint

EEG, MEG, RESULTS = Path("THINGS-EEG2"), Path("THINGS-MEG"), Path("results")
RESULTS.mkdir(exist_ok=True)

train_images, train_epochs = things_eeg2.load(EEG, subject=1, split="train", average=True)
test_images, test_epochs = things_eeg2.load(EEG, subject=1, split="test", average=False)
print(train_epochs)
print(test_epochs.info["description"])  # whitened or z-scored versions have no unit

# %%
# The test concepts must not be among those of training. They are not, by the design of the data;
# it costs one line to be sure.

assert not set(train_epochs.metadata["concept"]) & set(test_epochs.metadata["concept"])

# %%
# Embed the images, once
# ------------------------
# CLIP ViT-L/14 turns an image into 257 tokens; with ``captioner=`` a vision-language model writes
# a caption, and its tokens are appended. That takes minutes on a GPU and hours on a CPU; what was
# computed is kept in ``cache_dir``, so that a second fit starts at once.

embedder = ClipEmbedder(captioner=None, cache_dir=RESULTS / "tokens")

# %%
# Fit
# ---
# Means over four trials count as four trials each; the metadata column ``n_averaged`` says so.
# Images held out inside ``fit`` are chosen by ``concept``. The baselines see the same images,
# tokens and trials.

regressors = {
    "default": DiffusionRegressor(random_state=0, verbose=True),
    "ridge": RidgeGaussian(),
    "mean response": MeanResponse(),
}
encoders = {
    name: ImageToBrainEncoder(embedder, regressor).fit(train_images, train_epochs)
    for name, regressor in regressors.items()
}
encoders["default"].save(RESULTS / "eeg-sub-01", overwrite=True)

# %%
# Judge
# -----
# One call: r and its ceiling, identification of the two hundred images, similarity of
# dissimilarities, and for draws their standard deviation, spectra, calibration and whether a
# classifier can tell them from recorded trials. Intervals are over images, of one subject.

result = evaluate(encoders, test_images, test_epochs, n_draws=20, training_epochs=train_epochs)
print(result.compare().to_string(float_format="%.3f"))
result.table.to_csv(RESULTS / "eeg-sub-01.csv", index=False)
result.report(RESULTS / "eeg-sub-01.html", overwrite=True)
print(result.difference("default", "ridge").to_string(float_format="%.3f"))

# %%
# What the numbers mean is said in :func:`mne_img2brain.evaluate`. Where the paper reports MSE and
# PCC of standardised data, compare with ``MeanResponse`` first: much of a high PCC is the average
# response, which needs no image.

plot_score_joint(result.maps["default: r"], title="r across 200 unseen images")
plot_prediction(result.maps["default: predicted"], result.maps["recorded"])

# %%
# All ten subjects
# ----------------
# A dict of subjects trains one encoder for all of them; it knows what they share and where each
# differs. The metadata column ``image`` holds the path of each image, and so can stand for the
# images. Evaluated on a dict, every subject is judged by itself, and intervals are over subjects.
# At 250 Hz the means of ten subjects take 20 GB; ``resample=100`` makes that 8.

subjects = range(1, 11)
trains = {f"sub-{k:02d}": things_eeg2.load(EEG, k, "train", resample=100)[1] for k in subjects}
tests = {
    f"sub-{k:02d}": things_eeg2.load(EEG, k, "test", average=False, resample=100)[1]
    for k in subjects
}
everyone = ImageToBrainEncoder(embedder, DiffusionRegressor(random_state=0))
everyone.fit("image", trains)
across = evaluate(everyone, "image", tests)
print(across.compare().to_string(float_format="%.3f"))

# %%
# A saved encoder, in another session
# -----------------------------------
# Predictions come as epochs with the sensors of the recording.

encoder = read_encoder(RESULTS / "eeg-sub-01", embedder=embedder)
expected = encoder.predict(test_images[:10])
trials = encoder.sample(test_images[:10], n_draws=20, random_state=0)
trials.save(RESULTS / "generated-epo.fif", overwrite=True)

# %%
# THINGS-MEG
# ----------
# The same, with 271 sensors. Two splits circulate and are not to be mixed up: with
# ``protocol="zero-shot"`` the concepts of the test images are left out of training, with
# ``"standard"`` other images of these concepts are in it. Data are z-scored and have no unit. The
# images are not those of THINGS-EEG2.

protocol = "zero-shot"
train_images, train_epochs = things_meg.load(MEG, 1, "train", average=False, protocol=protocol)
test_images, test_epochs = things_meg.load(MEG, 1, "test", average=False, protocol=protocol)
meg = {
    name: ImageToBrainEncoder(embedder, regressor).fit(train_images, train_epochs)
    for name, regressor in regressors.items()
}
result = evaluate(meg, test_images, test_epochs, n_draws=20)
print(result.compare().to_string(float_format="%.3f"))
result.report(RESULTS / "meg-sub-01.html", overwrite=True)

# %%
# Only occipital sensors, as in the paper's ablation: ``picks`` takes names.

encoder = meg["default"]
occipital = [
    name
    for name, region in zip(encoder.ch_names_, encoder.regions_, strict=True)
    if region.endswith("occipital")
]
part = ImageToBrainEncoder(embedder, DiffusionRegressor(random_state=0), picks=occipital)
part.fit(train_images, train_epochs)
r = encoder.score_evoked(test_images, test_epochs).pick(occipital)
after = r.times > 0
print(f"occipital sensors, learnt with all: {np.nanmean(r.data[:, after]):.3f}")
print(f"occipital sensors, learnt alone: {part.score(test_images, test_epochs):.3f}")
mne.viz.plot_sensors(part.info_, kind="topomap")
