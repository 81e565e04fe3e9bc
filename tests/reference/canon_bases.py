"""The base optimizers of canon.py: what becomes of the gradient that a rule hands over. Vectors are flat f64 tensors.

    sgd            torch.optim.SGD: decay in the gradient, buffer m <- mu m + d, Nesterov on request
    adamw          torch.optim.AdamW: theta (1 - lr wd) first, then Adam's step
    schedule-free  Defazio et al. 2024 (2405.15682): gradients at y = (1 - b) z + b x, z takes the step, x is the mean of
                   the z; the model is x. Agrees with the authors' package schedulefree 1.4.1, which keeps y and z alone.
"""

import torch


class Sgd:
    def __init__(self, lr, momentum=0.0, weight_decay=0.0, nesterov=False):
        self.lr, self.mu, self.wd, self.nesterov = lr, momentum, weight_decay, nesterov
        self.momentum = None

    def step(self, theta, grad):
        d = grad + self.wd * theta
        if self.mu != 0.0:
            self.momentum = d if self.momentum is None else self.mu * self.momentum + d
            d = d + self.mu * self.momentum if self.nesterov else self.momentum
        return theta - self.lr * d

    def model(self, theta):
        return theta


class AdamW:
    def __init__(self, lr, weight_decay=0.01, beta1=0.9, beta2=0.999, eps=1e-8):
        self.lr, self.wd, self.b1, self.b2, self.eps = lr, weight_decay, beta1, beta2, eps
        self.momentum, self.second, self.t = None, 0.0, 0

    def step(self, theta, grad):
        self.t += 1
        before = torch.zeros_like(grad) if self.momentum is None else self.momentum
        self.momentum = self.b1 * before + (1 - self.b1) * grad
        self.second = self.b2 * self.second + (1 - self.b2) * grad**2
        first = self.momentum / (1 - self.b1**self.t)
        root = torch.sqrt(self.second / (1 - self.b2**self.t)) + self.eps
        return theta * (1 - self.lr * self.wd) - self.lr * first / root

    def model(self, theta):
        return theta


class ScheduleFree:
    """`theta` is y throughout. Over AdamW the step is the gradient over the root of the second moment."""

    momentum = None

    def __init__(self, lr, b=0.9, weight_decay=0.0, adamw=False, beta2=0.999, eps=1e-8):
        self.lr, self.b, self.wd, self.adamw, self.b2, self.eps = lr, b, weight_decay, adamw, beta2, eps
        self.x = self.z = None
        self.second, self.t, self.weights = 0.0, 0, 0.0

    def step(self, y, grad):
        if self.z is None:
            self.x = self.z = y
        self.t += 1
        d = grad
        if self.adamw:
            self.second = self.b2 * self.second + (1 - self.b2) * grad**2
            d = grad / (torch.sqrt(self.second / (1 - self.b2**self.t)) + self.eps)
        self.z = self.z - self.lr * (d + self.wd * y)
        self.weights += self.lr**2
        c = self.lr**2 / self.weights
        self.x = (1 - c) * self.x + c * self.z
        return (1 - self.b) * self.z + self.b * self.x

    def model(self, y):
        return y if self.x is None else self.x
