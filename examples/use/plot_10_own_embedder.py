"""
How do I bring my own embedder?
===============================

An embedder turns images into numbers; the encoder learns responses from these. Two are in the
library, CLIP and a Gabor model. Any other will do that follows scikit-learn's way: ``fit`` and
``transform``, images in, an array of floats out, of shape (n_images, n_features) or, better,
(n_images, n_tokens, n_features). Here are three ways to bring one: a network from a hub, a
scikit-learn pipeline, and tokens computed beforehand.

Which features predict brain responses best is a question of its own, and this page cannot answer
it: the networks are made on the spot with *random weights*, so that nothing has to be downloaded.
"""

# %%
# Images and a recording
# ------------------------

from pathlib import Path
from tempfile import TemporaryDirectory

import mne
import numpy as np
import timm
import torch
from sklearn.base import BaseEstimator, TransformerMixin
from sklearn.decomposition import PCA
from sklearn.linear_model import RidgeCV
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import FunctionTransformer, StandardScaler
from transformers import ViTConfig, ViTModel

from mne_img2brain import DiffusionRegressor, GaborEmbedder, ImageToBrainEncoder
from mne_img2brain.datasets import simulate_epochs, simulate_images
from mne_img2brain.stimulus import load_rgb
from mne_img2brain.viz import plot_r_time

mne.set_log_level("WARNING")

images, _ = simulate_images(260, size=64, random_state=0)
epochs, truth = simulate_epochs(images, n_trials=3, sfreq=50.0, tmax=0.4, random_state=0)
image_id = epochs.metadata["image_id"].to_numpy()
seen = np.flatnonzero(image_id < 200)
new = np.arange(200, 260)
scores, r_over_time = {}, {}


default = DiffusionRegressor(max_iter=0, random_state=0)


def fit_and_score(name, embedder, regressor=default):
    """Fit, with the default regression for the mean, and score on sixty new images."""
    encoder = ImageToBrainEncoder(embedder, regressor)
    encoder.fit(images, epochs[seen], image_ids=image_id[seen])
    scores[name] = encoder.score(images[new], truth[new])
    r_over_time[name] = encoder.score_evoked(images[new], truth[new]).crop(0.05, None)
    return encoder


fit_and_score("Gabor", GaborEmbedder(size=64))

# %%
# A network from a hub
# --------------------
# A class with two methods. ``transform`` gets a list of images, which may be paths, PIL images or
# arrays; :func:`~mne_img2brain.stimulus.load_rgb` opens any of them. Parameters are kept under
# their own names in ``__init__``, as scikit-learn asks, so that the embedder can be cloned; the
# network is made in ``fit``, or in ``transform`` when it is first needed.
#
# The vision transformer below has a random initialisation. With weights it would be
# ``ViTModel.from_pretrained("google/vit-base-patch16-224-in21k")`` and the sizes of its
# ``AutoImageProcessor``. Its last hidden state is what is wanted: a class token, then one token for
# each patch, in reading order.


def batches(images, size, batch_size=32):
    """Yield images as a network wants them, (n, 3, size, size), from -1 to 1."""
    for start in range(0, len(images), batch_size):
        part = [load_rgb(image, start) for image in images[start : start + batch_size]]
        pixels = np.stack([np.asarray(shown.resize((size, size))) for shown in part])
        yield torch.as_tensor(pixels).permute(0, 3, 1, 2) / 127.5 - 1


class TransformerEmbedder(TransformerMixin, BaseEstimator):
    """The last hidden state of a Hugging Face vision transformer."""

    def __init__(self, image_size=64, seed=0):
        self.image_size = image_size
        self.seed = seed

    def fit(self, images, y=None):
        """Make the network."""
        with torch.random.fork_rng(devices=[]):
            torch.random.default_generator.manual_seed(self.seed)
            config = ViTConfig(
                hidden_size=96, num_hidden_layers=3, num_attention_heads=4, intermediate_size=192,
                image_size=self.image_size, patch_size=16,
            )  # fmt: skip
            self.network_ = ViTModel(config, add_pooling_layer=False).eval()
        return self

    def transform(self, images):
        """Embed images: (n_images, 1 + n_patches, hidden_size)."""
        with torch.inference_mode():
            parts = [
                self.network_(pixels).last_hidden_state
                for pixels in batches(images, self.image_size)
            ]
        return torch.cat(parts).numpy()


encoder = fit_and_score("vision transformer", TransformerEmbedder())
print("tokens:", encoder.embedder_.transform(images[:2]).shape)

# %%
# timm's networks go in the same way. A convolutional one gives a map of features, of shape
# (n_images, n_features, n_rows, n_columns): its cells are tokens. Their mean goes first, because
# the regression reads the first token as a summary of the whole image.


class ConvEmbedder(TransformerEmbedder):
    """The last map of features of a timm network."""

    def fit(self, images, y=None):
        """Make the network; ``pretrained=True`` would download weights."""
        with torch.random.fork_rng(devices=[]):
            torch.random.default_generator.manual_seed(self.seed)
            self.network_ = timm.create_model(
                "resnet10t", pretrained=False, num_classes=0, global_pool=""
            ).eval()
        return self

    def transform(self, images):
        """Embed images: (n_images, 1 + n_cells, n_features)."""
        with torch.inference_mode():
            parts = [self.network_(pixels) for pixels in batches(images, self.image_size)]
        cells = torch.cat(parts).flatten(2).transpose(1, 2)
        return torch.cat([cells.mean(1, keepdim=True), cells], dim=1).numpy()


encoder = fit_and_score("convolutional network", ConvEmbedder())
print("tokens:", encoder.embedder_.transform(images[:2]).shape)

# %%
# A scikit-learn pipeline
# -----------------------
# Pipelines are embedders as they are. This one knows nothing of vision: pixels, and their principal
# components. It is fitted with the encoder, on the images that the recorded trials answer to, so
# that nothing is learnt from those the encoder is scored on.


def to_pixels(images):
    """Return small images as rows: (n_images, 768)."""
    small = [np.asarray(load_rgb(image, k).resize((16, 16))) for k, image in enumerate(images)]
    return np.stack(small).reshape(len(small), -1) / 255.0


pixels = make_pipeline(FunctionTransformer(to_pixels), StandardScaler(), PCA(50, random_state=0))
fit_and_score("pixels, PCA", pixels)

# %%
# The regression can be a pipeline too. So can the whole encoder be searched: the parameters of both
# are those of scikit-learn, ``embedder__pca__n_components`` and so on. Ridge regression, with a
# penalty that cross-validation chose, on the same features as the default regression above:

ridge = make_pipeline(StandardScaler(), RidgeCV(np.logspace(-1, 6, 15)))
for name, embedder in (("pixels, PCA, ridge", pixels), ("Gabor, ridge", GaborEmbedder(size=64))):
    fit_and_score(name, embedder, ridge)

# %%
# Tokens computed beforehand
# --------------------------
# Where embedding takes hours, or happens on another machine, give the tokens in place of the
# images: an array of floats, or the name of a ``.npy`` file, which stays on disk until it is
# needed. Images with fewer tokens than others are padded with NaN. Such an encoder takes tokens
# wherever others take images.

transformer = TransformerEmbedder().fit_transform(images)
gabor = GaborEmbedder(size=64).fit_transform(images)
gabor = np.pad(gabor, ((0, 0), (0, 0), (0, transformer.shape[2] - gabor.shape[2])))
tokens = np.concatenate([transformer, gabor], axis=1)
with TemporaryDirectory() as folder:
    path = Path(folder) / "tokens.npy"
    np.save(path, tokens.astype(np.float16))
    from_file = ImageToBrainEncoder(regressor=default)
    from_file.fit(path, epochs[seen], image_ids=image_id[seen])
scores["transformer + Gabor"] = from_file.score(tokens[new], truth[new])
print(from_file.predict(tokens[new]))

# %%
# What came out
# -------------
# r with the true response to sixty new images, the mean over sensors and times after onset:

for name, score in sorted(scores.items(), key=lambda pair: -pair[1]):
    print(f"{name:22s} {score:.2f}")
assert scores["convolutional network"] > scores["Gabor"] - 0.1

plot_r_time(r_over_time, show=False)

# %%
# Random filters do not do badly. What the simulated brain answers to, and much of what scalp
# recordings show, is contrast, colour and where they are, which most convolutions pass on. So score
# a new embedder beside a plain one, and beside its own untrained twin: what training has added is
# the difference.
#
# Ridge regression on pixels is last because contrast is high whether light or dark comes first, and
# no weighted sum of pixels is. The penalty is not to blame, nor is ridge regression: on
# Gabor energies, which are contrasts, it is not far behind the default, whose kernels find some of
# the contrast in pixels too.

assert min(scores, key=scores.get) == "pixels, PCA, ridge"
assert scores["pixels, PCA"] > scores["pixels, PCA, ridge"] + 0.2
assert scores["Gabor"] - 0.15 < scores["Gabor, ridge"] < scores["Gabor"]
