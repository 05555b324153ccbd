"""Looking inside: which parts of an image the denoiser looks at, and which drive a response."""

import dataclasses

import numpy as np
import torch
from sklearn.utils.validation import check_is_fitted

from .._parameters import Integer, check_given
from .._torch import evaluating
from .._types import Encoder
from ..diffusion import Denoiser
from ..epochs import project
from ..noise.whitening import ScaleWhitener, SpaceTimeWhitener
from ..stimulus.stimuli import present

__all__ = ["Attention", "attention_maps", "attribute_tokens"]


@dataclasses.dataclass(frozen=True)
class Attention:
    """How much response tokens look at image tokens.

    Attributes
    ----------
    weights : array, shape (n_images, n_regions, n_patches, n_tokens)
        Sums to 1 over image tokens; 0 for padding.
    regions : list of str
        The brain region of each response token, or its sensor with ``tokens="channel"``.
    times : array, shape (n_patches,)
        The middle of each response token, in seconds from image onset.

    See Also
    --------
    attention_maps : Computes it.

    Examples
    --------
    >>> import numpy as np
    >>> from mne_img2brain.encoder.attribution import Attention
    >>> weights = np.full((1, 2, 1, 4), 0.25)
    >>> attention = Attention(weights, ["frontal", "occipital"], np.array([0.1]))
    >>> attention.weights[:, attention.regions.index("occipital")].sum(axis=-1)
    array([[1.]])
    """

    weights: np.ndarray
    regions: list
    times: np.ndarray


def attention_maps(
    encoder: Encoder, images: list | np.ndarray, *, batch_size: int = 64
) -> Attention:
    """Return the cross-attention of the denoiser as it predicts the expected response.

    The mean over layers and heads, in the pass at pure noise in which the denoiser's expected
    response is read off. Attention says what is looked at, not what for: it need not agree with
    what drives the response, which :func:`attribute_tokens` measures.

    Parameters
    ----------
    encoder : ImageToBrainEncoder
        Fitted, with a :class:`~mne_img2brain.DiffusionRegressor` whose denoiser was kept.
    images : list | array, shape (n_images, height, width, 3)
        Images or tokens, as in :meth:`mne_img2brain.ImageToBrainEncoder.predict`.
    batch_size : int, default 64
        Images at once.

    Returns
    -------
    Attention
        One map for each image.

    Raises
    ------
    TypeError
        If the regressor is not a DiffusionRegressor.
    ValueError
        If the denoiser was not kept, or images do not enter by cross-attention.

    See Also
    --------
    attribute_tokens : What drives the response.

    Examples
    --------
    >>> import numpy as np
    >>> from mne_img2brain import DiffusionRegressor, ImageToBrainEncoder
    >>> from mne_img2brain.datasets import simulate_epochs
    >>> from mne_img2brain.encoder.attribution import attention_maps
    >>> tokens = np.random.default_rng(0).standard_normal((60, 4, 3))
    >>> epochs, _ = simulate_epochs(tokens, n_trials=1, snr=5.0, sfreq=25.0, random_state=0)
    >>> regressor = DiffusionRegressor.xu2025(hidden_size=16, n_layers=1, max_iter=10)
    >>> encoder = ImageToBrainEncoder(regressor=regressor).fit(tokens, epochs, image_ids="image_id")
    >>> attention = attention_maps(encoder, tokens[:2])
    >>> np.allclose(attention.weights.sum(axis=-1), 1)
    True
    """
    denoiser = _kept_denoiser(encoder)
    check_given(batch_size=(batch_size, Integer(1)))
    stimuli = present(images, encoder.embedder_)
    tokens = _three_dimensional(stimuli.tokens)
    maps = []
    with evaluating(denoiser.network_) as network:
        for start in range(0, len(tokens), batch_size):
            scaled, mask = _scaled(denoiser, tokens[start : start + batch_size])
            x, timestep = _pure_noise(denoiser, len(scaled), scaled)
            condition = network.encode_condition(scaled, mask)
            weights = network.attention(x, timestep, condition)  # (l, b, head, r, p, t)
            maps.append(weights.mean(dim=(0, 2)).cpu().numpy())
    patches = denoiser.network_.patches
    by_channel = denoiser.architecture_["tokens"] == "channel"
    names = encoder.ch_names_ if by_channel else np.unique(encoder.regions_).tolist()
    length = patches.patch_length
    parts = [encoder.times_[k * length : (k + 1) * length] for k in range(patches.n_patches)]
    times = np.array([part.mean() for part in parts])
    return Attention(np.concatenate(maps)[stimuli.index], list(names), times)


def attribute_tokens(
    encoder: Encoder,
    images: list | np.ndarray,
    weights: np.ndarray,
    *,
    reference: np.ndarray | None = None,
    n_steps: int = 32,
    batch_size: int = 64,
) -> np.ndarray:
    r"""Say how much each image token adds to an amplitude of the expected response.

    With :math:`a(c) = \sum_{jt} w_{jt}\, E[y_{jt} \mid c]` the amplitude and :math:`c'` the
    reference, integrated gradients [1]_ give token :math:`k`

    .. math:: A_k = \sum_f (c_{kf} - c'_{kf})
              \int_0^1 \frac{\partial a}{\partial c_{kf}}\bigl(c' + s (c - c')\bigr)\, ds ,

    and :math:`\sum_k A_k = a(c) - a(c')`. The integral is a mean over ``n_steps`` midpoints.

    Parameters
    ----------
    encoder : ImageToBrainEncoder
        Fitted, with ``DiffusionRegressor(mean=None)``: then the whole path from tokens
        to the expected response is differentiable. Other mean regressors are not; cover parts of
        the image and predict again.
    images : list | array, shape (n_images, height, width, 3)
        Images or tokens, as in :meth:`mne_img2brain.ImageToBrainEncoder.predict`.
    weights : array, shape (n_channels, n_times)
        What is summed, by sensors and times of the encoder: a mean over some sensors and times,
        or a spatial filter.
    reference : array, shape (n_tokens, n_features) | None, default None
        The tokens to compare with; ``None`` is the mean of the tokens of ``images``.
    n_steps : int, default 32
        Gradients for each image.
    batch_size : int, default 64
        Gradients at once.

    Returns
    -------
    array, shape (n_images, n_tokens)
        In the unit of ``weights`` times V, T or T/m; 0 for padding.

    Raises
    ------
    TypeError
        If the regressor is not a DiffusionRegressor.
    ValueError
        If the denoiser was not kept, the expected response is not differentiable, or shapes do not
        fit.

    See Also
    --------
    attention_maps : What is looked at.

    References
    ----------
    .. [1] Sundararajan, Taly & Yan (2017). Axiomatic attribution for deep networks. ICML.

    Examples
    --------
    >>> import numpy as np
    >>> from mne_img2brain import DiffusionRegressor, ImageToBrainEncoder
    >>> from mne_img2brain.datasets import simulate_epochs
    >>> from mne_img2brain.encoder.attribution import attribute_tokens
    >>> tokens = np.random.default_rng(0).standard_normal((60, 4, 3))
    >>> epochs, _ = simulate_epochs(tokens, n_trials=1, snr=5.0, sfreq=25.0, random_state=0)
    >>> regressor = DiffusionRegressor.xu2025(
    ...     hidden_size=16, n_layers=1, max_iter=10, prediction_type="v", zero_terminal_snr=True
    ... )
    >>> encoder = ImageToBrainEncoder(regressor=regressor).fit(tokens, epochs, image_ids="image_id")
    >>> weights = np.zeros((len(encoder.ch_names_), len(encoder.times_)))
    >>> weights[encoder.ch_names_.index("Oz")] = 1 / len(encoder.times_)  # the mean at Oz
    >>> attribute_tokens(encoder, tokens[:2], weights).shape
    (2, 4)
    """
    denoiser = _kept_denoiser(encoder)
    if encoder.regressor_.mean is not None:
        raise ValueError(
            "The expected response of this encoder is that of a mean regressor, which has no "
            "gradient. Fit it with DiffusionRegressor(mean=None), or cover parts of the "
            "image and predict again."
        )
    if not denoiser.scheduler_.zero_terminal_snr:
        raise ValueError(
            "Without zero_terminal_snr the expected response is a mean of draws, which takes no "
            "gradient here; fit with zero_terminal_snr=True."
        )
    check_given(n_steps=(n_steps, Integer(1)), batch_size=(batch_size, Integer(1)))
    weights = np.asarray(weights, dtype=float)
    if weights.shape != (len(encoder.ch_names_), len(encoder.times_)):
        raise ValueError(
            f"weights has shape {weights.shape}; expected one for each sensor and time, "
            f"{(len(encoder.ch_names_), len(encoder.times_))}."
        )
    stimuli = present(images, encoder.embedder_)
    tokens = _three_dimensional(stimuli.tokens)
    if reference is None:
        there = np.isfinite(tokens)
        total = np.where(there, tokens, 0).sum(axis=0, dtype=float)
        reference = total / np.maximum(there.sum(axis=0), 1)
    reference = np.asarray(reference, dtype=float)
    if reference.shape != tokens.shape[1:]:
        raise ValueError(
            f"reference has shape {reference.shape}, but one image has tokens of shape "
            f"{tokens.shape[1:]}."
        )
    pull = _pull_back(encoder, denoiser.whitener_.pooled.whitener_, weights)
    start, _ = _scaled(denoiser, reference[None])
    middles = (torch.arange(n_steps, device=start.device) + 0.5) / n_steps
    result = np.empty(tokens.shape[:2])
    for row in range(len(tokens)):
        end, mask = _scaled(denoiser, tokens[row : row + 1])
        way = (end - start) * mask[:, :, None]  # (1, t, f)
        total = torch.zeros_like(way)
        for some in middles.split(batch_size):
            points = start + some[:, None, None] * way
            gradients = _gradient(denoiser, points, mask.expand(len(some), -1), pull)
            total += gradients.sum(dim=0, keepdim=True)
        result[row] = (way * total).sum(dim=2)[0].cpu().numpy() / n_steps
    return result[stimuli.index]


def _kept_denoiser(encoder: Encoder) -> Denoiser:
    """Return the fitted diffusion model, or say why there is none to look into."""
    check_is_fitted(encoder)
    noise = getattr(encoder.regressor_, "noise_", None)
    if noise is None:
        raise TypeError(
            f"The regressor is a {type(encoder.regressor_).__name__}; only a DiffusionRegressor "
            "has a denoiser to look into."
        )
    if not isinstance(noise, Denoiser):
        raise ValueError(
            "The denoiser of this encoder was not kept: it did not draw better than the "
            "noise without it on images held out, so nothing in it looks at the image. Train "
            "longer, on more trials, or with mean=None."
        )
    return noise


def _three_dimensional(tokens: np.ndarray) -> np.ndarray:
    """Return tokens as (n_images, n_tokens, n_features)."""
    tokens = np.asarray(tokens)
    return tokens.reshape(len(tokens), -1, tokens.shape[-1])


def _scaled(denoiser: Denoiser, tokens: np.ndarray) -> tuple[torch.Tensor, torch.Tensor]:
    """Return standardised tokens and their mask, on the device."""
    scaled = denoiser.scaled_.of(tokens)
    device = next(denoiser.network_.parameters()).device
    values = torch.as_tensor(scaled[np.arange(len(tokens))], device=device)
    return values, torch.as_tensor(scaled.mask, device=device)


def _pure_noise(
    denoiser: Denoiser, n: int, like: torch.Tensor
) -> tuple[torch.Tensor, torch.Tensor]:
    """Return what the denoiser is asked at to tell the expected response."""
    x = torch.zeros(n, *denoiser.shape_, device=like.device)
    last = denoiser.scheduler_.n_timesteps - 1
    return x, torch.full((n,), last, device=like.device)


def _pull_back(
    encoder: Encoder,
    whitener: ScaleWhitener | SpaceTimeWhitener,
    weights: np.ndarray,
) -> np.ndarray:
    """Carry weights on the response back to weights on whitened residuals: the adjoint.

    Units, rank and whitening are linear, W = U P D S with U and D diagonal, P and S symmetric; so
    the adjoint is S D P U, and S x is inverse_transform(x) / D.
    """
    types = encoder.info_.get_channel_types()
    in_units = encoder.scaler_.inverse_transform(weights, types)
    projected = project(in_units, encoder.basis_)
    scale = whitener.scale_  # never zero
    return whitener.inverse_transform((scale * projected)[None])[0] / scale


def _gradient(
    denoiser: Denoiser, points: torch.Tensor, mask: torch.Tensor, pull: np.ndarray
) -> torch.Tensor:
    """Gradient of the amplitude at some tokens: tensor, shape (n, n_tokens, n_features)."""
    pull = torch.as_tensor(pull, dtype=points.dtype, device=points.device)
    with evaluating(denoiser.network_) as network, torch.enable_grad():
        points = points.detach().requires_grad_()
        x, timestep = _pure_noise(denoiser, len(points), points)
        output = network(x, timestep, network.encode_condition(points, mask))
        x0, _ = denoiser.scheduler_.predict_x0_noise(output, x, int(timestep[0]))
        (gradient,) = torch.autograd.grad((pull * x0).sum(), points)
    return gradient
