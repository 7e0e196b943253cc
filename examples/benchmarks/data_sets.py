"""What benchmarks over several generated data sets share: their command line."""

import argparse
import warnings

from sklearn.exceptions import ConvergenceWarning


def parsed(doc, rows, seeds, quick, **others):
    """The options of a script, whose documentation and defaults are given.

    `quick` is the number of rows and of seeds with --quick. `others` are more options by their
    default values. What is returned has the seeds themselves as `seeds`. Fits that stop at
    `max_iter` are counted in these benchmarks, so they do not warn.
    """
    parser = argparse.ArgumentParser(description=doc.splitlines()[0])
    parser.add_argument("--rows", type=int, default=rows, help="default: %(default)s")
    parser.add_argument("--seeds", type=int, default=seeds, help="data sets, default: %(default)s")
    parser.add_argument("--first-seed", type=int, default=0, help="of the first data set")
    for name, value in others.items():
        flag = f"--{name.replace('_', '-')}"
        parser.add_argument(flag, type=type(value), default=value, help="default: %(default)s")
    parser.add_argument("--quick", action="store_true", help="{:,} rows, {} seed(s)".format(*quick))
    args = parser.parse_args()
    if args.quick:
        args.rows, args.seeds = quick
    args.seeds = range(args.first_seed, args.first_seed + args.seeds)
    warnings.simplefilter("ignore", ConvergenceWarning)
    return args
