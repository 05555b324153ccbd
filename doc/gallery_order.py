"""The order of the gallery's sections and pages."""

from sphinx_gallery.sorting import FileNameSortKey

SECTIONS = ["../examples/judge", "../examples/use", "../examples/inside"]


class QuickstartFirst(FileNameSortKey):
    """By file name, after the quickstart."""

    def __call__(self, filename):
        return "" if filename == "plot_quickstart.py" else super().__call__(filename)
