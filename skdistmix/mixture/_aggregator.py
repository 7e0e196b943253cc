"""MixtureOfExpertsAggregator: local mixtures in, one mixture out."""

from __future__ import annotations

from numbers import Integral, Real

import numpy as np
from sklearn.base import _fit_context, clone
from sklearn.utils import check_random_state
from sklearn.utils._param_validation import Interval, StrOptions

from .._aggregation import AGGREGATIONS
from .._compute import Workers
from .._em import score_pass
from .._validation import validated_shards
from ..families import GaussianBase
from ._combine import (
    Rounds,
    check_options,
    combined,
    correspondence,
    fitted_gate,
    refined,
    stacked_shares,
    trusted_sites,
)
from ._distributed_gmm import DistributedGMM
from ._gated import GATES, GatedMixture, checked_context, context_names
from ._local import SMALL_SHARDS, LocalFit, candidates_of, check_estimator, default_estimator
from ._progress import Progress
from ._sites import check_sites, experts_of, restored, warn_of_sites

__all__ = ["MixtureOfExpertsAggregator"]

SHOWN = ("weights_", "means_", "covariances_", "precisions_", "precisions_cholesky_")
OF_A_DENSITY = ("lower_bound_", "bic_", "aic_", "icl_")


class MixtureOfExpertsAggregator(GatedMixture):
    """One mixture from local mixtures, in one round of communication.

    Every shard fits a mixture to its own rows and sends the model; the models are combined where
    they arrive. Rows never move. Where :class:`DistributedGMM` reads all shards in every iteration,
    here a shard is heard once (and once more for the likelihood of the result), and shards that
    say something absurd can be found out.

    Parameters
    ----------
    estimator : DistributedGMM, optional
        The local mixture. Its `n_components`, `n_jobs`, `random_state` and `verbose` are set here;
        rows are computed in NumPy.
        None: ``DistributedGMM(tol="likelihood", acceleration="squarem",
        covariance_penalty="auto", n_init=4, max_iter=1000)``.
    n_components : int, default=1
        Number K of components of the one mixture.
    local_components : int or sequence of int, optional
        Numbers of components of the local mixtures; of several each shard takes the one with the
        smallest BIC. None: `n_components`.
    aggregation : {"transport", "average", "kl-average", "medoid", "stacking"}, default="transport"
        "transport": the mixture to which the components of all local ones can be moved at the
        least cost (Zhang and Chen 2022), for any numbers of components and sizes of shards.
        "average": parameters of matched components are averaged. "kl-average": EM on rows drawn
        from the local mixtures (Liu and Ihler 2014; Han and Liu 2016). "medoid": the local mixture
        in the middle. "stacking": the local mixtures stay side by side, with the weights that suit
        rows of other shards best (Smyth and Wolpert 1999).
    cost : {"kl", "w2", "cauchy-schwarz"}, default="kl"
        What moving or matching a component costs: the Kullback-Leibler divergence, the squared
        2-Wasserstein distance, or the Cauchy-Schwarz divergence.
    robust : bool, default=False
        Leave out local models that are too far from the one in the middle (Zhang, Tan and Chen
        2026): less than half of the shards may send anything. This takes shards for random pieces
        of the same rows: a site that honestly differs is rejected like one that lies.
    radius_exponent : float, default=0.1
        With `robust`, models are kept up to ``n_shards ** radius_exponent`` times the median
        distance from the one in the middle. 0 rejects about half of the models, even if all are
        honest.
    gate : {"bayes", "context", "softmax", "gaussian"}, default="bayes"
        How the experts, the local mixtures, are combined for a row. "bayes": by the posterior of
        the one mixture, or of the experts side by side for "stacking". "context": shares of the
        experts depend on side information, ``fit(X, context=U)``, by a multinomial logistic model.
        "softmax" and "gaussian": shares depend on the row itself, which gives probabilities of
        components, and no density.
    refine : int, default=0
        Iterations of exact EM over the shards that follow, each one more round.
    small_shards : {"lower", "skip", "raise"}, default="lower"
        What becomes of a shard with too few rows for its number of components: fewer components,
        no model, or an error.
    min_component_size : int, default=10
        Rows that each component of a local mixture stands for at least before the model leaves its
        shard, if there are others. It protects single rows; it is not differential privacy.
    n_draws : int, default=1000
        Rows drawn from each local mixture, for "kl-average".
    n_shards : int, optional
        Number of row ranges an array is cut into. None: one for every 1000 rows, at most 8. Rows
        in a meaningful order should be shuffled before. Data in pieces are taken as they are.
    n_jobs : int, optional
        Number of workers, as in :class:`DistributedGMM`. Each fits one shard at a time.
    random_state : int, RandomState instance or None, default=None
        Seed of the local fits, of draws, and of `sample`.
    verbose : int, default=0
        1 prints what is done.

    Attributes
    ----------
    mixture_ : DistributedGMM
        The one mixture.
    weights_, means_, covariances_, precisions_, precisions_cholesky_ : ndarray
        Its parameters. With "stacking", of the mixture that names the clusters; the density is
        that of the experts.
    experts_ : list of DistributedGMM or None
        The local mixture of each shard; None where there is none.
    expert_labels_ : list of ndarray of shape (n_local_components,) or None
        The component of the one mixture that each component of an expert stands for.
    shard_names_ : list of str
        How messages call the shards, with the names of files.
    gate_ : object
        With attributes `weights` ("bayes"), `intercept` and `coef` ("softmax", "context", in units
        of `scale` about `center`), or `params` ("gaussian"); for shards that take part.
    shard_weights_ : ndarray of shape (n_shards,)
        Shares of the shards: of their rows, or as stacking weighs them; 0 for those left out.
    rejected_shards_ : ndarray of int
        Shards that `robust` left out.
    transport_cost_ : float
        Mean cost of moving the components of the experts to the one mixture.
    n_rounds_ : int
        Times that all shards were heard.
    bytes_sent_ : int
        Bytes of numbers that shards sent: models, then one sum a shard and round.
    lower_bound_ : float
        Mean log-likelihood of the rows of shards that take part.
    bic_, aic_, icl_ : float
        Criteria on these rows, smaller is better. These and `lower_bound_` only if there is a
        density.
    converged_ : bool
        Whether all local fits converged.
    n_parameters_ : int
    n_samples_seen_ : float
        Sum of the weights of these rows.
    n_context_columns_ : int
        Only with ``gate="context"``.
    n_features_in_ : int
    feature_names_in_ : ndarray of str
        Only if X had string column names.

    See Also
    --------
    DistributedGMM : Exact EM over shards, heard in every iteration.
    reduce_mixtures : The same for models that were fitted elsewhere.

    References
    ----------
    Zhang, Q. and Chen, J. (2022). Distributed learning of finite Gaussian mixtures. JMLR 23.

    Zhang, Q., Tan, Y. and Chen, J. (2026). Byzantine-tolerant distributed learning of finite
    mixture models. JRSS-B.

    Liu, Q. and Ihler, A. (2014). Distributed estimation, information loss and exponential families.
    NIPS 27.

    Han, J. and Liu, Q. (2016). Bootstrap model aggregation for distributed statistical learning.
    NIPS 29.

    Smyth, P. and Wolpert, D. (1999). Linearly combining density estimators via stacking. Machine
    Learning 36, 59-83.

    Jacobs, R. A., Jordan, M. I., Nowlan, S. J. and Hinton, G. E. (1991). Adaptive mixtures of local
    experts. Neural Computation 3, 79-87.

    Xu, L., Jordan, M. I. and Hinton, G. E. (1994). An alternative model for mixtures of experts.
    NIPS 7.

    Examples
    --------
    >>> import numpy as np
    >>> from skdistmix import MixtureOfExpertsAggregator
    >>> rng = np.random.default_rng(0)
    >>> sites = [rng.normal(rng.choice([-4, 4], size=(500, 1)), 1.0) for _ in range(8)]
    >>> sites[2] += 50  # a broken instrument
    >>> model = MixtureOfExpertsAggregator(n_components=2, robust=True, random_state=0)
    >>> import warnings
    >>> with warnings.catch_warnings():
    ...     warnings.simplefilter("ignore")  # it warns of the rejected site
    ...     _ = model.fit(sites)
    >>> model.rejected_shards_
    array([2])
    >>> np.sort(model.means_[:, 0]).round()
    array([-4.,  4.])
    """

    _parameter_constraints: dict = {
        "estimator": [DistributedGMM, None],
        "n_components": [Interval(Integral, 1, None, closed="left")],
        "local_components": [Interval(Integral, 1, None, closed="left"), "array-like", None],
        "aggregation": [StrOptions({*AGGREGATIONS, "stacking"})],
        "cost": [StrOptions(set(GaussianBase.costs))],
        "robust": ["boolean"],
        "radius_exponent": [Interval(Real, 0.0, None, closed="left")],
        "gate": [StrOptions(set(GATES))],
        "refine": [Interval(Integral, 0, None, closed="left")],
        "small_shards": [StrOptions(set(SMALL_SHARDS))],
        "min_component_size": [Interval(Integral, 1, None, closed="left")],
        "n_draws": [Interval(Integral, 1, None, closed="left")],
        "n_shards": [Interval(Integral, 1, None, closed="left"), None],
        "n_jobs": [Integral, None],
        "random_state": ["random_state"],
        "verbose": ["verbose"],
    }

    def __init__(
        self,
        estimator=None,
        n_components=1,
        *,
        local_components=None,
        aggregation="transport",
        cost="kl",
        robust=False,
        radius_exponent=0.1,
        gate="bayes",
        refine=0,
        small_shards="lower",
        min_component_size=10,
        n_draws=1000,
        n_shards=None,
        n_jobs=None,
        random_state=None,
        verbose=0,
    ):
        self.estimator = estimator
        self.n_components = n_components
        self.local_components = local_components
        self.aggregation = aggregation
        self.cost = cost
        self.robust = robust
        self.radius_exponent = radius_exponent
        self.gate = gate
        self.refine = refine
        self.small_shards = small_shards
        self.min_component_size = min_component_size
        self.n_draws = n_draws
        self.n_shards = n_shards
        self.n_jobs = n_jobs
        self.random_state = random_state
        self.verbose = verbose

    @_fit_context(prefer_skip_nested_validation=True)
    def fit(self, X, y=None, sample_weight=None, context=None):
        """Fit a mixture at each shard and combine them.

        Parameters
        ----------
        X : array-like, DataFrame, zarr array, list, path, glob, Dask collection or Shards
            As for :meth:`DistributedGMM.fit`.
        y : ignored
        sample_weight : array-like of shape (n_samples,), list of arrays, path, str, optional
            As for :meth:`DistributedGMM.fit`.
        context : array-like of shape (n_samples, n_columns), or list of arrays, optional
            Side information for ``gate="context"``, numbers, one array or one array a shard.

        Returns
        -------
        self

        Raises
        ------
        ValueError
            If no shard has a model to send, the local models do not have enough different
            components, parameters do not go together, or `robust` cannot tell which of two groups
            of shards is right.
        """
        self._check_parameters(context)
        shards = validated_shards(self, X, reset=True, n_shards=self.n_shards, min_rows=2, cut=True)
        shards = shards.with_weights(sample_weight)
        columns = None if context is None else checked_context(context, shards)
        rng = check_random_state(self.random_state)
        seeds = [int(s) for s in rng.randint(np.iinfo(np.int32).max, size=len(shards))]
        progress = Progress(self.verbose, 1)
        with Workers(self.n_jobs) as workers:
            progress.say(f"Local fits at {len(shards)} shard(s)")
            rounds = Rounds(workers.map_reduce)
            sites = workers.map_shards(self._local_fit(len(shards)), shards, seeds)
            rounds.heard(sites)
            names = [shard.name for shard in shards]
            for site, name in zip(sites, names, strict=True):
                progress.say(f"  {name}: {site.outcome}")
            check_sites(sites, shards.sizes, names, self.small_shards)
            family = (
                self._template()
                .set_params(n_components=self.n_components, weights="free")
                ._family(self.n_features_in_)
            )
            kept, rejected = trusted_sites(family, sites, self.robust, self.radius_exponent)
            warn_of_sites(sites, rejected, names)
            shares = np.array([sites[s].weight for s in kept])
            shares = shares / shares.sum()
            if self.aggregation == "stacking":
                progress.say("Stacking weights")
                shares = stacked_shares(
                    rounds.map_reduce, shards[kept.tolist()], family,
                    [sites[s] for s in kept], [seeds[s] for s in kept],
                )  # fmt: skip
                kept, shares = kept[shares > 0], shares[shares > 0]
            progress.say(f"Combination of {len(kept)} model(s)")
            heard, chosen = shards[kept.tolist()], [sites[s] for s in kept]
            params, score = self._one_mixture(family, chosen, shares, heard, rounds, rng)
            # Nothing is set before all that may fail has not failed.
            self._set_models(sites, names, kept, shares, rejected, params)
            self._weighted_fit = any(shard.weight is not None for shard in shards)
            if columns is not None:
                self._context_names = context_names(context)
                self.n_context_columns_ = columns[0].shape[1]
                heard = heard.beside([columns[s] for s in kept])
            progress.say(f"Gate {self.gate!r}, and the likelihood of the result")
            self._finish(family, chosen, shares, heard, rounds, score)
        self.n_rounds_, self.bytes_sent_ = rounds.number, rounds.bytes
        return self

    def fit_predict(self, X, y=None, sample_weight=None, context=None):
        """Fit, then give the most probable component of each row.

        Parameters
        ----------
        X : array-like, DataFrame, zarr array, list, path, glob, Dask collection or Shards
            As for `fit`.
        y : ignored
        sample_weight : array-like of shape (n_samples,) or list of arrays, optional
            As for `fit`.
        context : array-like of shape (n_samples, n_columns), or list of arrays, optional
            As for `fit`.

        Returns
        -------
        labels : ndarray of shape (n_samples,), or one array a shard
            As :meth:`predict` gives them.
        """
        return self.fit(X, sample_weight=sample_weight, context=context).predict(X, context)

    # ------------------------------------------------------------------ steps of fit

    def _check_parameters(self, context):
        if self.estimator is not None:
            check_estimator(self.estimator, self.n_components, self.local_components)
        check_options(self.aggregation, self.gate, self.refine, context is not None)

    def _template(self):
        """The local estimator."""
        return default_estimator() if self.estimator is None else clone(self.estimator)

    def _local_fit(self, n_shards: int) -> LocalFit:
        wanted = self.n_components if self.local_components is None else self.local_components
        return LocalFit(
            self._template(),
            candidates_of(wanted),
            self.small_shards,
            self.min_component_size if n_shards > 1 else 1,  # a single model goes nowhere
            halves=self.aggregation == "stacking",
            bears_failure=self.robust,
        )

    def _one_mixture(self, family, sites, shares, heard, rounds, rng) -> tuple:
        """Parameters of the one mixture and, after EM over the shards, its score."""
        models, weight = [site.params for site in sites], sum(site.weight for site in sites)
        family, params = combined(
            family, models, shares, float(weight),
            aggregation="transport" if self.aggregation == "stacking" else self.aggregation,
            cost=self.cost, n_draws=self.n_draws, map_reduce=rounds.over_shards, rng=rng,
        )  # fmt: skip
        if not self.refine:
            return params, None
        fit = refined(rounds.map_reduce, heard, family, params, sites, self.refine)
        return fit.params, fit.score

    def _set_models(self, sites, names, kept, shares, rejected, params):
        """The local models, which of them take part, and the one mixture."""
        for name in (*OF_A_DENSITY, "n_context_columns_", "_context_names"):  # of an earlier fit
            vars(self).pop(name, None)
        self.experts_ = experts_of(self._template(), sites, self._names())
        self.shard_names_, self.rejected_shards_ = names, rejected
        self.converged_ = all(site.converged for site in sites)
        self.shard_weights_ = np.zeros(len(sites))
        self.shard_weights_[kept] = shares
        self.n_samples_seen_ = float(sum(sites[s].weight for s in kept))
        self.mixture_ = restored(
            self._template().set_params(weights="free"), params,  # its own follow from the shards'
            converged_=self.converged_, n_iter_=self.refine,
            n_samples_seen_=self.n_samples_seen_, **self._names(),
        )  # fmt: skip
        for name in SHOWN:
            setattr(self, name, getattr(self.mixture_, name))
        self.expert_labels_ = [None] * len(sites)
        family, _ = self.mixture_._family_and_params()
        models = [sites[s].params for s in kept]
        labels, cost = correspondence(family, models, shares, params, self.cost)
        for s, own in zip(kept, labels, strict=True):
            self.expert_labels_[s] = own
        self.transport_cost_ = cost

    def _finish(self, family, sites, shares, heard, rounds, score):
        """The gate, and what the rows say of the result."""
        models = [site.params for site in sites]
        self.gate_ = fitted_gate(self.gate, rounds.map_reduce, heard, family, models, shares)
        self._fitted_gate, self._fitted_aggregation = self.gate, self.aggregation
        self.n_parameters_ = self.mixture_.n_parameters_
        if self.gate != "bayes" or self.aggregation == "stacking":
            own = sum(e.n_parameters_ for e, w in zip(self.experts_, self.shard_weights_) if w)
            per_share = 1 + getattr(self, "n_context_columns_", 0)
            self.n_parameters_ = own + (len(models) - 1) * per_share
        if not GATES[self.gate]:
            return
        if score is None:
            score = score_pass(rounds.map_reduce, heard, self._kernel()[0])
        p = self.n_parameters_
        values = (score.mean, score.bic(p), score.aic(p), score.icl(p))
        for name, value in zip(OF_A_DENSITY, values, strict=True):
            setattr(self, name, value)

    def _names(self) -> dict:
        names = ("n_features_in_", "feature_names_in_")
        return {name: getattr(self, name) for name in names if hasattr(self, name)}
