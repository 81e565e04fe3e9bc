"""Traces by flatness, curvlinops and PyHessian on the same models, batches and number of products, and bare torch
products.

    python compare.py                       the table, in Markdown
    python compare.py resnet50 flatness     one cell, as JSON
    python compare.py overhead MODEL        seconds of a bare torch product and of one by flatness, in turns

Needs torch, torchvision, timm, transformers, curvlinops-for-pytorch and PyHessian. Weights are random and made from a
seed: nothing is downloaded. Each cell is a process of its own with one thread. Its seconds are those of the processor,
which on a busy machine vary by a factor. Its memory is how far the peak rises over what the process held before.
"""

import json
import os
import resource
import subprocess
import sys
import time

PRODUCTS = 6
MODELS = ("resnet50", "vit_tiny", "distilbert")
TOOLS = ("torch alone", "flatness", "curvlinops", "PyHessian")


def made(name):
    """Model, loss and batches."""
    import torch

    torch.manual_seed(0)
    labels = lambda: torch.randint(0, 10, (4,))
    if name == "resnet50":
        import torchvision

        model = torchvision.models.resnet50(num_classes=10)
        batches = [(torch.randn(4, 3, 64, 64), labels()) for _ in range(2)]
    elif name == "vit_tiny":
        import timm

        model = timm.create_model("vit_tiny_patch16_224", num_classes=10, img_size=64)
        batches = [(torch.randn(4, 3, 64, 64), labels()) for _ in range(2)]
    else:
        import transformers

        config = transformers.DistilBertConfig(num_labels=10)
        inner = transformers.DistilBertForSequenceClassification(config)

        class Logits(torch.nn.Module):
            """The logits of token numbers, which is all that the other tools take."""

            def __init__(self):
                super().__init__()
                self.inner = inner

            def forward(self, ids):
                return self.inner(input_ids=ids).logits

        model = Logits()
        batches = [(torch.randint(0, config.vocab_size, (4, 16)), labels()) for _ in range(2)]
    return model.eval(), torch.nn.CrossEntropyLoss(), batches


def bare(model, loss, batches):
    """The products that any tool must take, and no more: the mean over the batches of double backward."""
    import torch
    from torch.nn.attention import SDPBackend, sdpa_kernel

    params = list(model.parameters())
    with sdpa_kernel(SDPBackend.MATH):
        for _ in range(PRODUCTS):
            v = [torch.randn_like(p) for p in params]
            for x, y in batches:
                first = torch.autograd.grad(loss(model(x), y), params, create_graph=True, materialize_grads=True)
                torch.autograd.grad(first, params, v, materialize_grads=True)
    return None, None


def by_flatness(model, loss, batches):
    import flatness

    found = flatness.trace(model, loss, batches, max_probes=PRODUCTS, check=False)
    return found.value, (found.ci95[1] - found.ci95[0]) / 2


def by_curvlinops(model, loss, batches):
    import curvlinops

    it = curvlinops.HessianLinearOperator(model, loss, list(model.parameters()), batches, check_deterministic=False)
    return float(curvlinops.hutchinson_trace(it, num_matvecs=PRODUCTS)), None


def by_pyhessian(model, loss, batches):
    from pyhessian import hessian

    # its rule divides by the mean so far with its sign: any other tolerance stops it where that is negative
    found = hessian(model, loss, dataloader=batches, cuda=False).trace(maxIter=PRODUCTS, tol=float("-inf"))
    return float(sum(found) / len(found)), None


def cell(name, tool):
    """One measurement."""
    import torch

    torch.set_num_threads(1)
    model, loss, batches = made(name)
    with open("/proc/self/statm") as f:
        before = int(f.read().split()[1]) * os.sysconf("SC_PAGE_SIZE")
    start = time.process_time()
    run = dict(zip(TOOLS, (bare, by_flatness, by_curvlinops, by_pyhessian)))[tool]
    try:
        value, half = run(model, loss, batches)
    except Exception as e:
        return {"error": f"{type(e).__name__}: {str(e).splitlines()[0][:90]}"}
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024
    size = sum(p.numel() for p in model.parameters())
    seconds = time.process_time() - start
    return {"value": value, "half": half, "seconds": seconds, "mb": (peak - before) / 1e6, "size": size}


def overhead(name, rounds=9):
    """The seconds of a bare product and of one by flatness, in turns, and the median of their ratios with its 95 %
    interval by order statistics.
    """
    import flatness
    import torch

    global PRODUCTS
    torch.set_num_threads(1)
    model, loss, batches = made(name)
    batches = [(torch.cat([x] * 4), torch.cat([y] * 4)) for x, y in batches]
    seconds = {bare: [], by_flatness: []}
    PRODUCTS = 4
    for round in range(rounds):
        for tool in (bare, by_flatness) if round % 2 else (by_flatness, bare):
            start = time.process_time()
            tool(model, loss, batches)
            seconds[tool].append((time.process_time() - start) / PRODUCTS)
    ratios = sorted(b / a for a, b in zip(seconds[bare], seconds[by_flatness]))
    # of 9 pairs the second and the eighth hold the median in 96 % of all cases
    least, most = ratios[rounds // 5], ratios[-1 - rounds // 5]
    alone, ours = (sorted(s)[rounds // 2] for s in seconds.values())
    print(
        f"{name}: a product takes {alone:.3f} s in torch alone, {ours:.3f} s by flatness: "
        f"{ratios[rounds // 2] - 1:+.1%} ({least - 1:+.1%} to {most - 1:+.1%})"
    )
    print(json.dumps({"bare": seconds[bare], "flatness": seconds[by_flatness]}))


def main():
    print(f"| model | tool | trace, {PRODUCTS} products | +- (95 %) | processor s | MB |\n|---|---|---|---|---|---|")
    for name in sys.argv[1:] or MODELS:
        for tool in TOOLS:
            env = dict(os.environ, OMP_NUM_THREADS="1", MKL_NUM_THREADS="1", RAYON_NUM_THREADS="1")
            out = subprocess.run([sys.executable, __file__, name, tool], env=env, capture_output=True, text=True)
            read = json.loads(out.stdout.splitlines()[-1]) if out.returncode == 0 else {"error": out.stderr[-200:]}
            if "error" in read:
                print(f"| {name} | {tool} | {read['error']} | | | |", flush=True)
                continue
            value = "" if read["value"] is None else f"{read['value']:.1f}"
            half = "" if read["half"] is None else f"{read['half']:.1f}"
            print(f"| {name} | {tool} | {value} | {half} | {read['seconds']:.1f} | {read['mb']:.0f} |", flush=True)


if __name__ == "__main__":
    if sys.argv[1:2] == ["overhead"]:
        overhead(sys.argv[2])
    elif len(sys.argv) == 3 and sys.argv[2] in TOOLS:
        print(json.dumps(cell(*sys.argv[1:])))
    else:
        main()
