"""Simulated recordings whose true response is known."""

from collections.abc import Sequence

import mne
import numpy as np
import pandas as pd

from .._parameters import Integer, Number, check_given
from ..epochs import make_epochs
from ..epochs.regions import site_montage
from ._images import generator, image_features
from ._rhythms import RHYTHMS, power_changes
from ._sources import lead_fields, orient, place_noise, sensor_noise, source_responses

_CH_NAMES = (
    "Fp1 Fp2 F7 F3 Fz F4 F8 FC5 FC1 FC2 FC6 T7 C3 Cz C4 T8 CP5 CP1 CP2 CP6 P7 P3 Pz P4 P8 PO7 PO3 "
    "POz PO4 PO8 O1 Oz O2"
).split()


def simulate_epochs(
    images: list | np.ndarray,
    *,
    n_trials: int = 4,
    n_subjects: int | None = None,
    subject_spread: float = 1.0,
    info: mne.Info | None = None,
    tmin: float = -0.1,
    tmax: float = 0.6,
    sfreq: float = 100.0,
    snr: float = 0.2,
    category: Sequence | np.ndarray | None = None,
    spectrum: str = "broad",
    rhythms: dict[str, float] | None = None,
    random_state: int | np.random.Generator | None = None,
) -> tuple[
    mne.EpochsArray | dict[str, mne.EpochsArray], mne.EpochsArray | dict[str, mne.EpochsArray]
]:
    r"""Simulate trials of people who look at images, over real sensor positions.

    Ten sources (V1, V2, lateral occipital, fusiform and parietal cortex of both hemispheres)
    in a sphere model each answer with two waves to the contralateral half of the image. With
    features :math:`f` of the image (contrast, orientation, colour, luminance), standardised over
    the images, the amplitude of a wave is

    .. math:: m \, (1 + 0.8 \tanh(2 w^\top f) + 0.6 \tanh(2 v^\top f)^2) \, g ,

    with random tuning :math:`w, v` and :math:`g` a gain that varies over trials by 15 %; contrast
    shortens the latency. Noise comes from sources all over the brain, from posterior alpha
    sources and from the sensors. With ``rhythms`` some of it is induced by the image: its phase is
    random in every trial, and its power follows the features.

    Parameters
    ----------
    images : list | array
        Images, as the encoder takes them, or their tokens, a floating-point array of shape
        (n_images, n_features) or (n_images, n_tokens, n_features).
    n_trials : int, default 4
        Trials per image, in random order.
    n_subjects : int | None, default None
        Number of subjects, who differ in the orientation and strength of sources and in noise;
        None is one subject and no dict.
    subject_spread : float, default 1.0
        How much subjects differ: with 1, orientations are tilted at random by 0.25 along each axis
        and the strength of sources and the size of the noise vary by 25 %. 0 is equal brains.
    info : mne.Info | None, default None
        Sensors with positions, EEG or MEG; its sampling rate is replaced by ``sfreq``. None is
        33 EEG channels of the 10-10 system.
    tmin, tmax : float, default -0.1 and 0.6
        First and last time in seconds from image onset. What comes before onset is subtracted as
        the baseline.
    sfreq : float, default 100.0
        Sampling rate in Hz.
    snr : float, default 0.2
        Standard deviation over images of the true response divided by that of the noise of one
        trial, both over sensors and the times after onset. ``numpy.inf`` is no noise and no
        variation of the gain.
    category : array-like of str, shape (n_images,) | None, default None
        Condition of each image; becomes a metadata column and the names of the events.
    spectrum : "broad" | "eeg", default "broad"
        Of the noise, with posterior alpha at 10 Hz. With ``"broad"`` power falls slowly, and
        sensors have much noise of their own; with ``"eeg"`` it falls as in resting EEG, about as
        f^-1.5, with a clear alpha peak.
    rhythms : dict of str -> float | None, default None
        Rhythms whose power follows the image, and the SD of the power over images in dB: of
        ``"alpha"`` (10 Hz, 150 to 600 ms), ``"beta"`` (20 Hz, 100 to 450 ms) and ``"gamma"``
        (40 Hz, 80 to 500 ms), for instance ``{"alpha": 3.0}``. After onset the power of alpha and
        beta falls by 3 and 2 dB in the mean over images, that of gamma rises by 2 dB.
    random_state : int | numpy.random.Generator | None, default None
        Seed; None is fresh entropy.

    Returns
    -------
    epochs : mne.EpochsArray | dict of str -> mne.EpochsArray
        The trials in V or T. Metadata: ``image_id`` (position in ``images``), ``repetition``,
        ``category``. With ``n_subjects``, one per subject: ``{"sub-01": epochs, ...}``.
    truth : mne.EpochsArray | dict of str -> mne.EpochsArray
        The response without noise, one epoch per image, in the same form. Its metadata has a
        column for each of ``rhythms``: the true change of power from before onset, in dB.

    Raises
    ------
    ValueError
        If a parameter is not what is said above, or there are too few images, trials, times or
        sensor positions.

    See Also
    --------
    simulate_images : Images to show.

    Examples
    --------
    >>> from mne_img2brain.datasets import simulate_epochs, simulate_images
    >>> images, categories = simulate_images(5, size=32, random_state=0)
    >>> epochs, truth = simulate_epochs(
    ...     images, n_trials=2, category=categories, random_state=0
    ... )
    >>> len(epochs), len(truth), len(epochs["star"]), len(epochs.ch_names)
    (10, 5, 2, 33)
    """
    check_given(
        n_trials=(n_trials, Integer(1)), n_subjects=(n_subjects, Integer(1), None),
        snr=(snr, Number(0, closed="neither"), np.inf), subject_spread=(subject_spread, Number(0)),
        tmin=(tmin, Number(-60, 60)), tmax=(tmax, Number(-60, 60)),
        sfreq=(sfreq, Number(1, 20_000)), info=(info, mne.Info, None),
        spectrum=(spectrum, "broad", "eeg"), rhythms=(rhythms, dict, None),
    )  # fmt: skip
    if not tmin <= 0 < tmax:
        raise ValueError(f"tmin={tmin} and tmax={tmax}: image onset, 0 s, must lie between them.")
    rng = generator(random_state)
    features = _features(images)
    n_images = len(features)
    if category is not None:
        if isinstance(category, str) or not np.iterable(category):
            raise ValueError(f"category={category!r}; give one value for each image.")
        if len(category) != n_images:
            raise ValueError(f"category has {len(category)} values for {n_images} images.")
    times = np.arange(round(tmin * sfreq), round(tmax * sfreq) + 1) / sfreq
    if (times > 0).sum() < 2:
        raise ValueError(
            f"tmax={tmax} and sfreq={sfreq}: there are fewer than two samples after image onset."
        )
    _check_rhythms(rhythms, sfreq)
    info = _sensors(info, sfreq)
    sources = source_responses(features, times, rng)
    noise_positions = place_noise(rng)
    changes = power_changes(rhythms, features, rng.spawn(1)[0]) if rhythms else {}
    visual, noise = lead_fields(info, noise_positions)

    epochs, truths = {}, {}
    for subject in range(n_subjects or 1):
        own = rng.spawn(1)[0]
        spread = 0.0 if n_subjects is None else 0.25 * subject_spread
        strength = own.lognormal(0, spread, size=len(sources[0])) if spread else 1.0
        field = orient(visual, spread, own) * np.reshape(strength, (-1, 1))
        truth = _baseline(np.einsum("sc,ist->ict", field, sources), times)
        name = f"sub-{subject + 1:02d}"
        order = own.permutation(np.repeat(np.arange(n_images), n_trials))
        data = truth[order]
        if np.isfinite(snr):
            gain = own.lognormal(-0.5 * 0.15**2, 0.15, size=(len(order), 1, 1))
            induced = {rhythm: change[order] for rhythm, change in changes.items()}
            single = sensor_noise(
                noise, noise_positions, len(order), times, sfreq, own,
                spectrum=spectrum, induced=induced,
            )  # fmt: skip
            single = _baseline(single, times)
            size = own.lognormal(0, spread) if spread else 1.0
            data = data * gain + size * _noise_scale(truth, single, times, info, snr) * single
        repetition = pd.Series(order).groupby(order).cumcount().to_numpy()
        metadata = pd.DataFrame({"image_id": order, "repetition": repetition})
        epochs[name] = _as_epochs(data, info, times, metadata, category)
        true_metadata = pd.DataFrame({"image_id": np.arange(n_images)} | changes)
        truths[name] = _as_epochs(truth, info, times, true_metadata, category)
    if n_subjects is None:
        return epochs["sub-01"], truths["sub-01"]
    return epochs, truths


def _check_rhythms(rhythms: dict[str, float] | None, sfreq: float) -> None:
    """Raise an error where rhythms are unknown, too fast, or their SD is not a number."""
    for name, sd in (rhythms or {}).items():
        if name not in RHYTHMS:
            raise ValueError(f"rhythms has {name!r}; there are {', '.join(RHYTHMS)}.")
        check_given(**{name: (sd, Number(0))})
        highest = RHYTHMS[name].frequency + 3 * RHYTHMS[name].width
        if 2 * highest > sfreq:
            raise ValueError(
                f"rhythms={rhythms}: {name} reaches up to {highest:g} Hz and needs an sfreq of "
                f"{2 * highest:g} Hz; it is {sfreq:g}."
            )


def _features(images: list | np.ndarray) -> np.ndarray:
    """Features per half field, standardised over images, shape (n_images, 2, 2, n_features)."""
    array = images if isinstance(images, np.ndarray) else None
    if array is not None and array.dtype.kind == "f" and array.ndim in (2, 3):
        tokens = array.reshape(len(array), -1, array.shape[-1]) if array.size else array
        tokens = tokens.astype(float)
        if not tokens.size or not np.isfinite(tokens[:, 0]).all():
            raise ValueError(
                "images are tokens without features, or whose first token is not finite; only "
                "padding, at the end of an image's tokens, is NaN."
            )
        # the class token for sources that see the whole, the mean token for the others
        pooled = np.stack([tokens[:, 0], np.nanmean(tokens, axis=1)], axis=1)
        features = np.repeat(pooled[:, :, None], 2, axis=2)
    else:
        features = image_features(images)
        # quarters (upper left, upper right, lower left, lower right) -> [upper/lower, left/right]
        features = features.reshape(len(features), 2, 2, -1)
    if len(features) < 2:
        raise ValueError(f"There is {len(features)} image; at least two are needed.")
    spread = features.std(axis=0)
    return (features - features.mean(axis=0)) / np.where(spread > 0, spread, 1)


def _sensors(info: mne.Info | None, sfreq: float) -> mne.Info:
    """Check positions; set the sampling rate."""
    if info is None:
        info = mne.create_info(_CH_NAMES, sfreq, "eeg").set_montage(site_montage())
    keep = mne.pick_types(info, meg=True, eeg=True, ref_meg=False, exclude="bads")
    if len(keep) == 0:
        raise ValueError("info has no good EEG or MEG channels; only these can be simulated.")
    info = mne.pick_info(info, keep, verbose="error")
    lost = [ch["ch_name"] for ch in info["chs"] if not np.isfinite(ch["loc"][:3]).all()]
    if lost:
        raise ValueError(f"Channels without a position: {', '.join(lost)}; set a montage.")
    with info._unlock():
        info["sfreq"], info["lowpass"] = float(sfreq), float(sfreq) / 2
        info["projs"], info["comps"] = [], []
    return info


def _noise_scale(
    truth: np.ndarray, noise: np.ndarray, times: np.ndarray, info: mne.Info, snr: float
) -> np.ndarray:
    """Factor per channel type that gives the noise the strength asked for."""
    types = np.array(info.get_channel_types())
    scale = np.empty((len(types), 1))
    for ch_type in np.unique(types):
        rows = types == ch_type
        signal = np.sqrt(truth[:, rows][..., times > 0].var(axis=0).mean())
        scale[rows] = signal / snr / np.sqrt(noise[:, rows][..., times > 0].var(axis=0).mean())
    return scale


def _baseline(data: np.ndarray, times: np.ndarray) -> np.ndarray:
    """Subtract the mean of what comes before onset."""
    return data - data[..., times <= 0].mean(axis=-1, keepdims=True)


def _as_epochs(
    data: np.ndarray,
    info: mne.Info,
    times: np.ndarray,
    metadata: pd.DataFrame,
    category: Sequence | np.ndarray | None,
) -> mne.BaseEpochs:
    """Make epochs with one event code per category, or per image."""
    if category is None:
        codes = metadata["image_id"].to_numpy() + 1
        event_id = {f"image {code - 1}": int(code) for code in np.unique(codes)}
    else:
        labels = np.asarray(category).astype(str)
        metadata["category"] = labels[metadata["image_id"]]
        names, codes = np.unique(labels, return_inverse=True)
        event_id = {str(name): code for code, name in enumerate(names, start=1)}
        codes = codes[metadata["image_id"]] + 1
    return make_epochs(
        data, info, tmin=times[0], baseline=(float(times[0]), 0.0), metadata=metadata,
        event_codes=codes, event_id=event_id,
    )  # fmt: skip
