"""
Tutorial: your own recording, from raw to a saved encoder
=========================================================

What you have is a raw recording, a folder of images, and a list of which image was shown when. This
page goes all the way from there. So that it can be followed from an empty folder, its first cell
writes such a recording to disk; with your own, begin at the second. At each step it says what can
go wrong.
"""

# %%
# A recording on disk
# -------------------
# Two hundred images as PNG files, each shown three times; one FIF file with a trigger channel; and
# a CSV with the name of the image of every trial. Replace this cell by your own files.

import tempfile
from pathlib import Path

import mne
import numpy as np
import pandas as pd
from PIL import Image

from mne_img2brain import (
    DiffusionRegressor,
    GaborEmbedder,
    ImageToBrainEncoder,
    evaluate,
    read_encoder,
)
from mne_img2brain.baselines import RidgeGaussian
from mne_img2brain.datasets import simulate_epochs, simulate_images

mne.set_log_level("WARNING")
folder = Path(tempfile.mkdtemp())
(folder / "images").mkdir()

images, concept = simulate_images(200, random_state=0)
names = [f"{kind}_{number:03d}.png" for number, kind in enumerate(concept)]
for name, image in zip(names, images, strict=True):
    Image.fromarray(image).save(folder / "images" / name)

trials, _ = simulate_epochs(images, n_trials=3, snr=0.8, random_state=0)
shown = trials.metadata["image_id"].to_numpy()
data = np.hstack(np.pad(trials.get_data(), ((0, 0), (0, 0), (20, 20))))  # trials end to end
trigger = np.zeros((1, data.shape[1]))
onset = np.arange(len(trials)) * (len(trials.times) + 40) + 20 + np.argmin(np.abs(trials.times))
trigger[0, onset] = 1
info = mne.create_info([*trials.ch_names, "STI"], trials.info["sfreq"], ["eeg"] * 33 + ["stim"])
raw = mne.io.RawArray(np.vstack([data, trigger]), info)
raw.set_montage(trials.get_montage()).save(folder / "sub-01_raw.fif")
pd.DataFrame({"image": [names[k] for k in shown]}).to_csv(folder / "shown.csv", index=False)

# %%
# Raw and events
# --------------
# Filter and mark bad channels as for any analysis; what is bad is not learnt.
#
# *What can go wrong*: triggers that are no image onsets (fixation, responses) make more events than
# there are images. Compare the numbers before you go on.

raw = mne.io.read_raw_fif(folder / "sub-01_raw.fif", preload=True)
raw.filter(0.1, 40)
events = mne.find_events(raw, "STI")
shown = pd.read_csv(folder / "shown.csv")
print(f"{len(events)} events, {len(shown)} rows")
assert len(events) == len(shown) == 600

# %%
# Epochs that know their image
# ----------------------------
# The name of the image's file goes into the metadata, one row for each event. From here on, an
# epoch that is dropped takes its row along, and no list of images can come out of step with the
# trials.
#
# *What can go wrong*: dropping epochs first and attaching the list afterwards. Give ``metadata`` to
# :class:`mne.Epochs`, which drops both.

metadata = shown.assign(concept=shown["image"].str.split("_").str[0])
epochs = mne.Epochs(
    raw, events, tmin=-0.1, tmax=0.6, metadata=metadata, reject={"eeg": 100e-6}, preload=True
)
print(f"{len(epochs)} of {len(events)} epochs are good")
epochs.metadata.head(3)

# %%
# Hold out by concept
# -------------------
# An image that was in training must not be in the test, and neither should another star, if you
# want to know about objects the encoder has not met. ``evaluate`` refuses images that were in the
# fit; that concepts differ is for you to see to.
#
# *What can go wrong*: splitting trials at random, so that every test image was in training too.

test_concept = epochs.metadata["concept"] == "star"
train, test = epochs[~test_concept], epochs[test_concept]
assert not set(train.metadata["image"]) & set(test.metadata["image"])

# %%
# Fit
# ---
# A folder, and ``image_ids``, the column that holds the names in it; where a column holds whole
# paths, ``fit("image", epochs)`` does. Each file is read and embedded once, however many trials it
# has. Here the embedder is Gabor filters, which download nothing; ``ImageToBrainEncoder()`` takes
# CLIP, which is better for photographs of objects.
#
# *What can go wrong*: a file that is not there is an error that names it. On a recording of your
# own leave out ``max_iter=0``, which skips the transformer.

encoders = {
    "default": ImageToBrainEncoder(GaborEmbedder(), DiffusionRegressor(max_iter=0, random_state=0)),
    "ridge": ImageToBrainEncoder(GaborEmbedder(), RidgeGaussian()),
}
for encoder in encoders.values():
    encoder.fit(folder / "images", train, image_ids="image")
encoders["default"]

# %%
# Evaluate
# --------
# Against the recorded trials of the held-out concept, with ridge regression beside. The noise
# ceiling says what a perfect prediction would get with so many trials; it is an estimate too, and a
# ratio of about one says only that these trials can tell no better.
#
# *What can go wrong*: with one trial of an image there is no noise ceiling, and with a ceiling near
# zero nothing can be said; look at it before you look at r.

result = evaluate(
    encoders, folder / "images", test, image_ids="image",
    n_draws=4, n_splits=20, n_bootstrap=200, random_state=0,
)  # fmt: skip
print(result.compare().round(2).to_string())
assert result.value("r", "default") > 0.2

# %%
# Report and save
# ---------------
# The report is one HTML file. The saved encoder is a folder without pickles; it may hold recorded
# trials, which its log and :doc:`the page on sharing </sharing>` say how to leave out.
#
# *What can go wrong*: ``overwrite`` is not the default, so a second run asks for it.

result.report(folder / "report.html")
encoders["default"].save(folder / "sub-01-encoder")
for path in sorted(folder.iterdir()):
    print(path.name)

# %%
# In another session
# ------------------
# New images in, epochs out, as on the first day.

new_images, _ = simulate_images(5, random_state=1)
encoder = read_encoder(folder / "sub-01-encoder")
expected = encoder.predict(new_images)
np.testing.assert_allclose(
    expected.get_data(), encoders["default"].predict(new_images).get_data(), rtol=1e-3, atol=1e-9
)
expected.average().plot_joint(times=[0.1, 0.17, 0.25], title="Five new images", show=False)
