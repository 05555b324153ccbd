"""Figures: predicted against recorded responses, scores over time, calibration.

``_figures`` in ``evaluation/report.py`` puts them on the page of an evaluation.
"""

from .curves import plot_identification, plot_r_time, plot_rsa
from .draws import plot_calibration, plot_spectra, plot_trial_sd
from .phosphenes import plot_phosphenes
from .rhythms import plot_power_calibration, plot_time_frequency
from .topography import plot_prediction, plot_score_joint

__all__ = [
    "plot_calibration", "plot_identification", "plot_phosphenes", "plot_power_calibration",
    "plot_prediction", "plot_r_time", "plot_rsa", "plot_score_joint", "plot_spectra",
    "plot_time_frequency", "plot_trial_sd",
]  # fmt: skip
