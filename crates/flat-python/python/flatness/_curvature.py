"""Products of a batch's curvature with a vector, by torch's automatic differentiation."""

from __future__ import annotations

import copy
from typing import Any, Callable, Sequence

import torch
import torch.nn.functional as F

from ._errors import SecondDerivativeError

Tensors = Sequence[torch.Tensor]
# the model's output and the mean loss of a batch
Evaluate = Callable[[], "tuple[Any, torch.Tensor]"]

NAMES = ("hessian", "ggn", "fisher", "empirical-fisher")


def grad(
    outputs: Any, inputs: Any, grad_outputs: Any = None, *, create_graph: bool = False, retain_graph: Any = None
) -> Any:
    """`torch.autograd.grad` with zeros for what the outputs do not depend on."""
    return torch.autograd.grad(
        outputs,
        inputs,
        grad_outputs,
        create_graph=create_graph,
        retain_graph=retain_graph,
        allow_unused=True,
        materialize_grads=True,
    )


def again(
    source: torch.Tensor, firsts: Tensors, inputs: Any, directions: Tensors, remedy: str, retain_graph: Any = None
) -> Any:
    """The derivative along `directions` of the gradients of `source`, which are themselves a function of `inputs`.

    `firsts` without a graph are constants. A function that is differentiable once alone leaves a node that ends the
    graph: torch would take what lies behind it for a constant, and zeros for an answer.
    """
    pairs = [(g, x) for g, x in zip(firsts, directions) if g.requires_grad]
    if not pairs:
        return None
    bent = [g for g, _ in pairs]
    if any(type(node).__name__ == "Error" for node in nodes(bent)):
        raise SecondDerivativeError(f"a function is differentiable once alone{whose(source)}: {remedy}")
    try:
        return grad(bent, inputs, [x for _, x in pairs], retain_graph=retain_graph)
    except torch.OutOfMemoryError:
        raise
    except RuntimeError as e:
        raise SecondDerivativeError(f"{e}{whose(source)}: {remedy}") from e


def nodes(tensors: Tensors) -> "set[Any]":
    """The nodes of the graph behind tensors."""
    seen: "set[Any]" = set()
    todo = [t.grad_fn for t in tensors]
    while todo:
        node = todo.pop()
        if node is not None and node not in seen:
            seen.add(node)
            todo.extend(before for before, _ in node.next_functions)
    return seen


def custom(source: torch.Tensor) -> "list[str]":
    """The names of the model's own functions that a number went through."""
    return sorted({type(node).__name__.removesuffix("Backward") for node in nodes([source]) if is_custom(node)})


def whose(source: torch.Tensor) -> str:
    """The same in words for an error."""
    names = custom(source)
    return f" (the model's own functions: {', '.join(names)})" if names else ""


def is_custom(node: Any) -> bool:
    """Whether a node is a `torch.autograd.Function` in Python, whose derivatives are its author's word."""
    return isinstance(node, torch.autograd.function.BackwardCFunction)


def hessian(evaluate: Evaluate, params: Tensors, v: Tensors) -> Tensors:
    """`H v`: the derivative of the gradient along v. Costs about two gradients."""
    loss = evaluate()[1]
    first = grad(loss, params, create_graph=True)
    found = again(loss, first, params, v, 'give second="differences", which needs gradients alone')
    return [torch.zeros_like(p) for p in params] if found is None else found


def along(outputs: torch.Tensor, params: Tensors, v: Tensors) -> torch.Tensor:
    """`J v` by two backward passes: the derivative of `J^T u`, which is linear in u."""
    u = torch.zeros_like(outputs, requires_grad=True)
    back = grad(outputs, params, u, create_graph=True)
    remedy = 'give curvature="hessian" with second="differences", which needs gradients alone'
    found = again(outputs, back, u, v, remedy, retain_graph=True)
    return torch.zeros_like(outputs) if found is None else found[0]


def gauss_newton(evaluate: Evaluate, params: Tensors, v: Tensors) -> Tensors:
    """`J^T H_L J v` with the Jacobian J of the outputs and the Hessian H_L of the loss by them."""
    outputs, loss = evaluate()
    if not torch.is_tensor(outputs):
        raise TypeError(f"the model's output is a {type(outputs).__name__}: `ggn` needs one tensor, give `forward`")
    slope = grad(loss, outputs, create_graph=True)[0]
    if not slope.requires_grad:
        return [torch.zeros_like(p) for p in params]
    bent = grad(slope, outputs, along(outputs, params, v), retain_graph=True)[0]
    return grad(outputs, params, bent.detach())


def empirical_fisher(losses: torch.Tensor, params: Tensors, v: Tensors) -> Tensors:
    """`1/n sum_i g_i g_i^T v` with the gradients of the n losses."""
    return grad(losses, params, along(losses, params, v).detach() / len(losses))


def losses_of_examples(loss: Callable[..., Any], outputs: Any, target: Any) -> torch.Tensor:
    """The loss of each example, by the loss without its reduction."""
    if isinstance(loss, torch.nn.Module) and hasattr(loss, "reduction"):
        single = copy.copy(loss)
        single.reduction = "none"
        losses = single(outputs, target)
    else:
        try:
            losses = loss(outputs, target, reduction="none")
        except TypeError as e:
            text = "`empirical-fisher` needs the loss of each example: give a loss that takes `reduction`"
            raise TypeError(text) from e
    losses = losses.flatten(1).mean(1) if losses.dim() > 1 else losses
    mean = loss(outputs, target)
    if not torch.isclose(losses.mean(), mean, rtol=1e-4):
        text = (
            f"the mean loss of the examples is {losses.mean():.6g}, the loss is {mean:.6g}: give one that is their mean"
        )
        raise ValueError(text)
    return losses


def check_fisher(loss: Any) -> None:
    """Refuses a loss whose Fisher information is not its Gauss-Newton matrix."""
    module = isinstance(loss, torch.nn.CrossEntropyLoss) and loss.weight is None
    if not (module or loss is F.cross_entropy):
        raise ValueError(
            '`fisher` is known for cross entropy without weights: give curvature="ggn" or "empirical-fisher"'
        )
