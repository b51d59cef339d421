"""Scaling laws: fit them to anybody's runs, forecast with an interval, plan a run. `fit` needs numpy and scipy only."""

from tony.forecast.choose import Choice, choose
from tony.forecast.derived import fit_error, fit_log, per_image, size_for
from tony.forecast.fit import Law, fit
from tony.forecast.forms import FORMS, Form
from tony.forecast.frontier import fit_frontier, fit_size
from tony.forecast.interval import Bootstrap, Prediction, bootstrap
from tony.forecast.isoflop import fit_isoflops
from tony.forecast.table import Runs, read_runs

__all__ = [
    "FORMS",
    "Bootstrap",
    "Choice",
    "Form",
    "Law",
    "Prediction",
    "Runs",
    "bootstrap",
    "choose",
    "fit",
    "fit_error",
    "fit_frontier",
    "fit_isoflops",
    "fit_log",
    "fit_size",
    "per_image",
    "read_runs",
    "size_for",
]
