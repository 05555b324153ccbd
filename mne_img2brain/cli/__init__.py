"""The command line, ``mne-img2brain``."""
