"""Deep clustering side by side with ClustPy: accuracy and seconds, from the same recipe.

Rows of images (--data FILE.npz with arrays X and y) go through networks of the same shape
(500, 500, 2000, 10), batches of 256, Adam, 50 epochs of learning to rebuild them and 50 of learning
clusters, none of which ends early; the rates are 1e-3 and 1e-4. Each package trains an autoencoder
of its own, which its methods share. Classes are used for the accuracy only.

    pip install clustpy
    python examples/benchmarks/deep_vs_clustpy.py --data usps.npz [--seeds 5] [--epochs 50]
        [--precision float32] [--threads N]

ClustPy imports torchvision, for its data sets and ready networks; where that is not installed, or
not for this torch, an empty module takes its place here.
"""

import argparse
import contextlib
import io
import sys
import time
from pathlib import Path
from unittest.mock import MagicMock

import numpy as np
import torch
from deep import K, data_sets, scores
from sklearn.frozen import FrozenEstimator

from skdistmix.deep import Autoencoder, DeepEmbeddedClustering

METHODS = ("dec", "idec", "dcn")
PRETRAINING, CLUSTERING, BATCH = 1e-3, 1e-4, 256


def ours(X, seed, epochs, precision):
    """(method, labels, seconds) of the autoencoder and of each method."""
    start = time.perf_counter()
    autoencoder = Autoencoder(
        hidden="dec", n_components=10, max_epochs=epochs, batch_size=BATCH,
        learning_rate=PRETRAINING, precision=precision, random_state=seed,
    ).fit(X)  # fmt: skip
    yield "autoencoder", None, time.perf_counter() - start
    for method in METHODS:
        start = time.perf_counter()
        model = DeepEmbeddedClustering(
            K, autoencoder=FrozenEstimator(autoencoder), objective=method, max_epochs=epochs, tol=0,
            batch_size=BATCH, learning_rate=CLUSTERING, precision=precision, random_state=seed,
        ).fit(X)  # fmt: skip
        yield method, model.labels_, time.perf_counter() - start


def theirs(X, seed, epochs, precision):
    """The same of ClustPy."""
    from clustpy.deep import DCN, DEC, IDEC
    from clustpy.deep.neural_networks import FeedforwardAutoencoder

    start = time.perf_counter()
    autoencoder = FeedforwardAutoencoder([X.shape[1], 500, 500, 2000, 10], random_state=seed)
    autoencoder.fit(epochs, {"lr": PRETRAINING}, BATCH, data=X)
    yield "autoencoder", None, time.perf_counter() - start
    for method, cls in zip(METHODS, (DEC, IDEC, DCN), strict=True):
        start = time.perf_counter()
        model = cls(
            K, batch_size=BATCH, neural_network=autoencoder, clustering_epochs=epochs,
            clustering_optimizer_params={"lr": CLUSTERING}, random_state=seed,
        ).fit(X)  # fmt: skip
        yield method, model.labels_, time.perf_counter() - start


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--data", required=True, help=".npz file")
    parser.add_argument("--seeds", type=int, default=5)
    parser.add_argument("--epochs", type=int, default=50)
    parser.add_argument("--precision", default="float32")
    parser.add_argument("--threads", type=int, help="of torch")
    args = parser.parse_args()
    if args.threads:
        torch.set_num_threads(args.threads)
    try:
        import torchvision  # noqa: F401
    except (ImportError, RuntimeError):
        for module in ("torchvision", "torchvision.models", "torchvision.models._api"):
            sys.modules[module] = MagicMock()
    name, X, y, _ = next(one for one in data_sets([args.data]) if one[0] == Path(args.data).stem)
    found = {}
    for seed in range(args.seeds):
        for package, run in (("skdistmix", ours), ("ClustPy", theirs)):
            results = run(X, seed, args.epochs, args.precision)
            while True:
                with contextlib.redirect_stderr(io.StringIO()):  # bars
                    one = next(results, None)
                if one is None:
                    break
                method, labels, seconds = one
                accuracy = np.nan if labels is None else scores(y, labels)["acc"]
                found.setdefault((method, package), []).append((accuracy, seconds))
                print(f"{package} {method} {seed}: {accuracy:.3f} {seconds:.1f} s", flush=True)
    print(f"\n{name}, {args.seeds} seeds\n")
    print("| | ours ACC | ClustPy ACC | ours s | ClustPy s | ratio |\n|---|---|---|---|---|---|")
    for method in ("autoencoder", *METHODS):
        a, b = (np.mean(found[method, package], axis=0) for package in ("skdistmix", "ClustPy"))
        print(
            f"| {method} | {a[0]:.3f} | {b[0]:.3f} | {a[1]:.1f} | {b[1]:.1f} | {a[1] / b[1]:.2f} |"
        )


if __name__ == "__main__":
    main()
