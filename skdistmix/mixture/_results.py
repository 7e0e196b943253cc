"""What a fit by EM leaves behind: attributes, criteria, and a warning if it did not converge."""

from __future__ import annotations

import warnings

import numpy as np
from sklearn.exceptions import ConvergenceWarning

from .._em import EMFit, first_of_the_best
from .._stopping import LIKELIHOOD_TOL
from ..families import DegenerateComponentError

__all__ = ["FitResults"]

FALL = 1e-7  # of the mean objective in an iteration, relative to it: more than rounding


class FitResults:
    """Attributes of an estimator that was fitted by EM."""

    def _store(self, family, runs, fits, progress):
        for i, (run, fit) in enumerate(zip(runs, fits, strict=True)):
            if isinstance(fit, DegenerateComponentError):
                progress.say(f"Start {i} was dropped: {fit}")
                continue
            outcome = "converged" if fit is not None and fit.converged else "did not converge"
            outcome = "was given up" if fit is None else outcome
            progress.say(f"Start {i} {outcome}, objective {run.objectives[-1]:.6f}")
        best = first_of_the_best([fit for fit in fits if isinstance(fit, EMFit)])
        if family.monotone and not family.is_trusted:
            _warn_of_a_fall(family, best.objectives)
        self._set_params(family, best.params)
        self.converged_, self.n_iter_ = best.converged, best.n_iter
        self.objectives_, self.lower_bounds_ = list(best.objectives), list(best.values[1:])
        self.objective_, self.lower_bound_ = best.objectives[-1], best.values[-1]
        self.convergence_gap_ = best.gap
        self.init_scores_ = np.array([run.objectives[-1] for run in runs])
        self.n_samples_seen_ = best.score.weight
        # What partial_fit goes on from.
        self._stream, self._moments = None, family.moments.without_rows()
        self._set_criteria(best.score)

    def _set_criteria(self, score):
        for criterion in ("bic", "aic", "icl"):
            setattr(self, f"{criterion}_", getattr(score, criterion)(self.n_parameters_))

    def _set_exact(self, family, params, score):
        """Take parameters at which EM stands still, as those of one more iteration."""
        self._set_params(family, params)
        objective = (score.log_likelihood + family.log_prior(params)) / score.weight
        self.lower_bounds_.append(score.mean)
        self.objectives_.append(objective)
        self.lower_bound_, self.objective_ = score.mean, objective
        self.n_iter_, self.convergence_gap_ = self.n_iter_ + 1, 0.0
        self._set_criteria(score)

    def _warn_if_not_converged(self):
        if not self.converged_ and self.max_iter > 0:
            rule = f"estimated gain of {LIKELIHOOD_TOL}"
            aim = rule if self.tol == "likelihood" else f"tolerance of {self.tol}"
            warnings.warn(
                f"EM did not reach the {aim} in {self.max_iter} iterations: increase max_iter or "
                "tol, or try another start (random_state, n_init, init_params). "
                f"Estimated total log-likelihood still to gain: {self.convergence_gap_:.3g}.",
                ConvergenceWarning,
                stacklevel=4,  # the caller of fit, which a decorator wraps
            )


def _warn_of_a_fall(family, objectives):
    """EM never lowers what it maximises; if it does, formulas do not belong together."""
    values = np.array(objectives)
    falls = values[:-1] - values[1:]
    fell = np.flatnonzero(falls > FALL * np.maximum(1.0, np.abs(values[:-1])))
    if len(fell):
        name = type(family).__name__
        warnings.warn(
            f"The mean objective fell by {falls[fell[0]]:.3g} in iteration {fell[0] + 1}, which EM "
            f"cannot do: m_step of {name} does not maximise what log_density and log_prior say. "
            "Correct one of them, or set monotone = False in the class if that is meant.",
            UserWarning,
            stacklevel=7,  # the caller of fit, which a decorator wraps
        )
