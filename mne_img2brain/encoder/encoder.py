"""ImageToBrainEncoder: images and epochs in, generated epochs out."""

import math
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Any, Self

import mne
import numpy as np
import pandas as pd
from sklearn.base import BaseEstimator
from sklearn.utils import estimator_html_repr
from sklearn.utils.metaestimators import available_if
from sklearn.utils.validation import check_is_fitted

from .._log import verbose
from .._parameters import Integer, check_given
from .._types import Embedder, ImageIds, Images, PathLike, Regressor, Responses
from ..diffusion.selection import NoiseSummary
from .any_regressor import can_sample, check_memory, predict_regressor, sample_regressor
from .description import html_table
from .fitting import fit_encoder
from .function import wrap_function
from .generating import as_epochs, embed_images
from .hub import find_folder, push
from .new_subject import can_adapt, learn_subject, subject_codes
from .power import draw_alike, expected_power
from .saving import restore_encoder, write_encoder
from .scoring import score_map

if TYPE_CHECKING:
    from ..evaluation import Evaluation


def _can_sample(encoder: "ImageToBrainEncoder") -> bool:
    """Tell whether the regressor draws single trials; raise with the reason where not."""
    regressor = getattr(encoder, "regressor_", encoder.regressor)
    if not can_sample(regressor):
        raise AttributeError(
            f"A {type(regressor).__name__} predicts the expected response and knows no noise, so "
            "it draws no trials; DiffusionRegressor and baselines.RidgeGaussian do."
        )
    return True


class ImageToBrainEncoder(BaseEstimator):
    """The M/EEG response to images.

    Images become tokens (``embedder``), tokens become responses (``regressor``), responses
    become :class:`mne.EpochsArray` with the Info of the training epochs.

    Parameters
    ----------
    embedder : transformer | None, default None
        Turns images into tokens, shape (n_images, n_tokens, n_features). ``None`` is
        :class:`~mne_img2brain.ClipEmbedder` with its defaults, which downloads weights;
        :class:`~mne_img2brain.GaborEmbedder` downloads nothing.
    regressor : regressor | None, default None
        Turns tokens into responses. ``None`` is :class:`~mne_img2brain.DiffusionRegressor`. Any
        scikit-learn regressor for several targets works too, and then :meth:`sample` is absent.
    picks : str | list | None, default None
        Sensors, as everywhere in MNE. ``None`` takes all good data channels.

    Attributes
    ----------
    embedder_, regressor_ : estimator
        The fitted parts.
    info_ : mne.Info
        Of the sensors that were learnt.
    ch_names_ : list of str
        Their names.
    times_ : array, shape (n_times,)
        Seconds from image onset.
    regions_ : array of str, shape (n_channels,)
        The brain region of each sensor.
    left_out_ : list of str
        Channels of the training epochs that were not learnt (bad, or no data channels).
    subjects_ : list of str
        Subjects: those of ``fit``, sorted (none where there was no name), then those of ``adapt``.
    n_training_subjects_ : int
        How many of these are of ``fit``.
    training_image_keys_ : list of str
        Content hashes of the training images.
    training_looks_ : dict of str to array
        What they look like, by which near copies are found: perceptual hashes, and directions of
        tokens.
    image_ids_ : dict of str -> int | str
        What the user called each of them, by content hash.
    image_id_form_ : str | None
        Whether that was the image's ``"path"``, file ``"name"`` or ``"stem"``.
    event_id_ : dict of str -> int
        Conditions and event codes of the training epochs.
    cross_validated_r_ : float
        Correlation across images that were left out within ``fit``, the mean over sensors and
        times; NaN with fewer than ten images or where images are not looked at. Where it is not
        above chance ``fit`` warns.
    n_trials_ : int
        How many trials were learnt from; averages count by how many they are of.

    See Also
    --------
    mne_img2brain.DiffusionRegressor : The default regressor, where the method is described.
    mne_img2brain.evaluate : Judges an encoder against recordings.

    Examples
    --------
    >>> from mne_img2brain import DiffusionRegressor, GaborEmbedder, ImageToBrainEncoder
    >>> from mne_img2brain.datasets import simulate_epochs, simulate_images
    >>> images, _ = simulate_images(20, size=32, random_state=0)
    >>> epochs, _ = simulate_epochs(images, n_trials=2, random_state=0)
    >>> encoder = ImageToBrainEncoder(
    ...     GaborEmbedder(size=32, n_scales=2), DiffusionRegressor(max_iter=0, random_state=0)
    ... )
    >>> training = epochs[epochs.metadata["image_id"] < 16]
    >>> encoder = encoder.fit(images[:16], training, image_ids="image_id")
    >>> expected = encoder.predict(images[16:])  # mne.EpochsArray, one epoch for each image
    >>> expected.get_data().shape
    (4, 33, 71)
    >>> trials = encoder.sample(images[16:], n_draws=3, random_state=0)
    >>> len(trials)
    12
    """

    def __init__(
        self,
        embedder: Embedder | None = None,
        regressor: Regressor | None = None,
        *,
        picks: str | list | None = None,
    ) -> None:
        self.embedder = embedder
        self.regressor = regressor
        self.picks = picks

    @classmethod
    def xu2025(cls, **parameters: Any) -> Self:
        """Return the model of Xu et al. (2025), as far as the paper tells it.

        CLIP ViT-L/14 image tokens and the CLIP tokens of a Qwen2-VL caption condition a diffusion
        transformer alone; see :meth:`mne_img2brain.DiffusionRegressor.xu2025`.

        Parameters
        ----------
        **parameters
            Overrides of :meth:`mne_img2brain.DiffusionRegressor.xu2025`.

        Returns
        -------
        ImageToBrainEncoder
        """
        from ..regressor import DiffusionRegressor
        from ..stimulus import ClipEmbedder

        return cls(ClipEmbedder(), DiffusionRegressor.xu2025(**parameters))

    @classmethod
    def from_function(
        cls,
        predict: Callable,
        info: mne.Info,
        tmin: float,
        *,
        layout: Sequence[str] = ("image", "channel", "time"),
        unit: str | float | np.ndarray = "uV",
        baseline: tuple[float | None, float | None] | None = None,
        size: int = 224,
    ) -> Self:
        """Make an encoder of a function from images to arrays, such as a model of others.

        The encoder predicts epochs and stands beside others in :func:`mne_img2brain.evaluate`. It
        neither draws nor can be saved: the function is not ours.

        Parameters
        ----------
        predict : callable
            Takes an array of uint8, shape (n_images, size, size, 3), and returns an array or tensor
            with the dimensions of ``layout``. It is called once, with two images of random pixels,
            before anything else.
        info : mne.Info
            The channels that ``predict`` returns, in their order, and the sampling rate.
        tmin : float
            Seconds from image onset of the first time.
        layout : sequence of str
            Dimensions of the array: ``"image"``, ``"channel"``, ``"time"``, and perhaps ``"draw"``,
            which is averaged over.
        unit : str | float | array, shape (n_channels,)
            ``"V"``, ``"mV"``, ``"uV"``, ``"nV"``, ``"T"``, ``"pT"``, ``"fT"``, ``"T/m"``,
            ``"fT/cm"``; or what the array is multiplied with to be in SI units: for z-values
            the SD of each channel, for a current source density 1e-3 if it is in mV/m².
        baseline : tuple | None
            The baseline that the responses have; it is not subtracted.
        size : int
            Images are scaled and cropped at the centre to this height and width.

        Returns
        -------
        ImageToBrainEncoder
            As if it had been fitted, to no images and no trials.

        Raises
        ------
        ValueError
            If a parameter is not what is said above, or the array does not fit ``info``.

        Examples
        --------
        >>> import mne
        >>> import numpy as np
        >>> from mne_img2brain import ImageToBrainEncoder
        >>> info = mne.create_info(["Oz", "Pz"], 100.0, "eeg")
        >>> def brightness(images):
        ...     return np.repeat(images.mean(axis=(1, 2))[:, :2, None], 50, axis=2)
        >>> encoder = ImageToBrainEncoder.from_function(brightness, info, tmin=0.0)
        >>> len(encoder.predict(np.zeros((3, 32, 32, 3), np.uint8)))
        3
        """
        return wrap_function(
            cls, predict, info, tmin, layout=layout, unit=unit, baseline=baseline, size=size
        )

    @verbose
    def fit(
        self,
        images: list | np.ndarray | str,
        epochs: mne.BaseEpochs | list[mne.BaseEpochs] | dict | mne.Evoked | list[mne.Evoked],
        *,
        image_ids: np.ndarray | str | None = None,
        captions: list[str] | str | None = None,
        groups: np.ndarray | str | None = None,
        checkpoint: PathLike | None = None,
        verbose: bool | str | int | None = None,
    ) -> Self:
        """Learn the responses to images.

        Parameters
        ----------
        images : list | array, shape (n_images, height, width, 3) | str
            Paths, PIL images or arrays; or a folder, whose images are taken sorted by path; or the
            name of a column of ``epochs.metadata`` that holds paths; or tokens in their place: an
            array of floats, shape (n_images, n_tokens, n_features), or the name of a ``.npy`` file
            that holds one.
        epochs : mne.BaseEpochs | list of mne.BaseEpochs | dict | mne.Evoked | list of mne.Evoked
            The responses. A dict maps subjects to epochs; averages count by their ``nave``. They
            are not changed.
        image_ids : array of int, shape (n_epochs,) | str | None, default None
            The position in ``images`` of the image of each epoch, or the metadata column that
            holds it. ``None`` needs one image per epoch, or one per event.
        captions : list of str | str | None, default None
            One per image, or the name of a metadata column. ``None`` leaves them to the embedder.
        groups : array, shape (n_epochs,) | str | None, default None
            What splits inside ``fit`` keep together, or the metadata column that holds it.
            ``None`` takes the column ``concept`` where there is one without gaps and none of its
            groups has more than half of the epochs.
        checkpoint : path-like | None, default None
            A folder in which a long training is kept while it runs: a fit that was stopped goes on
            from there when it is called again with the same data and parameters. The folder is not
            needed after the fit.
        verbose : bool | str | int | None, default None
            Control verbosity of the logging output.

        Returns
        -------
        self : ImageToBrainEncoder

        Raises
        ------
        ValueError
            If images and epochs do not match, data are not finite or flat, or there are fewer than
            two trials. The previous fit is then kept.
        """
        fit_encoder(self, images, epochs, image_ids, captions, groups, checkpoint)
        return self

    @verbose
    def predict(
        self,
        images: list | np.ndarray,
        *,
        captions: list[str] | None = None,
        subject: str | None = None,
        metadata: pd.DataFrame | None = None,
        event_id: dict | list[str] | str | None = None,
        verbose: bool | str | int | None = None,
    ) -> mne.EpochsArray:
        """Predict the expected response to every image.

        Deterministic, and the same whichever other images share the call.

        Parameters
        ----------
        images : list | array, shape (n_images, height, width, 3)
            Images or tokens, as in :meth:`fit`.
        captions : list of str | None, default None
            One per image.
        subject : str | None, default None
            Whose response, one of ``subjects_``; ``None`` is the average subject.
        metadata : pandas.DataFrame | None, default None
            One row per image; its columns are added to the generated metadata.
        event_id : dict | list of str, shape (n_images,) | str | None, default None
            Conditions, so that ``generated["face"]`` works: one name per image, or the column of
            ``metadata`` that holds it, or a dict of name to code where one column of ``metadata``
            holds these names or codes. ``None`` is one condition, ``"generated"``. Codes that are
            not given are those of the training epochs where they have that condition.
        verbose : bool | str | int | None, default None
            Control verbosity of the logging output.

        Returns
        -------
        mne.EpochsArray
            One epoch per image, in V, T or T/m, with ``image_id``, ``image``, ``caption`` and
            ``subject`` in the metadata. ``image_id`` is what ``metadata`` says; else the id that
            all these images had in :meth:`fit`; else, where ids were file names, the file name;
            else the position in ``images``.

        Raises
        ------
        sklearn.exceptions.NotFittedError
            Before :meth:`fit`.
        ValueError
            If tokens have another width than in fit, or the subject is not known.
        """
        check_is_fitted(self)
        stimuli = embed_images(self, images, captions)
        codes = subject_codes(self, subject, len(stimuli.tokens))
        expected = predict_regressor(self.regressor_, stimuli.tokens, self._shape, codes)
        return as_epochs(self, expected[stimuli.index], stimuli, None, subject, metadata, event_id)

    @available_if(_can_sample)
    @verbose
    def sample(
        self,
        images: list | np.ndarray,
        n_draws: int = 1,
        *,
        captions: list[str] | None = None,
        subject: str | None = None,
        metadata: pd.DataFrame | None = None,
        event_id: dict[str, int] | list[str] | str | None = None,
        random_state: int | np.random.Generator | None = None,
        guidance_scale: float = 1.0,
        n_averaged: int = 1,
        n_steps: int | None = None,
        solver: str | None = None,
        eta: float = 0.0,
        first_image: int = 0,
        verbose: bool | str | int | None = None,
    ) -> mne.EpochsArray:
        """Draw single-trial responses to every image.

        Parameters
        ----------
        images : list | array, shape (n_images, height, width, 3)
            Images or tokens, as in :meth:`fit`.
        n_draws : int, default 1
            Draws of each image.
        captions, subject, metadata, event_id
            As in :meth:`predict`.
        random_state : int | numpy.random.Generator | None, default None
            The noise of a draw depends on it, on the image's position and on the draw's number;
            neither on the batch, nor on the device, nor on ``n_draws``.
        guidance_scale : float, default 1.0
            1 is no guidance; see :meth:`mne_img2brain.DiffusionRegressor.sample`.
        n_averaged : int, default 1
            Draw averages over that many trials.
        n_steps, solver, eta
            How the transformer draws, where one was kept: as in
            :meth:`mne_img2brain.DiffusionRegressor.sample`.
        first_image : int, default 0
            The position of the first image, by which noise goes, where images are drawn for in
            several calls.
        verbose : bool | str | int | None, default None
            Control verbosity of the logging output.

        Returns
        -------
        mne.EpochsArray
            ``n_images * n_draws`` epochs, all draws of the first image first, in V, T or T/m;
            ``draw`` is in the metadata, and ``n_averaged`` where it is not 1.

        See Also
        --------
        mne_img2brain.write_generated : More draws than memory holds, to disk.
        """
        check_is_fitted(self)
        check_given(n_draws=(n_draws, Integer(1)))
        stimuli = embed_images(self, images, captions)
        check_memory(len(stimuli) * n_draws * math.prod(self._shape))
        # every position has its own noise, so repeated images are drawn apart
        tokens = stimuli.tokens[stimuli.index]
        drawn = sample_regressor(
            self.regressor_, tokens, self._shape, n_draws=n_draws, random_state=random_state,
            guidance_scale=guidance_scale, n_averaged=n_averaged, n_steps=n_steps, solver=solver,
            eta=eta, first_image=first_image, subjects=subject_codes(self, subject, len(tokens)),
        )  # fmt: skip
        drawn = drawn.reshape(-1, *self._shape)
        return as_epochs(self, drawn, stimuli, n_draws, subject, metadata, event_id, n_averaged)

    @available_if(_can_sample)
    @verbose
    def predict_power(
        self,
        images: list | np.ndarray,
        freqs: np.ndarray | None = None,
        n_cycles: float | np.ndarray | None = None,
        *,
        decim: int = 1,
        total: bool = False,
        n_draws: int = 200,
        captions: list[str] | None = None,
        subject: str | None = None,
        metadata: pd.DataFrame | None = None,
        event_id: dict[str, int] | list[str] | str | None = None,
        verbose: bool | str | int | None = None,
    ) -> mne.time_frequency.EpochsTFRArray:
        """Predict the expected power of single trials over time and frequency.

        Induced power is that of what single trials do around the expected response, the mean over
        draws of :meth:`sample`. All images have the same noise, so that the difference between two
        of them is far surer than either: a single map has a relative error of
        ``n_draws ** -0.5``. Deterministic, and the same whichever other images share the call.

        Parameters
        ----------
        images : list | array, shape (n_images, height, width, 3)
            Images or tokens, as in :meth:`fit`.
        freqs : array, shape (n_freqs,) | None, default None
            Frequencies in Hz. ``None`` is 20 of them, from 4 Hz, or two cycles of an epoch, to the
            low-pass, 100 Hz at most.
        n_cycles : float | array, shape (n_freqs,) | None, default None
            Cycles of the Morlet wavelets. ``None`` is half of the frequency, or as many as fit
            into an epoch.
        decim : int, default 1
            Every how many time points are returned.
        total : bool, default False
            Whether the power of the expected response is added: that of trials as they are.
        n_draws : int, default 200
            Draws of each image.
        captions, subject, metadata, event_id
            As in :meth:`predict`.
        verbose : bool | str | int | None, default None
            Control verbosity of the logging output.

        Returns
        -------
        mne.time_frequency.EpochsTFRArray
            One epoch per image, in V², T² or (T/m)², for ``apply_baseline(mode="logratio")``,
            ``average()``, topographies and statistics.
        """
        check_is_fitted(self)
        check_given(n_draws=(n_draws, Integer(2)))
        stimuli = embed_images(self, images, captions)
        codes = subject_codes(self, subject, len(stimuli.tokens))
        expected = predict_regressor(self.regressor_, stimuli.tokens, self._shape, codes)
        expected = as_epochs(
            self, expected[stimuli.index], stimuli, None, subject, metadata, event_id
        )
        draws = draw_alike(self, stimuli, codes, n_draws)
        return expected_power(expected, draws, freqs, n_cycles, decim=decim, total=total)

    @verbose
    def score(
        self,
        images: Images,
        epochs: Responses,
        *,
        image_ids: ImageIds = None,
        captions: list[str] | str | None = None,
        subject: str | None = None,
        verbose: bool | str | int | None = None,
    ) -> float:
        """Return the mean of r across images, over sensors and times after image onset.

        Trials of an image are averaged first: images are the same where their content is, whether
        they were given once, with ids, or once a trial. Bad sensors are left out of the mean.
        A warning names images that were in the fit, and near copies of them.

        Parameters
        ----------
        images, epochs, image_ids, captions
            As in :meth:`~mne_img2brain.ImageToBrainEncoder.fit`, at least three distinct images.
            ``epochs`` must have been prepared as those of fit: baseline, projectors, reference,
            unit.
        subject : str | None, default None
            Whose predicted response; ``None`` is the average subject.
        verbose : bool | str | int | None, default None
            Control verbosity of the logging output.

        Returns
        -------
        float
            Between -1 and 1. Not corrected for the noise in ``epochs``.
        """
        r = self.score_evoked(
            images, epochs, image_ids=image_ids, captions=captions, subject=subject
        )
        after = r.times > 0 if np.any(r.times > 0) else np.ones(len(r.times), bool)
        return float(np.nanmean(r.data[:, after]))

    @verbose
    def score_evoked(
        self,
        images: Images,
        epochs: Responses,
        *,
        image_ids: ImageIds = None,
        captions: list[str] | str | None = None,
        subject: str | None = None,
        verbose: bool | str | int | None = None,
    ) -> mne.EvokedArray:
        """Return Pearson's r across images, for every sensor and time.

        Parameters
        ----------
        images, epochs, image_ids, captions
            As in :meth:`~mne_img2brain.ImageToBrainEncoder.fit`, at least three images. Sensors
            match by name in any order; extra ones are ignored.
        subject : str | None, default None
            Whose predicted response; ``None`` is the average subject.
        verbose : bool | str | int | None, default None
            Control verbosity of the logging output.

        Returns
        -------
        mne_img2brain.epochs.EvokedMap
            An :class:`mne.EvokedArray` whose values have no unit: ``plot``, ``plot_joint`` and
            ``plot_topomap`` show r as it is. NaN where the sensor is bad in ``epochs``.

        Raises
        ------
        ValueError
            If sensors are missing, times, sampling rate or preparation differ, or there are fewer
            than three distinct images.
        """
        check_is_fitted(self)
        return score_map(self, images, epochs, image_ids, captions, subject)

    @available_if(can_adapt)
    @verbose
    def adapt(
        self,
        images: Images,
        epochs: Responses,
        *,
        subject: str,
        image_ids: ImageIds = None,
        captions: list[str] | str | None = None,
        groups: np.ndarray | str | None = None,
        verbose: bool | str | int | None = None,
    ) -> Self:
        """Learn a new subject from little data; all else stays as it is.

        Minutes of recording suffice where many subjects, or one with much data, were learnt
        before: only how this subject's sensors mix the shared sources is learnt, and its noise.
        With data for it, more is. Predictions for other subjects, and for the average subject, do
        not change.

        Parameters
        ----------
        images : list | array | str
            Images or tokens, as in :meth:`~mne_img2brain.ImageToBrainEncoder.fit`; those of fit
            or others.
        epochs : mne.BaseEpochs | mne.Evoked | list
            The new subject's responses, with the times of the training data. Sensors match by
            name; others are left out, and missing ones are predicted from what subjects share.
        subject : str
            The name to ask for in ``predict`` and ``sample``.
        image_ids : array of int, shape (n_epochs,) | str | None, default None
            The position in ``images`` of the image of each epoch.
        captions : list of str | str | None, default None
            One per image.
        groups : array, shape (n_epochs,) | str | None, default None
            What splits keep together.
        verbose : bool | str | int | None, default None
            Control verbosity of the logging output.

        Returns
        -------
        self : ImageToBrainEncoder

        Raises
        ------
        ValueError
            If the subject is known already or has no name, sensors or times do not fit, or the
            data were prepared in another way or are of another unit. Nothing is changed then.
        """
        check_is_fitted(self)
        learn_subject(self, images, epochs, subject, image_ids, captions, groups)
        return self

    @property
    def _shape(self) -> tuple[int, int]:
        return len(self.ch_names_), len(self.times_)

    def save(self, fname: PathLike, *, overwrite: bool = False) -> None:
        """Save the fitted encoder to a folder: JSON, safetensors and the Info; no pickle.

        The folder holds what the encoder holds: by default residuals of recorded trials too, by
        which noise is drawn. ``regressor_.without_trials()`` leaves them out.

        Parameters
        ----------
        fname : path-like
            The folder to make.
        overwrite : bool, default False
            Whether an encoder saved there before is replaced.

        Raises
        ------
        TypeError
            If the regressor cannot be saved; nothing is written then.
        FileExistsError
            If the folder is there and ``overwrite`` is False.
        """
        check_is_fitted(self)
        write_encoder(self, fname, overwrite=overwrite)

    def push_to_hub(
        self,
        repo_id: str,
        *,
        trials: bool | None = None,
        evaluation: "Evaluation | None" = None,
        data: str | None = None,
        limits: str | None = None,
        licence: str | None = None,
        folder: PathLike | None = None,
        private: bool = True,
        revision: str | None = None,
        commit_message: str = "Fitted encoder",
        token: str | None = None,
    ) -> str:
        """Upload the fitted encoder to the Hugging Face Hub, with a model card.

        The card says what was learnt (images, trials, subjects, sensors, times), how well, and
        what the model is not good for. What could tell who was recorded, when and with which
        machine is taken out of the Info: of names, dates, serial numbers, the head's shape and
        comments nothing is left. The names of subjects in ``subjects_``, of image files where
        images were given by paths, and hashes of the training images are part of the model and
        stay.

        Parameters
        ----------
        repo_id : str
            Where to, ``"user/name"``.
        trials : bool | None, default None
            Whether the residuals of recorded trials, by which noise is drawn, are uploaded too.
            Without them predictions are the same, and draws come from one Gaussian with the
            covariance of the trials. ``None`` will do where the encoder holds none.
        evaluation : Evaluation | None, default None
            From :func:`mne_img2brain.evaluate`; its table goes into the card. The first of several
            encoders is taken for this one.
        data : str | None, default None
            What the data are: the data set, its reference, who saw what.
        limits : str | None, default None
            Limits of this model beyond those that the card has anyway.
        licence : str | None, default None
            Of the weights, in the spelling of the Hub, such as ``"cc-by-4.0"``. It depends on that
            of the data. ``None`` grants none, and the card says so.
        folder : path-like | None, default None
            Write the repository to this new folder in place of uploading it, to read the card
            first.
        private : bool, default True
            Whether a repository that is made now is private.
        revision : str | None, default None
            The branch to write to; ``None`` is the main one.
        commit_message : str, default "Fitted encoder"
            The message of the commit.
        token : str | None, default None
            Of the Hub; ``None`` is the one that ``hf auth login`` stored.

        Returns
        -------
        str
            The address of the commit, or the folder.

        Raises
        ------
        TypeError
            If the regressor cannot be saved.
        ValueError
            If the encoder holds recorded trials, and ``trials`` does not say what becomes of them.
        FileExistsError
            If ``folder`` is there.
        """
        check_is_fitted(self)
        return push(
            self, repo_id, trials=trials, evaluation=evaluation, data=data, limits=limits,
            licence=licence, folder=folder, private=private, revision=revision,
            commit_message=commit_message, token=token,
        )  # fmt: skip

    @classmethod
    def from_pretrained(
        cls,
        repo_id: PathLike,
        *,
        embedder: Embedder | None = None,
        revision: str | None = None,
        cache_dir: PathLike | None = None,
        token: str | None = None,
    ) -> Self:
        """Read a fitted encoder from the Hugging Face Hub, or from a folder.

        Reading runs nothing that the repository holds: arrays are safetensors, the rest is JSON
        with names from a closed table. An embedder loads its own weights when it is first used.

        Parameters
        ----------
        repo_id : path-like
            A folder, else ``"user/name"`` on the Hub.
        embedder : transformer | None, default None
            Used in place of the saved one; needed for images where the embedder was not saved.
        revision : str | None, default None
            A branch, tag or commit of the repository.
        cache_dir : path-like | None, default None
            Where downloads are kept; ``None`` is the cache of ``huggingface_hub``.
        token : str | None, default None
            For private repositories; ``None`` is the one that ``hf auth login`` stored.

        Returns
        -------
        ImageToBrainEncoder
            Fitted.

        Raises
        ------
        FileNotFoundError
            If there is no such folder and the Hub does not give it.
        ValueError
            If it is damaged or of a newer format.
        """
        folder = find_folder(repo_id, revision, cache_dir, token)
        return restore_encoder(cls, folder, embedder)

    @property
    def noise_summary_(self) -> NoiseSummary | None:
        """What draws single trials, and what else was tried; None where the regressor has none."""
        check_is_fitted(self)
        return getattr(self.regressor_, "noise_summary_", None)

    def __repr__(self, N_CHAR_MAX: int = 700) -> str:  # noqa: N803 - scikit-learn's name
        lines = [super().__repr__(N_CHAR_MAX)]
        r = getattr(self, "cross_validated_r_", math.nan)
        if math.isfinite(r):
            lines.append(f"# cross-validated r {r:.3f}")
        summary = getattr(getattr(self, "regressor_", None), "noise_summary_", None)
        if summary is not None:
            lines.append(f"# single trials by {summary}")
        if stored := getattr(getattr(self, "regressor_", None), "n_stored_trials_", 0):
            lines.append(f"# holds the residuals of {stored:,} recorded trials")
        return "\n".join(lines)

    def _html_repr(self) -> str:
        """Return what a notebook shows; scikit-learn calls it where its display is a diagram."""
        diagram = estimator_html_repr(self)
        fitted = hasattr(self, "regressor_")
        return f"<div>{diagram}{html_table(self)}</div>" if fitted else diagram


def read_encoder(fname: PathLike, *, embedder: Embedder | None = None) -> ImageToBrainEncoder:
    """Read a saved encoder.

    Parameters
    ----------
    fname : path-like
        The folder that :meth:`ImageToBrainEncoder.save` made.
    embedder : transformer | None, default None
        Used in place of the saved one; needed for images where the embedder was not saved.

    Returns
    -------
    ImageToBrainEncoder
        Fitted.

    Raises
    ------
    FileNotFoundError
        If there is none.
    ValueError
        If it is damaged or of a newer format.

    See Also
    --------
    ImageToBrainEncoder.save : Save an encoder.

    Examples
    --------
    >>> import tempfile
    >>> from mne_img2brain import DiffusionRegressor, GaborEmbedder, ImageToBrainEncoder
    >>> from mne_img2brain import read_encoder
    >>> from mne_img2brain.datasets import simulate_epochs, simulate_images
    >>> images, _ = simulate_images(4, size=32, random_state=0)
    >>> epochs, _ = simulate_epochs(images, random_state=0)
    >>> encoder = ImageToBrainEncoder(
    ...     GaborEmbedder(size=32, n_scales=2), DiffusionRegressor(max_iter=0, random_state=0)
    ... )
    >>> encoder = encoder.fit(images, epochs, image_ids="image_id")
    >>> with tempfile.TemporaryDirectory() as folder:
    ...     encoder.save(f"{folder}/encoder")
    ...     again = read_encoder(f"{folder}/encoder")
    >>> (again.predict(images).get_data() == encoder.predict(images).get_data()).all()
    np.True_
    """
    return restore_encoder(ImageToBrainEncoder, fname, embedder)
