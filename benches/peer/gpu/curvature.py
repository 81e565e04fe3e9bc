#!/usr/bin/env python3
"""Hessian-vector products and the trace of the Hessian: flat-train, PyTorch's double backward, curvlinops, PyHessian.

    curvature.py --model resnet18 [--device cuda] [--images 512] [--batch 128] [--probes 8]

All sides take the same random weights of flat-train and the same images of MNIST, in f32 without tf32, the normalisation in evaluation
mode, Rademacher probes of their own. Each trace has the standard error of its probes; two traces must lie within five joint standard
errors. A library that cannot be imported is absent with its reason.
"""

import argparse
import statistics
import time
from pathlib import Path

from flat import about, finish, flat, folder, load, mnist, torch_on


def summary(values, seconds, products):
    """Mean, standard error and time of a product of a Hutchinson estimate."""
    error = statistics.stdev(values) / len(values) ** 0.5
    return {"trace": statistics.mean(values), "std_error": error, "wall_s": seconds, "ms_a_product": 1e3 * seconds / products}


def timed(torch, device, run):
    """What `run` returns, after it ran once to warm up, and the seconds that it took."""
    run()
    if device.startswith("cuda"):
        torch.cuda.synchronize()
    begun = time.perf_counter()
    value = run()
    if device.startswith("cuda"):
        torch.cuda.synchronize()
    return value, time.perf_counter() - begun


def double_backward(torch, model, batches, probes, device):
    params = [p for p in model.parameters()]
    total = sum(len(x) for x, _ in batches)

    def trace():
        values = []
        for _ in range(probes):
            v = [torch.randint(0, 2, p.shape, device=device).to(p.dtype) * 2 - 1 for p in params]
            value = 0.0
            for x, y in batches:
                loss = torch.nn.functional.cross_entropy(model(x), y)
                g = torch.autograd.grad(loss, params, create_graph=True)
                hv = torch.autograd.grad(g, params, v)
                value = value + sum((a * b).sum() for a, b in zip(v, hv)) * len(x) / total
            values.append(value)
        return [float(v) for v in values]

    values, seconds = timed(torch, device, trace)
    return summary(values, seconds, probes * len(batches))


def curvlinops(torch, model, batches, probes, device):
    import curvlinops as library

    params, loss = list(model.parameters()), torch.nn.CrossEntropyLoss()
    operator = library.HessianLinearOperator(model, loss, params, batches, check_deterministic=False)

    def trace():
        values = []
        for _ in range(probes):
            v = torch.randint(0, 2, (operator.shape[1],), device=device).to(torch.float32) * 2 - 1
            values.append(torch.dot(v, operator @ v))
        return [float(v) for v in values]

    values, seconds = timed(torch, device, trace)
    return {**summary(values, seconds, probes * len(batches)), "version": getattr(library, "__version__", None)}


def pyhessian(torch, model, batches, probes, device):
    from pyhessian import hessian

    measure = hessian(model, torch.nn.CrossEntropyLoss(), dataloader=batches, cuda=device.startswith("cuda"))
    values, seconds = timed(torch, device, lambda: [float(v) for v in measure.trace(maxIter=probes, tol=0.0)])
    return summary(values, seconds, probes * len(batches))


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--model", required=True)
    parser.add_argument("--device", default="cuda", help="of PyTorch")
    parser.add_argument("--our-device", default="cuda")
    parser.add_argument("--images", type=int, default=512)
    parser.add_argument("--batch", type=int, default=128)
    parser.add_argument("--probes", type=int, default=8)
    args = parser.parse_args()
    torch = torch_on(args.device)
    import networks

    torch.manual_seed(1)
    torch.backends.cudnn.allow_tf32 = torch.backends.cuda.matmul.allow_tf32 = False
    with folder() as room:
        run = Path(room) / "run"
        # one step at a rate of almost nothing: a checkpoint of the first weights
        words = f"train --model {args.model} --steps 1 --lr 1e-30 --train-limit {args.batch} --test-limit 32 --batch-size {args.batch}"
        flat(f"{words} --trace-probes 0 --device {args.our_device} --out {run}")
        words = f"metrics trace --checkpoint {run} --dataset mnist --split train --limit {args.images} --batch-size {args.batch}"
        words += f" --hvp exact --device {args.our_device}"
        report = flat(f"{words} --probes {args.probes}")
        # the difference of two runs: without the start, and without compiling kernels
        longer = flat(f"{words} --probes {3 * args.probes}")
        model = networks.build(args.model, channels=1)
        load(torch, model, run / "model.safetensors", torch.float32, args.device)
    model.eval()
    x, y = mnist(torch, args.images, torch.float32, args.device)
    batches = list(zip(x.split(args.batch), y.split(args.batch)))
    trace, seconds = report["trace"], longer["wall_s"] - report["wall_s"]
    sides = {"flat": {"trace": trace["value"], "std_error": trace["std_error"], "wall_s": report["wall_s"]}}
    sides["flat"]["ms_a_product"] = 1e3 * seconds / (2 * args.probes * len(batches))
    for name, side in (("pytorch", double_backward), ("curvlinops", curvlinops), ("pyhessian", pyhessian)):
        try:
            sides[name] = side(torch, model, batches, args.probes, args.device)
        except ImportError as e:
            sides[name] = {"absent": f"{e}: python3 -m pip install {'curvlinops-for-pytorch' if name == 'curvlinops' else name}"}
        except Exception as e:  # a library that breaks with this PyTorch leaves the others their numbers
            sides[name] = {"absent": f"{type(e).__name__}: {str(e)[:300]}"}
    ours, apart = sides["flat"], {}
    for name, side in sides.items():
        if name != "flat" and "absent" not in side:
            apart[name] = abs(side["trace"] - ours["trace"]) / (side["std_error"] ** 2 + ours["std_error"] ** 2) ** 0.5
    result = {**about(torch, args.device), "model": args.model, "images": args.images, "batch": args.batch, "probes": args.probes}
    passed = "pytorch" in apart and all(a < 5 for a in apart.values())
    finish({**result, "sides": sides, "apart_in_joint_errors": apart}, passed)


if __name__ == "__main__":
    main()
