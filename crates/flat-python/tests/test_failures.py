"""Exceptions, Ctrl-C, the interpreter's lock and memory."""

import gc
import os
import signal
import threading
import time
import traceback

import numpy as np
import pytest
import torch
import torch.nn.functional as F

import flatness


class Own(Exception):
    pass


def failing(after):
    calls = []

    def hvp(v):
        calls.append(1)
        if len(calls) > after:
            raise Own("from the callable")
        return 2 * v

    return hvp


@pytest.mark.parametrize("after", [0, 3])
@pytest.mark.parametrize("measure", [flatness.trace, flatness.diagonal, flatness.density])
def test_an_exception_comes_back_as_itself_with_its_traceback(measure, after):
    with pytest.raises(Own, match="from the callable") as caught:
        measure(failing(after), size=10)
    assert any(frame.name == "hvp" for frame in traceback.extract_tb(caught.value.__traceback__))


def test_an_exception_of_a_loss_comes_back_too(problem):
    def loss(output, target):
        raise Own("from the loss")

    with pytest.raises(Own):
        flatness.sharpness(problem.net, loss, problem.batches)


def test_a_number_that_is_not_finite_is_an_error():
    with pytest.raises(FloatingPointError, match="not finite"):
        flatness.trace(lambda v: v * float("nan"), size=3)


def test_ctrl_c_ends_a_computation_within_its_own_arithmetic():
    # a process in the background is begun with the signal ignored, and Python leaves it so
    before = signal.signal(signal.SIGINT, signal.default_int_handler)
    try:
        # products that return at once: nearly all time is spent without the interpreter's lock
        threading.Timer(0.5, os.kill, (os.getpid(), signal.SIGINT)).start()
        start = time.monotonic()
        with pytest.raises(KeyboardInterrupt):
            flatness.trace(lambda v: v, size=200_000, max_probes=1_000_000)
        assert time.monotonic() - start < 10
    finally:
        signal.signal(signal.SIGINT, before)


def test_other_threads_run_while_the_arithmetic_does():
    ticks, stop = [], threading.Event()

    def tick():
        while not stop.wait(0.005):
            ticks.append(time.monotonic())

    other = threading.Thread(target=tick)
    other.start()
    # an eigenproblem whose products cost nothing beside its orthogonalisation
    scale = np.linspace(1, 2, 300_000)
    start = time.monotonic()
    flatness.eig(lambda v: scale * v, size=len(scale), max_matvecs=40, rel_tol=1e-14)
    seconds = time.monotonic() - start
    stop.set()
    other.join()
    assert len(ticks) > seconds / 0.005 / 10


def resident():
    with open("/proc/self/statm") as f:
        return int(f.read().split()[1]) * os.sysconf("SC_PAGE_SIZE")


@pytest.mark.skipif(not os.path.exists("/proc/self/statm"), reason="reads /proc")
def test_memory_is_flat_over_a_thousand_products():
    torch.manual_seed(0)
    net = torch.nn.Sequential(torch.nn.Linear(64, 256), torch.nn.Tanh(), torch.nn.Linear(256, 10))
    batches = [(torch.randn(8, 64), torch.randint(0, 10, (8,)))]
    measure = lambda probes, seed: flatness.trace(net, F.cross_entropy, batches, max_probes=probes, seed=seed)
    measure(100, 0)
    gc.collect()
    gc.disable()  # a reference cycle would keep its graph
    try:
        before = resident()
        measure(1000, 1)
        grown = resident() - before
    finally:
        gc.enable()
    # a graph that is kept takes 100 kB a product, 100 MB in all
    assert grown < 8e6, f"{grown / 1e6:.1f} MB"


def test_progress_is_shown_to_a_callable_and_can_end_it():
    seen = []
    flatness.trace(lambda v: 2 * v, size=4, max_probes=3, progress=lambda *at: seen.append(at))
    assert seen[-1][:2] == (3, 3) and seen[-1][2] == 8.0

    def stop(done, of, value, error):
        raise Own("enough")

    with pytest.raises(Own, match="enough"):
        flatness.trace(lambda v: v, size=4, progress=stop)


def test_nothing_is_written_where_stderr_is_no_terminal(capfd):
    flatness.trace(lambda v: (time.sleep(0.05), v)[1], size=4, max_probes=60)
    assert capfd.readouterr() == ("", "")


def test_a_line_is_written_where_it_is_asked_for(capfd):
    flatness.trace(lambda v: (time.sleep(0.05), v)[1], size=4, max_probes=60, progress=True)
    assert "trace 4" in capfd.readouterr().err
