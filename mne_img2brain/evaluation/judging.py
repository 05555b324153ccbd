"""evaluate: encoders against recordings, in one table on the same split."""

import mne
import numpy as np
from sklearn.base import BaseEstimator

from .._log import logger, progress_bar, use_log_level, warn
from .._parameters import Integer, check_given
from .._types import Encoder, ImageIds, Regressor
from ..epochs import read_recording, to_evoked_map
from ..epochs.labels import check_names
from ..epochs.maps import WITH_UNIT
from ..metrics import ncsnr, time_mask
from . import decoding, material
from .asked import Options, check_by_subject, check_encoders, check_options, check_windows
from .ceilings import Ceilings, find_ceilings
from .draws import Real, judge_draws
from .induced import RealRhythms
from .material import Recorded
from .predictions import judge_prediction
from .result import Evaluation
from .rows import Rows, frame
from .subjects import combine


def evaluate(
    encoder: "Encoder | dict[str, Encoder]",
    images: list | np.ndarray | str,
    epochs: mne.BaseEpochs | list | dict[str, mne.BaseEpochs],
    *,
    image_ids: np.ndarray | str | dict | None = None,
    captions: list[str] | None = None,
    subject: str | None = None,
    n_draws: int = 50,
    window: tuple[float, ...] = (0.05, 0.6),
    draw_window: tuple[float, ...] = (0.0, 0.6),
    components: dict[str, tuple] | None = None,
    bands: dict[str, tuple] | None = None,
    classifiers: dict[str, BaseEstimator] | None = None,
    training_epochs: mne.BaseEpochs | list | None = None,
    labels: np.ndarray | None = None,
    decoder: Regressor | None = None,
    n_splits: int = 100,
    n_bootstrap: int = 1000,
    level: float = 0.95,
    allow_training_images: bool = False,
    random_state: int = 0,
    verbose: bool | str | int | None = None,
) -> Evaluation:
    """Judge encoders against recorded responses to images they have not seen.

    Every encoder is judged on the same trials, with the same random halves and the same resamples
    of images, so that differences between encoders are paired. What each metric is, is said in
    :mod:`mne_img2brain.metrics`.

    Parameters
    ----------
    encoder : encoder | dict of str to encoder
        Fitted encoders; a dict names those to compare.
    images : list | array | str
        Images or tokens, as in :meth:`mne_img2brain.ImageToBrainEncoder.fit`.
    epochs : mne.BaseEpochs | list | dict of str to mne.BaseEpochs
        The recorded responses. Several trials of an image give noise ceilings and allow draws to
        be judged. A dict holds those of several subjects: each is judged by itself, the table has
        the means and its intervals are over subjects.
    image_ids : array of int, shape (n_epochs,) | str | dict | None, default None
        The image of each epoch, as in fit; a dict holds those of each subject.
    captions : list of str | None, default None
        One per image.
    subject : str | None, default None
        Which of the encoders' subjects ``epochs`` are of. With a dict of epochs it is the key. An
        encoder that does not know it is asked for its average subject, with a warning.
    n_draws : int, default 50
        How many draws of each image; 0 judges predictions alone. They are held in memory: 200 of
        100 images, 17 sensors and 100 times are 0.3 GB.
    window : tuple of float, default (0.05, 0.6)
        From when to when, in seconds, r, identification and RSA count.
    draw_window : tuple of float, default (0.0, 0.6)
        From when to when standard deviations, coverage and induced power of draws count.
    components : dict of str to tuple | None, default None
        Components of the evoked response, for example ``{"N170": (0.13, 0.2, "neg")}``: first and
        last second of the window, and ``"pos"``, ``"neg"`` or ``"abs"``.
    bands : dict of str to tuple | None, default None
        Bands of frequency in Hz. ``None`` is :data:`mne_img2brain.metrics.EEG_BANDS`.
    classifiers : dict of str to estimator | None, default None
        Of the two-sample test. ``None`` is a linear and a boosted one on features of trials; add
        ``{"convolutional": TrialConvNet()}`` for a network.
    training_epochs : mne.BaseEpochs | list | None, default None
        The epochs that encoders were fitted to, for the distance of draws to the nearest training
        trial.
    labels : array, shape (n_images,) | None, default None
        The class of each image, for decoding by a classifier trained on draws.
    decoder : estimator | None, default None
        That classifier; ``None`` is shrinkage LDA.
    n_splits : int, default 100
        How many random halves of the trials the noise ceilings are averaged over.
    n_bootstrap : int, default 1000
        How many resamples of images the confidence intervals are from.
    level : float, default 0.95
        The content of the confidence intervals.
    allow_training_images : bool, default False
        Whether images that were in fit are judged, with a warning, instead of refused.
    random_state : int, default 0
        The seed of draws, halves, folds and resamples.
    verbose : bool | str | int | None, default None
        Control verbosity of the logging output.

    Returns
    -------
    Evaluation
        The table, the maps and the report.

    Raises
    ------
    sklearn.exceptions.NotFittedError
        If an encoder is not fitted.
    TypeError
        If an encoder is none.
    ValueError
        If a parameter is not what is said above, images were in fit, sensors or times do not fit,
        or there are fewer than three images.

    See Also
    --------
    mne_img2brain.evaluation.Evaluation : What is returned.
    mne_img2brain.ImageToBrainEncoder.score_evoked : r of one encoder.

    Examples
    --------
    >>> from mne_img2brain import GaborEmbedder, ImageToBrainEncoder, evaluate
    >>> from mne_img2brain.baselines import MeanResponse, RidgeBaseline
    >>> from mne_img2brain.datasets import simulate_epochs, simulate_images
    >>> images, _ = simulate_images(30, size=32, random_state=0)
    >>> epochs, _ = simulate_epochs(images, n_trials=4, random_state=0)
    >>> image_id = epochs.metadata["image_id"]
    >>> training, test = epochs[image_id < 20], epochs[image_id >= 20]
    >>> encoders = {
    ...     "ridge": ImageToBrainEncoder(GaborEmbedder(size=32, n_scales=2), RidgeBaseline()),
    ...     "mean": ImageToBrainEncoder(GaborEmbedder(size=32, n_scales=2), MeanResponse()),
    ... }
    >>> for encoder in encoders.values():
    ...     _ = encoder.fit(images[:20], training, image_ids="image_id")
    >>> judged = evaluate(
    ...     encoders, images[20:], test, image_ids=image_id[image_id >= 20] - 20,
    ...     n_draws=0, n_splits=5, n_bootstrap=50, random_state=0,
    ... )
    >>> sorted(judged.table["encoder"].unique())
    ['mean', 'ridge']
    """
    encoders = encoder if isinstance(encoder, dict) else {"encoder": encoder}
    check_encoders(encoders)
    check_given(
        n_draws=(n_draws, Integer(0)), n_splits=(n_splits, Integer(1)),
        n_bootstrap=(n_bootstrap, Integer(2)), random_state=(random_state, Integer(0)),
    )  # fmt: skip
    check_windows(window=window, draw_window=draw_window)
    check_options(level, allow_training_images, components, bands, classifiers)
    if n_draws == 1:
        raise ValueError("n_draws=1: draws are judged by how they vary; give 2 or more, or 0.")

    def judge(
        epochs: mne.BaseEpochs | list, image_ids: ImageIds, subject: str | None,
        training_epochs: mne.BaseEpochs | list | None,
    ) -> Evaluation:  # fmt: skip
        """Judge the encoders against one recording."""
        recorded = material.gather(encoders, images, epochs, image_ids, captions, labels)
        material.refuse_training_images(encoders, recorded, allow_training_images)
        training = None
        if training_epochs is not None:
            names = list(recorded.info["ch_names"])
            training = read_recording(training_epochs, ch_names=names, name="training_epochs")
            training = material.take_channels(training, names)
        options = Options(draw_window, bands, classifiers, training, random_state)
        inside = time_mask(recorded.times, *window)
        ceiling = find_ceilings(recorded, inside, n_splits, random_state)
        if ceiling is None:
            logger.info("Fewer than three images have two trials: there is no noise ceiling.")
        maps, curves = _recorded_maps(recorded, ceiling), {}
        real, rhythms, all_rows, tfr = None, None, [], {}
        for name, one in progress_bar(list(encoders.items()), "Judging encoders"):
            logger.info("Judging %s on %d images.", name, len(recorded.keys))
            rows = Rows(name, n_bootstrap, level, random_state)
            known = _known_subject(one, name, subject)
            prediction = material.predicted(one, recorded, known)
            values, curves[name] = judge_prediction(
                rows, recorded, prediction, ceiling, window, components or {}, random_state
            )
            values["predicted"] = prediction.mean(axis=0)
            if n_draws and hasattr(one, "sample") and _can_judge_draws(recorded):
                if real is None or rhythms is None:
                    real = Real(recorded, classifiers, random_state, n_draws)
                    rhythms = RealRhythms(recorded, real.scale, options)
                    tfr["recorded"] = rhythms.maps()
                drawn = material.draws(one, recorded, n_draws, random_state, known)
                of_draws, more = judge_draws(rows, recorded, drawn, prediction, real, options)
                of_rhythms, tfr[name] = rhythms.judge_draws(rows, drawn)
                values |= of_draws
                curves[name] |= more | of_rhythms
                if recorded.labels is not None:
                    decoding.judge_usefulness(
                        rows, drawn, recorded.trials, recorded.labels, decoder, 10, random_state
                    )
            for what, value in values.items():
                maps[f"{name}: {what}"] = _map(value, recorded, what)
            all_rows.append(rows)
        if rhythms is not None:
            all_rows.append(Rows("recorded", n_bootstrap, level, random_state))
            rhythms.judge_recording(all_rows[-1])
        return Evaluation(
            table=frame(all_rows),
            maps=maps,
            curves=curves,
            resamples={one.encoder: one.resamples for one in all_rows if one.encoder in encoders},
            n_images=len(recorded.keys),
            n_trials=[len(of_image) for of_image in recorded.trials],
            window=window,
            draw_window=draw_window,
            level=level,
            differ=rhythms.differ if rhythms is not None else {},
            tfr={name: maps for name, maps in tfr.items() if maps},
            cross_validated={
                name: getattr(one, "cross_validated_r_", np.nan) for name, one in encoders.items()
            },
        )

    with use_log_level(verbose):
        if not isinstance(epochs, dict):
            if isinstance(image_ids, dict):
                raise ValueError(
                    "image_ids is a dict, but epochs is none; give a dict of both, or none."
                )
            return judge(epochs, image_ids, subject, training_epochs)
        if subject is not None:
            raise ValueError(
                f"subject={subject!r} and a dict of epochs: its keys are the subjects."
            )
        check_names(epochs)
        check_by_subject(epochs, image_ids=image_ids, training_epochs=training_epochs)
        parts = {}
        for one, of_one in epochs.items():
            by_subject: list = [image_ids, training_epochs]
            ids, training = (x[one] if isinstance(x, dict) else x for x in by_subject)
            parts[one] = judge(of_one, ids, one, training)
        return combine(parts, n_bootstrap, level, random_state)


def _known_subject(encoder: Encoder, name: str, subject: str | None) -> str | None:
    """Return the subject to ask an encoder for, None for its only or its average subject."""
    subjects = getattr(encoder, "subjects_", ())
    if subject in subjects:
        return subject
    if subject is not None and subjects:
        which = "average subject" if len(subjects) > 1 else "only subject"
        warn(f"{name!r} does not know the subject {subject!r}: its {which} is judged.")
    return None


def _can_judge_draws(recorded: Recorded) -> bool:
    """Tell whether there are single trials to compare draws with, and warn where not."""
    repeated = sum(len(of_image) > 1 for of_image in recorded.trials)
    if recorded.n_averaged is None:
        warn("epochs are averages of different numbers of trials: draws are not judged.")
    elif repeated < 3:
        warn("Fewer than three images have two trials or more: draws are not judged.")
    return recorded.n_averaged is not None and repeated >= 3


def _recorded_maps(recorded: Recorded, ceiling: Ceilings | None) -> dict:
    """Return the maps that do not depend on an encoder."""
    maps = {"recorded": recorded.mean.mean(axis=0)}
    if ceiling is not None:
        maps["ceiling of r"] = ceiling.r
        maps["ceiling of r, half the trials, lower"] = ceiling.lower
        maps["ceiling of r, half the trials, upper"] = ceiling.upper
        repeated = [of_image for of_image in recorded.trials if len(of_image) > 1]
        maps["ncsnr"] = ncsnr(repeated).ncsnr
    return {name: _map(value, recorded, name) for name, value in maps.items()}


def _map(value: np.ndarray, recorded: Recorded, comment: str) -> mne.Evoked:
    """Wrap an array as EvokedArray."""
    unit = comment.endswith(WITH_UNIT)
    return to_evoked_map(value, recorded.info, tmin=recorded.times[0], comment=comment, unit=unit)
