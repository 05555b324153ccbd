"""Small files of the layouts in which THINGS-EEG2 and THINGS-MEG circulate.

True names, keys, dtypes, orders and traps; few concepts, repetitions and samples.
"""

import json
import pickle

import mne
import numpy as np
import pandas as pd

NAMES_17 = "Pz P3 P7 O1 Oz O2 P4 P8 P1 P5 PO7 PO3 POz PO4 PO8 P6 P2".split()
NAMES_63 = (
    "Fp1 Fp2 AF7 AF3 AFz AF4 AF8 F7 F5 F3 F1 F2 F4 F6 F8 FT9 FT7 FC5 FC3 FC1 FCz FC2 FC4 FC6 FT8 "
    "FT10 T7 C5 C3 C1 Cz C2 C4 C6 T8 TP9 TP7 CP5 CP3 CP1 CPz CP2 CP4 CP6 TP8 TP10 P7 P5 P3 P1 Pz "
    "P2 P4 P6 P8 PO7 PO3 POz PO4 PO8 O1 Oz O2"
).split()
TIMES_300 = np.arange(-50, 250) / 250
TIMES_100 = np.arange(-20, 80) / 100
# "bat1" and "bat" are such that file names sorted alone are in another order than conditions
TRAIN = {"00001_aardvark": 2, "00002_bat": 2, "00003_bat1": 2, "00004_coat_rack": 2}
TEST = ["00001_aircraft_carrier", "00002_antelope", "00003_wine"]


def image_metadata():
    """The six lists, in the order of conditions."""
    concepts = [c for c, n in TRAIN.items() for _ in range(n)]
    # bat1's files sort before bat's
    files = [f"{c[6:]}_{i + 1:02d}{'bs'[i]}.jpg" for c, n in TRAIN.items() for i in range(n)]
    return {
        "train_img_concepts": concepts,
        "train_img_concepts_THINGS": [f"{int(c[:5]) * 7:05d}{c[5:]}" for c in concepts],
        "train_img_files": files,
        "test_img_concepts": TEST,
        "test_img_concepts_THINGS": [f"{int(c[:5]) * 9:05d}{c[5:]}" for c in TEST],
        "test_img_files": [f"{c[6:]}_06s.jpg" for c in TEST],
    }


def write_metadata(folder):
    """image_metadata.npy: a dict in an object array."""
    np.save(folder / "image_metadata.npy", image_metadata())


def write_images(folder, train_folder="training_images"):
    """Empty files under the names of images."""
    lists = image_metadata()
    for split, name in (("train", train_folder), ("test", "test_images")):
        for concept, file in zip(
            lists[f"{split}_img_concepts"], lists[f"{split}_img_files"], strict=True
        ):
            place = folder / name / concept
            place.mkdir(parents=True, exist_ok=True)
            (place / file).touch()


def make_data(split, n_channels, n_times, scale=1.0, dtype=np.float64):
    """Conditions x repetitions x channels x times; every trial tells where it is from."""
    n_conditions, n_repetitions = {"train": (8, 4), "test": (3, 6)}[split]
    rng = np.random.default_rng(n_channels)
    shape = (n_conditions, n_repetitions, n_channels, n_times)
    data = rng.standard_normal(shape) * 0.5
    data += np.arange(n_conditions)[:, None, None, None] / 4
    data += np.arange(n_channels)[:, None] / 100
    return (data * scale).astype(dtype)


def write_gifford(root, name="sub-01"):
    """np.save of a dict: .item() opens it."""
    folder = root / name
    folder.mkdir(parents=True, exist_ok=True)
    made = {}
    for split, file in (("train", "training"), ("test", "test")):
        made[split] = make_data(split, 17, 100)
        content = {
            "preprocessed_eeg_data": made[split], "ch_names": NAMES_17, "times": TIMES_100,
        }  # fmt: skip
        np.save(folder / f"preprocessed_eeg_{file}.npy", content)
    return made


def write_nice(root, name="sub-01", scale=1.0, names=NAMES_63, protocol=4):
    """A pickled dict under .npy, whose times list 300 for 250 samples."""
    folder = root / name
    folder.mkdir(parents=True, exist_ok=True)
    made = {}
    for split, file in (("train", "training"), ("test", "test")):
        made[split] = make_data(split, 63, 250, scale)
        content = {
            "preprocessed_eeg_data": made[split], "ch_names": list(names), "times": TIMES_300,
        }  # fmt: skip
        with open(folder / f"preprocessed_eeg_{file}.npy", "wb") as stream:
            pickle.dump(content, stream, protocol=protocol)
    return made


def write_ubp(root, name="sub-01", tensors=False, scale=1.0):
    """torch.save of a dict, float16; sessions from 0 in floats; train_images."""
    import torch

    folder = root / name
    folder.mkdir(parents=True, exist_ok=True)
    lists, made = image_metadata(), {}
    for split in ("train", "test"):
        made[split] = make_data(split, 63, 250, scale, np.float16)
        n, n_repetitions = made[split].shape[:2]
        concepts = lists[f"{split}_img_concepts"]
        images = [
            f"{split}_images/{c}/{f}"
            for c, f in zip(concepts, lists[f"{split}_img_files"], strict=True)
        ]
        ids = {c: i for i, c in enumerate(dict.fromkeys(concepts))}
        labels = np.array([ids[c] for c in concepts])
        sessions = np.tile(np.arange(n_repetitions) // 2, (n, 1)).astype(float)
        content = {
            "eeg": made[split],
            "label": np.tile(labels[:, None], (1, n_repetitions)),
            "img": np.tile(np.array(images)[:, None], (1, n_repetitions)),
            "text": np.tile(np.array([c[6:] for c in concepts])[:, None], (1, n_repetitions)),
            "session": sessions,
            "ch_names": NAMES_63,
            "times": TIMES_300,
        }
        if tensors:
            content["eeg"] = torch.from_numpy(content["eeg"])
            content["label"] = torch.from_numpy(content["label"])
            content["session"] = torch.from_numpy(sessions)
            content["times"] = torch.from_numpy(TIMES_300)
            content["img"] = [[str(x) for x in row] for row in content["img"]]
            content["text"] = [[str(x) for x in row] for row in content["text"]]
        torch.save(content, folder / f"{split}.pt", pickle_protocol=2 if tensors else 5)
    return made


def write_neurobridge(root, name="sub-01", as_dict=False, order="C"):
    """Concept x image x repetition x channel x time: an array and info.json, or a dict."""
    folder = root / name
    folder.mkdir(parents=True, exist_ok=True)
    made = {}
    for split in ("train", "test"):
        data = make_data(split, 63, 250, dtype=np.float32)
        made[split] = data
        lead = (4, 2) if split == "train" else (3, 1)
        data = np.asarray(data.reshape(*lead, *data.shape[1:]), order=order)
        if as_dict:
            content = {"data": data, "ch_names": NAMES_63, "times": TIMES_300}
            (folder / f"{split}.npy").write_bytes(pickle.dumps(content, protocol=4))
        else:
            np.save(folder / f"{split}.npy", data)
    if not as_dict:
        info = {"ch_names": NAMES_63, "times": TIMES_300.tolist()}
        (root / "info.json").write_text(json.dumps(info))
    return made


def write_raw(root, name="sub-01", n_sessions=4, n_channels=6):
    """Continuous volts with drifts, 'stim' with 1-based codes and 99999 for targets.

    Every image is in two sessions, twice in each; the order of presentation is shuffled. The
    order of channels differs between sessions.
    """
    rng = np.random.default_rng(5)
    names = NAMES_63[-n_channels:]
    events = {}
    for session in range(1, n_sessions + 1):
        folder = root / name / f"ses-{session:02d}"
        folder.mkdir(parents=True, exist_ok=True)
        for split, file in (("train", "training"), ("test", "test")):
            n_images = {"train": 8, "test": 3}[split]
            shown = np.arange(1, n_images + 1)
            if split == "train":
                shown = shown[(shown + session) % 2 == 0]
            codes = np.concatenate([shown, shown, [99999, 99999]])
            codes = rng.permutation(codes)
            samples = 1500 + 400 * np.arange(len(codes)) + rng.integers(0, 50, len(codes))
            n_times = samples[-1] + 2000
            mixing = rng.standard_normal((n_channels, n_channels)) + 2 * np.eye(n_channels)
            data = 1e-5 * mixing @ rng.standard_normal((n_channels, n_times))
            data += 5e-3 * np.sin(np.arange(n_times) / 4e4) + 2e-3  # drift of an open filter
            for sample, code in zip(samples, codes, strict=True):
                data[:, sample : sample + 300] += 1e-6 * code * (code != 99999)
            stim = np.zeros(n_times)
            stim[samples] = codes
            turn = rng.permutation(n_channels)
            content = {
                "raw_eeg_data": np.concatenate([data[turn], stim[None]]),
                "ch_names": [*(names[i] for i in turn), "stim"],
                "ch_types": ["eeg"] * n_channels + ["stim"],
                "sfreq": 1000, "highpass": 0.01, "lowpass": 100,
            }  # fmt: skip
            np.save(folder / f"raw_eeg_{file}.npy", content)
            events[session, split] = (samples, codes, data)
    return names, events


MEG_CONCEPTS = ["aardvark", "bat", "bat1", "coat_rack", "wine"]
MEG_TEST = {"bat1": "bat1_14s.jpg", "wine": "wine_13n.jpg"}


def meg_trials(n_exemplars=3, n_repetitions=4):
    """The metadata of a subject's trials, shuffled, with catch trials."""
    rows = []
    for c, concept in enumerate(MEG_CONCEPTS):
        for e in range(n_exemplars):
            rows.append(
                {
                    "trial_type": "exp",
                    "things_image_nr": 100 * c + e + 1, "things_category_nr": c + 1,
                    "things_exemplar_nr": e + 1, "category_nr": c + 1, "exemplar_nr": e + 1,
                    "test_image_nr": np.nan,
                    "image_path": f"images_meg/{concept}/{concept}_{e + 1:02d}s.jpg",
                }
            )  # fmt: skip
    for t, (concept, file) in enumerate(MEG_TEST.items()):
        c = MEG_CONCEPTS.index(concept)
        row = {
            "trial_type": "test", "things_image_nr": 100 * c + 14, "things_category_nr": c + 1,
            "things_exemplar_nr": 14.0, "category_nr": np.nan, "exemplar_nr": np.nan,
            "test_image_nr": t + 1, "image_path": f"images_test_meg/{file}",
        }  # fmt: skip
        rows += [dict(row) for _ in range(n_repetitions)]
    for i in range(4):
        rows.append(
            {"trial_type": "catch", "things_image_nr": 999999,
             "image_path": f"images_catch_meg/catch{i:03d}.jpg"}
        )  # fmt: skip
    table = pd.DataFrame(rows)
    table = table.sample(frac=1, random_state=3).reset_index(drop=True)
    table.insert(1, "session_nr", np.arange(len(table)) // 10 + 1)
    table.insert(2, "run_nr", np.arange(len(table)) // 5 % 2 + 1)
    table["image_on"], table["image_off"] = 0.0, 0.5
    return table


def write_meg_fif(
    folder, n_sensors=4, metadata=True, split_size="2GB", *, subject=1, table=None, responses=None
):
    """preprocessed_P1-epo.fif: 281 samples, -0.1 .. 1.3 s, 200 Hz, z-scored."""
    table = meg_trials() if table is None else table
    helmet = mne.channels.read_meg_canonical_info("ctf275")
    sensors = np.arange(n_sensors) if np.ndim(n_sensors) == 0 else n_sensors
    info = mne.pick_info(helmet, sensors, verbose="error")
    with info._unlock():
        info["sfreq"], info["lowpass"] = 200.0, 40.0
    rng = np.random.default_rng(1)
    data = responses
    if data is None:
        data = rng.standard_normal((len(table), len(sensors), 281))
        data += np.arange(len(table))[:, None, None]
    events = np.column_stack(
        [
            np.arange(len(table)) * 400 + 7,
            np.zeros(len(table), int),
            table["things_image_nr"].astype(int),
        ]
    )
    epochs = mne.EpochsArray(
        data, info, events, tmin=-0.1, metadata=table if metadata else None, verbose="error"
    )
    folder.mkdir(parents=True, exist_ok=True)
    epochs.save(
        folder / f"preprocessed_P{subject}-epo.fif",
        split_size=split_size,
        fmt="single",
        verbose="error",
    )
    return table, epochs.get_data(copy=True)


def write_meg_pickles(root, names, name="sub-01"):
    """ATM: concept x image x repetition x sensor x time, 0 .. 1 s, 200 Hz."""
    folder = root / name
    folder.mkdir(parents=True, exist_ok=True)
    rng = np.random.default_rng(2)
    made = {}
    for split, shape, file in (
        ("train", (3, 3, 1), "preprocessed_meg_training.pkl"),
        ("test", (2, 1, 4), "preprocessed_meg_zs_test.pkl"),
    ):
        made[split] = rng.standard_normal((*shape, len(names), 201))
        content = {
            "meg_data": made[split], "ch_names": list(names), "times": np.arange(201) / 200,
        }  # fmt: skip
        (folder / file).write_bytes(pickle.dumps(content, protocol=4))
    return made


def write_meg_images(folder):
    """Empty files under the names of images."""
    for image in meg_trials()["image_path"]:
        if "catch" not in image:
            (folder / image).parent.mkdir(parents=True, exist_ok=True)
            (folder / image).touch()
