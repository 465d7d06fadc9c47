"""The policy: a text-conditioned flow-matching transformer (DiT) on 64x64 pixels in patches of 4, and its samplers.

Latents are the pixels themselves, (B,3,64,64) in [-1,1], so the latent grid is 64x64.
Steps and log-probabilities are `densereward.torch`'s.
"""

import math
from typing import NamedTuple

import torch
import torch.nn.functional as F
from torch import nn

import world
from densereward import torch as flow

PATCH = 4
TOKENS = world.SIDE // PATCH
CONTEXT = 5  # tokens of a caption


class Block(nn.Module):
    """Attention and MLP, each scaled and shifted by the time and the caption (adaLN)."""

    def __init__(self, width, heads):
        super().__init__()
        self.heads = heads
        self.modulation = nn.Linear(width, 6 * width)
        self.qkv, self.out = nn.Linear(width, 3 * width), nn.Linear(width, width)
        self.up, self.down = nn.Linear(width, 4 * width), nn.Linear(4 * width, width)
        nn.init.zeros_(self.modulation.weight)
        nn.init.zeros_(self.modulation.bias)
        self.modulation.bias.data[2 * width:3 * width] = 0.3
        self.modulation.bias.data[5 * width:] = 0.3

    def forward(self, x, condition):
        """x (B,L,D), condition (B,D)."""
        b, n, d = x.shape
        shift1, scale1, gate1, shift2, scale2, gate2 = self.modulation(condition)[:, None].chunk(6, -1)
        h = F.layer_norm(x, (d,)) * (1 + scale1) + shift1
        q, k, v = self.qkv(h).view(b, n, 3, self.heads, d // self.heads).permute(2, 0, 3, 1, 4)
        h = F.scaled_dot_product_attention(q, k, v).transpose(1, 2).reshape(b, n, d)
        x = x + gate1 * self.out(h)
        h = F.layer_norm(x, (d,)) * (1 + scale2) + shift2
        return x + gate2 * self.down(F.gelu(self.up(h)))


class DiT(nn.Module):
    def __init__(self, width=288, depth=8, heads=4):
        super().__init__()
        self.width = width
        self.sizes = dict(width=width, depth=depth, heads=heads)
        self.patches = nn.Linear(3 * PATCH * PATCH, width)
        self.position = nn.Parameter(torch.randn(1, TOKENS * TOKENS, width) * 0.02)
        self.slot = nn.Parameter(torch.randn(1, CONTEXT, width) * 0.1)
        self.colour = nn.Embedding(world.NO_COLOUR + 1, width)
        self.shape = nn.Embedding(world.NO_SHAPE + 1, width)
        self.relation = nn.Embedding(len(world.RELATIONS), width)
        self.text = nn.Linear(CONTEXT * width, width)
        self.time = nn.Sequential(nn.Linear(width, width), nn.SiLU(), nn.Linear(width, width))
        self.blocks = nn.ModuleList(Block(width, heads) for _ in range(depth))
        self.last = nn.Linear(width, 2 * width)
        self.pixels = nn.Linear(width, 3 * PATCH * PATCH)
        for table in (self.colour, self.shape, self.relation):
            nn.init.normal_(table.weight, 0, 0.3)
        for layer in (self.last, self.pixels):
            nn.init.zeros_(layer.weight)
            nn.init.zeros_(layer.bias)

    def forward(self, x, sigma, captions):
        """x (B,3,64,64), sigma (B) the share of noise, captions (B,5): the velocity, noise less image."""
        b = x.shape[0]
        z = x.view(b, 3, TOKENS, PATCH, TOKENS, PATCH).permute(0, 2, 4, 1, 3, 5).reshape(b, TOKENS * TOKENS, -1)
        z = self.patches(z) + self.position
        c = captions.unbind(1)
        words = torch.stack([self.colour(c[0]), self.shape(c[1]), self.relation(c[2]), self.colour(c[3]), self.shape(c[4])], 1)
        words = words + self.slot
        rate = 1000 * torch.exp(-math.log(10000) * torch.arange(self.width // 2, device=x.device) / (self.width // 2))
        angle = sigma[:, None] * rate
        condition = F.silu(self.time(torch.cat((angle.cos(), angle.sin()), 1)) + self.text(words.flatten(1)))
        z = torch.cat((words.to(z.dtype), z), 1)
        for block in self.blocks:
            z = block(z, condition)
        scale, shift = self.last(condition)[:, None].chunk(2, -1)
        z = self.pixels(F.layer_norm(z[:, CONTEXT:], (self.width,)) * (1 + scale) + shift).float()
        return z.view(b, TOKENS, TOKENS, 3, PATCH, PATCH).permute(0, 3, 1, 4, 2, 5).reshape(b, 3, world.SIDE, world.SIDE)


def velocity(net, x, sigma, captions):
    """sigma is one for all."""
    device = "cuda" if x.is_cuda else "cpu"
    with torch.autocast(device, dtype=torch.bfloat16, enabled=x.is_cuda):
        return net(x, sigma.to(x.dtype).expand(x.shape[0]), captions).float()


class Path(NamedTuple):
    """What a trainer keeps of a rollout: lists by stochastic step."""

    images: torch.Tensor  # (B,3,64,64) in [0,1]
    samples: list
    following: list
    outputs: list  # the velocities that drew them


class Sampler(NamedTuple):
    """CPS in so many steps; the last one is without noise, as sigma is 0 there."""

    steps: int = 10
    noise_level: float = 0.7

    def sigmas(self, device):
        return torch.linspace(1, 0, self.steps + 1, device=device)

    def step(self, index, device):
        return flow.cps_step(self.sigmas(device), index, self.noise_level)

    @torch.no_grad()
    def draw(self, net, captions, generator, keep=True):
        device = captions.device
        sigmas = self.sigmas(device)
        x = torch.randn(len(captions), 3, world.SIDE, world.SIDE, device=device, generator=generator)
        samples, following, outputs = [], [], []
        for i in range(self.steps):
            v = velocity(net, x, sigmas[i], captions)
            nxt = flow.sample_step(self.step(i, device), v, x, generator)
            if keep and i < self.steps - 1:
                samples.append(x)
                following.append(nxt)
                outputs.append(v)
            x = nxt
        return Path((x / 2 + 0.5).clamp(0, 1), samples, following, outputs)


@torch.no_grad()
def draw_ode(net, captions, generator, steps=20):
    """Images (B,3,64,64) in [0,1] of the deterministic sampler."""
    device = captions.device
    sigmas = torch.linspace(1, 0, steps + 1, device=device)
    x = torch.randn(len(captions), 3, world.SIDE, world.SIDE, device=device, generator=generator)
    for i in range(steps):
        x = flow.step_mean(flow.ode_step(sigmas, i), velocity(net, x, sigmas[i], captions), x)
    return (x / 2 + 0.5).clamp(0, 1)


def save(net, path):
    torch.save({"sizes": net.sizes, "weights": {k: v.bfloat16().cpu() for k, v in net.state_dict().items()}}, path)


def load(path, device):
    """A checkpoint, in float32; or those that one was split into, with a comma between."""
    weights, sizes = {}, None
    for part in str(path).split(","):
        saved = torch.load(part, map_location="cpu", weights_only=True)
        sizes = saved["sizes"]
        weights.update(saved["weights"])
    net = DiT(**sizes)
    net.load_state_dict({k: v.float() for k, v in weights.items()})
    return net.to(device)
