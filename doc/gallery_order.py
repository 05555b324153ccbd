"""The order of the gallery's pages."""

from sphinx_gallery.sorting import FileNameSortKey


class QuickstartFirst(FileNameSortKey):
    """By file name, after the quickstart."""

    def __call__(self, filename):
        return "" if filename == "plot_quickstart.py" else super().__call__(filename)
