"""Judge the default encoder and its baselines on recordings that are not shipped.

``python doc/bars.py FOLDER --convolutional`` writes ``semireal.csv``, ``n170.csv`` and
``n170_decoding.csv`` to the current folder; FOLDER holds ``semireal/semireal.npz`` and
``n170/n170_epochs.npz``. The page "How good is it" has the table that came of it.
"""

import argparse
import sys
from pathlib import Path

import mne
import numpy as np
import pandas as pd

from mne_img2brain import DiffusionRegressor, GaborEmbedder, ImageToBrainEncoder, evaluate
from mne_img2brain.baselines import MeanResponse, RidgeBaseline, RidgeGaussian
from mne_img2brain.evaluation import TrialConvNet
from mne_img2brain.metrics import default_classifiers, train_on_generated

sys.path.insert(0, str(Path(__file__).parents[1] / "tests" / "real"))
import recordings


def classifiers(convolutional):
    """Return what tells draws from trials."""
    network = {"convolutional": TrialConvNet(device="cpu")} if convolutional else {}
    return {**default_classifiers(0), **network}


def semireal(folder, convolutional):
    """Fit on 700 photographs, judge on 100 others."""
    tokens, epochs, image = recordings.semireal(folder, "train")
    new_tokens, new_epochs, new_image = recordings.semireal(folder, "val")
    encoders = {
        "default": DiffusionRegressor(random_state=0),
        "ridge, class token": RidgeBaseline(tokens="first"),
        "ridge, all tokens": RidgeBaseline(tokens="all"),
        "ridge + Gaussian": RidgeGaussian(),
        "mean response": MeanResponse(),
    }
    encoders = {
        name: ImageToBrainEncoder(regressor=regressor).fit(tokens, epochs, image_ids=image)
        for name, regressor in encoders.items()
    }
    result = evaluate(
        encoders, new_tokens, new_epochs, image_ids=new_image, n_draws=200,
        classifiers=classifiers(convolutional),
    )  # fmt: skip
    for other in ("ridge, class token", "ridge, all tokens"):
        mne.utils.logger.info(result.difference("default", other).to_string())
    return result.table


def n170(folder, convolutional):
    """Fit on half of the trials of each subject's recordings, judge on the others."""
    tables = []
    for subject in ("subject1", "subject2", "subject3"):
        tables.append(_n170_subject(folder, convolutional, subject))
        pd.concat(tables, ignore_index=True).to_csv("n170.csv", index=False)
    return pd.concat(tables, ignore_index=True)


def _n170_subject(folder, convolutional, subject):
    """Judge one subject's encoders."""
    images, epochs, image, *_ = recordings.n170(folder, subject)
    # 1-30 Hz, given at 256 Hz: what is above is the flank of a filter
    epochs = epochs.decimate(4, verbose="error")
    # of each image every other trial
    order = pd.Series(image).groupby(image).cumcount().to_numpy()
    fitted, held = np.flatnonzero(order % 2 == 0), np.flatnonzero(order % 2 == 1)
    encoders = {
        name: ImageToBrainEncoder(GaborEmbedder(), regressor).fit(
            images, epochs[fitted], image_ids=image[fitted]
        )
        for name, regressor in {
            "default": DiffusionRegressor(random_state=0),
            "default, no denoiser": DiffusionRegressor(max_iter=0, random_state=0),
            "ridge + Gaussian": RidgeGaussian(),
        }.items()
    }
    result = evaluate(
        encoders, images, epochs[held], image_ids=image[held], n_draws=200, window=(0.0, 0.6),
        bands={"1-4": (1, 4), "4-8": (4, 8), "8-13": (8, 13), "13-30": (13, 30)},
        classifiers=classifiers(convolutional), labels=np.repeat([0, 1], 12),
        allow_training_images=True,
    )  # fmt: skip
    return result.table.assign(subject=subject)


def n170_decoding(folder, convolutional):
    """Tell faces from houses with decoders trained on draws, and on real trials."""
    rows = []
    for subject in ("subject1", "subject2", "subject3"):
        images, epochs, _, face, _ = recordings.n170(folder, subject)
        epochs = epochs.decimate(4, verbose="error")
        # which image a trial showed was not logged: one stands for each category
        images = [images[0], images[12]]
        order = np.random.default_rng(0).permutation(len(epochs))
        fitted, held = np.sort(order[: len(order) // 2]), np.sort(order[len(order) // 2 :])
        trials = epochs.get_data(copy=False)
        for name, regressor, guidances in (
            ("default", DiffusionRegressor(random_state=0), (1, 2, 3)),
            ("ridge + Gaussian", RidgeGaussian(), (1,)),
        ):
            encoder = ImageToBrainEncoder(GaborEmbedder(), regressor)
            encoder.fit(images, epochs[fitted], image_ids=face[fitted])
            for guidance in guidances:
                draws = encoder.sample(images, 400, random_state=0, guidance_scale=guidance)
                auc = train_on_generated(
                    draws.get_data(copy=False), draws.metadata["image_id"].to_numpy(),
                    trials[fitted], face[fitted], trials[held], face[held],
                )  # fmt: skip
                scores = [auc.generated.mean(), auc.real.mean(), auc.n_per_class]
                rows.append([subject, name, guidance, *scores])
    columns = ["subject", "encoder", "guidance", "AUC, draws", "AUC, trials", "trials"]
    return pd.DataFrame(rows, columns=columns)


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("folder", type=Path)
    parser.add_argument("--only", choices=["semireal", "n170", "n170_decoding"])
    parser.add_argument("--convolutional", action="store_true", help="add a network; slow")
    arguments = parser.parse_args()
    mne.set_log_level("INFO")
    for judge in (semireal, n170, n170_decoding):
        if arguments.only in (None, judge.__name__):
            table = judge(arguments.folder, arguments.convolutional)
            table.to_csv(f"{judge.__name__}.csv", index=False)
            mne.utils.logger.info("\n" + table.round(3).to_string())
