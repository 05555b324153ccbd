"""Tables of an experiment, from the results of its units."""

from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from .._files import write_text
from .._log import logger
from .._types import Embedder
from .embedding import captions_of

CEILING = "noise ceiling"
AVERAGE = "average"
# Of the predictions; the first two are the paper's.
_PREDICTION = (
    "mse",
    "pcc",
    "r",
    "r / ceiling",
    "top-1",
    "top-5",
    "mean rank",
    "pairwise accuracy",
    "equivalent trials",
    "rsa",
)
# Of these what noise allows is known; of the others only what is perfect.
_WITH_CEILING = ("mse", "pcc", "r", "rsa")


def long_table(results: dict) -> pd.DataFrame:
    """Put the tables of units below each other.

    The prediction of ridge regression with Gaussian noise is called ``ridge``.
    """
    parts = []
    for about, table, _ in results.values():
        table = table.rename(columns={"encoder": "method"})
        plain = (table["method"] == "ridge + Gaussian") & table["metric"].isin(_PREDICTION)
        table.loc[plain, "method"] = "ridge"
        table.insert(0, "subject", about["subject"])
        table.insert(0, "protocol", about["protocol"])
        parts.append(table)
    return pd.concat(parts, ignore_index=True)


def accuracy_table(long: pd.DataFrame, protocol: str) -> pd.DataFrame:
    """Make the paper's table of one protocol: methods by subject, their average and its SD.

    The rows of the method ``"noise ceiling"`` hold what the noise-free response would get.
    """
    rows = long[(long["protocol"] == protocol) & long["metric"].isin(_PREDICTION)]
    ceilings = rows[rows["metric"].isin(_WITH_CEILING)]
    ceilings = ceilings.groupby(["subject", "metric"], sort=False, as_index=False).first()
    ceilings = ceilings.assign(method=CEILING, value=ceilings["ceiling"])
    rows = pd.concat([rows, ceilings])
    wide = rows.pivot(index=["method", "subject"], columns="metric", values="value")
    methods, subjects = (list(dict.fromkeys(rows[name])) for name in ("method", "subject"))
    columns = [name for name in _PREDICTION if name in wide]
    wide = wide[columns]
    average = (
        wide.groupby("method").mean().assign(subject=AVERAGE).set_index("subject", append=True)
    )
    if len(subjects) > 1:
        spread = wide.groupby("method").std(ddof=1)
        for name in columns[:3]:
            average[f"{name} SD"] = spread[name].reindex(average.index.get_level_values(0)).values
    whole = pd.concat([wide, average])
    order = [(method, subject) for method in methods for subject in [*subjects, AVERAGE]]
    whole = whole.reindex(pd.MultiIndex.from_tuples(order, names=["method", "subject"]))
    whole.columns.name = None
    return whole.reset_index()


def draws_table(long: pd.DataFrame) -> pd.DataFrame:
    """Average what draws get, and real trials against real ones, over subjects."""
    no_draws = ("mean response", "recorded")
    rows = long[~long["metric"].isin(_PREDICTION) & ~long["method"].isin(no_draws)]
    keys = ["protocol", "metric", "method"]
    columns = {
        "value": ("value", "mean"),
        "SD": ("value", lambda values: values.std(ddof=1) if len(values) > 1 else np.nan),
        "real": ("ceiling", "mean"),
        "n_subjects": ("value", "size"),
    }
    return rows.groupby(keys, sort=False).agg(**columns).reset_index()


def score_captions(
    file: Path, images: dict, captions: dict | None, embedder: Embedder | None
) -> tuple[pd.DataFrame | None, str | None]:
    """Score captions against their images by the embedder's CLIP model; once, then read the file.

    Returns scores: ``split``, ``image``, ``caption``, ``clip_score`` and, as the chance level,
        ``shuffled``: the score of an image with the caption of another.
    Returns reason: why there are no scores.
    """
    if file.is_file():
        return pd.read_csv(file, keep_default_na=False), None
    if captions is None:
        return None, "there are no captions; give captions=, or an embedder that writes them"
    from ..stimulus import clip_score

    model = {
        name: getattr(embedder, name)
        for name in ("model", "pretrained", "device", "batch_size")
        if hasattr(embedder, name)
    }
    parts = []
    for split, paths in images.items():
        texts: Any = captions_of(captions, paths)
        # every image with its neighbour's caption: another image, whatever the order
        others = np.roll(texts, len(texts) // 2).tolist()
        try:
            scores = [clip_score(paths, some, **model) for some in (texts, others)]
        except OSError as error:
            return None, f"images or CLIP weights are not there ({str(error).splitlines()[0]})"
        frame = {"split": split, "image": paths, "caption": texts}
        parts.append(pd.DataFrame({**frame, "clip_score": scores[0], "shuffled": scores[1]}))
        logger.info("CLIP scores of %d %s captions: %.3f.", len(texts), split, scores[0].mean())
    scores = pd.concat(parts, ignore_index=True)
    write_text(file, scores.to_csv(index=False))
    return scores, None
