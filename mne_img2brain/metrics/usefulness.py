"""Whether draws serve in place of real trials, and whether they are new."""

from collections.abc import Callable
from typing import TYPE_CHECKING, NamedTuple

import numpy as np
from sklearn.base import clone
from sklearn.discriminant_analysis import LinearDiscriminantAnalysis
from sklearn.metrics import get_scorer
from sklearn.neighbors import NearestNeighbors
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler

from .two_sample import flatten_trials, taking_trials

if TYPE_CHECKING:
    from sklearn.base import BaseEstimator


class TrainOnGenerated(NamedTuple):
    """Scores on real trials of a decoder trained on draws, and on real trials.

    Attributes
    ----------
    generated : array, shape (n_repeats,)
        The score after training on draws.
    real : array, shape (n_repeats,)
        The score after training on as many real trials.
    n_per_class : int
        How many trials of each class a decoder was trained on.

    See Also
    --------
    train_on_generated : Computes it.

    Examples
    --------
    >>> import numpy as np
    >>> from mne_img2brain.metrics import TrainOnGenerated
    >>> scores = TrainOnGenerated(np.array([0.7, 0.8]), np.array([0.8, 0.9]), n_per_class=20)
    >>> round(float((scores.real - scores.generated).mean()), 3)
    0.1
    """

    generated: np.ndarray
    real: np.ndarray
    n_per_class: int


def train_on_generated(
    generated: np.ndarray,
    y_generated: np.ndarray,
    real: np.ndarray,
    y_real: np.ndarray,
    test: np.ndarray,
    y_test: np.ndarray,
    *,
    estimator: "BaseEstimator | None" = None,
    scoring: str | Callable = "roc_auc",
    n_repeats: int = 10,
    n_per_class: int | None = None,
    random_state: int | np.random.Generator = 0,
) -> TrainOnGenerated:
    """Train a decoder on draws and test it on real trials, beside training on real trials.

    Parameters
    ----------
    generated : array, shape (n_trials, n_channels, n_times)
        The draws.
    y_generated : array, shape (n_trials,)
        The class of each draw.
    real : array, shape (n_trials, n_channels, n_times)
        The real trials to train on: those the generator has learnt from, or others of the kind.
    y_real : array, shape (n_trials,)
        The class of each.
    test : array, shape (n_trials, n_channels, n_times)
        The real trials to test on, known to neither.
    y_test : array, shape (n_trials,)
        The class of each.
    estimator : estimator | None, default None
        Any scikit-learn or MNE classifier. One of scikit-learn's own gets sensors and times as one
        row per trial, everything else arrays of shape (n_trials, n_channels, n_times). ``None`` is
        linear discriminant analysis with Ledoit-Wolf shrinkage.
    scoring : str | callable, default "roc_auc"
        A scikit-learn scorer.
    n_repeats : int, default 10
        How many times the training trials are chosen anew.
    n_per_class : int | None, default None
        How many trials of each class a decoder is trained on. ``None`` is as many as the smallest
        class of ``generated`` and ``real`` holds, less a tenth, so that repeats differ.
    random_state : int | numpy.random.Generator, default 0
        Where the choice of trials comes from.

    Returns
    -------
    TrainOnGenerated
        The scores and the number of trials.

    Raises
    ------
    ValueError
        If the classes differ, there are fewer than two or too few trials of one.

    See Also
    --------
    classifier_two_sample : Whether draws differ from real trials.

    References
    ----------
    Esteban, Hyland and Rätsch (2017), Real-valued (medical) time series generation with recurrent
    conditional GANs: train on synthetic, test on real.

    Examples
    --------
    >>> import numpy as np
    >>> from mne_img2brain.metrics import train_on_generated
    >>> rng = np.random.default_rng(0)
    >>> classes = np.repeat([0, 1], 20)
    >>> draws, real, test = 3 * classes[:, None, None] + rng.standard_normal((3, 40, 2, 4))
    >>> scores = train_on_generated(draws, classes, real, classes, test, classes, n_repeats=3)
    >>> bool(scores.generated.min() > 0.95), scores.n_per_class
    (True, 18)
    """
    if estimator is None:
        lda = LinearDiscriminantAnalysis(solver="lsqr", shrinkage="auto")
        estimator = make_pipeline(StandardScaler(), lda)
    estimator = taking_trials(estimator)
    scorer = get_scorer(scoring) if isinstance(scoring, str) else scoring
    sets = {"generated": (generated, y_generated), "real": (real, y_real), "test": (test, y_test)}
    sets = {name: (np.asarray(X, float), np.asarray(y)) for name, (X, y) in sets.items()}
    classes = np.unique(y_real)
    for name, (X, y) in sets.items():
        if len(X) != len(y):
            raise ValueError(f"The {name} trials are {len(X)}, their classes {len(y)}.")
        if len(classes) < 2 or not np.array_equal(np.unique(y), classes):
            raise ValueError(
                f"The {name} trials are of classes {np.unique(y).tolist()}, the real training "
                f"trials of {classes.tolist()}; all three sets need the same two or more."
            )
    smallest = min((sets[name][1] == c).sum() for name in ("generated", "real") for c in classes)
    if n_per_class is None:
        n_per_class = max(1, int(0.9 * smallest))
    if n_per_class > smallest:
        raise ValueError(
            f"n_per_class={n_per_class}, but the smallest class has {smallest} trials to train on."
        )
    rng = np.random.default_rng(random_state)
    scores = {"generated": [], "real": []}
    for _ in range(n_repeats):
        for name, results in scores.items():
            X, y = sets[name]
            chosen = [rng.permutation(np.flatnonzero(y == c))[:n_per_class] for c in classes]
            chosen = rng.permutation(np.concatenate(chosen))
            fitted = clone(estimator).fit(X[chosen], y[chosen])
            results.append(scorer(fitted, *sets["test"]))
    return TrainOnGenerated(np.array(scores["generated"]), np.array(scores["real"]), n_per_class)


def nearest_distance(
    trials: np.ndarray, training_trials: np.ndarray, *, scale: np.ndarray | None = None
) -> np.ndarray:
    r"""Distance of each trial to the nearest training trial.

    .. math:: d_k = \min_j \sqrt{\frac{1}{CT}\sum_{ct} (y_{kct} - x_{jct})^2 / s_c^2}

    A generator that has memorised its training trials comes nearer to them than held-out real
    trials do.

    Parameters
    ----------
    trials : array, shape (n_trials, n_channels, n_times)
        Draws or held-out real trials.
    training_trials : array, shape (n_training_trials, n_channels, n_times)
        The trials that the generator was fitted to.
    scale : array, shape (n_channels,) | None, default None
        What each sensor is divided by. ``None`` is the training trials' standard deviation.

    Returns
    -------
    array, shape (n_trials,)
        The root-mean-square distances, in units of ``scale``.

    See Also
    --------
    train_on_generated : Whether draws are of use.

    Examples
    --------
    >>> import numpy as np
    >>> from mne_img2brain.metrics import nearest_distance
    >>> training_trials = np.random.default_rng(0).standard_normal((20, 2, 5))
    >>> copies, others = training_trials[:3], training_trials[:3] + 10
    >>> nearest_distance(copies, training_trials).round(6).tolist()
    [0.0, 0.0, 0.0]
    >>> nearest_distance(others, training_trials).min() > 1
    np.True_
    """
    trials, training = np.asarray(trials, float), np.asarray(training_trials, float)
    if trials.ndim != 3 or training.ndim != 3 or trials.shape[1:] != training.shape[1:]:
        raise ValueError(
            f"Trials have shape {trials.shape}, training trials {training.shape}; both must be "
            "(n_trials, n_channels, n_times) with the same channels and times."
        )
    if scale is None:
        scale = training.std(axis=(0, 2))
    scale = np.asarray(scale, float)[:, None] * np.sqrt(training[0].size)
    nearest = NearestNeighbors(n_neighbors=1, algorithm="brute").fit(
        flatten_trials(training / scale)
    )
    return nearest.kneighbors(flatten_trials(trials / scale))[0][:, 0]
