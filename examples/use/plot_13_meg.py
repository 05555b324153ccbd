"""
What is different with MEG?
===========================

Nothing changes for MEG: the encoder takes the epochs as they are and returns epochs with the same
sensors. What is worth knowing is how sensors of different types get along, in which units plots
are, and what projectors and the rank of the data have to do with it. Shown on a Neuromag helmet
(102 magnetometers, 204 planar gradiometers) and on a CTF helmet (axial gradiometers).
"""

# %%
# One brain, two helmets
# ----------------------
# MNE knows the sensors of several helmets without a recording; the same simulated brain is put into
# two of them. The Neuromag helmet is thinned here to every second place, so that this page is made
# quickly.

import mne
import numpy as np
from sklearn.linear_model import RidgeCV

from mne_img2brain import DiffusionRegressor, GaborEmbedder, ImageToBrainEncoder
from mne_img2brain.datasets import simulate_epochs, simulate_images
from mne_img2brain.viz import plot_prediction, plot_score_joint

mne.set_log_level("WARNING")

images, category = simulate_images(260, size=64, random_state=0)
seen, new = np.arange(200), np.arange(200, 260)
tokens = GaborEmbedder(size=64).fit_transform(images)


def record(helmet, every=1):
    """Return epochs in the order of the images, and the true responses."""
    info = mne.channels.read_meg_canonical_info(helmet)
    picks = mne.pick_types(info, meg=True, ref_meg=False)
    places = sorted({info["ch_names"][k][:-1] for k in picks})[::every]
    keep = [k for k in picks if info["ch_names"][k][:-1] in places] if every > 1 else picks
    info = mne.pick_info(info, keep)
    return simulate_epochs(
        images, info=info, n_trials=3, sfreq=50.0, tmax=0.4, snr=0.3, category=category,
        random_state=0,
    )  # fmt: skip


neuromag, neuromag_truth = record("neuromag", every=2)
ctf, ctf_truth = record("ctf275")
for name, epochs in {"Neuromag": neuromag, "CTF": ctf}.items():
    types = epochs.get_channel_types()
    print(name, {one: types.count(one) for one in sorted(set(types))})

# %%
# MNE counts CTF's axial gradiometers as magnetometers, for the units are those: T, plotted in fT.
# Planar gradiometers are in T/m and plotted in fT/cm.

# %%
# Fit, with both types at once
# ----------------------------
# The numbers of the two types differ by more than ten to one, and have different units. Each type
# is divided by one number of its own before anything is learnt, and multiplied again at the end;
# so neither type drowns the other, and topographies keep their shape.


def fit(epochs, regressor=None):
    """Fit on the trials of two hundred images."""
    image_id = epochs.metadata["image_id"].to_numpy()
    known = np.flatnonzero(np.isin(image_id, seen))
    regressor = regressor or DiffusionRegressor(max_iter=0, random_state=0)
    encoder = ImageToBrainEncoder(regressor=regressor)
    return encoder.fit(tokens, epochs[known], image_ids=image_id[known])


encoder = fit(neuromag)
for ch_type, scale in encoder.scaler_.scales_.items():
    print(f"scale of {ch_type}: {scale:.1e} {'T/m' if ch_type == 'grad' else 'T'}")
assert encoder.scaler_.scales_["grad"] > 10 * encoder.scaler_.scales_["mag"]
predicted = encoder.predict(tokens[new])
print(predicted.info)

# %%
# The average over sixty new images. The field of a dipole has two poles; magnetometers show both,
# with the source in between. Planar gradiometers are strongest right above it.

times = [0.1, 0.18, 0.24]
evoked = predicted.average()
recorded = neuromag[np.flatnonzero(neuromag.metadata["image_id"].isin(new))].average()
plot_prediction(
    evoked, recorded, ch_type="mag", times=times, title="Magnetometers, Neuromag", show=False
)

# %%
# Signs and places differ, latencies do not:

plot_prediction(
    evoked, recorded, ch_type="grad", times=times, title="Planar gradiometers, Neuromag", show=False
)

# %%
# MNE's own figures work as on any evoked response:

evoked.plot_topomap(times, ch_type="mag", show=False)

# %%
# How well, by sensor type?
# -------------------------
# r with the true responses over the sixty images, which no average can flatter; ridge regression
# on the same tokens beside it.

ridge = fit(neuromag, RidgeCV(np.logspace(-1, 6, 15)))
for ch_type in ("mag", "grad"):
    scores = []
    for one in (encoder, ridge):
        r = one.score_evoked(tokens[new], neuromag_truth[new]).pick(ch_type).crop(0.05, None)
        scores.append(r.data.mean())
    print(f"{ch_type:5s} default {scores[0]:.2f}, ridge {scores[1]:.2f}")
    assert scores[0] > scores[1]

r = encoder.score_evoked(tokens[new], neuromag_truth[new]).crop(0.05, None)
plot_score_joint(r, ch_type="grad", times=times, title="r, planar gradiometers", show=False)

# %%
# CTF
# ---
# The same code. Brain regions, which the diffusion transformer's tokens stand for, are read off the
# sensors' names: of CTF the letters (``MLO`` is left occipital), of Neuromag the numbers.

ctf_encoder = fit(ctf)
regions, counts = np.unique(ctf_encoder.regions_, return_counts=True)
for region, count in zip(regions, counts, strict=True):
    print(f"{region:18s}{count:3d}")
print(f"r with the truth: {ctf_encoder.score(tokens[new], ctf_truth[new]):.2f}")
ctf_evoked = ctf_encoder.predict(tokens[new]).average()
recorded = ctf[np.flatnonzero(ctf.metadata["image_id"].isin(new))].average()
plot_prediction(ctf_evoked, recorded, times=times, title="CTF", show=False)

# %%
# Projectors and rank
# -------------------
# After signal-space separation or projection, data have fewer dimensions than sensors. What is
# generated stays in the space that the recording lives in, so that whitening, source localisation
# and covariances work as with the recording. Here two components of the noise before onset are
# projected out of the magnetometers.

magnetometers = neuromag.copy().pick("mag")
noise = mne.compute_proj_epochs(magnetometers.copy().crop(None, 0), n_mag=2)
magnetometers.add_proj(noise).apply_proj()
generated = fit(magnetometers).predict(tokens[new])
for name, epochs in {"recorded": magnetometers, "generated": generated}.items():
    rank = mne.compute_rank(epochs, tol=1e-6, tol_kind="relative")["mag"]
    active = [proj["active"] for proj in epochs.info["projs"]]
    assert rank == len(epochs.ch_names) - 2
    assert active == [True, True]
    print(f"{name:10s} {len(epochs.ch_names)} sensors, rank {rank}, projectors applied: {active}")

# %%
# Recordings without a unit
# -------------------------
# Some public recordings were z-scored, THINGS-MEG among them. MNE still calls their sensors
# magnetometers and would write fT beside them. The readers of this library note "no unit" in
# ``info["description"]``, what is generated inherits it, and the figures of
# :mod:`mne_img2brain.viz` say so; in figures of MNE give ``units`` and ``scalings``.
