"""A small convolutional network that tells trials apart."""

from typing import TYPE_CHECKING, Self

import numpy as np
from sklearn.base import BaseEstimator, ClassifierMixin
from sklearn.utils.validation import check_is_fitted

from .._parameters import Integer, Number, all_or_nothing, check_parameters

if TYPE_CHECKING:
    from torch import nn


class TrialConvNet(ClassifierMixin, BaseEstimator):
    """Convolutions over time and over sensors, for the two-sample test.

    Temporal filters, two spatial filters for each, temporal filters again and averages over a tenth
    of the time, in the manner of EEGNet. It sees phase and shape, which the features of
    :class:`mne_img2brain.metrics.TrialFeatures` do not.

    Parameters
    ----------
    n_filters : int, default 16
        How many temporal filters.
    filter_length : int, default 15
        Their length in samples.
    n_passes : int, default 20
        How often training goes through the trials.
    batch_size : int, default 64
        How many trials a step takes.
    learning_rate : float, default 0.002
        Of Adam.
    device : str, default "auto"
        ``"auto"``, ``"cpu"``, ``"cuda"`` ...
    random_state : int, default 0
        The seed of the weights and of the order of trials.

    Attributes
    ----------
    classes_ : array, shape (2,)
        The labels.

    See Also
    --------
    mne_img2brain.metrics.classifier_two_sample : The test.

    References
    ----------
    Lawhern et al. (2018), EEGNet: a compact convolutional neural network for EEG-based
    brain-computer interfaces, Journal of Neural Engineering 15.

    Examples
    --------
    >>> from mne_img2brain.evaluation import TrialConvNet
    >>> from mne_img2brain.metrics import default_classifiers
    >>> classifiers = {**default_classifiers(), "convolutional": TrialConvNet()}
    >>> list(classifiers)  # for evaluate
    ['linear', 'boosted', 'convolutional']
    """

    def __init__(
        self,
        n_filters: int = 16,
        filter_length: int = 15,
        n_passes: int = 20,
        batch_size: int = 64,
        learning_rate: float = 2e-3,
        device: str = "auto",
        random_state: int = 0,
    ) -> None:
        self.n_filters = n_filters
        self.filter_length = filter_length
        self.n_passes = n_passes
        self.batch_size = batch_size
        self.learning_rate = learning_rate
        self.device = device
        self.random_state = random_state

    @all_or_nothing
    def fit(self, X: np.ndarray, y: np.ndarray) -> Self:
        """Train on trials, (n_trials, n_channels, n_times), with two labels, (n_trials,)."""
        import torch

        from .._torch import resolve_device, seeded_init

        check_parameters(
            self,
            n_filters=Integer(1),
            filter_length=Integer(1),
            n_passes=Integer(1),
            batch_size=Integer(1),
            learning_rate=Number(0, 1, closed="high"),
            random_state=Integer(0),
        )
        X = np.asarray(X, np.float64)
        self.classes_, codes = np.unique(y, return_inverse=True)
        if len(self.classes_) != 2:
            raise ValueError(f"y holds {len(self.classes_)} labels; TrialConvNet tells two apart.")
        # Sensors are scaled first: volts and femtotesla look alike to a network.
        scale = X.std(axis=(0, 2))
        self.scale_ = np.where(scale > 0, scale, 1.0)[:, None]
        device = resolve_device(self.device)
        with seeded_init(self.random_state):
            self.network_ = _network(X.shape[1], X.shape[2], self.n_filters, self.filter_length).to(
                device
            )
        inputs = torch.as_tensor(X / self.scale_, dtype=torch.float32, device=device)
        targets = torch.as_tensor(codes, dtype=torch.float32, device=device)
        optimizer = torch.optim.AdamW(
            self.network_.parameters(), lr=self.learning_rate, weight_decay=0.01
        )
        n_steps = self.n_passes * -(-len(X) // self.batch_size)
        schedule = torch.optim.lr_scheduler.OneCycleLR(
            optimizer, max_lr=self.learning_rate, total_steps=n_steps
        )
        rng = np.random.default_rng(self.random_state)
        self.network_.train()
        for _ in range(self.n_passes):
            order = torch.as_tensor(rng.permutation(len(X)), device=device)
            for rows in order.split(self.batch_size):
                loss = torch.nn.functional.binary_cross_entropy_with_logits(
                    self.network_(inputs[rows]).squeeze(1), targets[rows]
                )
                optimizer.zero_grad()
                loss.backward()
                optimizer.step()
                schedule.step()
        return self

    def decision_function(self, X: np.ndarray) -> np.ndarray:
        """Return the evidence for the second label, (n_trials,): positive where it is likelier."""
        import torch

        from .._torch import evaluating

        check_is_fitted(self)
        scaled = torch.as_tensor(np.asarray(X) / self.scale_, dtype=torch.float32)
        device = next(self.network_.parameters()).device
        with evaluating(self.network_):
            parts = [self.network_(part.to(device)).squeeze(1).cpu() for part in scaled.split(512)]
        return torch.cat(parts).numpy()

    def predict(self, X: np.ndarray) -> np.ndarray:
        """Return the more likely label of each trial, shape (n_trials,)."""
        return self.classes_[(self.decision_function(X) > 0).astype(int)]


def _network(n_channels: int, n_times: int, n_filters: int, length: int) -> "nn.Module":
    """Build the network: (n, n_channels, n_times) -> (n, 1).

    No dropout: it would draw from the global generator.
    """
    from torch import nn

    length = min(length, n_times)
    window = max(1, n_times // 10)
    return nn.Sequential(
        nn.Unflatten(1, (1, n_channels)),
        nn.Conv2d(1, n_filters, (1, length), padding="same", bias=False),
        nn.Conv2d(n_filters, 2 * n_filters, (n_channels, 1), groups=n_filters, bias=False),
        nn.BatchNorm2d(2 * n_filters),
        nn.ELU(),
        nn.Conv2d(2 * n_filters, 2 * n_filters, (1, length), padding="same", bias=False),
        nn.BatchNorm2d(2 * n_filters),
        nn.ELU(),
        nn.AvgPool2d((1, window)),
        nn.Flatten(),
        nn.Linear(2 * n_filters * (n_times // window), 1),
    )
