"""Several subjects: their own mixing and noise, sensors that some lack, subjects learnt later."""

import mne
import numpy as np
import pytest
from numpy.testing import assert_allclose, assert_array_equal
from sklearn.linear_model import Ridge
from small_regressors import make_regressor

from mne_img2brain import Denoiser, ImageToBrainEncoder, read_encoder
from mne_img2brain.mean.subject_layer import SpatialLayer
from mne_img2brain.noise.subject_noise import SubjectNoise
from mne_img2brain.noise.trial_noise import TrialNoise
from mne_img2brain.trials.missing_sensors import fill_sensors

N_CHANNELS, N_TIMES = 6, 12
GAUSSIAN = {"max_iter": 0, "device": "cpu", "random_state": 0}
DRAWN = {"hidden_size": 16, "n_layers": 1, "n_heads": 2, "patch_length": 6, "batch_size": 32}
NAMES = ["Fz", "Cz", "Pz", "Oz", "O1", "O2"]


@pytest.fixture
def rng():
    return np.random.default_rng(0)


@pytest.fixture
def world(rng):
    """Two sources that images drive, mixed into sensors in another way by every subject."""
    tokens = rng.standard_normal((120, 1, 4)).astype(np.float32)
    courses = np.exp(-0.5 * ((np.arange(N_TIMES) - [[4], [8]]) / 1.5) ** 2)
    sources = tokens[:, 0, :2, None] * courses
    usual = rng.standard_normal((N_CHANNELS, 2))

    def record(seed, turn, scale=1.0, noise=0.5, images=range(120), repeats=2):
        own = np.random.default_rng(seed)
        mixing = scale * (usual + turn * own.standard_normal(usual.shape))
        truth = mixing @ sources
        image = np.repeat(np.asarray(images), repeats)
        y = truth[image] + noise * own.standard_normal((len(image), N_CHANNELS, N_TIMES))
        return truth, image, y

    return tokens, record


def several(record, turns=(0.3, 0.3, 0.3), **options):
    """Return stacked trials of subjects 0, 1, 2, their images and truths."""
    parts = [record(seed + 1, turn, **options) for seed, turn in enumerate(turns)]
    image = np.concatenate([part[1] for part in parts])
    y = np.concatenate([part[2] for part in parts])
    subject = np.repeat(np.arange(len(parts)), [len(part[1]) for part in parts])
    return [part[0] for part in parts], image, y, subject


def error(predicted, truth):
    """Mean squared error in units of the variance over images."""
    return np.mean((predicted - truth) ** 2) / np.mean((truth - truth.mean(axis=0)) ** 2)


# ------------------------------------------------------------------------------ the spatial layer
def test_layer_finds_the_mixing(world):
    tokens, record = world
    shared, image, _ = record(1, 0.0)
    truth, _, y = record(2, 0.5, noise=0.1)
    layer = SpatialLayer()
    added = layer.fit(shared[image], y, image, np.ones(len(y)), image % 5)
    assert error(shared, truth) > 0.2
    assert error(shared + layer.apply(shared), truth) < 0.01
    # and it says what it would have said without the image
    assert error(shared[image] + added, truth[image]) < 0.02


def test_layer_keeps_the_shared_response_where_nothing_says_otherwise(world):
    tokens, record = world
    shared, image, _ = record(1, 0.0)
    _, image, y = record(1, 0.0, noise=3.0, images=range(12), repeats=1)
    layer = SpatialLayer()
    layer.fit(shared[image], y, image, np.ones(len(y)), image % 4)
    assert error(shared + layer.apply(shared), shared) < 0.1


def test_layer_with_one_image_or_none_that_vary(world):
    tokens, record = world
    _, image, y = record(1, 0.0, images=range(1), repeats=4)
    layer = SpatialLayer()
    added = layer.fit(np.zeros_like(y), y, image, np.ones(4), np.arange(4))
    assert layer.mixing_.shape[1] == 0
    assert np.isfinite(added).all()
    # the mean is what it adds, shrunk
    assert_allclose(layer.apply(np.zeros((1, N_CHANNELS, N_TIMES)))[0], layer.mean_)


def test_layer_weighs_averages(world):
    """An average of four trials counts as these four do."""
    tokens, record = world
    shared, image, y = record(3, 0.3, repeats=4)
    fold = image % 5
    one, four = SpatialLayer(), SpatialLayer()
    one.fit(shared[image], 2 * y, image, np.ones(len(y)), fold)
    average = y.reshape(120, 4, N_CHANNELS, N_TIMES).mean(axis=1)
    four.fit(shared, 2 * average, np.arange(120), np.full(120, 4.0), fold[::4])
    assert_allclose(four.apply(shared), one.apply(shared), atol=1e-10)


# -------------------------------------------------------------------------------- missing sensors
def test_missing_sensors_come_from_those_that_are_there(rng):
    source = rng.standard_normal((400, 1, 5))
    y = np.array([[1.0], [2.0], [-1.0]]) * source + 10
    mask = np.ones((400, 3), bool)
    mask[200:, 1] = False
    broken = np.where(mask[:, :, None], y, np.nan)
    filled = fill_sensors(broken, mask)
    assert_allclose(filled, y, atol=0.02)
    assert_array_equal(filled[mask], y[mask])


def test_filled_residuals_have_the_size_of_recorded_ones(rng):
    y = rng.standard_normal((4000, 3, 2)) * [[1], [3], [2]]  # nothing in common
    mask = np.ones((4000, 3), bool)
    mask[2000:, 1] = False
    filled = fill_sensors(y, mask, same_variance=True)
    assert_allclose(filled[2000:, 1].std(), 3, rtol=0.05)
    never = np.ones((4000, 3), bool)
    never[:, 1] = False
    assert_array_equal(fill_sensors(y, never)[:, 1], 0)


def alike(rng, n, size=1.0):
    """Trials of four sensors whose noise has r = 0.9 between all."""
    common = np.sqrt(0.9) * rng.standard_normal((n, 1, 10))
    return size * (common + np.sqrt(0.1) * rng.standard_normal((n, 4, 10)))


def topography(trials):
    """Return SD and correlations over trials and times: (4,), (4, 4)."""
    table = np.moveaxis(trials, 1, 0).reshape(4, -1)
    return table.std(axis=1), np.corrcoef(table)


@pytest.mark.parametrize("seed", range(5))
@pytest.mark.parametrize("lost", [[0], [0, 3]])
def test_filled_residuals_have_the_topography_of_recorded_ones(seed, lost):
    """Other trials give what the neighbours do not tell, in the size of the subject's noise."""
    rng = np.random.default_rng(seed)
    y = np.concatenate([alike(rng, 400), alike(rng, 400, 3.0)])
    mask = np.ones((800, 4), bool)
    mask[400:, lost] = False
    filled = fill_sensors(np.where(mask[:, :, None], y, np.nan), mask, same_variance=True)
    assert_array_equal(filled[mask], y[mask])
    sd, r = topography(filled[400:])
    assert_allclose(sd, 3, rtol=0.05)
    assert_allclose(r[np.triu_indices(4, 1)], 0.9, atol=0.015)


def test_sensors_that_nobody_has_together(rng):
    """What cannot be known of the covariance is taken to be zero, the variance is kept."""
    y = rng.standard_normal((800, 4, 10)) * [[1], [2], [3], [4]]
    mask = np.zeros((800, 4), bool)
    mask[:400, :2] = mask[400:, 2:] = True
    filled = fill_sensors(y, mask, same_variance=True)
    sd, r = topography(filled)
    assert_allclose(sd, [1, 2, 3, 4], rtol=0.05)
    assert_allclose(r, np.eye(4), atol=0.06)
    y = np.concatenate([alike(rng, 400), alike(rng, 400)])
    mask[:400, 2] = True  # sensor 3 is known with 2, which the first half has too
    filled = fill_sensors(y, mask, same_variance=True)
    assert_allclose(topography(filled[:400])[1][2, 3], 0.9, atol=0.02)


@pytest.mark.parametrize("seed", range(3))
@pytest.mark.parametrize("how", ["fit", "adapt"])
@pytest.mark.parametrize("whitening", ["covariance", "scale"])
def test_noise_of_a_lacking_sensor_goes_with_its_neighbours(seed, how, whitening):
    """Neighbours that correlate with r = 0.9 do so in the draws of who lacks one of them."""
    rng = np.random.default_rng(seed)
    tokens = rng.standard_normal((60, 1, 4))
    image = np.tile(np.arange(60), 4)
    y = [alike(rng, 240), alike(rng, 240, 2.0)]
    mask = np.ones((240, 4), bool)
    lacking = mask.copy()
    lacking[:, 1] = False
    model = make_regressor(Ridge(1e3), whitening=whitening, **GAUSSIAN)
    if how == "fit":
        model.fit(
            tokens, np.concatenate(y), image_index=np.tile(image, 2),
            subjects=np.repeat([0, 1], 240), y_mask=np.concatenate([mask, lacking]),
        )  # fmt: skip
    else:
        model.fit(tokens, y[0], image_index=image, subjects=np.zeros(240, int))
        model.adapt(tokens, y[1], image_index=image, y_mask=lacking)
    drawn = model.sample(tokens[:1], 500, random_state=seed, subjects=np.array([1]))[0]
    sd, r = topography(drawn - drawn.mean(axis=0))
    assert_allclose(sd, 2, rtol=0.1)
    if whitening == "covariance":  # the other one knows of no correlation
        assert_allclose(r[1, [0, 2, 3]], 0.9, atol=0.03)


def test_a_sensor_that_one_subject_lacks_is_not_shrunk(world):
    tokens, record = world
    truths, image, y, subject = several(record, turns=(0.0, 0.0))
    mask = np.ones(y.shape[:2], bool)
    mask[subject == 1, 2] = False
    broken = np.where(mask[:, :, None], y, np.nan)
    model = make_regressor(Ridge(1e-3), **GAUSSIAN)
    model.fit(tokens, broken, image_index=image, subjects=subject, y_mask=mask)
    for code in (0, 1):
        predicted = model.predict(tokens, subjects=np.full(120, code))
        slope = np.sum(predicted[:, 2] * truths[0][:, 2]) / np.sum(truths[0][:, 2] ** 2)
        # filled from noisy neighbours; zeros in its place would give 0.5
        assert_allclose(slope, 1, atol=0.15)
    drawn = model.sample(tokens[:1], 400, random_state=0, subjects=np.array([1]))
    assert_allclose(drawn[0].std(axis=0)[2].mean(), 0.5, rtol=0.15)


# ------------------------------------------------------------------------------------- whitening
@pytest.mark.parametrize("whitening", ["covariance", "scale"])
def test_each_subject_has_its_own_noise(whitening, rng):
    residuals = rng.standard_normal((300, 3, 4))
    subject = np.repeat([0, 1, 2], 100)
    residuals[subject == 1] *= 5
    whitener = SubjectNoise(TrialNoise(whitening)).fit(residuals, None, np.ones(300), subject)
    white = whitener.transform(residuals, subject)
    for one in range(3):
        assert_allclose(white[subject == one].std(), 1, rtol=0.1)
    assert_allclose(whitener.inverse_transform(white, subject), residuals, atol=1e-8)
    noise = rng.standard_normal((300, 3, 4))
    assert_allclose(whitener.draw_of(noise, subject)[subject == 1].std(), 5, rtol=0.15)
    # the average subject has the noise of all
    assert_allclose(whitener.draw_of(noise).std(), np.sqrt((1 + 25 + 1) / 3), rtol=0.15)


# ------------------------------------------------------------------------------------- regressor
def test_a_new_subject_is_learnt_from_little_and_nobody_is_forgotten(world):
    tokens, record = world
    truths, image, y, subject = several(record)
    seen = image < 60
    model = make_regressor(Ridge(1e-2), **GAUSSIAN)
    model.fit(tokens, y[seen], image_index=image[seen], subjects=subject[seen])
    new = np.arange(90, 120)
    before = [model.predict(tokens), model.predict(tokens, subjects=np.full(120, 1))]
    truth, few, y_few = record(9, 0.6, scale=1.5, noise=1.0, images=range(60, 80))
    assert model.adapt(tokens, y_few, image_index=few) == 3
    adapted = model.predict(tokens[new], subjects=np.full(30, 3))
    alone = make_regressor(Ridge(1e-2), **GAUSSIAN).fit(tokens, y_few, image_index=few)
    assert error(adapted, truth[new]) < 0.5 * error(alone.predict(tokens[new]), truth[new])
    assert error(adapted, truth[new]) < 0.5 * error(before[0][new], truth[new])
    assert_array_equal(model.predict(tokens), before[0])
    assert_array_equal(model.predict(tokens, subjects=np.full(120, 1)), before[1])
    with pytest.raises(ValueError, match="4 subjects"):
        model.predict(tokens, subjects=np.full(120, 4))
    # two subjects asked for in one call are answered as each alone
    both = model.predict(tokens[:2], subjects=np.array([1, 3]))
    assert_allclose(both[0], before[1][0], atol=1e-6)
    assert_allclose(both[1], model.predict(tokens[1:2], subjects=np.array([3]))[0], atol=1e-6)


def test_draws_of_a_new_subject_have_its_noise(world):
    tokens, record = world
    _, image, y, subject = several(record)
    model = make_regressor(Ridge(1e-2), **GAUSSIAN)
    model.fit(tokens, y, image_index=image, subjects=subject)
    _, few, loud = record(9, 0.3, noise=2.0, images=range(60))
    code = model.adapt(tokens, loud, image_index=few)
    drawn = model.sample(tokens[:3], 300, random_state=0, subjects=np.full(3, code))
    assert_allclose(drawn.std(axis=1).mean(), 2.0, rtol=0.12)
    drawn = model.sample(tokens[:3], 300, random_state=0, subjects=np.zeros(3, int))
    assert_allclose(drawn.std(axis=1).mean(), 0.5, rtol=0.12)


@pytest.mark.parametrize("named", [True, False])
def test_the_denoiser_learns_an_embedding_and_nothing_else(world, named):
    """In a regressor without a mean, only the denoiser knows of images."""
    tokens, record = world
    _, image, y, subject = several(record, turns=(0.0, 0.0), noise=0.2)
    model = make_regressor(
        None, whitening="scale", max_iter=150, learning_rate=3e-3, device="cpu", random_state=0,
        **DRAWN,
    )  # fmt: skip
    model.fit(tokens, y, image_index=image, subjects=subject if named else None)
    assert isinstance(model.noise_, Denoiser)
    before = model.predict(tokens[:20])
    old = {k: v.clone() for k, v in model.noise_.network_.state_dict().items()}
    _, few, y_few = record(9, 0.0, noise=0.2, images=range(40))
    code = model.adapt(tokens, -y_few, image_index=few)
    assert code == (2 if named else 0)
    new = model.noise_.network_.state_dict()
    for name, value in old.items():
        if name == "subject.weight":
            assert_array_equal(new[name][:2].numpy(), value.numpy())
        else:
            assert_array_equal(new[name].numpy(), value.numpy())
    assert_allclose(model.predict(tokens[:20]), before, atol=1e-6)
    assert float(new["subject.weight"][-1].abs().max()) > 0
    assert not np.allclose(model.predict(tokens[:20], subjects=np.full(20, code)), before)


def test_adapting_a_denoiser_stores_no_trials(world):
    """Where the denoiser draws, trials of the new subject are not kept unused."""
    tokens, record = world
    _, image, y, subject = several(record, turns=(0.0, 0.0), noise=0.2)
    model = make_regressor(
        None, max_iter=40, learning_rate=3e-3, device="cpu", random_state=0, **DRAWN
    ).fit(tokens, y, image_index=image, subjects=subject)
    assert isinstance(model.noise_, Denoiser)
    assert model.n_stored_trials_ == 0
    truth, few, _ = record(9, 0.0)
    rng = np.random.default_rng(0)
    loud = np.where(rng.random(len(few)) < 0.5, 0.2, 2.0)[:, None, None]  # clusters are found
    y_few = truth[few] + loud * rng.standard_normal((len(few), N_CHANNELS, N_TIMES))
    model.adapt(tokens, y_few, image_index=few)
    assert model.n_stored_trials_ == 0
    without = make_regressor(Ridge(1.0), **GAUSSIAN)
    without.fit(tokens, y, image_index=image, subjects=subject)
    without.adapt(tokens, y_few, image_index=few)
    assert without.n_stored_trials_ >= len(few)  # which draw there


def test_adapting_refuses_what_does_not_fit(world):
    tokens, record = world
    _, image, y = record(1, 0.0)
    model = make_regressor(Ridge(1.0), **GAUSSIAN).fit(tokens, y, image_index=image)
    before = model.predict(tokens)
    with pytest.raises(ValueError, match=r"shape \(6, 11\), but fit had \(6, 12\)"):
        model.adapt(tokens, y[:, :, 1:], image_index=image)
    with pytest.raises(ValueError, match="3 features per token, but fit had 4"):
        model.adapt(tokens[..., 1:], y, image_index=image)
    with pytest.raises(ValueError, match="NaN|infinity"):
        model.adapt(tokens, np.where(y > 2, np.nan, y), image_index=image)
    assert_array_equal(model.predict(tokens), before)
    assert len(model.mean_.parts_) == 0


# --------------------------------------------------------------------------------------- encoder
def as_epochs(y, names=NAMES):
    info = mne.create_info(names, 100.0, "eeg").set_montage("easycap-M1")
    return mne.EpochsArray(y * 1e-6, info, tmin=-0.02, verbose="error")


@pytest.fixture
def encoder(world):
    tokens, record = world
    parts = {f"s{seed}": record(seed, 0.3, images=range(80)) for seed in (1, 2)}
    encoder = ImageToBrainEncoder(regressor=make_regressor(Ridge(1e-2), **GAUSSIAN))
    epochs = {name: as_epochs(y) for name, (_, _, y) in parts.items()}
    image = np.concatenate([image for _, image, _ in parts.values()])
    return encoder.fit(tokens, epochs, image_ids=image)


def test_encoder_adapts_saves_and_reads(encoder, world, tmp_path):
    tokens, record = world
    truth, few, y = record(9, 0.8, images=range(80, 110))
    # sensors in another order, one lacking and one that is not known
    order = [3, 1, 0, 2, 4]
    more = np.concatenate([y[:, order], y[:, :1]], axis=1)
    epochs = as_epochs(more, [*(NAMES[i] for i in order), "AFz"])
    before = encoder.predict(tokens[:5]).get_data()
    assert encoder.adapt(tokens, epochs, subject="new", image_ids=few) is encoder
    assert encoder.subjects_ == ["s1", "s2", "new"]
    predicted = encoder.predict(tokens, subject="new")
    assert predicted.ch_names == NAMES
    assert predicted.metadata["subject"].unique() == ["new"]
    got = 1e6 * predicted.get_data()[:, order]
    assert error(got, truth[:, order]) < 0.1
    assert error(1e6 * encoder.predict(tokens).get_data()[:, order], truth[:, order]) > 0.2
    assert_array_equal(encoder.predict(tokens[:5]).get_data(), before)
    held = as_epochs(truth[110:])
    assert encoder.score(tokens[110:], held, subject="new") > encoder.score(tokens[110:], held)
    encoder.save(tmp_path / "encoder")
    again = read_encoder(tmp_path / "encoder")
    assert_array_equal(again.predict(tokens, subject="new").get_data(), predicted.get_data())
    drawn = [e.sample(tokens[:2], 3, subject="new", random_state=1) for e in (encoder, again)]
    assert_array_equal(*(epochs.get_data() for epochs in drawn))


@pytest.mark.parametrize("name", [None, "only"])
def test_an_encoder_of_one_subject_adapts_too(world, name):
    tokens, record = world
    _, image, y = record(1, 0.0)
    epochs = as_epochs(y) if name is None else {name: as_epochs(y)}
    encoder = ImageToBrainEncoder(regressor=make_regressor(Ridge(1e-2), **GAUSSIAN))
    encoder.fit(tokens, epochs, image_ids=image)
    before = encoder.predict(tokens[:4])
    truth, few, y = record(9, 0.8, images=range(40))
    encoder.adapt(tokens, as_epochs(y), subject="new", image_ids=few)
    assert encoder.subjects_ == ([] if name is None else [name]) + ["new"]
    assert error(1e6 * encoder.predict(tokens, subject="new").get_data(), truth) < 0.1
    after = encoder.predict(tokens[:4], subject=name)
    assert_array_equal(after.get_data(), before.get_data())
    assert after.metadata["subject"].tolist() == before.metadata["subject"].tolist()


def test_encoder_refuses_what_does_not_fit(encoder, world):
    tokens, record = world
    _, few, y = record(9, 0.3, images=range(20))
    epochs = as_epochs(y)
    with pytest.raises(ValueError, match="'s1' is known already"):
        encoder.adapt(tokens, epochs, subject="s1", image_ids=few)
    with pytest.raises(ValueError, match="dict of 2 subjects; adapt learns one at a time"):
        encoder.adapt(tokens, {"a": epochs, "b": epochs}, subject="new", image_ids=few)
    wrong = as_epochs(1e6 * y)
    with pytest.raises(ValueError, match="times as large as those of fit"):
        encoder.adapt(tokens, wrong, subject="new", image_ids=few)
    with pytest.raises(ValueError, match="None of the 6 channels"):
        encoder.adapt(tokens, as_epochs(y[:, :2], ["F3", "F4"]), subject="new", image_ids=few)
    assert encoder.subjects_ == ["s1", "s2"]
    ridge = ImageToBrainEncoder(regressor=Ridge())
    assert not hasattr(ridge, "adapt")
