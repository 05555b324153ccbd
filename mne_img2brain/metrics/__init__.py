"""Judging of predicted and generated responses: arrays in, arrays and floats out.

A metric gets its row in the table of ``evaluate`` by ``rows.add`` in ``evaluation/predictions.py``
or, where it is of draws, in ``evaluation/draws.py``.
"""

from .accuracy import difference_wave, difference_wave_r, mse, normalized_r, pearson, r_map
from .calibration import coverage, crps, energy_score, rank_histogram
from .components import Peak, component_peak
from .cross_validated import CrossValidated, cross_validated_r
from .equivalent_trials import EquivalentTrials, equivalent_trials
from .identification import (
    identification_curve,
    identification_ranks,
    n_way_accuracy,
    pairwise_accuracy,
    top_k,
)
from .membership import Membership, membership_auc
from .noise_ceiling import (
    NoiseSignal,
    SplitHalf,
    ceiling_r2,
    ncsnr,
    spearman_brown,
    split_half_ceiling,
)
from .reliability import ceiling_of_r, halves_agree
from .spectrum import (
    EEG_BANDS,
    band_log_ratio,
    channel_covariance,
    covariance_distance,
    lag_one_autocorrelation,
    spectra,
)
from .two_sample import TrialFeatures, classifier_two_sample, default_classifiers, trial_halves
from .uncertainty import bootstrap, interval
from .usefulness import TrainOnGenerated, nearest_distance, train_on_generated
from .variability import sd_ratio, within_image_sd
from .windows import time_mask, window_mean

__all__ = [
    "EEG_BANDS", "CrossValidated", "EquivalentTrials", "Membership", "NoiseSignal", "Peak",
    "SplitHalf", "TrainOnGenerated", "TrialFeatures", "band_log_ratio", "bootstrap", "ceiling_of_r",
    "ceiling_r2", "channel_covariance", "classifier_two_sample", "component_peak",
    "covariance_distance", "coverage", "cross_validated_r", "crps", "default_classifiers",
    "difference_wave", "difference_wave_r", "energy_score", "equivalent_trials", "halves_agree",
    "identification_curve", "identification_ranks", "interval", "lag_one_autocorrelation",
    "membership_auc", "mse", "n_way_accuracy", "ncsnr", "nearest_distance", "normalized_r",
    "pairwise_accuracy", "pearson", "r_map", "rank_histogram", "sd_ratio", "spearman_brown",
    "spectra", "split_half_ceiling", "time_mask", "top_k", "train_on_generated", "trial_halves",
    "window_mean", "within_image_sd",
]  # fmt: skip
