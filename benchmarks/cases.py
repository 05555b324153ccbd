"""What is measured: one function a case, each run in a process of its own."""

import json
import sys
from typing import Any

import numpy as np

from .machine import Meter


def _load(paths: dict, mapped: bool = False) -> dict[str, np.ndarray]:
    return {name: np.load(path, mmap_mode="r" if mapped else None) for name, path in paths.items()}


def _r(predicted: np.ndarray, truth: np.ndarray) -> float:
    """Pearson correlation over held-out images with noise-free responses, mean over the rest."""
    a = np.asarray(predicted, dtype=float).reshape(truth.shape)
    a, b = a - a.mean(axis=0), truth - truth.mean(axis=0, dtype=float)
    size = np.sqrt((a**2).sum(axis=0) * (b**2).sum(axis=0))
    there = b.std(axis=0) > 1e-3 * b.std()  # where there is a response at all
    return float(((a * b).sum(axis=0) / np.where(size > 0, size, 1))[there].mean())


def _result(fit: Meter, **more: Any) -> dict:
    return {"seconds": fit.seconds, "cpu": fit.cpu, "gib": fit.gib, **more}


def _pool(tokens: np.ndarray) -> np.ndarray:
    """Class token and mean of all others, which is what our linear kernel sees too."""
    return np.hstack([tokens[:, 0], tokens[:, 1:].mean(axis=1)])


def ours(
    paths: dict, nave: int, mapped: bool = False, n_draws: int = 5, n_subjects: int = 1
) -> dict:
    """Fit mean and noise; predict; sample. Trials of an image are those of as many subjects."""
    from mne_img2brain import DiffusionRegressor

    data = _load(paths, mapped)
    weight = np.full(len(data["y"]), float(nave))
    subjects = np.arange(len(weight)) % n_subjects if n_subjects > 1 else None
    with Meter() as fit:
        model = DiffusionRegressor(max_iter=0, random_state=0).fit(
            data["tokens"], data["y"], sample_weight=weight, image_index=data["image_index"],
            subjects=subjects,
        )  # fmt: skip
    new = np.array(data["new_tokens"])
    with Meter() as predict:
        predicted = model.predict(new)
    with Meter() as sample:
        drawn = model.sample(new, n_draws, random_state=0)
    with Meter() as normals:
        np.random.default_rng(0).standard_normal(drawn.shape)
    return _result(
        fit,
        r=_r(predicted, data["truth"]),
        predict=predict.seconds,
        sample=sample.seconds,
        normals=normals.seconds,
    )


def our_mean(paths: dict, nave: int, mapped: bool = False) -> dict:
    """Fit the mean alone."""
    from mne_img2brain.mean import KernelMeanRegressor

    data = _load(paths, mapped)
    weight = np.full(len(data["y"]), float(nave))
    with Meter() as fit:
        model = KernelMeanRegressor().fit(
            data["tokens"], data["y"], weight, image_index=data["image_index"]
        )
    with Meter() as predict:
        predicted = model.predict(np.array(data["new_tokens"]))
    return _result(fit, r=_r(predicted, data["truth"]), predict=predict.seconds)


def _sklearn_like(paths: dict, model: Any, features: Any = _pool) -> dict:
    """Fit a peer on features and flat responses, as its documentation does."""
    data = _load(paths)
    y = data["y"].reshape(len(data["y"]), -1)
    with Meter() as fit:
        model.fit(features(data["tokens"])[data["image_index"]], y)
    with Meter() as predict:
        predicted = model.predict(features(data["new_tokens"]))
    return _result(fit, r=_r(predicted, data["truth"]), predict=predict.seconds)


def himalaya_kernel(paths: dict, nave: int) -> dict:
    """Himalaya's kernel ridge on standardised features, a penalty for each target."""
    from himalaya.kernel_ridge import KernelRidgeCV
    from sklearn.pipeline import make_pipeline
    from sklearn.preprocessing import StandardScaler

    alphas = np.logspace(-1, 6, 20)
    return _sklearn_like(paths, make_pipeline(StandardScaler(), KernelRidgeCV(alphas=alphas, cv=5)))


def himalaya_kernel_tokens(paths: dict, nave: int) -> dict:
    """Run the same on all tokens."""
    from himalaya.kernel_ridge import KernelRidgeCV
    from sklearn.pipeline import make_pipeline
    from sklearn.preprocessing import StandardScaler

    alphas = np.logspace(0, 7, 20)
    model = make_pipeline(StandardScaler(), KernelRidgeCV(alphas=alphas, cv=5))
    return _sklearn_like(paths, model, lambda x: x.reshape(len(x), -1))


def himalaya_ridge(paths: dict, nave: int) -> dict:
    """Himalaya's ridge, a penalty for each target."""
    from himalaya.ridge import RidgeCV
    from sklearn.pipeline import make_pipeline
    from sklearn.preprocessing import StandardScaler

    alphas = np.logspace(-1, 6, 20)
    return _sklearn_like(paths, make_pipeline(StandardScaler(), RidgeCV(alphas=alphas, cv=5)))


def pca_ols(paths: dict, nave: int) -> dict:
    """250 principal components of all tokens, and least squares."""
    from sklearn.decomposition import PCA
    from sklearn.linear_model import LinearRegression
    from sklearn.pipeline import make_pipeline
    from sklearn.preprocessing import StandardScaler

    n_components = min(250, len(np.load(paths["tokens"], mmap_mode="r")) // 2)
    model = make_pipeline(StandardScaler(), PCA(n_components, random_state=0), LinearRegression())
    return _sklearn_like(paths, model, lambda x: x.reshape(len(x), -1))


def evaluation(
    paths: dict, nave: int, n_images: int = 200, n_trials: int = 20, n_draws: int = 8
) -> dict:
    """Judge an encoder on held-out images with many trials each, the two-sample tests included."""
    import mne

    from mne_img2brain import DiffusionRegressor, ImageToBrainEncoder
    from mne_img2brain.evaluation import evaluate

    data = _load(paths)
    n_channels, n_times = data["y"].shape[1:]
    info = mne.create_info([f"EEG{i:03}" for i in range(n_channels)], float(n_times), "eeg")
    kept = len(data["tokens"]) - n_images

    def epochs(rows: np.ndarray) -> mne.EpochsArray:
        return mne.EpochsArray(1e-6 * rows.astype(float), info, tmin=-0.2, verbose="error")

    regressor = DiffusionRegressor(max_iter=0, random_state=0)
    index = data["image_index"]
    encoder = ImageToBrainEncoder(regressor=regressor).fit(
        data["tokens"][:kept],
        epochs(data["y"][index < kept]),
        image_ids=index[index < kept],
    )
    with Meter() as judged:
        result = evaluate(
            encoder,
            data["tokens"][kept:],
            epochs(data["y"][index >= kept]),
            image_ids=index[index >= kept] - kept,
            n_draws=n_draws,
        )
    return _result(judged, n_rows=len(result.table))


def writing(paths: dict, nave: int, n_images: int = 10000, part_size: int = 1000) -> dict:
    """Write the expected responses to many images in parts; open them with MNE."""
    import tempfile
    from pathlib import Path

    import mne

    from mne_img2brain import DiffusionRegressor, ImageToBrainEncoder, write_generated

    data = _load(paths)
    n_channels, n_times = data["y"].shape[1:]
    info = mne.create_info([f"EEG{i:03}" for i in range(n_channels)], float(n_times), "eeg")
    epochs = mne.EpochsArray(1e-6 * data["y"].astype(float), info, tmin=-0.2, verbose="error")
    regressor = DiffusionRegressor(max_iter=0, random_state=0)
    encoder = ImageToBrainEncoder(regressor=regressor).fit(data["tokens"], epochs)
    with tempfile.TemporaryDirectory() as folder:
        fname = Path(folder) / "tokens.npy"
        shape = (n_images, *data["tokens"].shape[1:])
        tokens = np.lib.format.open_memmap(fname, "w+", np.float32, shape)
        rng = np.random.default_rng(0)
        for start in range(0, n_images, 1000):
            tokens[start : start + 1000] = rng.standard_normal(tokens[start : start + 1000].shape)
        del tokens
        with Meter() as written:
            files = write_generated(
                Path(folder) / "a-epo.fif", encoder, str(fname), part_size=part_size
            )
        n_bytes = sum(file.stat().st_size for file in files) / n_images
        with Meter() as opened:
            mne.read_epochs(files[0], preload=False)
    return _result(written, n_bytes=n_bytes, open_cpu=opened.cpu, open_gib=opened.gib)


def slopes(paths: dict, nave: int, steps: int = 10) -> dict:
    """CPU seconds of predict, sample and the transformer as something doubles: the exponents."""
    import time

    import torch

    from mne_img2brain import DiffusionRegressor
    from mne_img2brain.diffusion import BrainDiT, NoiseScheduler, dpm_solver

    data = _load(paths)
    n_channels, n_times = data["y"].shape[1:]
    scheduler, rng = NoiseScheduler(), np.random.default_rng(0)

    def cpu(call: Any) -> float:
        found = []
        for _ in range(3):
            start = time.process_time()
            call()
            found.append(time.process_time() - start)
        return min(found)

    def fitted(n: int) -> Any:
        model = DiffusionRegressor(max_iter=0, random_state=0)
        return model.fit(data["tokens"], data["y"][:, :n], image_index=data["image_index"])

    def fit_subjects(n: int) -> None:
        rows = np.tile(np.arange(len(data["y"])), n)
        noise = rng.standard_normal((len(rows), n_channels, n_times), np.float32)
        DiffusionRegressor(max_iter=0, random_state=0).fit(
            data["tokens"],
            data["y"][rows] + noise,
            image_index=data["image_index"][rows],
            subjects=np.repeat(np.arange(n), len(data["y"])),
        )

    def transform(n_draws: int, n_steps: int) -> None:
        model = BrainDiT(n_times, [0] * n_channels, data["tokens"].shape[2]).eval()
        noise = torch.as_tensor(rng.standard_normal((n_draws, n_channels, n_times), np.float32))
        with torch.no_grad():
            condition = model.encode_condition(torch.as_tensor(np.array(data["tokens"][:n_draws])))
            dpm_solver(
                lambda x, t: model(x, t, condition), noise, scheduler, scheduler.timesteps(n_steps)
            )

    whole, new = fitted(n_channels), np.array(data["new_tokens"])
    half = fitted(n_channels // 2)
    doubled = {
        "images, predict": [lambda n=n: whole.predict(new[:n]) for n in (len(new) // 2, len(new))],
        "images, sample": [lambda n=n: whole.sample(new[:n], 8) for n in (len(new) // 2, len(new))],
        "draws, sample": [lambda n=n: whole.sample(new, n) for n in (8, 16)],
        "channels, sample": [lambda m=m: m.sample(new, 8) for m in (half, whole)],
        "channels, predict": [lambda m=m: m.predict(new) for m in (half, whole)],
        "subjects, fit": [lambda n=n: fit_subjects(n) for n in (3, 6)],
        "draws, transformer": [lambda n=n: transform(n, steps) for n in (32, 64)],
        "steps, transformer": [lambda n=n: transform(32, n) for n in (steps, 2 * steps)],
    }
    return {
        what: float(np.log2(cpu(large) / cpu(small))) for what, (small, large) in doubled.items()
    }


def network(**sizes: int) -> dict:
    """Training and sampling of the transformer beside a bare loop."""
    from .network import network

    return network(**sizes)


if __name__ == "__main__":
    import warnings

    import mne

    warnings.simplefilter("ignore")
    mne.set_log_level("ERROR")
    name, arguments = sys.argv[1], json.loads(sys.argv[2])
    print(json.dumps(globals()[name](**arguments)))
