"""BrainDiT: patches, condition, invariances."""

import numpy as np
import pytest
import torch
from numpy.testing import assert_allclose

from mne_img2brain._torch import seeded_init
from mne_img2brain.diffusion import BrainDiT
from mne_img2brain.diffusion.embedding import Patches


def make(noise=0.1, **parameters):
    """A small model whose weights are away from their zeros."""
    parameters = {"hidden_size": 16, "n_layers": 2, "n_heads": 2, "patch_length": 4, **parameters}
    with seeded_init(0):
        model = BrainDiT(10, [3, 1, 1, 7, 3], 6, **parameters).eval()
        with torch.no_grad():
            for parameter in model.parameters():
                parameter.add_(noise * torch.randn_like(parameter))
    return model


@pytest.fixture
def batch():
    generator = torch.Generator().manual_seed(1)
    x = torch.randn(4, 5, 10, generator=generator)
    tokens = torch.randn(4, 3, 6, generator=generator)
    return x, torch.tensor([0, 10, 500, 999]), tokens


@pytest.mark.parametrize("n_times", [1, 7, 10, 12])
@pytest.mark.parametrize("patch_length", [1, 3, 10])
def test_unpatchify_inverts_patchify(n_times, patch_length):
    patches = Patches(n_times, [5, 0, 0, 2, 5, 5], patch_length, 8)
    x = torch.randn(3, 6, n_times, generator=torch.Generator().manual_seed(0))
    cut = patches.patchify(x)
    assert cut.shape == (3, 3, -(-n_times // patch_length), 3 * patch_length)
    assert torch.equal(patches.unpatchify(cut), x)


def test_a_patch_holds_the_sensors_of_its_region():
    patches = Patches(4, [1, 0, 1], 2, 8)
    x = torch.arange(12.0).view(1, 3, 4)
    cut = patches.patchify(x)[0]
    # region 0 is sensor 1 (and padding), region 1 sensors 0 and 2; first stretch: times 0 and 1
    assert cut[0, 0].tolist() == [4, 5, 0, 0]
    assert cut[1, 0].tolist() == [0, 1, 8, 9]


def test_untrained_it_returns_zero(batch):
    x, timestep, tokens = batch
    with seeded_init(0):
        model = BrainDiT(10, [0] * 5, 6)
    out = model(x, timestep, model.encode_condition(tokens))
    assert out.shape == x.shape
    assert torch.all(out == 0)


@pytest.mark.parametrize(
    "parameters",
    [
        {},
        {"conditioning": "addition"},
        {"conditioning": "concatenation"},
        {"position": "none"},
        {"position": "region"},
        {"position": "time"},
        {"tokens": "channel"},
        {"n_subjects": 3},
    ],
)
def test_every_variant_uses_its_image_and_not_its_neighbours(batch, parameters):
    x, timestep, tokens = batch
    model = make(**parameters)
    with torch.no_grad():
        together = model(x, timestep, model.encode_condition(tokens))
        one = model(x[2:3], timestep[2:3], model.encode_condition(tokens[2:3]))
        other = model(x, timestep, model.encode_condition(tokens.flip(0)))
    assert together.shape == x.shape
    assert_allclose(one[0], together[2], rtol=1e-5, atol=1e-6)
    assert not torch.allclose(other, together, atol=1e-4)


def test_padding_does_not_count(batch):
    x, timestep, tokens = batch
    for conditioning in ("cross_attention", "addition", "concatenation"):
        model = make(conditioning=conditioning)
        padded = torch.cat([tokens, torch.full((4, 2, 6), 9.0)], dim=1)
        mask = torch.arange(5).expand(4, 5) < 3
        with torch.no_grad():
            expected = model(x, timestep, model.encode_condition(tokens))
            got = model(x, timestep, model.encode_condition(padded, mask))
        assert_allclose(got, expected, rtol=1e-4, atol=1e-6)


def test_positions_tell_tokens_apart(batch):
    """Without embeddings, equal patches of one region at two times give equal outputs."""
    _, timestep, tokens = batch
    x = torch.ones(4, 5, 8)
    for position, same in [("none", True), ("region", True), ("time", False), ("both", False)]:
        with seeded_init(0):
            model = BrainDiT(
                8, [0] * 5, 6, hidden_size=16, n_layers=1, n_heads=2, patch_length=4,
                position=position,
            ).eval()  # fmt: skip
            with torch.no_grad():
                for parameter in model.parameters():
                    parameter.add_(0.2 * torch.randn_like(parameter))
        with torch.no_grad():
            out = model(x, timestep, model.encode_condition(tokens))
        assert torch.allclose(out[..., :4], out[..., 4:], atol=1e-5) == same


def test_a_condition_is_indexed_joined_and_nothing(batch):
    x, timestep, tokens = batch
    model = make()
    with torch.no_grad():
        condition = model.encode_condition(tokens)
        joined = condition.join(model.null_condition())
        assert len(joined) == 5
        rows = torch.tensor([3, 4, 0, 4])
        mixed = model(x, timestep, joined[rows])
        nothing = model(x, timestep, model.null_condition(4))
        whole = model(x, timestep, condition[torch.tensor([3, 3, 0, 0])])
    assert_allclose(mixed[[1, 3]], nothing[[1, 3]], rtol=1e-4, atol=1e-6)
    assert_allclose(mixed[[0, 2]], whole[[0, 2]], rtol=1e-4, atol=1e-6)


@pytest.mark.parametrize("conditioning", ["cross_attention", "addition", "concatenation"])
@pytest.mark.parametrize("padded", [False, True])
def test_forward_asks_no_tensor_for_a_decision(batch, conditioning, padded):
    """One graph: an accelerator need not wait for the CPU, and the compiler need not stop."""
    x, timestep, tokens = batch
    model = make(conditioning=conditioning)
    mask = torch.ones(tokens.shape[:2], dtype=torch.bool)
    mask[0, -1] = not padded
    with torch.no_grad():
        condition = model.encode_condition(tokens, mask)
        assert (condition.mask is None) != padded
        condition = condition.join(model.null_condition())[torch.tensor([3, 4, 0, 4])]
        compiled = torch.compile(model, backend="eager", fullgraph=True)
        got = compiled(x, timestep, condition)
        assert_allclose(got, model(x, timestep, condition), rtol=1e-5, atol=1e-6)


def test_attention_sums_to_one_and_skips_padding(batch):
    x, timestep, tokens = batch
    model = make()
    mask = torch.tensor([[True, True, False]] * 4)
    with torch.no_grad():
        weights = model.attention(x, timestep, model.encode_condition(tokens, mask))
    assert weights.shape == (2, 4, 2, 3, 3, 3)
    assert_allclose(weights.sum(-1), 1, rtol=1e-5)
    assert torch.all(weights[..., 2] == 0)
    with pytest.raises(ValueError, match="no cross-attention"):
        make(conditioning="addition").attention(x, timestep, None)


def test_gradients_reach_the_image(batch):
    x, timestep, tokens = batch
    model = make()
    tokens.requires_grad_()
    model(x, timestep, model.encode_condition(tokens)).square().sum().backward()
    assert np.all(np.abs(tokens.grad.numpy()).max(axis=(1, 2)) > 0)


def test_the_average_subject(batch):
    x, timestep, tokens = batch
    model = make(n_subjects=2)
    with torch.no_grad():
        condition = model.encode_condition(tokens)
        a, b = (model(x, timestep, condition, torch.full((4,), s)) for s in (0, 1))
        nobody = model(x, timestep, condition)
    assert not torch.allclose(a, b, atol=1e-4)
    assert not torch.allclose(a, nobody, atol=1e-4)


def test_wrong_parameters_are_named():
    for parameters, match in [
        ({"conditioning": "film"}, "conditioning='film'"),
        ({"position": "xyz"}, "position='xyz'"),
        ({"tokens": "voxel"}, "tokens='voxel'"),
        ({"hidden_size": 10, "n_heads": 4}, "multiple of n_heads"),
    ]:
        with pytest.raises(ValueError, match=match):
            BrainDiT(10, [0], 6, **parameters)
