"""Whether draws of the denoiser are better than those by states of the noise."""

from typing import TYPE_CHECKING

import numpy as np

from .._log import logger
from ..metrics import classifier_two_sample, default_classifiers
from ..noise.clusters import NoiseStates

if TYPE_CHECKING:
    from ..trials.checks import TrialArrays
    from ..trials.splits import SplitPlan
    from .denoiser import Denoiser

_MAX_TRIALS = 256  # trials that are judged: what matters shows in fewer


def denoiser_helps(denoiser: "Denoiser", data: "TrialArrays", plan: "SplitPlan", seed: int) -> bool:
    r"""Compare draws of the denoiser and of the noise's states with residuals of images held out.

    A denoiser whose loss is lower may still draw trials that are worse: the loss counts all
    timesteps alike, and errors add up over the steps of a solver. The denoiser must be better
    than :class:`~mne_img2brain.noise.clusters.NoiseStates`: a linear classifier must tell its draws
    from real residuals less often, by two standard errors
    (:func:`mne_img2brain.metrics.classifier_two_sample`), and their power must not be further off,
    in the mean over sensors and octaves of :math:`|10 \log_{10} (P / P_\text{real})|`. The states
    are those of trials that are not held out; with several subjects, and with too few such trials,
    those of the whitener, which has seen all.

    Parameters
    ----------
    denoiser : Denoiser
        Trained.
    data : TrialArrays
        ``y`` are the residuals of single trials.
    plan : SplitPlan
        ``validation`` are the trials held out.
    seed : int
        Of the draws.

    Returns
    -------
    bool
        True also where fewer than two images were held out, and nothing can be said.
    """
    residuals, tokens, image_index, subject = data.y, data.tokens, data.image_index, data.subject
    whitener = denoiser.whitener_
    rng = np.random.default_rng(seed)
    rows = np.flatnonzero(plan.validation)
    rows = np.sort(rng.permutation(rows)[:_MAX_TRIALS])
    if len(np.unique(image_index[rows])) < 2:
        return True
    whose = np.zeros(len(rows), int) if subject is None else subject[rows]
    pairs, place = np.unique(
        np.column_stack([image_index[rows], whose]), axis=0, return_inverse=True
    )
    place = place.ravel()
    images, subjects = tokens[pairs[:, 0]], None if subject is None else pairs[:, 1]
    start = rng.standard_normal((len(rows), *residuals.shape[1:]), dtype=np.float32)
    drawn = np.empty(start.shape)
    order = np.argsort(place, kind="stable")  # draws of an image stand side by side
    for draws, some in denoiser.draw(
        images, place[order], lambda draws, step: start[order[draws]], subject=subjects,
        own_mean=denoiser.mean(images, subjects),
    ):  # fmt: skip
        drawn[order[draws]] = some
    own = None if subject is None else whose
    states = NoiseStates().fit(residuals[~plan.validation], rng)
    fair = subject is None and states.trials_ is not None
    candidates = {
        "denoiser": drawn,
        "states": states.draw(start) if fair else whitener.colour(start, own),
    }
    classifiers = {"linear": default_classifiers()["linear"]}
    real = [residuals[rows[image_index[rows] == i]] for i in np.unique(image_index[rows])]
    told, off = {}, {}
    for name, values in candidates.items():
        made = [values[image_index[rows] == i] for i in np.unique(image_index[rows])]
        accuracy = classifier_two_sample(made, real, classifiers=classifiers)["linear"]
        told[name] = float(np.average(accuracy, weights=[len(one) for one in real]))
        off[name] = float(np.abs(_power(values) - _power(residuals[rows])).mean())
    logger.info(
        "Held-out residuals: draws of the denoiser are told from them with %.3f and are off by "
        "%.2f dB, draws by states of the noise with %.3f and by %.2f dB.",
        told["denoiser"], off["denoiser"], told["states"], off["states"],
    )  # fmt: skip
    # the standard error of an accuracy near a half, of as many draws as trials
    clearly = 2 * 0.5 / (2 * len(rows)) ** 0.5
    return told["denoiser"] <= told["states"] - clearly and off["denoiser"] <= off["states"]


def _power(values: np.ndarray) -> np.ndarray:
    """Return the power in octaves, in dB: shape (n_channels, n_octaves).

    The offset is left out, but for a single time point, which has nothing else.
    """
    power = np.square(np.abs(np.fft.rfft(values))).mean(axis=0)
    power = power[:, 1:] if power.shape[1] > 1 else power
    starts = 2 ** np.arange(int(np.log2(power.shape[1])) + 1) - 1
    return 10 * np.log10(np.add.reduceat(power, starts, axis=1) + np.finfo(float).tiny)
