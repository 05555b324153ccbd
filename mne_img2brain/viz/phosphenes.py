"""Figures of artificial vision: what is seen, and the response that it should evoke."""

import numpy as np
from matplotlib.figure import Figure

from .._types import AxesLike
from .canvas import (
    COLORS,
    REAL,
    REFERENCE,
    check_evoked,
    check_named,
    finish,
    get_axes,
    tidy,
    time_axis,
    unit_of,
)


def plot_phosphenes(
    images: dict[str, np.ndarray],
    responses: dict | None = None,
    *,
    picks: str | list[str] | None = None,
    title: str | None = None,
    axes: AxesLike = None,
    show: bool = True,
) -> Figure:
    """Draw an image beside its prosthetic percepts, and the predicted response below each.

    The response to the first image is repeated below the others, in black, so that what a
    percept changes can be read off every panel.

    Parameters
    ----------
    images : dict of str to array, shape (height, width) | (height, width, 3)
        The intact image first, then percepts, by the name that stands above each. Integers are
        0 to 255. Of other numbers 0 is black and, over all of them, the largest is white; 1 where
        none is larger.
    responses : dict of str to mne.Evoked | None, default None
        The predicted response to each, by the same names, all of the same times. ``None`` draws
        images only.
    picks : str | list of str | None, default None
        The sensor to draw, or several of one type, which are averaged. ``None`` takes the sensor
        whose response to the first image is largest.
    title : str | None, default None
        What stands above.
    axes : array-like of matplotlib.axes.Axes | None, default None
        One for each image, then one for each response; ``None`` makes a new figure.
    show : bool, default True
        Whether to show the figure.

    Returns
    -------
    matplotlib.figure.Figure

    Raises
    ------
    TypeError
        If images or responses are no dict, or a response is no Evoked.
    ValueError
        If there is no image, or one has no response, or responses differ in times or sensors.

    See Also
    --------
    plot_prediction : Predicted beside recorded responses.

    Examples
    --------
    >>> from mne_img2brain.datasets import simulate_images
    >>> from mne_img2brain.viz import plot_phosphenes
    >>> (image,), _ = simulate_images(1, size=32, random_state=0)
    >>> figure = plot_phosphenes({"intact": image, "coarse": image[::4, ::4]}, show=False)
    >>> len(figure.axes)
    2
    """
    check_named("images", images)
    if responses is not None:
        check_named("responses", responses)
        check_evoked(**{f"responses[{name!r}]": one for name, one in responses.items()})
    names = list(images)
    n_rows, size = (1, 2.1) if responses is None else (2, 4)
    size = 1.9 * len(names) + 0.4, size
    figure, axes = get_axes(axes, n_rows * len(names), n_rows, figsize=size)
    shown = {name: _brightness(image, name) for name, image in images.items()}
    white = max([1.0, *(image.max() for image in shown.values())])
    for axis, (name, image) in zip(axes, shown.items(), strict=False):
        axis.imshow(np.clip(image / white, 0, 1), cmap="gray", vmin=0, vmax=1)
        axis.set_title(name, fontsize=10)
        axis.set(xticks=[], yticks=[])
    if responses is not None:
        _draw_responses(axes[len(names) :], names, responses, picks)
    if title is not None:
        figure.suptitle(title)
    return finish(figure, show)


def _brightness(image: np.ndarray, name: str) -> np.ndarray:
    """Return an image as numbers from 0, black."""
    image = np.asarray(image)
    if image.ndim != 2 and image.shape[2:] != (3,):
        raise ValueError(
            f"Image {name!r} has shape {image.shape}; expected (height, width) or (height, "
            "width, 3)."
        )
    return image / 255 if image.dtype.kind in "iu" else image.astype(float)


def _draw_responses(
    axes: np.ndarray, names: list[str], responses: dict, picks: list[str] | str | None
) -> None:
    """Draw one response below each image, all on one scale."""
    missing = [name for name in names if name not in responses]
    if missing:
        raise ValueError(
            f"Images without a response: {', '.join(missing)}; responses are named "
            f"{', '.join(responses)}."
        )
    first = responses[names[0]]
    for name in names[1:]:
        same = np.array_equal(responses[name].times, first.times)
        if not same or responses[name].ch_names != first.ch_names:
            raise ValueError(
                f"The response {name!r} has other times or sensors than {names[0]!r}; predict all "
                "with one encoder."
            )
    if picks is None:
        strongest = np.unravel_index(np.abs(first.data).argmax(), first.data.shape)[0]
        picks = first.ch_names[strongest]
    part = first.copy().pick(picks)
    kinds = part.get_channel_types(unique=True)
    if len(kinds) > 1:
        raise ValueError(f"picks are of types {', '.join(kinds)}, which cannot be averaged.")
    scale, unit = unit_of(first.info, kinds[0])
    of_sensor = {n: scale * responses[n].copy().pick(picks).data.mean(axis=0) for n in names}
    low, high = (f([f(course) for course in of_sensor.values()]) for f in (np.min, np.max))
    room = 0.08 * (high - low) or 1.0
    for axis, name in zip(axes, names, strict=True):
        axis.axhline(0, color=REFERENCE, lw=0.8)
        axis.plot(first.times, of_sensor[names[0]], color=REAL, lw=1.2, label=names[0])
        if name != names[0]:
            axis.plot(
                first.times, of_sensor[name], color=COLORS[1], lw=1.8, ls="--", label="as above"
            )
        time_axis(axis, first.times)
        axis.set(xlabel="Time (s)", ylim=(low - room, high + room))
        if name != names[0]:
            axis.set_yticklabels([])
        tidy(axis)
    if len(names) > 1:
        axes[1].legend(frameon=False, fontsize=8, handlelength=1.3, loc="upper right")
    where = part.ch_names[0] if len(part.ch_names) == 1 else f"{len(part.ch_names)} sensors"
    axes[0].set_ylabel(f"{where} ({unit})")
