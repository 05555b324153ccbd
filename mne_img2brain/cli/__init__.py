"""The command line, ``python -m mne_img2brain``."""
