"""``python -m mne_img2brain``: the library from the command line."""

import sys

from mne_img2brain.cli.main import main

if __name__ == "__main__":
    sys.exit(main())
