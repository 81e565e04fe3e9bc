#!/usr/bin/env python3
"""The losses of a short run by flat-train and by PyTorch on one device, from the same weights and images.

    losses.py --model resnet20 --rule sam --dtype f64 [--device cuda] [--steps 10] [--batch 32]

flat-train trains on MNIST in file order and writes its first weights; PyTorch starts from them. In f64 every loss must agree to 1e-9
relative, in f32 the first to 1e-4: later ones amplify rounding, and no tolerance would mean anything.
"""

import argparse
from pathlib import Path

from flat import Refused, about, finish, flat, folder, load, mnist, step_losses, torch_on

RATE, DECAY, RHO = 0.02, 5e-4, 0.05
BOUND = {"f64": 1e-9, "f32": 1e-4}


def theirs(torch, args, init):
    import networks

    dtype = {"f32": torch.float32, "f64": torch.float64}[args.dtype]
    # the same arithmetic on both sides: no tf32
    torch.backends.cudnn.allow_tf32 = torch.backends.cuda.matmul.allow_tf32 = False
    model = networks.build(args.model, channels=1)
    load(torch, model, init, dtype, args.device)
    model.train()
    x, y = mnist(torch, args.steps * args.batch, dtype, args.device)
    params = list(model.parameters())
    base = torch.optim.SGD(params, lr=RATE, momentum=0.9, weight_decay=DECAY)
    losses = []
    for step in range(args.steps):
        rows = slice(step * args.batch, (step + 1) * args.batch)

        def loss():
            return torch.nn.functional.cross_entropy(model(x[rows]), y[rows])

        base.zero_grad()
        first = loss()
        first.backward()
        if args.rule == "sam":
            with torch.no_grad():
                norm = torch.sqrt(sum((p.grad.double() ** 2).sum() for p in params))
                old = [p.detach().clone() for p in params]
                for p in params:
                    p.add_(p.grad, alpha=float(RHO / norm))
            base.zero_grad()
            loss().backward()
            with torch.no_grad():
                for p, o in zip(params, old):
                    p.copy_(o)
        base.step()
        losses.append(first.item())
    return losses


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--model", required=True)
    parser.add_argument("--rule", choices=["sgd", "sam"], default="sgd")
    parser.add_argument("--dtype", choices=list(BOUND), default="f64")
    parser.add_argument("--device", default="cuda", help="of PyTorch")
    parser.add_argument("--our-device", default="cuda")
    parser.add_argument("--steps", type=int, default=10)
    parser.add_argument("--batch", type=int, default=32)
    args = parser.parse_args()
    torch = torch_on(args.device)
    hidden = " --hidden 256" if args.model == "mlp" else ""
    radius = f" --rho {RHO}" if args.rule == "sam" else ""
    with folder() as room:
        run = Path(room) / "run"
        words = f"train --model {args.model}{hidden} --optimizer {args.rule}{radius} --lr {RATE} --weight-decay {DECAY} --no-shuffle"
        words += f" --train-limit {args.steps * args.batch} --test-limit 32 --batch-size {args.batch} --steps {args.steps}"
        words += f" --schedule constant --log-steps --save-init --trace-probes 0 --dtype {args.dtype} --device {args.our_device}"
        try:
            flat(f"{words} --out {run}")
        except Refused as e:
            raise SystemExit(f"flat-train {words}: {e}")
        ours, others = step_losses(run), theirs(torch, args, run / "init.safetensors")
    apart = [abs(a - b) / abs(b) for a, b in zip(ours, others)]
    held = apart if args.dtype == "f64" else apart[:1]
    passed = len(ours) == args.steps and max(held) <= BOUND[args.dtype]
    about_it = {**about(torch, args.device), "model": args.model, "rule": args.rule, "dtype": args.dtype}
    result = {**about_it, "ours": ours, "pytorch": others, "largest_relative": max(apart), "first_relative": apart[0]}
    finish({**result, "bound": BOUND[args.dtype], "steps_held": len(held)}, passed)


if __name__ == "__main__":
    main()
