"""The measures against dense matrices in f64."""

import numpy as np
import pytest
import torch
import torch.nn.functional as F

import flatness


def loss_of(problem):
    return problem.net, F.cross_entropy, problem.batches


@pytest.mark.parametrize("curvature", ["hessian", "ggn", "fisher", "empirical-fisher"])
def test_all_eigenvalues_are_numpys(problem, curvature):
    matrix = {
        "hessian": problem.hessian,
        "ggn": problem.ggn,
        "fisher": problem.ggn,
        "empirical-fisher": problem.empirical_fisher,
    }[curvature]()
    expected = np.linalg.eigvalsh(matrix)[::-1]
    found = flatness.eig(*loss_of(problem), top=4, curvature=curvature, rel_tol=1e-9)
    assert np.abs(found.top - expected[:4]).max() < 1e-6 * expected[0]
    v = found.vectors[0]
    assert np.linalg.norm(matrix @ v - found.value * v) < 1e-6 * expected[0]


def test_the_lower_end_is_numpys_too(problem):
    expected = np.linalg.eigvalsh(problem.hessian())
    found = flatness.eig(*loss_of(problem), top=0, bottom=2, rel_tol=1e-9)
    assert np.abs(found.bottom - expected[:2]).max() < 1e-6 * expected[-1]
    assert found.value == found.bottom[0]


def test_differences_in_f64_are_the_hessian(problem):
    expected = np.linalg.eigvalsh(problem.hessian())[-1]
    found = flatness.eig(*loss_of(problem), second="differences")
    assert abs(found.value - expected) < 1e-6 * expected


def test_differences_measure_a_float32_model_in_f64_and_leave_it_alone(problem):
    net = problem.net.float()
    before = [p.clone() for p in net.parameters()]
    batches = [(x.float(), y) for x, y in problem.batches]
    found = flatness.eig(net, F.cross_entropy, batches, second="differences")
    assert found.about.dtype == "f64"
    assert all(torch.equal(p, q) and p.dtype == torch.float32 for p, q in zip(net.parameters(), before))


@pytest.mark.parametrize("estimator", ["hutchinson", "hutch++", "xtrace"])
def test_the_interval_holds_the_trace_and_narrows(problem, estimator):
    expected = np.trace(problem.hessian())
    # 39 products are all there are for the sketches
    few, many = (flatness.trace(*loss_of(problem), estimator=estimator, max_probes=n, seed=1) for n in (12, 36))
    assert many.ci95[0] <= expected <= many.ci95[1]
    assert many.std_error < few.std_error


def test_an_exact_estimator_finds_the_exact_trace():
    a = np.diag(np.arange(1.0, 6.0))
    found = flatness.trace(lambda v: a @ v, size=5, max_probes=4)
    # signs have no variance on a diagonal matrix
    assert found.value == pytest.approx(15.0, abs=1e-12)
    assert found.std_error < 1e-12


def test_layers_are_blocks_and_sum_to_the_trace(problem):
    matrix, found = problem.hessian(), flatness.layers(*loss_of(problem), max_probes=400)
    assert sum(part.value for part in found.layers.values()) == pytest.approx(found.value, rel=1e-9)
    offset = 0
    for name, shape in zip(problem.names, problem.shapes):
        size = shape.numel()
        block = np.trace(matrix[offset : offset + size, offset : offset + size])
        part = found.layers[name]
        assert abs(part.value - block) < 4 * part.std_error
        offset += size
    values = [part.value for part in found.layers.values()]
    assert values == sorted(values, reverse=True)


def test_the_diagonal_is_that_of_the_matrix(problem):
    expected = np.diag(problem.hessian())
    found = flatness.diagonal(*loss_of(problem), max_probes=400)
    away = np.abs(found.diagonal - expected) / found.entry_error
    # 39 normal numbers: all below 5 but for one run in 40,000
    assert away.max() < 5


def test_the_density_has_the_moments_and_the_range_of_the_matrix(problem):
    values = np.linalg.eigvalsh(problem.hessian())
    found = flatness.density(*loss_of(problem), probes=8, steps=39)
    assert found.range == pytest.approx((values[0], values[-1]), abs=1e-8)
    lo, hi = found.moments[1].ci95
    assert lo <= values.mean() <= hi
    assert np.trapezoid(found.density, found.grid) == pytest.approx(1.0, abs=1e-3)


def test_parameters_may_be_chosen(problem):
    matrix = problem.hessian()
    own = flatness.eig(*loss_of(problem), params=lambda name: name.startswith("0."), rel_tol=1e-9)
    size = sum(s.numel() for n, s in zip(problem.names, problem.shapes) if n.startswith("0."))
    expected = np.linalg.eigvalsh(matrix[:size, :size])[-1]
    assert abs(own.value - expected) < 1e-6 * expected
    by_name = flatness.eig(*loss_of(problem), params=["0.bias", "0.weight"], rel_tol=1e-9)
    assert by_name.value == own.value
