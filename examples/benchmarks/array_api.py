"""Seconds an EM iteration of rows in PyTorch tensors, on each device that is there, against NumPy.

    python examples/benchmarks/array_api.py [--quick] [--json] [--threads N]

The same rows are fitted from the same start in turn: as a NumPy array, as a tensor on the
processor, as a tensor on each accelerator that computes in float64, and as a tensor in memory
whose blocks are moved to the accelerator as they are used (``device=``).

* s/iteration: difference of two fits of different max_iter at tol=0, median over repetitions.
* difference: of the mean log-likelihood from NumPy's, which must be below 1e-9.

Run it on an otherwise idle machine: threads of PyTorch wait for each other.
"""

import argparse
import json
import statistics
import time
import warnings

import numpy as np
import torch
from gmm_vs_sklearn import make_rows, make_start, processor
from sklearn.exceptions import ConvergenceWarning

from skdistmix import DistributedGMM

# (covariance_type, n, d, K)
CASES = [
    ("full", 1_000_000, 5, 8),
    ("full", 500_000, 10, 10),
    ("diag", 500_000, 10, 10),
    ("full", 100_000, 50, 10),
]


def accelerators():
    """Devices besides the processor on which float64 can be computed."""
    found = [f"cuda:{i}" for i in range(torch.cuda.device_count())]
    if hasattr(torch, "xpu"):
        found += [f"xpu:{i}" for i in range(torch.xpu.device_count())]
    return found


def name_of(device):
    kind = torch.device(device).type
    return getattr(torch, kind).get_device_name(device) if kind != "cpu" else processor()


def seconds(X, settings, iterations):
    times = []
    for max_iter in (2, 2 + iterations):
        began = time.perf_counter()
        gmm = DistributedGMM(tol=0, max_iter=max_iter, **settings).fit(X)
        times.append(time.perf_counter() - began)
    return (times[1] - times[0]) / iterations, gmm.lower_bound_


def measure(case, shrink, repeats, iterations):
    """A row for each place: name, median seconds, difference of log-likelihood."""
    covariance_type, n, d, K = case
    X = make_rows(n // shrink, d, K, 3.0)
    settings = {"n_components": K, "covariance_type": covariance_type}
    settings |= make_start(X, K, covariance_type)
    tensor = torch.from_numpy(X)
    places = {"numpy": (X, None), "torch, cpu": (tensor, None)}
    for device in accelerators():
        places[f"torch, {device}"] = (tensor.to(device), None)
        places[f"torch, in memory, device={device}"] = (tensor, device)
    times = {place: [] for place in places}
    bounds = {}
    for rows, device in places.values():  # the first fit on a device loads its libraries
        seconds(rows[:20_000], settings | {"device": device}, 1)
    for _ in range(repeats):
        for place, (rows, device) in places.items():
            took, bounds[place] = seconds(rows, settings | {"device": device}, iterations)
            times[place].append(took)
    found = []
    for place in places:
        difference = abs(bounds[place] - bounds["numpy"])
        assert difference < 1e-9, (place, difference)
        found.append((place, statistics.median(times[place]), difference))
    return found


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--quick", action="store_true", help="a tenth of the rows, fewer runs")
    parser.add_argument("--json", action="store_true")
    parser.add_argument("--threads", type=int, help="of PyTorch on the processor")
    args = parser.parse_args()
    warnings.simplefilter("ignore", ConvergenceWarning)
    if args.threads is not None:
        torch.set_num_threads(args.threads)
    shrink, repeats, iterations = (10, 3, 4) if args.quick else (1, 5, 10)
    results = []
    if not args.json:
        devices = ["cpu", *accelerators()]
        print("; ".join(f"{device}: {name_of(device)}" for device in devices))
        print(f"numpy {np.__version__}, torch {torch.__version__}, float64, ", end="")
        print(f"{torch.get_num_threads()} threads of PyTorch on the processor\n")
        head = f"{'model':6s} {'n':>9s} {'d':>3s} {'K':>3s}  {'rows':32s} {'s/iteration':>11s}"
        print(f"{head} {'numpy / it':>10s} {'difference':>10s}")
    for case in CASES:
        rows = measure(case, shrink, repeats, iterations)
        covariance_type, n, d, K = case
        for place, took, difference in rows:
            results.append(
                {"case": [covariance_type, n // shrink, d, K], "rows": place, "seconds": took}
            )
            if not args.json:
                print(
                    f"{covariance_type:6s} {n // shrink:9,d} {d:3d} {K:3d}  {place:32s} "
                    f"{took:11.4f} {rows[0][1] / took:10.2f} {difference:10.1e}",
                    flush=True,
                )
    if args.json:
        print(json.dumps(results, indent=1))


if __name__ == "__main__":
    main()
