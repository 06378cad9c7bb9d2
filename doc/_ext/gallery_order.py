"""The order in which the gallery is read: from the first fit to problems of one's own.

Examples that are not listed follow at the end, by name.
"""

READING_ORDER = (
    "plot_demo",
    "plot_ridge_drop_in",
    "plot_reading_the_results",
    "plot_many_strengths",
    "plot_guard_path",
    "plot_groups",
    "plot_metadata",
    "plot_spectra",
    "plot_confounders",
    "plot_breast_cancer",
    "plot_digits",
    "plot_text_classes",
    "plot_text_sparse",
    "plot_counts",
    "plot_ratios",
    "plot_private_model",
    "plot_time_series",
    "plot_row_groups",
    "plot_related_tasks",
    "plot_smooth_terms",
    "plot_bike_counts",
    "plot_claims",
    "plot_weights",
    "plot_wrong_labels",
    "plot_pipeline_search",
    "plot_callbacks",
    "plot_solvers",
    "plot_data_sources",
    "plot_certified_controller",
)


class ReadingOrder:
    """Sort key of Sphinx-Gallery."""

    def __init__(self, src_dir: str) -> None:
        self.src_dir = src_dir

    def __call__(self, filename: str) -> tuple[int, str]:
        """Return the place in the list."""
        name = filename.removesuffix(".py")
        listed = name in READING_ORDER
        return (READING_ORDER.index(name) if listed else len(READING_ORDER), name)
