"""The brain region of a sensor: by its name, else by where it is on the head."""

import functools
import re

import mne
import numpy as np

from .._log import warn

LOBES = ("frontal", "central", "temporal", "parietal", "occipital")
UNKNOWN = "unknown"

# Rows of the 10-05 system from front to back: FC, C and CP are central, FT, T and TP temporal, PO
# and O occipital. Rows between two rows go with the one their name begins with, but for PPO
# (parietal, like P).
_LOBE_OF_ROW = {
    **dict.fromkeys(["N", "NFP", "FP", "AFP", "AF", "AFF", "F", "FFC", "FFT"], "frontal"),
    **dict.fromkeys(["FC", "FCC", "C", "CCP", "CP", "CPP"], "central"),
    **dict.fromkeys(["FT", "FTT", "T", "TTP", "TP", "TPP", "A", "M"], "temporal"),
    **dict.fromkeys(["P", "PPO"], "parietal"),
    **dict.fromkeys(["PO", "POO", "O", "OI", "I"], "occipital"),
}
# Names of the 10-20 system before 1991.
_OLD_NAMES = {"T3": "T7", "T4": "T8", "T5": "P7", "T6": "P8"}
_TEN_TWENTY = re.compile(r"^(?:EEG[ -]?)?([A-Z]+?)(Z|[1-9]\d?)(H?)(?:-\w+)?$")
_CTF = re.compile(r"^M([LRZ])([FCTPO])\d\d(?:-\d+)?$")
_CTF_LOBES = dict(zip("FCTPO", LOBES, strict=True))
_CTF_SIDES = {"L": "left", "R": "right", "Z": "midline"}
_NEUROMAG = re.compile(r"^MEG ?(\d{4})$")
# BioSemi's A1 to H32 are not 10-20 names, though C3 and F4 look like them.
_LETTER_AND_NUMBER = re.compile(r"^[A-H]\d\d?$")
_ONLY_BIOSEMI = re.compile(r"^(?:A([3-9]|\d\d)|[BDEGH]\d\d?|[A-H](1[1-9]|[23]\d))$")


def assign_regions(info: mne.Info) -> np.ndarray:
    """Find the brain region that every channel is over.

    A region is a lobe and a side, such as ``"left occipital"`` or ``"midline parietal"``;
    ``"temporal"`` has no midline. The first rule that applies decides:

    1. 10-20, 10-10 and 10-05 names (EEG), old names such as T3 included. FC, C and CP are
       central, FT, T and TP temporal, P parietal, PO, O and I occipital.
    2. CTF names (``MLO11``) and Neuromag names (``MEG 0113``, by MNE's selections; their vertex
       is central, on the side where the sensor is).
    3. The position: the 10-05 site (for MEG: the sensor of the CTF 275 helmet) in the nearest
       direction from the middle of the head, which is that of the sphere through the sensors
       where there are 32 or more, else that of the template head.

    Returns (n_channels,): the region of each channel, ``"unknown"`` where there is neither a known
        name nor a position; a warning names these.
    """
    names, types = info["ch_names"], info.get_channel_types()
    regions = np.full(len(names), UNKNOWN, dtype="<U20")
    biosemi = any(_ONLY_BIOSEMI.match(name) for name in names)
    positions = sensor_positions(info)
    by_position = []
    for i, (name, kind) in enumerate(zip(names, types, strict=True)):
        if kind in ("mag", "grad"):
            region = _region_of_ctf(name) or _region_of_neuromag(name, positions[i])
        elif biosemi and _LETTER_AND_NUMBER.match(name):
            region = None
        else:
            region = region_of_site(name)
        if region is None:
            by_position.append(i)
        else:
            regions[i] = region
    if by_position:
        regions[by_position] = _regions_of_positions(positions, types)[by_position]
    unknown = [name for name, region in zip(names, regions, strict=True) if region == UNKNOWN]
    if unknown:
        shown = ", ".join(unknown[:20]) + (", ..." if len(unknown) > 20 else "")
        warn(
            f"No brain region is known for {len(unknown)} of {len(names)} channels, which have "
            f"neither a standard name nor a position: {shown}. Set a montage, or rename them."
        )
    return regions


def lobe_of(regions: list[str] | np.ndarray) -> np.ndarray:
    """Return the lobe of each region, without the side."""
    return np.array([str(region).split(" ")[-1] for region in regions])


def region_of_site(name: str) -> str | None:
    """Find the region of a 10-20, 10-10 or 10-05 site by its name, such as PO7, fcc3h or T5."""
    name = name.strip().upper().rstrip(".")
    match = _TEN_TWENTY.match(_OLD_NAMES.get(name, name))
    if match is None or match[1] not in _LOBE_OF_ROW:
        return None
    row, place, _ = match.groups()
    if row in ("A", "M") and place not in ("1", "2"):
        return None
    if place == "Z":
        side = "midline"
    elif int(place) > 10:
        return None
    else:
        side = "left" if int(place) % 2 else "right"
    lobe = _LOBE_OF_ROW[row]
    if lobe == "temporal" and side == "midline":
        return None
    return f"{side} {lobe}"


def site_montage() -> mne.channels.DigMontage:
    """Return the 10-05 sites on MNE's template head."""
    # MNE 1.13 renamed standard_1005
    there = mne.channels.get_builtin_montages()
    name = "colin27_1005" if "colin27_1005" in there else "standard_1005"
    return mne.channels.make_standard_montage(name)


def _region_of_ctf(name: str) -> str | None:
    """Region of a CTF channel by its name."""
    match = _CTF.match(name)
    if match is None:
        return None
    side, lobe = _CTF_SIDES[match[1]], _CTF_LOBES[match[2]]
    return None if (side, lobe) == ("midline", "temporal") else f"{side} {lobe}"


def _region_of_neuromag(name: str, position: np.ndarray) -> str | None:
    """Region of a Neuromag channel by its name; the side of the vertex by its position."""
    match = _NEUROMAG.match(name)
    region = _neuromag_regions().get(match[1][:3]) if match else None
    if region != "vertex":
        return region
    if not np.isfinite(position[0]) or abs(position[0]) < 0.005:
        return "midline central"
    return "left central" if position[0] < 0 else "right central"


@functools.cache
def _neuromag_regions() -> dict:
    """First three digits of a Neuromag name -> region, from MNE's selections."""
    regions = {}
    for side in ("left", "right"):
        for lobe in ("frontal", "temporal", "parietal", "occipital"):
            selection = mne.read_vectorview_selection(f"{side.title()}-{lobe}", verbose="error")
            regions.update({name[-4:-1]: f"{side} {lobe}" for name in selection})
    # the vertex overlaps with its neighbours
    vertex = mne.read_vectorview_selection("Vertex", verbose="error")
    return regions | {name[-4:-1]: "vertex" for name in vertex}


def sensor_positions(info: mne.Info) -> np.ndarray:
    """Return where sensors are, (n_channels, 3): metres in head coordinates, NaN if unknown."""
    transform = info["dev_head_t"]
    positions = np.full((len(info["ch_names"]), 3), np.nan)
    for i, (ch, kind) in enumerate(zip(info["chs"], info.get_channel_types(), strict=True)):
        position = np.array(ch["loc"][:3], dtype=float)
        if not np.isfinite(position).all() or not position.any():
            continue
        if kind in ("mag", "grad") and transform is not None:
            position = mne.transforms.apply_trans(transform, position)
        positions[i] = position
    return positions


def _regions_of_positions(positions: np.ndarray, types: list[str]) -> np.ndarray:
    """Region of the labelled site in the nearest direction, electrodes and coils apart."""
    regions = np.full(len(positions), UNKNOWN, dtype="<U20")
    is_coil = np.isin(types, ["mag", "grad"])
    for members, sites in ((is_coil, _coil_sites), (~is_coil, _electrode_sites)):
        rows = np.flatnonzero(members & np.isfinite(positions).all(axis=1))
        if len(rows):
            site_positions, site_regions = sites()
            middle = sphere_middle(site_positions, None)
            there = _directions(site_positions, middle)
            here = _directions(positions[rows], sphere_middle(positions[rows], middle))
            regions[rows] = site_regions[(here @ there.T).argmax(axis=1)]
    return regions


@functools.cache
def _electrode_sites() -> tuple[np.ndarray, np.ndarray]:
    """Positions and regions of all 10-05 sites."""
    montage = site_montage()
    old = {*_OLD_NAMES, "A1", "A2", "M1", "M2"}
    names = [n for n in montage.ch_names if region_of_site(n) and n not in old]
    info = mne.create_info(montage.ch_names, 1.0, "eeg").set_montage(montage)
    info = mne.pick_info(info, [info["ch_names"].index(name) for name in names])
    return sensor_positions(info), np.array([region_of_site(name) for name in names])


@functools.cache
def _coil_sites() -> tuple[np.ndarray, np.ndarray]:
    """Positions and regions of the CTF 275 helmet, whose names tell the region."""
    info = mne.channels.read_meg_canonical_info("ctf275", verbose="error")
    named = [(i, _region_of_ctf(name)) for i, name in enumerate(info["ch_names"])]
    rows, regions = zip(*[(i, region) for i, region in named if region], strict=True)
    return sensor_positions(info)[list(rows)], np.array(regions)


def sphere_middle(positions: np.ndarray, otherwise: np.ndarray | None = None) -> np.ndarray:
    """Return the middle of the sphere through sensors, (n_sensors, 3), by least squares.

    otherwise: what to return for fewer than 32 sensors, or where the sphere is no head.
    """
    distinct = np.unique(positions.round(4), axis=0)
    if otherwise is not None and len(distinct) < 32:
        return otherwise
    # |p|^2 = 2 p.c + (r^2 - |c|^2): the least-squares sphere is linear in c
    design = np.column_stack([2 * distinct, np.ones(len(distinct))])
    solution, *_ = np.linalg.lstsq(design, (distinct**2).sum(axis=1), rcond=None)
    middle, radius = solution[:3], np.sqrt(max(solution[3] + solution[:3] @ solution[:3], 0))
    # sensors over a part of the head only give a sphere that is no head
    if otherwise is None or (0.06 < radius < 0.16 and np.linalg.norm(middle - otherwise) < 0.06):
        return middle
    return otherwise


def _directions(positions: np.ndarray, middle: np.ndarray) -> np.ndarray:
    """Return unit vectors from the middle."""
    directions = positions - middle
    return directions / np.linalg.norm(directions, axis=1, keepdims=True)
