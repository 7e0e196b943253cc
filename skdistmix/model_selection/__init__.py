"""Choosing among mixture models: criteria as scorers, searches without splitting."""

from ._full_data import FullData
from ._scorers import neg_aic, neg_bic, neg_icl

__all__ = ["FullData", "neg_aic", "neg_bic", "neg_icl"]
