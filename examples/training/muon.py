"""Muon (Jordan et al., 2024): momentum whose update of a matrix is made orthogonal, here for batches of equal shapes."""

import torch

# Newton-Schulz iteration that drives singular values to about 1, from the authors' code.
A, B, C = 3.4445, -4.7750, 2.0315
STEPS = 5
MOMENTUM = 0.95
# The size of an orthogonal update relative to AdamW's (Liu et al., 2025, arXiv 2502.16982).
ADAM_RMS = 0.2


def orthogonalise(x):
    """x (N,R,C) with R <= C, in bfloat16 on a GPU; a CPU is slow at that."""
    x = x / (x.float().norm(dim=(1, 2), keepdim=True) + 1e-7).to(x.dtype)
    for _ in range(STEPS):
        s = x @ x.transpose(1, 2)
        x = A * x + (B * s + C * s @ s) @ x
    return x


class Muon:
    def __init__(self, named, weight_decay, compile=lambda f: f):
        """named are pairs of a key and a matrix; matrices of one key and shape are updated in one batch."""
        groups = {}
        for key, p in named:
            groups.setdefault((key, *p.shape), []).append(p)
        self.groups = [(ps, torch.zeros(len(ps), *ps[0].shape, device=ps[0].device)) for ps in groups.values()]
        self.weight_decay = weight_decay
        self.orthogonalise = compile(orthogonalise)

    def state_dict(self):
        return [momentum for _, momentum in self.groups]

    def load_state_dict(self, momenta):
        for (_, mine), momentum in zip(self.groups, momenta, strict=True):
            mine.copy_(momentum)

    @torch.no_grad()
    def step(self, lr):
        """Updates every matrix that has a gradient and clears the gradients. lr is a number or a tensor."""
        for params, momentum in self.groups:
            if params[0].grad is None:
                continue
            g = torch.stack([p.grad for p in params])
            momentum.mul_(MOMENTUM).add_(g, alpha=1 - MOMENTUM)
            u = ((1 - MOMENTUM) * g + MOMENTUM * momentum).to(torch.bfloat16 if g.is_cuda else g.dtype)
            rows, columns = u.shape[1:]
            if rows > columns:
                u = self.orthogonalise(u.transpose(1, 2).contiguous()).transpose(1, 2)
            else:
                u = self.orthogonalise(u)
            u = u.float() * (-lr * ADAM_RMS * max(rows, columns) ** 0.5)
            torch._foreach_mul_(params, 1 - lr * self.weight_decay)
            torch._foreach_add_(params, list(u.unbind(0)))
            for p in params:
                p.grad = None
