#!/usr/bin/env python3
"""The ranking of a report over 20 runs with known numbers: 5 settings, 4 seeds each.

    pip install numpy scipy
    python tests/reference/report_ranking.py > tests/reference/report_ranking.json

The accuracies, costs and traces below are made up. Intervals are Student's by scipy; differences are paired by seed. The
JSON has the runs and what the ranking of them has to say, in the order of the ranking.
"""

import json

import numpy as np
from scipy import stats

SEEDS = [0, 1, 2, 3]
SAM = {"optimizer": "sam"}
# flags, accuracies, traces, gradient evaluations, seconds
SETTINGS = {
    "sam rho=0.05": (SAM | {"rho": 0.05}, [0.9412, 0.9385, 0.9440, 0.9401], [61.0, 57.5, 66.25, 59.0], 1600, 4.5),
    "sgd": ({"optimizer": "plain"}, [0.9310, 0.9290, 0.9345, 0.9301], [120.0, 131.5, 118.25, 140.0], 800, 2.25),
    "sam rho=0.2": (SAM | {"rho": 0.2}, [0.9470, 0.9360, 0.9490, 0.9380], [30.0, 28.5, 35.25, 31.0], 1600, 4.625),
    "nso": ({"optimizer": "nso"}, [0.9280, 0.9350, 0.9260, 0.9340], [101.0, 99.5, 97.0, 110.25], 1600, 4.75),
    "gsam": ({"optimizer": "gsam"}, [0.9455, 0.9436, 0.9481, 0.9447], [52.0, 49.5, 58.0, 50.25], 1600, 5.0),
}
BASELINE = "sgd"


def spread(sample):
    sample = np.array(sample)
    low, high = stats.t.interval(0.95, len(sample) - 1, loc=sample.mean(), scale=stats.sem(sample))
    return {"mean": sample.mean(), "ci95": [low, high]}


def less(a, b):
    return spread(np.array(SETTINGS[a][1]) - np.array(SETTINGS[b][1]))


def main():
    order = sorted(SETTINGS, key=lambda name: -np.mean(SETTINGS[name][1]))
    first = order[0]
    runs = [
        {"flags": flags, "seed": seed, "accuracy": accuracy[i], "trace": trace[i], "evals": evals, "seconds": seconds}
        for flags, accuracy, trace, evals, seconds in SETTINGS.values()
        for i, seed in enumerate(SEEDS)
    ]
    rows = []
    for name in order:
        _, accuracy, trace, evals, seconds = SETTINGS[name]
        to_first = None if name == first else less(name, first)
        shown = "first" if to_first is None else "below the first" if to_first["ci95"][1] < 0 else "not told apart"
        rows.append(
            {
                "name": name,
                "score": spread(accuracy),
                "above_baseline": None if name == BASELINE else less(name, BASELINE),
                "above_first": to_first,
                "trace": spread(trace),
                "evals": evals,
                "seconds": seconds,
                "verdict": shown,
            }
        )
    print(json.dumps({"runs": runs, "rows": rows}, indent=1))


if __name__ == "__main__":
    main()
