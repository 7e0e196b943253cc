"""Day curves of the use of electricity, which come with the package."""

from __future__ import annotations

import csv
from importlib import resources

import numpy as np
from sklearn.utils import Bunch
from sklearn.utils._param_validation import validate_params

__all__ = ["load_electricity_profiles"]

FILE = "electricity_profiles.csv"
GROUPS = {"H": "household", "G": "commerce", "L": "agriculture"}
CUSTOMERS = {
    "H0": "household",
    "G0": "commerce, mean of G1 to G6",
    "G1": "commerce, workdays from 8 to 18 h",
    "G2": "commerce, mostly in the evening",
    "G3": "commerce, day and night",
    "G4": "shop, hairdresser",
    "G5": "bakery",
    "G6": "commerce, weekends",
    "L0": "farm, mean of L1 and L2",
    "L1": "farm with dairy cattle",
    "L2": "other farm",
}
DESCR = """\
Day curves of the use of electricity
====================================

Representative load profiles of electricity customers in Germany: the mean power of each quarter of
an hour, in watts, of a customer who uses about 1,000 kWh a year. Eleven kinds of customer, three
periods of the year and three kinds of day make 99 curves of 96 values.

:Rows: 99
:Columns: 96, named by the time of day
:Target: household (9 rows), commerce (63), agriculture (27)
:Missing values: none

"winter" is 1 November to 20 March, "summer" 15 May to 14 September, "transition" the rest.
Curves are means over many customers, and smoother than any single one. G0 is the weighted mean of
G1 to G6 and L0 of L1 and L2, so rows are not independent.

Customers: {customers}.

From the R package standardlastprofile by Markus Döring, released under CC0 1.0. Published in VDEW
(1999), Repräsentative VDEW-Lastprofile.
""".format(customers="; ".join(f"{name} {what}" for name, what in CUSTOMERS.items()))


@validate_params({"return_X_y": ["boolean"]}, prefer_skip_nested_validation=True)
def load_electricity_profiles(*, return_X_y=False):
    """Load day curves of the use of electricity by German households, businesses and farms.

    The representative load profiles of 1999, of 11 kinds of customer in three periods of the year
    on three kinds of day.

    Parameters
    ----------
    return_X_y : bool, default=False
        Whether to return ``(data, target)`` only.

    Returns
    -------
    data : Bunch
        Dictionary-like, with:

        data : ndarray of shape (99, 96)
            Mean power of each quarter of an hour, in watts, of a customer who uses about
            1,000 kWh a year.
        target : ndarray of int of shape (99,)
            Group of the customer.
        target_names : ndarray of str of shape (3,)
            "household", "commerce", "agriculture".
        feature_names : list of str
            Times of day, "00:00" to "23:45".
        profile, period, day : ndarray of str of shape (99,)
            The kind of customer ("H0", "G0" to "G6", "L0" to "L2"), of the time of the year
            ("winter", "transition", "summer") and of the day ("workday", "saturday", "sunday").
        profile_names : dict of str
            What the kinds of customer are.
        DESCR : str
            The data in words, with their source.
    (data, target) : tuple of ndarray
        With ``return_X_y=True``.

    Notes
    -----
    From the R package standardlastprofile by Markus Döring, released under CC0.

    References
    ----------
    VDEW (1999). Repräsentative VDEW-Lastprofile. Frankfurt am Main.

    Examples
    --------
    >>> from skdistmix.datasets import load_electricity_profiles
    >>> electricity = load_electricity_profiles()
    >>> electricity.data.shape
    (99, 96)
    >>> household = electricity.data[electricity.profile == "H0"].mean(axis=0)
    >>> electricity.feature_names[household.argmax()]
    '19:30'
    """
    text = resources.files(__package__).joinpath("data", FILE).read_text(encoding="utf-8")
    header, *rows = csv.reader(text.splitlines())
    names = np.array([row[:3] for row in rows])
    data = np.array([row[3:] for row in rows], dtype=np.float64)
    groups = list(GROUPS)
    target = np.array([groups.index(name[0]) for name in names[:, 0]])
    if return_X_y:
        return data, target
    return Bunch(
        data=data,
        target=target,
        target_names=np.array(list(GROUPS.values())),
        feature_names=header[3:],
        profile=names[:, 0],
        period=names[:, 1],
        day=names[:, 2],
        profile_names=dict(CUSTOMERS),
        DESCR=DESCR,
    )
