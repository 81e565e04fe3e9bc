"""What goes wrong with second derivatives in torch, and what is done about each."""

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from torch.autograd.function import once_differentiable

import flatness


class Attention(torch.nn.Module):
    def __init__(self):
        super().__init__()
        self.layer = torch.nn.TransformerEncoderLayer(8, 2, 16, batch_first=True, dropout=0.0)
        self.head = torch.nn.Linear(8, 3)

    def forward(self, x):
        return self.head(self.layer(x).mean(1))


class Once(torch.autograd.Function):
    @staticmethod
    def forward(ctx, x):
        ctx.save_for_backward(x)
        return x**3

    @staticmethod
    @once_differentiable
    def backward(ctx, g):
        (x,) = ctx.saved_tensors
        return 3 * x * x * g


class Detached(Once):
    @staticmethod
    def backward(ctx, g):
        (x,) = ctx.saved_tensors
        return 3 * (x * x).detach() * g


class Custom(torch.nn.Module):
    def __init__(self, function):
        super().__init__()
        self.linear = torch.nn.Linear(5, 3).double()
        self.function = function

    def forward(self, x):
        return self.function(self.linear(x))


@pytest.fixture
def sequences():
    torch.manual_seed(1)
    return [(torch.randn(4, 6, 8).double(), torch.tensor([0, 1, 2, 0]))]


def test_attention_is_differentiated_twice(sequences):
    model = Attention().double().eval()
    exact = flatness.eig(model, F.cross_entropy, sequences)
    differences = flatness.eig(model, F.cross_entropy, sequences, second="differences")
    assert exact.value == pytest.approx(differences.value, rel=1e-6)


def test_a_recurrent_layer_is_differentiated_twice(sequences):
    class Recurrent(torch.nn.Module):
        def __init__(self):
            super().__init__()
            self.lstm, self.head = torch.nn.LSTM(8, 4, batch_first=True), torch.nn.Linear(4, 3)

        def forward(self, x):
            return self.head(self.lstm(x)[0][:, -1])

    model = Recurrent().double()
    exact = flatness.eig(model, F.cross_entropy, sequences)
    assert exact.value == pytest.approx(
        flatness.eig(model, F.cross_entropy, sequences, second="differences").value, rel=1e-6
    )


@pytest.mark.parametrize("curvature", ["hessian", "ggn", "empirical-fisher"])
def test_a_function_differentiable_once_is_an_error_that_names_it(problem, curvature):
    with pytest.raises(flatness.SecondDerivativeError, match='Once.*second="differences"'):
        flatness.trace(Custom(Once.apply), F.cross_entropy, problem.batches, curvature=curvature)


def test_differences_measure_what_has_no_second_derivative(problem):
    own, plain = Custom(Once.apply), Custom(lambda x: x**3)
    plain.load_state_dict(own.state_dict())
    found = flatness.eig(own, F.cross_entropy, problem.batches, second="differences")
    expected = flatness.eig(plain, F.cross_entropy, problem.batches)
    assert found.value == pytest.approx(expected.value, rel=1e-6)


def test_a_backward_pass_that_detaches_is_found_out(problem):
    with pytest.raises(flatness.SecondDerivativeError, match="wrong by .* Detached"):
        flatness.trace(Custom(Detached.apply), F.cross_entropy, problem.batches)


@pytest.mark.parametrize("layer", [torch.nn.Dropout(0.5), torch.nn.BatchNorm1d(4)])
def test_training_mode_is_refused_or_frozen(problem, layer):
    net = torch.nn.Sequential(torch.nn.Linear(5, 4), layer.double(), torch.nn.Linear(4, 3)).double()
    with pytest.raises(flatness.TrainingModeError, match=f"`1` .{type(layer).__name__}.*frozen"):
        flatness.trace(net, F.cross_entropy, problem.batches)
    before = {name: b.clone() for name, b in net.named_buffers()}
    frozen = flatness.trace(net, F.cross_entropy, problem.batches, mode="frozen", max_probes=4)
    assert all(m.training for m in net.modules())
    assert all(torch.equal(b, before[name]) for name, b in net.named_buffers())
    assert frozen.value == flatness.trace(net.eval(), F.cross_entropy, problem.batches, max_probes=4).value


def test_a_random_loss_is_refused(problem):
    with pytest.raises(flatness.NotDeterministicError, match="first batch has loss"):
        flatness.trace(problem.net, lambda out, y: F.cross_entropy(F.dropout(out), y), problem.batches)


def test_a_buffer_that_moves_is_refused(problem):
    class Counting(torch.nn.Module):
        def __init__(self, net):
            super().__init__()
            self.net = net
            self.register_buffer("calls", torch.zeros(()))

        def forward(self, x):
            self.calls += 1
            return self.net(x)

    with pytest.raises(flatness.NotDeterministicError, match="`calls`"):
        flatness.trace(Counting(problem.net), F.cross_entropy, problem.batches)


def test_a_loss_that_is_linear_has_no_curvature():
    net = torch.nn.Linear(3, 1).double()
    batches = [(torch.ones(2, 3).double(), torch.zeros(2))]
    found = flatness.trace(net, lambda out, y: out.mean(), batches, max_probes=4)
    assert found.value == 0.0


def test_a_parameter_without_effect_has_none(problem):
    problem.net.register_parameter("unused", torch.nn.Parameter(torch.ones(2).double()))
    found = flatness.trace(problem.net, F.cross_entropy, problem.batches, max_probes=4)
    assert found.per_parameter["unused"].value == 0.0 and found.value > 0


def test_weights_shared_by_layers_count_once():
    class Tied(torch.nn.Module):
        def __init__(self):
            super().__init__()
            self.a = torch.nn.Linear(4, 4).double()
            self.b = self.a

        def forward(self, x):
            return self.b(torch.tanh(self.a(x)))

    net, batches = Tied(), [(torch.randn(6, 4).double(), torch.randint(0, 4, (6,)))]
    assert flatness.trace(net, F.cross_entropy, batches, max_probes=4).about.dim == 20
    exact = flatness.eig(net, F.cross_entropy, batches).value
    assert exact == pytest.approx(flatness.eig(net, F.cross_entropy, batches, second="differences").value, rel=1e-6)


def test_parameters_whose_products_share_memory_are_told_apart():
    class Sum(torch.nn.Module):
        def __init__(self):
            super().__init__()
            self.a, self.b = (torch.nn.Parameter(torch.ones(3).double()) for _ in range(2))

        def forward(self, x):
            return ((self.a + self.b).sum() * x).squeeze(1)

    # the mean of ((a + b).1 x)^2: every entry of the Hessian is 2 mean x^2
    batches = [(torch.full((2, 1), c).double(), torch.zeros(2).double()) for c in (1.0, 2.0)]
    found = flatness.eig(Sum(), F.mse_loss, batches)
    assert found.value == pytest.approx(6 * 2 * 2.5, rel=1e-9)


def test_measuring_leaves_no_gradient_behind(problem):
    flatness.trace(problem.net, F.cross_entropy, problem.batches, max_probes=3)
    assert all(p.grad is None for p in problem.net.parameters())


@pytest.mark.parametrize(
    "options, words",
    [
        (dict(curvature="fischer"), "`curvature` is fischer"),
        (dict(second="third"), "`second` is third"),
        (dict(mode="train"), "`mode` is train"),
        (dict(curvature="ggn", second="differences"), "`second` is differences"),
        (dict(max_batches=0), "`max_batches` is 0"),
        (dict(params=["nothing"]), "no parameter to measure"),
    ],
)
def test_options_out_of_range_are_named(problem, options, words):
    with pytest.raises(ValueError, match=words):
        flatness.trace(problem.net, F.cross_entropy, problem.batches, **options)


def test_a_loss_that_sums_is_refused(problem):
    with pytest.raises(ValueError, match='reduction="sum"'):
        flatness.trace(problem.net, torch.nn.CrossEntropyLoss(reduction="sum"), problem.batches)
    with pytest.raises(ValueError, match="`fisher` is known for cross entropy"):
        flatness.trace(problem.net, F.mse_loss, problem.batches, curvature="fisher")


def test_one_batch_in_place_of_a_loader_is_refused(problem):
    with pytest.raises(TypeError, match="one batch"):
        flatness.trace(problem.net, F.cross_entropy, problem.batches[0])
