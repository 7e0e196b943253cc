"""The slope heuristic on the simulated data of R's capushe: 21 components in three bubbles.

1,000 rows in three dimensions from three equal groups about (0, 0, 0), (6, 0, 0) and (0, 6, 0),
each a mixture of one component of variance 1 (weight 0.4) and six of variance 0.1 (0.1 each) at
the distance 1.5 along the axes. Spherical mixtures of 1 to 50 components are fitted. The manual of
capushe says of its data set `datacapushe`, made so, that BIC and both methods of the slope
heuristic choose the true 21 components. Its rows are not published, so others are drawn.

    python examples/benchmarks/slope.py [--quick] [--rows 1000] [--seeds 10] [--starts 10]
"""

import numpy as np
from data_sets import parsed

from skdistmix import DistributedGMM
from skdistmix.families import DegenerateComponentError
from skdistmix.model_selection import SlopeHeuristic


def bubbles(n_rows, seed):
    """Rows of the mixture of 21 components."""
    rng = np.random.default_rng(seed)
    centers = np.array([[0.0, 0, 0], [6, 0, 0], [0, 6, 0]])
    offsets = np.concatenate([np.zeros((1, 3)), 1.5 * np.eye(3), -1.5 * np.eye(3)])
    own = rng.choice(7, size=n_rows, p=[0.4] + [0.1] * 6)
    deviation = np.sqrt(np.where(own == 0, 1.0, 0.1))[:, None]
    noise = deviation * rng.normal(size=(n_rows, 3))
    return centers[rng.integers(3, size=n_rows)] + offsets[own] + noise


def main():
    args = parsed(__doc__, rows=1000, seeds=10, quick=(1000, 1), starts=10)
    for seed in args.seeds:
        X, models = bubbles(args.rows, seed), []
        for K in range(1, 51):
            gmm = DistributedGMM(
                K, covariance_type="spherical", tol="likelihood", acceleration="squarem",
                init_params="k-means++", n_init=args.starts, max_iter=1000, random_state=seed,
            )  # fmt: skip
            try:
                models.append(gmm.fit(X))
            except DegenerateComponentError:
                print(f"{K} components cannot be fitted")
        choice = SlopeHeuristic().fit_models(models)
        chosen = {
            "BIC": min(models, key=lambda model: model.bic_),
            "slope": models[choice.slope_index_],
            "jump": models[choice.jump_index_],
        }
        print(
            f"seed {seed}: "
            + ", ".join(f"{name} {model.n_components}" for name, model in chosen.items())
            + f"; slope {choice.slope_:.3f}, jump at {choice.jump_:.3f}, "
            + f"{len(choice.slopes_)} slopes in plateaus of {choice.plateau_sizes_.tolist()}",
            flush=True,
        )


if __name__ == "__main__":
    main()
