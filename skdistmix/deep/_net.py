"""The skorch net of autoencoders, and the loop over epochs."""

from __future__ import annotations

import math
import warnings
from collections import deque
from copy import deepcopy

import torch
from sklearn.exceptions import ConvergenceWarning
from skorch import NeuralNet

__all__ = ["AutoencoderNet", "Diverged", "Settled", "finite", "train", "with_settings"]


class AutoencoderNet(NeuralNet):
    """A skorch net for a module that rebuilds its input.

    Its target is the input from before it was corrupted. The module's `forward` returns the
    reconstruction, or the reconstruction and the code.

    Parameters
    ----------
    module : torch.nn.Module or class, optional
        With methods `encode` and `decode`. Left out, :class:`Autoencoder` provides its own.
    criterion : class, default=torch.nn.MSELoss
    optimizer : class of torch.optim.Optimizer, optional
        With the parameters that follow, None leaves them to :class:`Autoencoder`.
    lr : float, optional
    max_epochs, batch_size : int, optional
    autocast : torch.dtype, optional
        Type in which forward passes are computed; weights and losses are float32.
    **kwargs
        Of ``skorch.NeuralNet``: `callbacks`, ``optimizer__weight_decay`` and so on.

    Examples
    --------
    >>> from skdistmix.deep import Autoencoder, AutoencoderNet
    >>> autoencoder = Autoencoder(net=AutoencoderNet(optimizer__weight_decay=1e-4))
    >>> autoencoder.set_params(net__lr=3e-4).net.lr
    0.0003
    """

    def __init__(
        self, module=None, criterion=torch.nn.MSELoss, *, optimizer=None, lr=None, max_epochs=None,
        batch_size=None, train_split=None, verbose=0, autocast=None, **kwargs,
    ):  # fmt: skip
        self.autocast = autocast
        super().__init__(
            module, criterion, optimizer=optimizer, lr=lr, max_epochs=max_epochs,
            batch_size=batch_size, train_split=train_split, verbose=verbose, **kwargs,
        )  # fmt: skip

    def infer(self, x, **fit_params):
        """The output of the module, in float32."""
        kind = torch.device(self.device).type
        with torch.autocast(kind, dtype=self.autocast, enabled=self.autocast is not None):
            output = super().infer(x, **fit_params)
        if isinstance(output, tuple):
            return tuple(part.float() for part in output)
        return output.float()

    def get_loss(self, y_pred, y_true, X=None, training=False):
        """The criterion of reconstruction and target."""
        return self.criterion_(y_pred[0] if isinstance(y_pred, tuple) else y_pred, y_true)

    def train_step_single(self, batch, **fit_params):
        """A step, unless the loss is no number."""
        step = super().train_step_single(batch, **fit_params)
        finite(step["loss"])
        return step


def with_settings(net: NeuralNet, **settings) -> NeuralNet:
    """An untrained net like another, with other parameters; modules and callbacks are shared."""
    given = {
        name: value
        for name, value in net.get_params(deep=False).items()
        if not name.startswith("_")
    }
    return type(net)(**{**given, **settings})


class Diverged(Exception):
    """The loss is no finite number."""


class Settled(Exception):
    """Nothing is left to learn."""


def finite(loss: torch.Tensor) -> None:
    """Raise if a loss is no finite number."""
    if not math.isfinite(loss.item()):
        raise Diverged


def train(net: NeuralNet, rows, n_epochs: int, after_epoch=None, what="Training") -> int:
    """Train a net that is initialised, epoch by epoch.

    Parameters
    ----------
    net : NeuralNet
    rows : TrainingRows
    n_epochs : int
    after_epoch : callable, optional
        Called after every epoch; training ends when it returns true.
    what : str
        Its name in messages.

    Returns
    -------
    n_done : int
        Epochs that were run.

    Raises
    ------
    ValueError
        If the loss is no finite number in the first epoch. Later, the weights of the last epoch
        without such a loss are kept, with a warning.
    """
    net.notify("on_train_begin", X=rows, y=None)
    done, diverged = 0, False
    states: deque[dict] = deque(maxlen=2)  # the last epoch may have ended with a step too far
    try:
        while done < n_epochs:
            net.fit_loop(rows, epochs=1)
            done += 1
            states.append(deepcopy(net.module_.state_dict()))
            if after_epoch is not None and after_epoch():
                break
    except Diverged:
        diverged = True
    except Settled:
        pass
    except KeyboardInterrupt as stop:
        if not _is_of_callback(stop):
            raise
        if "train_loss" in net.history[-1]:  # at the end of an epoch, which counts
            done += 1
            states.append(deepcopy(net.module_.state_dict()))
    if diverged or (done and not _is_sound(net, rows)):
        done = _restored(net, rows, states, done, what)
    net.notify("on_train_end", X=rows, y=None)
    return done


def _restored(net: NeuralNet, rows, states: deque, done: int, what: str) -> int:
    """The epochs after which the weights were last sound; the net has them again."""
    message = (
        f"{what} stopped in epoch {done + 1}, because the loss is no finite number at a "
        f"learning rate of {net.lr:g}. Use a smaller learning rate, precision='float32', or "
        "scale the columns of X (for example with StandardScaler)."
    )
    for epoch, state in zip(range(done, 0, -1), reversed(states)):
        net.module_.load_state_dict(state)
        if _is_sound(net, rows):
            warnings.warn(
                f"{message} The weights of epoch {epoch} are kept.",
                ConvergenceWarning,
                stacklevel=3,
            )
            return epoch
    raise ValueError(message)


def _is_sound(net: NeuralNet, rows) -> bool:
    """Whether the net gives finite numbers for rows of a batch."""
    X, _ = next(iter(net.get_iterator(rows, training=True)))
    was_training = net.module_.training
    net.module_.eval()
    with torch.inference_mode():
        output = net.infer(X)
    net.module_.train(was_training)
    numbers = [*(output if isinstance(output, tuple) else (output,)), *net.module_.parameters()]
    return all(bool(torch.isfinite(part).all()) for part in numbers)


def _is_of_callback(stop: KeyboardInterrupt) -> bool:
    """Whether a callback of skorch asked to stop, and not the user."""
    trace = stop.__traceback__
    while trace.tb_next is not None:
        trace = trace.tb_next
    return trace.tb_frame.f_globals.get("__name__", "").startswith("skorch.callbacks.")
