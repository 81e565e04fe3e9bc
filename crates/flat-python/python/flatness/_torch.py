"""A torch model, its loss and its batches, as losses, gradients and products over flat vectors."""

from __future__ import annotations

import contextlib
import copy
from typing import Any, Callable, Iterable, Iterator, Optional, Union

import numpy as np
import torch

from . import _batches, _curvature
from ._errors import NotDeterministicError, SecondDerivativeError, TrainingModeError
from ._still import moving, still

Wanted = Union[None, Callable[[str], bool], Iterable[str]]
# rounding that two evaluations may differ by, in units of the element type: sums on a GPU come in any order
EPSILONS = {"cpu": 1e2}
OTHER_EPSILONS = 1e3


class TorchLoss:
    """The mean loss of a model over batches, as a function of a flat vector of its parameters in order of their names.

    The model stays on its device. A product takes one vector to it and brings one back, whatever the number of batches;
    sums over batches are taken there.
    """

    def __init__(
        self,
        model: torch.nn.Module,
        loss: Optional[Callable[..., Any]],
        loader: Any,
        *,
        params: Wanted = None,
        forward: Optional[Callable[..., Any]] = None,
        mode: Optional[str] = None,
        curvature: str = "hessian",
        second: str = "exact",
        max_batches: Optional[int] = None,
        check: bool = True,
    ) -> None:
        if loader is None:
            raise TypeError("a torch model needs `loader`: give a DataLoader or a list of batches")
        if mode not in (None, "frozen"):
            raise ValueError(f'`mode` is {mode}: give "frozen" for evaluation mode during the measurement, or nothing')
        if curvature not in _curvature.NAMES:
            raise ValueError(f"`curvature` is {curvature}: give one of {', '.join(_curvature.NAMES)}")
        if second not in ("exact", "differences"):
            raise ValueError(f'`second` is {second}: give "exact" or "differences"')
        if second == "differences" and curvature != "hessian":
            raise ValueError(f"`second` is differences: {curvature} needs no second derivatives, leave it out")
        if getattr(loss, "reduction", "mean") != "mean":
            raise ValueError(
                f'the loss has reduction="{loss.reduction}": give one with "mean", the batches are weighted'
            )
        if curvature == "fisher":
            _curvature.check_fisher(loss)
        self.frozen = mode == "frozen"
        layer = moving(model)
        if layer and not self.frozen:
            text = f'{layer} is in training mode: call model.eval(), or give mode="frozen" to do so for the measurement'
            raise TrainingModeError(text)
        self.double = second == "differences"
        self.model = copy.deepcopy(model).double() if self.double else model
        self.loss, self.forward, self.curvature = loss, forward, curvature
        named = [(name, p) for name, p in self.model.named_parameters() if p.requires_grad and wanted(params, name)]
        if not named:
            raise ValueError("there is no parameter to measure: `params` leaves none that requires a gradient")
        named.sort(key=lambda pair: pair[0])
        self.named, self.params = named, [p for _, p in named]
        exact = all(p.dtype == torch.float64 for p in self.params)
        self.dtype = torch.float64 if exact else torch.float32
        self.device = self.params[0].device
        self.spare: Optional[torch.Tensor] = None
        self.batches = _batches.held(loader, max_batches)
        self.sizes = [_batches.size(batch) for batch in self.batches]
        self.weights = [size / sum(self.sizes) for size in self.sizes]
        if check:
            self.check_determinism()
            if curvature == "hessian" and second == "exact":
                self.check_custom()

    @property
    def parameters(self) -> "list[tuple[str, list[int]]]":
        """Names and shapes."""
        return [(name, list(p.shape)) for name, p in self.named]

    @property
    def dtype_name(self) -> str:
        """The element type of the flat vectors."""
        return str(self.dtype).removeprefix("torch.")

    @property
    def name(self) -> str:
        """What the products are of, and how they are found."""
        return f"{self.curvature} of a torch model by " + (
            "central differences in f64" if self.double else "double backward"
        )

    @property
    def bn_mode(self) -> Optional[str]:
        """How BatchNorm is evaluated, where there is any."""
        norms = (m for m in self.model.modules() if isinstance(m, torch.nn.modules.batchnorm._NormBase))
        return "running statistics" if any(True for _ in norms) else None

    def evaluate(self, batch: Any) -> "tuple[Any, torch.Tensor, Any]":
        """Output, mean loss and target of a batch."""
        batch = _batches.moved(batch, self.device, self.double)
        target = None
        if self.forward is not None:
            output = self.forward(self.model, batch)
        elif isinstance(batch, dict):
            output = self.model(**batch)
        elif isinstance(batch, list):
            output = self.model(*batch[:-1])
        else:
            output = self.model(batch)
        if isinstance(batch, list):
            target = batch[-1]
        elif isinstance(batch, dict):
            target = batch.get("labels")
        if self.loss is None:
            loss = getattr(output, "loss", None)
            if loss is None:
                raise TypeError("the model's output has no `loss`: give `loss`, a callable of output and target")
            output = getattr(output, "logits", output)
        else:
            output = getattr(output, "logits", output)
            loss = self.loss(output, target)
        if not torch.is_tensor(loss) or loss.numel() != 1:
            raise TypeError(
                "the loss must be one number in a tensor: give a loss that takes the mean over the examples"
            )
        return output, loss.reshape(()), target

    def split(self, v: torch.Tensor) -> "list[torch.Tensor]":
        """The parts of a flat vector, in the parameters' shapes and element types."""
        parts = torch.split(v, [p.numel() for p in self.params])
        return [part.view(p.shape).to(p.dtype) for part, p in zip(parts, self.params)]

    def flat(self, parts: Any, out: Optional[torch.Tensor] = None) -> torch.Tensor:
        """The flat vector of parts, in `out` where that is given."""
        return torch.cat([part.detach().reshape(-1).to(self.dtype) for part in parts], out=out)

    def array(self, v: torch.Tensor) -> np.ndarray:
        """The vector as an array, which shares its memory on a CPU."""
        return v.cpu().numpy()

    def tensor(self, v: np.ndarray) -> torch.Tensor:
        """The array as a vector on the model's device, which shares its memory on a CPU."""
        return torch.from_numpy(v).to(self.device)

    def still(self) -> contextlib.AbstractContextManager:
        """The context of every evaluation."""
        return still(self.model, self.frozen)

    def product(self, v: np.ndarray) -> "tuple[np.ndarray, list[float]]":
        """`A v` over all batches, and the form `<v, A_i v>` of each."""
        out = np.empty_like(v)
        return out, self.product_into(v, out)

    def product_into(self, v: Any, out: Any) -> "list[float]":
        """Writes `A v` to `out` and returns the forms. Both are buffers, which on a CPU are used where they lie."""
        v, out = (torch.frombuffer(x, dtype=self.dtype) for x in (v, out))
        if self.device.type == "cpu":
            return self.accumulate(v, out)
        there = self.room()
        forms = self.accumulate(v.to(self.device), there)
        out.copy_(there)
        return forms

    def accumulate(self, v: torch.Tensor, out: torch.Tensor) -> "list[float]":
        """`product_into` of vectors on the model's device."""
        parts, forms = self.split(v), []
        sizes = [p.numel() for p in self.params]
        flat_parts, places = torch.split(v, sizes), torch.split(out, sizes)
        with self.still(), torch.enable_grad():
            step = self.differences(v) if self.double else lambda batch: self.batch_product(batch, parts)
            for i, (batch, weight) in enumerate(zip(self.batches, self.weights)):
                dots = []
                # torch may lay a part out in another order, which is common among convolutions: it is put right on the
                # way to its place, or by a copy
                for found, y, place in zip(step(batch), flat_parts, places):
                    if i == 0:
                        torch.mul(found.detach(), weight, out=place.view(found.shape))
                        dots.append(torch.dot(place, y) / weight)
                    else:
                        x = found.detach().reshape(-1).to(self.dtype)
                        dots.append(torch.dot(x, y))
                        place.add_(x, alpha=weight)
                forms.append(torch.stack(dots))
        return torch.stack(forms).cpu().double().sum(1).tolist()

    def room(self) -> torch.Tensor:
        """A flat vector on the device that is kept from product to product."""
        if self.spare is None:
            self.spare = torch.empty(sum(p.numel() for p in self.params), dtype=self.dtype, device=self.device)
        return self.spare

    def batch_product(self, batch: Any, v: "list[torch.Tensor]") -> Any:
        """The product of one batch."""
        if self.curvature == "hessian":
            return _curvature.hessian(lambda: self.evaluate(batch)[:2], self.params, v)
        if self.curvature == "empirical-fisher":
            output, _, target = self.evaluate(batch)
            if self.loss is None:
                raise TypeError("`empirical-fisher` needs `loss`: give a callable of output and target")
            losses = _curvature.losses_of_examples(self.loss, output, target)
            return _curvature.empirical_fisher(losses, self.params, v)
        return _curvature.gauss_newton(lambda: self.evaluate(batch)[:2], self.params, v)

    def differences(self, v: torch.Tensor) -> Callable[[Any], "list[torch.Tensor]"]:
        """`(g(theta + h v) - g(theta - h v)) / 2h` of a batch, where truncation and rounding meet."""
        theta = self.flat(self.params)
        size = torch.linalg.vector_norm(v)
        h = torch.finfo(self.dtype).eps ** (1 / 3) * (1 + torch.linalg.vector_norm(theta)) / size.clamp_min(1e-300)

        def of(batch: Any) -> "list[torch.Tensor]":
            ends = []
            for sign in (1.0, -1.0):
                with self.displaced(theta + sign * h * v):
                    ends.append(self.flat(self.batch_gradient(batch)[1]))
            return self.split((ends[0] - ends[1]) / (2 * h))

        return of

    def batch_gradient(self, batch: Any) -> "tuple[float, Any]":
        """Loss and gradient of one batch, where the parameters are."""
        with torch.enable_grad():
            loss = self.evaluate(batch)[1]
            return loss.item(), _curvature.grad(loss, self.params)

    @contextlib.contextmanager
    def displaced(self, theta: torch.Tensor) -> Iterator[None]:
        """The model at other parameters, which come back bit for bit."""
        before = [p.detach().clone() for p in self.params]
        try:
            with torch.no_grad():
                for p, part in zip(self.params, self.split(theta)):
                    p.copy_(part)
            yield
        finally:
            with torch.no_grad():
                for p, old in zip(self.params, before):
                    p.copy_(old)

    def theta(self) -> np.ndarray:
        """The parameters as a flat vector."""
        return self.array(self.flat(self.params))

    def loss_at(self, theta: np.ndarray, i: int) -> float:
        """Mean loss of batch `i` at other parameters."""
        with self.displaced(self.tensor(theta)), self.still(), torch.no_grad():
            return self.evaluate(self.batches[i])[1].item()

    def gradient_at(self, theta: np.ndarray, i: int) -> "tuple[float, np.ndarray]":
        """The same with its gradient."""
        with self.displaced(self.tensor(theta)), self.still():
            loss, gradient = self.batch_gradient(self.batches[i])
            return loss, self.array(self.flat(gradient))

    def check_determinism(self) -> None:
        """Evaluates the first batch twice; its loss, its gradient and the model's buffers must agree."""
        buffers = {name: b.clone() for name, b in self.model.named_buffers()}
        with self.still():
            loss, g = self.batch_gradient(self.batches[0])
            again, h = self.batch_gradient(self.batches[0])
        for name, buffer in self.model.named_buffers():
            if name in buffers and not torch.equal(buffer, buffers[name]):
                raise NotDeterministicError(
                    f"evaluating the loss changes the buffer `{name}`: freeze it, or call model.eval()"
                )
        g, h = self.flat(g), self.flat(h)
        gap, size = torch.linalg.vector_norm(g - h).item(), torch.linalg.vector_norm(g).item()
        tolerance = torch.finfo(self.dtype).eps * EPSILONS.get(self.device.type, OTHER_EPSILONS)
        if abs(loss - again) > tolerance * abs(loss) or gap > tolerance * (size + abs(loss)):
            raise NotDeterministicError(
                f"the first batch has loss {loss:.9g}, then {again:.9g}, and gradients that differ by {gap:.3g}: "
                "switch off dropout and augmentation within `forward`"
            )

    def check_custom(self) -> None:
        """Compares a product of the first batch with central differences, where functions of the model's own take part.

        A backward pass in Python that detaches what it computes gives a wrong second derivative and no error.
        """
        batch = self.batches[:1]
        with self.still():
            custom = _curvature.custom(self.evaluate(batch[0])[1])
        if not custom:
            return
        v = np.random.default_rng(0).standard_normal(len(self.theta()))
        names = {name for name, _ in self.named}
        same = dict(params=names, forward=self.forward, mode="frozen" if self.frozen else None, check=False)
        exact, reference = (
            torch.from_numpy(TorchLoss(self.model, self.loss, batch, second=second, **same).product(x)[0]).double()
            for second, x in (("exact", v.astype(self.dtype_name)), ("differences", v))
        )
        gap, size = torch.linalg.vector_norm(exact - reference), torch.linalg.vector_norm(reference)
        # kinks and rounding in f32 stay well below; a missing term is of the order of the product
        if gap > 0.05 * size:
            raise SecondDerivativeError(
                f"the second derivative is wrong by {gap / size:.0%} with the model's own {', '.join(custom)}: "
                'give second="differences", or a backward pass that torch can differentiate'
            )


def wanted(params: Wanted, name: str) -> bool:
    """Whether a parameter is to be measured."""
    if params is None:
        return True
    if callable(params):
        return bool(params(name))
    return name in params
