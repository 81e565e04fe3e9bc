# %% [markdown]
# # How flat is the minimum?
# A small classifier is trained, and its curvature measured with error bars. The cells are those of a notebook: VS Code
# and Jupytext open this file as one, and `scripts/python-package` runs it as a script.

# %%
import torch
import torch.nn.functional as F

import flatness

torch.manual_seed(0)
x = torch.randn(512, 10)
y = (x[:, 0] * x[:, 1] > 0).long() + 2 * (x[:, 2] > 0).long()
model = torch.nn.Sequential(torch.nn.Linear(10, 32), torch.nn.Tanh(), torch.nn.Linear(32, 4))
optimizer = torch.optim.SGD(model.parameters(), lr=0.2, momentum=0.9)
for step in range(300):
    optimizer.zero_grad()
    F.cross_entropy(model(x), y).backward()
    optimizer.step()

# %% [markdown]
# ## The trace
# Two errors are told apart: that of the probes, and that of the choice of batches.

# %%
batches = [(x[i : i + 32], y[i : i + 32]) for i in range(0, 512, 32)]
trace = flatness.trace(model, F.cross_entropy, batches, rel_tol=0.05, max_probes=400)
print(trace)
assert trace.ci95[0] < trace.value < trace.ci95[1] and trace.data_error is not None

# %% [markdown]
# ## Which layers, and which eigenvalues

# %%
print(flatness.layers(model, F.cross_entropy, batches, max_probes=50))
eig = flatness.eig(model, F.cross_entropy, batches, top=5, bottom=1, rel_tol=1e-4)
print(eig)
assert eig.top[0] >= eig.top[-1] > eig.bottom[0]

# %% [markdown]
# ## All eigenvalues, and the Gauss-Newton part of them
# At a small loss the Hessian and its Gauss-Newton part are close.

# %%
density = flatness.density(model, F.cross_entropy, batches, probes=4, steps=40)
print(density)
ggn = flatness.trace(model, F.cross_entropy, batches, curvature="ggn", max_probes=100)
print(ggn)

# %% [markdown]
# ## Around the minimum

# %%
worst = flatness.sharpness(model, F.cross_entropy, batches, rho=0.05)
average = flatness.sharpness(model, F.cross_entropy, batches, measure="average", rho=0.05)
print(worst)
print(average)
assert worst.value > average.value
line = flatness.landscape(model, F.cross_entropy, batches, points=11)
assert line.losses[5] <= line.losses[0]

# %% [markdown]
# ## Pictures

# %%
try:
    import matplotlib
except ImportError:
    print("without matplotlib there are no pictures")
else:
    matplotlib.use("agg")
    for result in (trace, eig, density, line):
        result.plot()
