"""Whether draws of the transformer are better than those of noise that knows no image.

regressor/fitting.py asks, and says when none is trained at all.
"""

import dataclasses
from typing import TYPE_CHECKING

import numpy as np
from scipy.stats import t as student

from ..metrics import TrialFeatures, classifier_two_sample, crps, default_classifiers
from ..noise.clusters import TrialClusters

if TYPE_CHECKING:
    from ..trials.checks import TrialArrays
    from ..trials.splits import SplitPlan
    from .denoiser import Denoiser

LEAST_TRIALS = 8_000  # with fewer it has not been seen to be kept; see "What we tried"
MOST_VALUES = 2**24  # numbers of trials that a CPU learns from in less than an hour
_MAX_CASES = 1000  # images, or images of subjects: with more, nothing is left to decide
_MAX_DRAWS = 4000
_CHANCE = 0.025  # that a transformer is kept that draws as the noise without it does
_NOTICED = 0.02  # more often than draws by recorded trials: what keeping no trial may cost


@dataclasses.dataclass
class NoiseSummary:
    """What was tried to draw single trials, what it cost, and what was kept.

    kept: what draws: ``"the transformer"``, ``"trial clusters"`` or ``"one Gaussian"``.
    n_trials: trials of the fit.
    n_bands: bands of frequency whose power follows the image.
    n_iter: gradient steps of the transformer; 0 where none was trained.
    seconds: what training it and comparing it took.
    reason: why it was kept or not.
    gain, gain_error: by what part draws of the transformer score better than those without it, in
        the mean over images held out, and its standard error; None where they were not compared.
    accuracy, accuracy_without: how often a linear classifier tells draws from trials held out.
    helps: whether the transformer draws better, or as well without keeping recorded trials.
    """

    kept: str
    n_trials: int
    n_bands: int = 0
    n_iter: int = 0
    seconds: float = 0.0
    reason: str = "not asked for"
    gain: float | None = None
    gain_error: float | None = None
    accuracy: float | None = None
    accuracy_without: float | None = None
    helps: bool = False

    def __str__(self) -> str:
        power = f"power of {self.n_bands} bands" if self.n_bands else "no power"
        cost = f" ({self.n_iter} gradient steps, {self.seconds:.0f} s)" if self.n_iter else ""
        return f"{self.kept}; {power} follows the image; transformer{cost}: {self.reason}"

    def compare(self, found: dict[str, float]) -> None:
        """Take what :func:`compare_draws` returned."""
        if not found:
            self.reason = "one image held out says nothing"
            return
        self.gain, self.gain_error = found["gain"], found["gain_error"]
        self.accuracy, self.accuracy_without = found["accuracy"], found["accuracy_without"]
        better, worse = self.gain > found["threshold"], self.gain < -found["threshold"]
        noticed = self.accuracy > self.accuracy_without + _NOTICED
        alike = not (better or worse or noticed)
        self.helps = better or (alike and self.kept == "trial clusters")
        self.reason = (
            f"trials held out score {abs(self.gain):.2%} "
            f"{'better' if self.gain > 0 else 'worse'} under its draws "
            f"(standard error {self.gain_error:.2%}), a classifier tells them with "
            f"{self.accuracy:.3f}, those without it with {self.accuracy_without:.3f}"
        )
        if self.helps and not better:
            self.reason += "; of the two it is the one that keeps no recorded trial"


def compare_draws(
    denoiser: "Denoiser", data: "TrialArrays", plan: "SplitPlan", seed: int
) -> dict[str, float]:
    r"""Score draws of the denoiser, and of noise without it, by trials of images held out.

    A denoiser whose loss is lower may still draw trials that are worse: the loss counts all
    timesteps alike, and errors add up over the steps of a solver. And no comparison of all draws
    with all trials sees whether draws are those *of their image*. So every trial held out is
    scored under the draws of its image, by the fair CRPS (:func:`mne_img2brain.metrics.crps`) of
    the features of :class:`~mne_img2brain.metrics.TrialFeatures`: the log power of bands, the
    covariance over sensors, and the amplitude in windows of time. With :math:`S_k(i)` the mean
    score of the features of kind :math:`k` at image :math:`i`, the denoiser gains

    .. math:: D(i) = \frac{1}{3} \sum_k \frac{S_k^\text{without}(i) - S_k^\text{with}(i)}
        {\mathrm{mean}_j\, S_k^\text{without}(j)}.

    A proper score is best in expectation for the distribution that trials are from: :math:`D` has
    no positive expectation unless the denoiser is closer to it. It is kept where the mean of
    :math:`D` over images is larger than zero by a one-sided t test at 2.5 %.

    Scores of one feature at a time are blind to how features go together, which classifiers see.
    A denoiser keeps no recorded trial, and the noise without it may: then it is also kept where
    :math:`D` is not below zero by that test, and the accuracy of a linear classifier is higher by
    0.02 at most.

    Noise without it is that of :class:`~mne_img2brain.noise.clusters.TrialClusters` of trials that
    are not held out; with several subjects, and with too few such trials, that of
    :class:`~mne_img2brain.noise.subject_noise.SubjectNoise`, which has seen all.

    data: ``y`` are the residuals of single trials.
    plan: ``validation`` are the trials held out.
    Returns: ``gain``, ``gain_error`` and ``threshold``, the least gain that is believed;
        ``accuracy`` and ``accuracy_without`` of a linear classifier that tells draws from trials.
        Empty where fewer than two images were held out, and nothing can be said.
    """
    rng = np.random.default_rng(seed)
    rows = np.flatnonzero(plan.validation)
    # with too few images to hold images out every trial is a case of its own
    unit = plan.group if plan.by_trial else data.image_index
    subject = np.zeros(len(data.y), int) if data.subject is None else data.subject
    cases, case = np.unique(
        np.column_stack([data.image_index, subject, unit])[rows], axis=0, return_inverse=True
    )
    chosen = np.sort(rng.permutation(len(cases))[:_MAX_CASES])
    real = [data.y[rows[case.ravel() == one]] for one in chosen]
    image, whose, unit = cases[chosen].T
    if len(np.unique(unit)) < 2:
        return {}
    n_draws = int(np.clip(_MAX_DRAWS // len(chosen), 4, 20))
    draws = _draw_both(denoiser, data, plan, image, whose, n_draws, rng)
    place = np.unique(unit, return_inverse=True)[1].ravel()
    total = np.bincount(place, weights=_gains(real, draws["without"], draws["with"]))
    gain = total * len(total) / len(chosen)  # the mean over images is that over cases
    error = float(gain.std(ddof=1) / len(gain) ** 0.5)
    linear = {"linear": default_classifiers()["linear"]}
    told = {
        name: float(classifier_two_sample(made, real, classifiers=linear)["linear"].mean())
        for name, made in draws.items()
    }
    return {
        "gain": float(gain.mean()),
        "gain_error": error,
        "threshold": float(student.isf(_CHANCE, len(gain) - 1)) * error,
        "accuracy": told["with"],
        "accuracy_without": told["without"],
    }


def _draw_both(
    denoiser: "Denoiser", data: "TrialArrays", plan: "SplitPlan", image: np.ndarray,
    subject: np.ndarray, n_draws: int, rng: np.random.Generator,
) -> dict[str, list[np.ndarray]]:  # fmt: skip
    """Draw for each case: with the denoiser and without, arrays (n_draws, n_channels, n_times)."""
    shape = (len(image), n_draws, *data.y.shape[1:])
    start = rng.standard_normal((2, *shape), dtype=np.float32).reshape(2, -1, *shape[2:])
    tokens, whose = data.tokens[image], None if data.subject is None else subject
    drawn = np.empty(start[0].shape, np.float32)
    for draws, some in denoiser.draw(
        tokens, np.repeat(np.arange(len(image)), n_draws), lambda draws: iter(start[:, draws]),
        subject=whose, own_mean=denoiser.mean(tokens, whose),
    ):  # fmt: skip
        drawn[draws] = some
    clusters = TrialClusters()
    if data.subject is None:
        clusters.fit(data.y[~plan.validation], rng)
    if clusters.can_draw:
        without = clusters.draw(start[0])
    else:
        own = None if whose is None else np.repeat(whose, n_draws)
        without = denoiser.whitener_.draw_of(start[0], own)
    return {"with": [*drawn.reshape(shape)], "without": [*np.reshape(without, shape)]}


def _gains(
    real: list[np.ndarray], without: list[np.ndarray], denoised: list[np.ndarray]
) -> np.ndarray:
    """Return by how much draws of the denoiser score better, for each case."""
    features = TrialFeatures().fit(np.concatenate(real))
    parts, ends = [], []
    for trials in (real, without, denoised):
        parts.append(features.transform_parts(np.concatenate(trials)))
        ends.append(np.cumsum([len(one) for one in trials])[:-1])
    gains = []
    for kind in zip(*parts, strict=True):
        scale = kind[0].std(axis=0)
        varies = scale > 0
        if not varies.any():  # a single time point has no covariance
            continue
        trials, old, new = (
            np.split((values[:, varies] / scale[varies])[:, :, None], end)
            for values, end in zip(kind, ends, strict=True)
        )
        before, after = (
            crps(draws, trials, per_image=True).mean(axis=(1, 2)) for draws in (old, new)
        )
        gains.append((before - after) / before.mean())
    return np.mean(gains, axis=0)
