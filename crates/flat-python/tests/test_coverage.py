"""How often the intervals cover, over 200 seeds."""

import numpy as np
import pytest
import torch.nn.functional as F

import flatness

SEEDS = 200


@pytest.mark.parametrize("estimator, probes", [("hutchinson", 16), ("hutch++", 24), ("xtrace", 16)])
def test_the_interval_of_a_trace_covers_in_92_percent(estimator, probes):
    # a bulk and decaying outliers, in a random basis
    rng = np.random.default_rng(0)
    q = np.linalg.qr(rng.standard_normal((80, 80)))[0]
    a = (q * np.concatenate([10.0 / np.arange(1, 11), rng.uniform(0.0, 0.5, 70)])) @ q.T
    exact = np.trace(a)
    runs = [
        flatness.trace(lambda v: a @ v, size=80, estimator=estimator, max_probes=probes, seed=s) for s in range(SEEDS)
    ]
    covered = sum(run.ci95[0] <= exact <= run.ci95[1] for run in runs) / SEEDS
    print(f"{estimator}: {covered:.1%}")
    assert covered >= 0.92


def test_the_interval_of_a_network_covers_in_92_percent(problem):
    exact = np.trace(problem.hessian())
    matrix = problem.hessian()
    runs = [flatness.trace(lambda v: matrix @ v, size=39, max_probes=20, seed=s) for s in range(SEEDS)]
    covered = sum(run.ci95[0] <= exact <= run.ci95[1] for run in runs) / SEEDS
    print(f"network: {covered:.1%}")
    assert covered >= 0.92


def test_the_error_of_the_batches_is_that_of_their_means():
    # a linear model with a squared error: the trace of a batch's Hessian is 2 mean |x|^2, whatever the parameters
    import torch

    torch.manual_seed(0)
    net = torch.nn.Linear(6, 1, bias=False).double()
    x = torch.randn(32, 8, 6).double() * torch.linspace(0.5, 2, 32).double()[:, None, None]
    batches = [(xs, torch.zeros(8, 1).double()) for xs in x]
    found = flatness.trace(net, F.mse_loss, batches, max_probes=400)
    traces = 2 * x.pow(2).sum(-1).mean(-1)
    expected = (traces.std() / 32**0.5).item()
    assert found.data_error == pytest.approx(expected, rel=0.15)
    assert found.population_ci95[0] < found.ci95[0]
