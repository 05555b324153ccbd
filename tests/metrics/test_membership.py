import numpy as np
import pytest

from mne_img2brain.metrics import membership_auc


def test_draws_that_know_nothing_of_trials_give_nothing_away():
    # over 20 seeds each attack is within three standard errors of chance, the mean within one
    found = []
    for seed in range(20):
        rng = np.random.default_rng(seed)
        members, others = rng.standard_normal((2, 60, 3, 6))
        found.append(membership_auc(members, others, rng.standard_normal((300, 3, 6))))
    aucs = np.array(found)[:, :3]
    assert np.all(np.abs(aucs - 0.5) < 3.5 * found[0].error)
    np.testing.assert_allclose(aucs.mean(axis=0), 0.5, atol=found[0].error)


def test_the_error_is_that_of_chance():
    rng = np.random.default_rng(1)
    draws = rng.standard_normal((100, 2, 3))
    found = [membership_auc(*rng.standard_normal((2, 30, 2, 3)), draws) for _ in range(400)]
    np.testing.assert_allclose(np.std([one.distance for one in found]), found[0].error, rtol=0.12)


@pytest.mark.parametrize(
    ("leak", "attack"), [("mean", "distance"), ("covariance", "covariance"), ("copy", "nearest")]
)
def test_each_attack_finds_its_leak(leak, attack):
    rng = np.random.default_rng(2)
    members, others = rng.standard_normal((2, 80, 4, 10))
    draws = rng.standard_normal((400, 4, 10))
    if leak == "mean":  # a prediction that has learnt single trials by heart
        members = 0.7 * members
    elif leak == "covariance":  # of few trials
        draws = np.einsum("nk,kct->nct", rng.standard_normal((400, 80)), members) / 80**0.5
    else:
        draws[:80] = members * np.geomspace(0.2, 5, 80)[:, None, None]
    found = membership_auc(members, others, draws)
    assert getattr(found, attack) > 0.9


def test_a_sensor_that_is_the_sum_of_others_changes_nothing():
    rng = np.random.default_rng(4)
    kinds = [rng.standard_normal((n, 3, 4)) for n in (30, 30, 100)]
    summed = [np.concatenate([x, -x.sum(axis=1, keepdims=True)], axis=1) for x in kinds]
    found, expected = membership_auc(*summed), membership_auc(*kinds)
    assert found.covariance == pytest.approx(expected.covariance)
    assert found.nearest == pytest.approx(expected.nearest)
    # fewer draws than an epoch has numbers
    few = membership_auc(kinds[0], kinds[1], kinds[2][:8])
    assert 0 <= few.covariance <= 1


def test_units_do_not_matter_and_shapes_are_checked():
    rng = np.random.default_rng(3)
    members, others = rng.standard_normal((2, 20, 3, 4))
    draws = rng.standard_normal((50, 3, 4))
    unit = np.array([1e-6, 1e-13, 1.0])[:, None]
    found = membership_auc(members * unit, others * unit, draws * unit)
    np.testing.assert_allclose(found, membership_auc(members, others, draws))
    with pytest.raises(ValueError, match="others has shape"):
        membership_auc(members, others[:, :2], draws)
    with pytest.raises(ValueError, match="draws has shape"):
        membership_auc(members, others, draws[:1])
