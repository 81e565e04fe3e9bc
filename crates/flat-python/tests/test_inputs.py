"""What may be measured besides a torch model with a loss and a loader of pairs."""

import json

import numpy as np
import pytest
import torch
import torch.nn.functional as F

import flatness


def matrix(d=30):
    a = np.random.default_rng(0).standard_normal((d, d))
    return a + a.T


def top(a):
    return np.linalg.eigvalsh(a)[-1]


def test_a_callable_of_numpy_arrays():
    a = matrix()
    assert abs(flatness.eig(lambda v: a @ v, size=30).value - top(a)) < 1e-6


def test_a_callable_that_returns_torch_tensors():
    a = torch.from_numpy(matrix())
    found = flatness.eig(lambda v: a @ torch.from_numpy(v), size=30)
    assert abs(found.value - top(a.numpy())) < 1e-6


def test_a_callable_of_jax():
    jax = pytest.importorskip("jax")
    a = matrix().astype("float32")
    loss = lambda x: 0.5 * x @ (a @ x)
    hvp = lambda v: jax.jvp(jax.grad(loss), (jax.numpy.zeros(30),), (jax.numpy.asarray(v),))[1]
    found = flatness.eig(hvp, size=30, dtype="float32")
    assert found.about.dtype == "f32"
    assert abs(found.value - top(a)) < 1e-4 * top(a)


def test_an_operator_of_scipy():
    linalg = pytest.importorskip("scipy.sparse.linalg")
    a = matrix()
    assert abs(flatness.eig(linalg.aslinearoperator(a)).value - top(a)) < 1e-6


def test_an_operator_of_curvlinops(problem):
    curvlinops = pytest.importorskip("curvlinops")
    params = list(problem.net.parameters())
    it = curvlinops.HessianLinearOperator(problem.net, torch.nn.CrossEntropyLoss(), params, problem.batches)
    found = flatness.eig(it)
    assert found.about.dtype == "f64"
    assert abs(found.value - top(problem.hessian())) < 1e-6 * found.value


def test_a_matrix_itself():
    a = matrix()
    assert flatness.trace(a, max_probes=4).about.dim == 30


def test_a_model_that_returns_its_loss(problem):
    class Output(dict):
        __getattr__ = dict.__getitem__

    class Model(torch.nn.Module):
        def __init__(self, net):
            super().__init__()
            self.net = net

        def forward(self, x, labels):
            logits = self.net(x)
            return Output(loss=F.cross_entropy(logits, labels), logits=logits)

    batches = [{"x": x, "labels": y} for x, y in problem.batches]
    for curvature in ("hessian", "ggn"):
        own = flatness.trace(Model(problem.net), loader=batches, curvature=curvature)
        same = flatness.trace(problem.net, F.cross_entropy, problem.batches, curvature=curvature)
        assert own.value == pytest.approx(same.value, rel=1e-12)


def test_a_data_loader_that_shuffles_is_read_once(problem):
    data = torch.utils.data.TensorDataset(problem.x, problem.y)
    loader = torch.utils.data.DataLoader(data, batch_size=4, shuffle=True)
    found = flatness.eig(problem.net, F.cross_entropy, loader)
    assert abs(found.value - top(problem.hessian())) < 1e-6 * found.value
    assert found.about.batches == 3 and found.about.examples == 12
    assert flatness.trace(problem.net, F.cross_entropy, loader, max_batches=2, max_probes=2).about.batches == 2


def test_forward_says_how_a_batch_is_read(problem):
    batches = [(y, x) for x, y in problem.batches]

    def loss(output, target):
        return F.cross_entropy(output[0], output[1])

    found = flatness.eig(problem.net, loss, batches, forward=lambda model, batch: (model(batch[1]), batch[0]))
    assert abs(found.value - top(problem.hessian())) < 1e-6 * found.value


@pytest.mark.parametrize(
    "call, words",
    [
        (lambda: flatness.trace(lambda v: v), "needs `size`"),
        (lambda: flatness.trace(lambda v: v, size=0), "`size` is 0"),
        (lambda: flatness.trace(lambda v: v, size=3, dtype="float16"), "`dtype` is float16"),
        (lambda: flatness.trace(lambda v: v, size=3, mode="frozen"), "`mode` has no effect"),
        (lambda: flatness.trace(lambda v: v, size=3, sized=3), "`sized` is no option"),
        (lambda: flatness.trace(np.zeros((2, 3))), "must be square"),
        (lambda: flatness.trace(3), "cannot measure a int"),
        (lambda: flatness.trace(lambda v: v, size=3, max_probes=0), "`max_probes` is 0"),
        (lambda: flatness.trace(lambda v: v, size=3, estimator="x"), "`estimator` is x"),
        (lambda: flatness.trace(lambda v: v, size=3, distribution="x"), "`distribution` is x"),
        (lambda: flatness.trace(lambda v: v[:2], size=3), "2 numbers for a vector of 3"),
        (lambda: flatness.eig(lambda v: v, size=3, top=4), "at most d"),
        (lambda: flatness.sharpness(lambda v: v), "give a torch model"),
    ],
)
def test_what_cannot_be_measured_is_refused_with_a_remedy(call, words):
    with pytest.raises((TypeError, ValueError), match=words):
        call()


def test_a_result_is_plain_data_html_and_a_plot(problem):
    import json

    found = flatness.trace(problem.net, F.cross_entropy, problem.batches, max_probes=8)
    read = json.loads(json.dumps(found.to_dict()))
    assert read["value"] == found.value and read["about"]["seed"] == 0
    assert f"{found.value:.6g}" in found._repr_html_() and f"{found.value:.6g}" in str(found)
    plt = pytest.importorskip("matplotlib.pyplot")
    plt.switch_backend("agg")
    results = [
        found,
        flatness.layers(problem.net, F.cross_entropy, problem.batches, max_probes=4),
        flatness.eig(problem.net, F.cross_entropy, problem.batches),
        flatness.density(problem.net, F.cross_entropy, problem.batches, probes=2, steps=5),
        flatness.diagonal(problem.net, F.cross_entropy, problem.batches, max_probes=8),
        flatness.sharpness(problem.net, F.cross_entropy, problem.batches),
        flatness.landscape(problem.net, F.cross_entropy, problem.batches, points=5),
        flatness.landscape(problem.net, F.cross_entropy, problem.batches, points=3, axes=2),
    ]
    for result in results:
        assert result.plot().has_data(), type(result)
        json.dumps(result.to_dict())
        assert str(result) and result._repr_html_()
    plt.close("all")


def test_vectors_are_shared_for_the_time_of_a_call_and_stay_where_they_are_kept():
    scale, kept = np.arange(1.0, 41.0), []

    def in_place(v, out):
        v, out = np.frombuffer(v), np.frombuffer(out)
        # what was kept of earlier calls is no vector of the estimator's any more
        for _, earlier in kept:
            earlier[:] = np.nan
        np.multiply(scale, v, out=out)
        kept.append((v, out))
        return []

    def copied(v):
        return scale * v, []

    def measured(product, **how):
        it = flatness._core.Operator(product, [("x", [40])], dtype="float64", name="diagonal", **how)
        text, vectors = flatness._core.eig(it, top=3, bottom=0, max_matvecs=40, rel_tol=1e-9, seed=1, observe=None)
        return [pair["value"] for pair in json.loads(text)["top"]], np.stack(vectors)

    (values, vectors), (expected, as_expected) = measured(in_place, in_place=True), measured(copied)
    assert values == expected
    assert np.array_equal(vectors, as_expected)
    assert all(np.isfinite(v).all() for v, _ in kept)
