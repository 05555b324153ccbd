"""Who may see whom: canonical trial order, groups that may not be split, held-out parts."""

import dataclasses
import hashlib
from typing import TYPE_CHECKING, Self

import numpy as np
from scipy.sparse import coo_array
from scipy.sparse.csgraph import connected_components

from .._lazy import LazyTrials
from .._log import warn

if TYPE_CHECKING:
    from .checks import TrialArrays


@dataclasses.dataclass(frozen=True)
class SplitPlan:
    """Which trials are held out together.

    group (n_trials,): what no split parts.
    fold (n_trials,): the fold that holds each trial out.
    validation (n_trials,): the trials that decide when training stops.
    by_trial: whether there were too few images to hold images out.
    """

    group: np.ndarray
    fold: np.ndarray
    validation: np.ndarray
    by_trial: bool

    def take(self, rows: np.ndarray) -> Self:
        """Return the plan of the given trials, in that order."""
        return dataclasses.replace(
            self, group=self.group[rows], fold=self.fold[rows], validation=self.validation[rows]
        )


def plan_splits(
    data: "TrialArrays",
    min_images: int,
    n_folds: int,
    validation_fraction: float,
    rng: np.random.Generator,
) -> tuple["TrialArrays", SplitPlan]:
    """Put trials in canonical order, keep each image once, and decide who is held out when."""
    first, distinct = distinct_rows(data.tokens)
    image = distinct[data.image_index]
    keys = (image,) if data.subject is None else (image, data.subject)
    data = data.take(order := canonical_order(data.y, *keys))
    used, image = np.unique(image[order], return_inverse=True)
    tokens, place = data.tokens, first[used]
    if len(used) < len(tokens):
        tokens, place = tokens[place], np.arange(len(used))
    # where every image is used once tokens stay where they are: in a mapped file, say
    data = dataclasses.replace(data, tokens=tokens, image_index=place[image])
    by_trial = len(used) < min_images
    if by_trial:
        group = np.arange(len(image))
        warn(
            f"There are {len(used)} distinct images, fewer than min_images={min_images}: trials, "
            "not images, are held out to choose parameters. What is learnt says little about "
            "other images."
        )
    else:
        group = merge_groups(image, data.groups)
    if group.max() == 0:
        raise ValueError(
            "groups joins all images into one group, which leaves nothing to hold out; give at "
            "least two groups, or groups=None."
        )
    fold = fold_of(group, n_folds, rng)
    return data, SplitPlan(group, fold, held_out_groups(group, validation_fraction, rng), by_trial)


def distinct_rows(x: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Find the distinct rows of an array, in an order that depends on their content only.

    Returns where each distinct row stands first, and which distinct row each row is.
    """
    digests = [hashlib.blake2b(np.ascontiguousarray(row).tobytes()).hexdigest() for row in x]
    _, first, index = np.unique(digests, return_index=True, return_inverse=True)
    return first, index


def canonical_order(y: np.ndarray | LazyTrials, *keys: np.ndarray) -> np.ndarray:
    """Sort trials by keys and then by their own values, whatever order they came in.

    Values are compared through one fixed random projection, so that differences of rounding do
    not change the order. The most important key comes first.
    """
    flat = np.asarray(y).reshape(len(y), -1)
    direction = np.random.default_rng(20).standard_normal(flat.shape[1])
    blocks = np.array_split(flat, max(1, flat.size // 10**6))
    projected = np.concatenate([np.nan_to_num(block) @ direction for block in blocks])
    return np.lexsort((projected, *keys[::-1]))


def merge_groups(
    image_index: np.ndarray, groups: list[str] | np.ndarray | None = None
) -> np.ndarray:
    """Return the group of each trial, ``0 .. n_groups - 1``, that no split may separate.

    Trials of one image are always together; ``groups`` (concepts, say) can only join images.
    """
    _, images = np.unique(image_index, return_inverse=True)
    if groups is None:
        return images
    groups = np.asarray(groups)
    if groups.shape != images.shape:
        raise ValueError(
            f"groups has shape {groups.shape}, but there are {len(images)} trials; give one label "
            "per trial."
        )
    _, labels = np.unique(groups.astype(str), return_inverse=True)
    n_images = images.max() + 1
    n_nodes = n_images + labels.max() + 1
    edges = coo_array((np.ones(len(images)), (images, labels + n_images)), shape=(n_nodes, n_nodes))
    _, component = connected_components(edges, directed=False)
    _, merged = np.unique(component[images], return_inverse=True)
    return merged


def held_out_groups(groups: np.ndarray, fraction: float, rng: np.random.Generator) -> np.ndarray:
    """Hold out whole groups, at least one and not all, until they hold a fraction of the trials."""
    sizes = np.bincount(groups)
    if len(sizes) < 2:
        raise ValueError(
            f"There is {len(sizes)} group of trials; at least two are needed to hold one out."
        )
    order = rng.permutation(len(sizes))
    n_held = int(np.searchsorted(np.cumsum(sizes[order]), fraction * len(groups))) + 1
    return np.isin(groups, order[: min(n_held, len(sizes) - 1)])


def fold_of(groups: np.ndarray, n_folds: int, rng: np.random.Generator) -> np.ndarray:
    """Deal whole groups into folds of similar size; return the fold of each trial."""
    sizes = np.bincount(groups)
    n_folds = min(n_folds, len(sizes))
    fold_of_group = np.empty(len(sizes), dtype=np.intp)
    # largest groups first, each to the emptiest fold; ties in random order
    order = rng.permutation(len(sizes))
    order = order[np.argsort(-sizes[order], kind="stable")]
    load = np.zeros(n_folds)
    for group in order:
        fold = int(load.argmin())
        fold_of_group[group] = fold
        load[fold] += sizes[group]
    return fold_of_group[groups]
