"""A small network with its dense matrices in f64, found by torch's own functions."""

import pytest
import torch
import torch.nn.functional as F


class Problem:
    """A network of 39 parameters, 12 examples in two batches of unequal size."""

    def __init__(self):
        torch.manual_seed(0)
        self.net = torch.nn.Sequential(torch.nn.Linear(5, 4), torch.nn.Tanh(), torch.nn.Linear(4, 3)).double()
        self.x, self.y = torch.randn(12, 5).double(), torch.randint(0, 3, (12,))
        self.batches = [(self.x[:5], self.y[:5]), (self.x[5:], self.y[5:])]
        self.names = sorted(name for name, _ in self.net.named_parameters())
        own = dict(self.net.named_parameters())
        self.theta = torch.cat([own[name].detach().reshape(-1) for name in self.names])
        self.shapes = [own[name].shape for name in self.names]

    def outputs(self, theta):
        parts = torch.split(theta, [s.numel() for s in self.shapes])
        named = {n: p.view(s) for n, p, s in zip(self.names, parts, self.shapes)}
        return torch.func.functional_call(self.net, named, (self.x,))

    def hessian(self):
        loss = lambda theta: F.cross_entropy(self.outputs(theta), self.y)
        return torch.autograd.functional.hessian(loss, self.theta).numpy()

    def ggn(self):
        j = torch.autograd.functional.jacobian(self.outputs, self.theta)
        p = self.outputs(self.theta).softmax(1)
        by_outputs = torch.diag_embed(p) - p[:, :, None] * p[:, None, :]
        return (torch.einsum("nci,ncd,ndj->ij", j, by_outputs, j) / len(self.x)).numpy()

    def empirical_fisher(self):
        losses = lambda theta: F.cross_entropy(self.outputs(theta), self.y, reduction="none")
        g = torch.autograd.functional.jacobian(losses, self.theta)
        return (g.T @ g / len(self.x)).numpy()


@pytest.fixture
def problem():
    torch.set_num_threads(1)
    return Problem()
