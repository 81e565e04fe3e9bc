"""Sharpness and landscapes of a torch model."""

import numpy as np
import pytest
import torch
import torch.nn.functional as F

import flatness


def quadratic():
    """`mean (w . x)^2` at w = 0 with orthogonal rows: the Hessian is diag(2 s^2 / n)."""
    net = torch.nn.Linear(3, 1, bias=False).double()
    with torch.no_grad():
        net.weight.zero_()
    x = torch.diag(torch.tensor([1.0, 2.0, 3.0], dtype=torch.float64))
    return net, F.mse_loss, [(x, torch.zeros(3, 1).double())]


def test_the_worst_rise_of_a_quadratic_is_half_its_largest_eigenvalue():
    # at the minimum the ascent starts from random directions; 18/3 is the largest eigenvalue
    found = flatness.sharpness(*quadratic(), rho=0.1, steps=60, starts=3)
    assert found.value == pytest.approx(0.5 * 6.0 * 0.01, rel=1e-3)
    assert found.loss == 0.0 and len(found.starts) == 3


def test_the_average_rise_of_a_quadratic_is_its_trace():
    found = flatness.sharpness(*quadratic(), measure="average", rho=0.1, pairs=200)
    expected = 0.01 * (2 + 8 + 18) / 3 / (2 * 3)
    lo, hi = found.ci95
    assert lo <= expected <= hi and hi - lo < 0.2 * expected


def test_a_landscape_is_the_loss_along_a_filter_normalised_direction(problem):
    before = problem.theta.clone()
    found = flatness.landscape(problem.net, F.cross_entropy, problem.batches, points=5)
    here = F.cross_entropy(problem.net(problem.x), problem.y).item()
    assert found.coordinates.tolist() == [-1.0, -0.5, 0.0, 0.5, 1.0]
    assert found.losses[2] == pytest.approx(here, rel=1e-12)
    assert np.ptp(found.losses) > 1e-3
    own = dict(problem.net.named_parameters())
    after = torch.cat([own[name].detach().reshape(-1) for name in problem.names])
    assert torch.equal(before, after), "the parameters come back bit for bit"


def test_two_directions_have_one_in_common_with_one(problem):
    one = flatness.landscape(problem.net, F.cross_entropy, problem.batches, points=3)
    two = flatness.landscape(problem.net, F.cross_entropy, problem.batches, points=3, axes=2)
    assert two.losses.shape == (3, 3)
    assert two.losses[1] == pytest.approx(one.losses, rel=1e-12)


def test_an_option_of_the_curvature_is_refused(problem):
    with pytest.raises(TypeError, match="`curvature` has no effect"):
        flatness.sharpness(problem.net, F.cross_entropy, problem.batches, curvature="ggn")


def test_parameters_come_back_after_an_exception(problem):
    calls = []

    def loss(output, target):
        calls.append(1)
        if len(calls) > 6:
            raise LookupError("enough")
        return F.cross_entropy(output, target)

    with pytest.raises(LookupError, match="enough"):
        flatness.sharpness(problem.net, loss, problem.batches)
    own = dict(problem.net.named_parameters())
    assert torch.equal(problem.theta, torch.cat([own[name].detach().reshape(-1) for name in problem.names]))
