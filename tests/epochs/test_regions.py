import mne
import numpy as np
import pytest

from mne_img2brain.epochs import regions
from mne_img2brain.epochs.regions import assign_regions, lobe_of, region_of_site, site_montage


def _by_position(info):
    """Rename channels so that only positions tell."""
    anonymous = info.copy()
    mne.rename_channels(anonymous, {name: f"x{i}" for i, name in enumerate(info["ch_names"])})
    return assign_regions(anonymous)


@pytest.mark.parametrize(
    ("name", "region"),
    [
        ("Oz", "midline occipital"),
        ("PO7", "left occipital"),
        ("P8", "right parietal"),
        ("Pz", "midline parietal"),
        ("TP9", "left temporal"),  # Muse
        ("TP10", "right temporal"),
        ("AF7", "left frontal"),
        ("AF8", "right frontal"),
        ("FT7", "left temporal"),
        ("FCz", "midline central"),
        ("CPP5h", "left central"),
        ("FP1", "left frontal"),
        ("EEG Cz", "midline central"),
        ("T3", "left temporal"),
        ("T4", "right temporal"),
        # T5 and T6 are today's P7 and P8
        ("T5", "left parietal"),
        ("T6", "right parietal"),
        ("A2", "right temporal"),
        ("A7", None),
        ("E17", None),
        ("Tz", None),
        ("STI 014", None),
    ],
)
def test_names(name, region):
    assert region_of_site(name) == region


@pytest.mark.parametrize(
    ("montage", "least"),
    # the share that agrees; 10-10 sets are exact, sets with sites between rows less so
    [("biosemi64", 0.98), ("easycap-M1", 0.95), ("biosemi32", 0.98),
     ("brainproducts-RNP-BA-128", 0.85)],
)  # fmt: skip
def test_names_and_positions_agree(montage, least):
    montage = mne.channels.make_standard_montage(montage)
    info = mne.create_info(montage.ch_names, 100.0, "eeg").set_montage(montage)
    by_name, by_position = assign_regions(info), _by_position(info)
    assert np.mean(by_name == by_position) >= least
    # sensors over one part of the head: too few for a sphere
    posterior = np.flatnonzero(np.isin(lobe_of(by_name), ["occipital", "parietal"]))[:17]
    part = mne.pick_info(info, posterior)
    assert np.mean(assign_regions(part) == _by_position(part)) >= least - 0.12


def test_all_sites_and_another_template_agree():
    montage = site_montage()
    info = mne.create_info(montage.ch_names, 100.0, "eeg").set_montage(montage)
    by_name = assign_regions(info)
    assert np.mean(by_name == _by_position(info)) >= 0.9
    # left and right mirror each other
    assert np.sum([r.startswith("left") for r in by_name]) == np.sum(
        [r.startswith("right") for r in by_name]
    )


@pytest.mark.parametrize("montage", ["biosemi128", "GSN-HydroCel-128"])
def test_sets_whose_names_say_nothing_go_by_position(montage):
    montage = mne.channels.make_standard_montage(montage)
    info = mne.create_info(montage.ch_names, 100.0, "eeg").set_montage(montage)
    found = assign_regions(info)
    assert set(lobe_of(found)) == set(regions.LOBES)
    np.testing.assert_array_equal(found, _by_position(info))
    x, y = np.array([ch["loc"][:2] for ch in info["chs"]]).T
    left, right = (np.char.startswith(found, side) for side in ("left", "right"))
    assert (x[left] < 0.002).all()
    assert (x[right] > -0.002).all()
    assert y[lobe_of(found) == "occipital"].max() < y[lobe_of(found) == "frontal"].min()


def test_biosemi_letters_are_not_sites():
    # BioSemi's A23 is Oz, its C3 is over the right side of the frontal lobe
    montage = mne.channels.make_standard_montage("biosemi128")
    info = mne.create_info(montage.ch_names, 100.0, "eeg").set_montage(montage)
    found = dict(zip(info["ch_names"], assign_regions(info), strict=True))
    assert found["A23"] == "midline occipital"
    assert found["C3"].startswith("right")


def test_ctf():
    info = mne.channels.read_meg_canonical_info("ctf275", verbose="error")
    found = dict(zip(info["ch_names"], assign_regions(info), strict=True))
    assert {r for n, r in found.items() if n.startswith("MLO")} == {"left occipital"}
    assert {r for n, r in found.items() if n.startswith("MRT")} == {"right temporal"}
    assert {r for n, r in found.items() if n.startswith("MZC")} == {"midline central"}
    np.testing.assert_array_equal(list(found.values()), _by_position(info))


def test_neuromag():
    info = mne.channels.read_meg_canonical_info("neuromag", verbose="error")
    found = dict(zip(info["ch_names"], assign_regions(info), strict=True))
    left = mne.read_vectorview_selection("Left-occipital", verbose="error")
    assert {found[name] for name in left} == {"left occipital"}
    # the three coils of one place are in one region
    for name, region in found.items():
        assert found[name[:-1] + "1"] == region
    assert "central" in set(lobe_of(list(found.values())))
    # two helmets, two makers: sides agree, lobes mostly
    positions = _by_position(info)
    assert np.mean(lobe_of(positions) == lobe_of(list(found.values()))) > 0.7
    without_space = mne.pick_info(info, [0])
    mne.rename_channels(without_space, {"MEG 0113": "MEG0113"})
    assert assign_regions(without_space)[0] == "left temporal"


def test_unknown_channels_are_named():
    info = mne.create_info(["Oz", "foo", "bar"], 100.0, "eeg")
    with pytest.warns(RuntimeWarning, match="2 of 3 channels.*foo, bar"):
        found = assign_regions(info)
    assert found.tolist() == ["midline occipital", "unknown", "unknown"]
    assert lobe_of(found).tolist() == ["occipital", "unknown", "unknown"]
