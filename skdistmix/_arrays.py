"""Arrays of other libraries than NumPy: what they are, where they lie, ways to the host and back.

The only module that imports array-api-compat, and only when such an array is in hand. The library
of an array is loaded already; none is imported here.
"""

from __future__ import annotations

import warnings

import numpy as np

__all__ = [
    "beside",
    "computes_float64",
    "device_of",
    "is_accelerator",
    "is_foreign",
    "joined",
    "library_of",
    "moved",
    "namespace_of",
    "to_host",
    "usable_device",
]


def _compat():
    try:
        import array_api_compat
    except ImportError as error:
        raise ImportError(
            "Arrays of other libraries than NumPy need array-api-compat: "
            'pip install "skdistmix[array-api]"'
        ) from error
    return array_api_compat


def is_foreign(X) -> bool:
    """Whether X is an array of another library than NumPy that array-api-compat knows.

    Dask arrays and sparse arrays are not meant: they have their own ways here.
    """
    if isinstance(X, (np.ndarray, np.generic)):
        return False
    # PyTorch and CuPy know of DLPack, others of the array API; few other objects do.
    if not (hasattr(X, "__array_namespace__") or hasattr(X, "__dlpack__")):
        return False
    if not all(hasattr(X, name) for name in ("ndim", "shape", "dtype")):
        return False
    compat = _compat()
    if compat.is_dask_array(X) or compat.is_pydata_sparse_array(X):
        return False
    return compat.is_array_api_obj(X)


def namespace_of(X):
    """The array API of X's library."""
    return _compat().array_namespace(X)


def library_of(X) -> str:
    """The name of X's library, such as ``"torch"``."""
    name = namespace_of(X).__name__  # array_api_compat.torch, jax.numpy
    return name.removeprefix("array_api_compat.").partition(".")[0]


def device_of(X):
    """The device that X lies on."""
    return _compat().device(X)


def moved(X, device):
    """X on a device; X itself where it lies there already or `device` is None."""
    compat = _compat()
    return X if device is None or compat.device(X) == device else compat.to_device(X, device)


def to_host(X) -> np.ndarray:
    """X as a NumPy array."""
    if isinstance(X, np.ndarray):
        return X
    compat = _compat()
    if compat.is_torch_array(X):
        # NumPy has no bfloat16
        return (X.float() if str(X.dtype) == "torch.bfloat16" else X).numpy(force=True)
    if compat.is_cupy_array(X):
        return X.get()
    xp = compat.array_namespace(X)
    if hasattr(xp, "Device"):  # array-api-strict stands for devices that NumPy cannot reach
        X = X.to_device(xp.Device("CPU_DEVICE"))
    return np.asarray(X)


def beside(X, values: np.ndarray):
    """A copy of NumPy values as an array of X's library, on X's device."""
    # PyTorch wants memory that it might write to.
    return namespace_of(X).asarray(np.array(values, order="C"), device=device_of(X))


def joined(parts: list):
    """Arrays of one library and device, one after the other."""
    return parts[0] if len(parts) == 1 else namespace_of(parts[0]).concat(parts, axis=0)


def is_accelerator(device) -> bool:
    """Whether a device is something else than the processor."""
    return "cpu" not in str(device).lower()


def computes_float64(xp, device) -> bool:
    """Whether a device has float64; an error says that it cannot be used at all."""
    to_host(xp.zeros(1, dtype=xp.float32, device=device))
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # some libraries warn and give float32
            return xp.zeros(1, dtype=xp.float64, device=device).dtype == xp.float64
    except Exception:
        return False


def usable_device(X, device):
    """Check that blocks of X can be computed on a device.

    Raises
    ------
    ValueError
        If the device is unknown to X's library, not there, or has no float64.
    """
    xp = namespace_of(X)
    remedy = (
        f"Give a device of {library_of(X)} that is there, or device=None to compute where X lies "
        f"(on {device_of(X)})."
    )
    try:
        precise = computes_float64(xp, device)
    except Exception as error:
        what = str(error).strip().partition("\n")[0]
        raise ValueError(
            f"device={device!r} cannot be used for arrays of {library_of(X)} ({what}). {remedy}"
        ) from error
    if not precise:
        raise ValueError(f"device={device!r} has no float64, in which sums are taken. {remedy}")
