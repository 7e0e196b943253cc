"""Deep clustering of images of digits: how right, how far apart over seeds, how long.

Accuracy (of the best matching of clusters and classes), normalised mutual information and adjusted
Rand index, mean and standard deviation over seeds; seconds of learning to rebuild the rows and of
what follows; and runs that ended with a cluster of less than a tenth of its share of the rows.
Methods of one seed share an autoencoder. One set of parameters, the defaults, is used for all data.
Classes are used for nothing but these scores.

scikit-learn's digits are always there; --data takes .npz files with arrays X and y (images or rows,
classes), of which pixels are divided by their largest value. mnist-test are the last 10,000 rows of
a file mnist.npz.

    python examples/benchmarks/deep.py [--quick] [--data FILE ...] [--methods NAME ...]
        [--seeds 5] [--first-seed 0] [--results deep.json] [--cache FOLDER] [--device auto]
        [--threads N] [--epochs N]

On a GPU (--device cuda), for the published recipe of DCEC, whose autoencoder learns for 200 epochs:
--data mnist.npz --only mnist --methods "conv ae + k-means" "conv idec" --epochs 200

With --results each run is kept in that file, and a later call goes on from there. With --cache
autoencoders are kept too, with the seconds that they took, for other methods to start from.
"""

import argparse
import json
import os
import time
from pathlib import Path

import numpy as np
from joblib import Memory
from scipy.optimize import linear_sum_assignment
from sklearn.cluster import KMeans
from sklearn.datasets import load_digits
from sklearn.frozen import FrozenEstimator
from sklearn.metrics import adjusted_rand_score, normalized_mutual_info_score

from skdistmix import DistributedGMM
from skdistmix.cluster import LandmarkSpectralClustering
from skdistmix.deep import Autoencoder, DeepEmbeddedClustering

K = 10
OBJECTIVES = ("idec", "dec", "dcn", "dekm")
METHODS = (
    "k-means", "landmark-spectral",
    "dense ae + k-means", "dense ae + gmm", *(f"dense {name}" for name in OBJECTIVES),
    "conv ae + k-means", "conv ae + gmm", "conv idec", "conv dekm",
    "augmented ae + k-means", "augmented ae + gmm", "augmented idec",
)  # fmt: skip


def data_sets(paths):
    """(name, rows, classes, shape of the images) of each data set."""
    X, y = load_digits(return_X_y=True)
    yield "digits", X / 16, y, (8, 8)
    for path in map(Path, paths):
        with np.load(path) as file:
            X, y = file["X"], file["y"]
        shape = X.shape[1:] if X.ndim == 3 else None
        if shape is None:
            side = round(np.sqrt(X.shape[1]))
            shape = (side, side) if side * side == X.shape[1] else None
        X = X.reshape(len(X), -1).astype(np.float32)
        X /= X.max()
        if path.stem == "mnist":
            yield "mnist-test", X[-10_000:], y[-10_000:], shape
        yield path.stem, X, y, shape


def scores(y, labels):
    table = np.zeros((y.max() + 1, K))
    np.add.at(table, (y, labels), 1)
    matched = linear_sum_assignment(-table)
    return {
        "acc": float(table[matched].sum() / len(y)),
        "nmi": float(normalized_mutual_info_score(y, labels)),
        "ari": float(adjusted_rand_score(y, labels)),
        "least": float(np.bincount(labels, minlength=K).min() * K / len(y)),
    }


def timed_fit(model, X):
    """The fitted model, and the seconds that it took."""
    start = time.perf_counter()
    return model.fit(X), time.perf_counter() - start


class Runs:
    """Runs methods on a data set, with one autoencoder of each kind for a seed."""

    def __init__(self, X, shape, seed, device, epochs, memory):
        self.X, self.shape, self.seed, self.device = X, shape, seed, device
        self.epochs, self.memory, self.autoencoders = epochs, memory, {}

    def autoencoder(self, kind):
        if kind not in self.autoencoders:
            model = Autoencoder(
                image_shape=None if kind == "dense" else self.shape,
                augmentation="affine" if kind == "augmented" else None,
                max_epochs=self.epochs, random_state=self.seed, device=self.device,
            )  # fmt: skip
            self.autoencoders[kind] = self.memory.cache(timed_fit)(model, self.X)
        return self.autoencoders[kind]

    def run(self, method):
        """(labels, seconds of the autoencoder, seconds of what follows, facts)."""
        kind, _, what = method.partition(" ")
        if not what:
            model = {
                "k-means": KMeans(K, n_init=20, random_state=self.seed),
                "landmark-spectral": LandmarkSpectralClustering(K, random_state=self.seed),
            }[kind]
            start = time.perf_counter()
            return model.fit_predict(self.X), 0.0, time.perf_counter() - start, {}
        autoencoder, seconds = self.autoencoder(kind)
        start, facts = time.perf_counter(), {}
        if what.startswith("ae + "):
            codes = autoencoder.transform(self.X).astype(np.float64)
            if what.endswith("gmm"):
                model = DistributedGMM(
                    K, n_init=10, tol="likelihood", max_iter=2000, acceleration="squarem",
                    random_state=self.seed,
                )  # fmt: skip
            else:
                model = KMeans(K, n_init=20, random_state=self.seed)
            labels = model.fit_predict(codes)
        else:
            model = DeepEmbeddedClustering(
                K, autoencoder=FrozenEstimator(autoencoder), objective=what,
                image_shape=None if kind == "dense" else self.shape,
                augmentation="affine" if kind == "augmented" else None,
                random_state=self.seed, device=self.device,
            )  # fmt: skip
            labels = model.fit_predict(self.X)
            facts = {"epochs": model.n_epochs_, "converged": bool(model.converged_)}
            facts["start"] = model.start_labels_.tolist()
        return labels, seconds, time.perf_counter() - start, facts


def loaded(path):
    return json.loads(path.read_text()) if path is not None and path.exists() else {}


def kept(path, results):
    if path is not None:  # nothing is lost if this is interrupted
        part = path.with_suffix(".part")
        part.write_text(json.dumps(results, indent=1))
        os.replace(part, path)


def table(results, name, methods, seeds):
    print(
        f"\n{name}\n\n| method | ACC | sd | NMI | ARI | start ACC | autoencoder s | then s | bad |"
    )
    print("|---|---|---|---|---|---|---|---|---|")
    for method in methods:
        rows = [results[key] for s in seeds if (key := f"{name}/{method}/{s}") in results]
        if not rows:
            continue
        mean = {k: np.mean([r[k] for r in rows]) for k in ("acc", "nmi", "ari", "ae_s", "s")}
        starts = [r["start_acc"] for r in rows if "start_acc" in r]
        start = f"{np.mean(starts):.3f}" if starts else ""
        print(
            f"| {method} | {mean['acc']:.3f} | {np.std([r['acc'] for r in rows]):.3f} "
            f"| {mean['nmi']:.3f} | {mean['ari']:.3f} | {start} | {mean['ae_s']:.1f} "
            f"| {mean['s']:.1f} | {sum(r['least'] < 0.1 for r in rows)} of {len(rows)} |",
            flush=True,
        )


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--data", nargs="*", default=[], help=".npz files")
    parser.add_argument("--only", nargs="*", help="names of data sets")
    parser.add_argument("--methods", nargs="*", default=METHODS, choices=METHODS)
    parser.add_argument("--seeds", type=int, default=5)
    parser.add_argument("--first-seed", type=int, default=0)
    parser.add_argument("--results", type=Path)
    parser.add_argument("--cache", help="a folder")
    parser.add_argument("--device", default="auto")
    parser.add_argument("--epochs", type=int, help="of autoencoders")
    parser.add_argument("--threads", type=int, help="of torch")
    parser.add_argument("--quick", action="store_true", help="one seed")
    args = parser.parse_args()
    if args.threads:
        import torch

        torch.set_num_threads(args.threads)
    seeds = range(args.first_seed, args.first_seed + (1 if args.quick else args.seeds))
    results = loaded(args.results)
    for name, X, y, shape in data_sets(args.data):
        if args.only and name not in args.only:
            continue
        for seed in seeds:
            epochs, memory = args.epochs or "auto", Memory(args.cache, verbose=0)
            runs = Runs(X, shape, seed, args.device, epochs, memory)
            for method in args.methods:
                key = f"{name}/{method}/{seed}"
                if key in results or (shape is None and method.startswith(("conv", "augm"))):
                    continue
                labels, ae_seconds, seconds, facts = runs.run(method)
                start = facts.pop("start", None)
                if start is not None:
                    facts["start_acc"] = scores(y, np.array(start))["acc"]
                results[key] = scores(y, labels) | facts | {"ae_s": ae_seconds, "s": seconds}
                print(key, {k: round(float(v), 3) for k, v in results[key].items()}, flush=True)
                results |= {k: v for k, v in loaded(args.results).items() if k not in results}
                kept(args.results, results)
        table(results, name, args.methods, seeds)


if __name__ == "__main__":
    main()
