"""ImageDoctor: Qwen2.5-VL's vision tower and language model with SAM's decoder and a heatmap network.

Modules bear the names of the released checkpoint's tensors. The shapes come from
its config.json, so the same code is the pocket model and the one of 3 B
parameters. Images are stills of 504x504: 36x36 patches, joined by twos into 18x18
image tokens. Both frames of a still are equal, so that the weights of the patch
embedding are summed over time.
"""

import math

import torch
import torch.nn.functional as F
from torch import nn

from heatmap import HeatmapDecoder, PromptEncoder

IMAGE_SIDE = 504
GRID = 18  # image tokens a side
IMAGE_TOKENS = GRID * GRID
CLIP_MEAN = (0.48145466, 0.4578275, 0.40821073)
CLIP_STD = (0.26862954, 0.26130258, 0.27577711)


def attention(q, k, v, mask=None, causal=False):
    """q (B,H,T,C), k and v (B,H,S,C), mask (T,S) or (B,1,T,S) true where a query sees a key."""
    if hasattr(F, "scaled_dot_product_attention"):
        return F.scaled_dot_product_attention(q, k, v, attn_mask=mask, is_causal=causal)
    scores = q @ k.transpose(-1, -2) / math.sqrt(q.shape[-1])  # torch before 2.0
    if causal:
        mask = torch.ones(scores.shape[-2:], dtype=torch.bool, device=q.device).tril()
    if mask is not None:
        scores = scores.masked_fill(~mask, float("-inf"))
    return scores.softmax(-1) @ v


def heads_last(q, k, v, mask=None, causal=False):
    """attention with q (B,T,H,C), k and v (B,S,H,C)."""
    return attention(q.transpose(1, 2), k.transpose(1, 2), v.transpose(1, 2), mask, causal).transpose(1, 2)


def packed_attention(q, k, v, mask, prefix, branches, branch):
    """Attention of a prefix to itself and of each branch to the prefix and itself, all (B,T,H,C).

    T is prefix + branches * branch, mask (branch, prefix + branch).
    """
    b, t, h, c = q.shape
    first = heads_last(q[:, :prefix], k[:, :prefix], v[:, :prefix], causal=True)
    keys, values = (torch.cat((x[:, None, :prefix].expand(-1, branches, -1, -1, -1),
                               x[:, prefix:].view(b, branches, branch, h, c)), 2).flatten(0, 1) for x in (k, v))
    rest = heads_last(q[:, prefix:].reshape(b * branches, branch, h, c), keys, values, mask)
    return torch.cat((first, rest.reshape(b, t - prefix, h, c)), 1)


def apply_rope(x, cos, sin):
    """x (B,T,H,C), cos and sin broadcast to it."""
    half = x.shape[-1] // 2
    turned = torch.cat((-x[..., half:], x[..., :half]), -1)
    return (x.float() * cos + turned.float() * sin).to(x.dtype)


class RMSNorm(nn.Module):
    def __init__(self, width, eps=1e-6):
        super().__init__()
        self.weight = nn.Parameter(torch.ones(width))
        self.eps = eps

    def forward(self, x):
        y = x.float()
        return (y * torch.rsqrt((y * y).mean(-1, keepdim=True) + self.eps) * self.weight).to(x.dtype)


class SwiGLU(nn.Module):
    def __init__(self, width, hidden, bias):
        super().__init__()
        self.gate_proj = nn.Linear(width, hidden, bias)
        self.up_proj = nn.Linear(width, hidden, bias)
        self.down_proj = nn.Linear(hidden, width, bias)

    def forward(self, x):
        return self.down_proj(F.silu(self.gate_proj(x)) * self.up_proj(x))


class VisionAttention(nn.Module):
    def __init__(self, width, heads):
        super().__init__()
        self.qkv = nn.Linear(width, 3 * width)
        self.proj = nn.Linear(width, width)
        self.heads = heads

    def forward(self, x, cos, sin, groups):
        """groups lists (windows, patches in each) of the sequence; full attention is one window."""
        b, n, d = x.shape
        q, k, v = self.qkv(x).view(b, n, 3, self.heads, d // self.heads).unbind(2)
        q, k = apply_rope(q, cos, sin), apply_rope(k, cos, sin)
        outs, begin = [], 0
        for windows, size in groups:
            end = begin + windows * size
            q1, k1, v1 = (t[:, begin:end].reshape(b * windows, size, self.heads, -1).transpose(1, 2)
                          for t in (q, k, v))
            outs.append(attention(q1, k1, v1).transpose(1, 2).reshape(b, windows * size, d))
            begin = end
        return self.proj(outs[0] if len(outs) == 1 else torch.cat(outs, 1))


class VisionBlock(nn.Module):
    def __init__(self, c):
        super().__init__()
        width = c["hidden_size"]
        self.norm1, self.norm2 = RMSNorm(width), RMSNorm(width)
        self.attn = VisionAttention(width, c["num_heads"])
        self.mlp = SwiGLU(width, c["intermediate_size"], True)

    def forward(self, x, cos, sin, groups):
        x = x + self.attn(self.norm1(x), cos, sin, groups)
        return x + self.mlp(self.norm2(x))


class PatchEmbed(nn.Module):
    def __init__(self, c):
        super().__init__()
        kernel = (c["temporal_patch_size"], c["patch_size"], c["patch_size"])
        self.proj = nn.Conv3d(3, c["hidden_size"], kernel, kernel, bias=False)

    def forward(self, patches):
        return F.linear(patches, self.proj.weight.sum(2).flatten(1))


class PatchMerger(nn.Module):
    def __init__(self, c):
        super().__init__()
        width = 4 * c["hidden_size"]
        self.ln_q = RMSNorm(c["hidden_size"])
        self.mlp = nn.Sequential(nn.Linear(width, width), nn.GELU(), nn.Linear(width, c["out_hidden_size"]))

    def forward(self, x):
        return self.mlp(self.ln_q(x).reshape(x.shape[0], x.shape[1] // 4, -1))


class VisionTower(nn.Module):
    def __init__(self, c):
        super().__init__()
        self.patch_embed = PatchEmbed(c)
        self.blocks = nn.ModuleList([VisionBlock(c) for _ in range(c["depth"])])
        self.merger = PatchMerger(c)
        self.full = set(c["fullatt_block_indexes"])
        order, self.groups = _window_order(c["window_size"] // (2 * c["patch_size"]))
        back = torch.empty(IMAGE_TOKENS, dtype=torch.long)
        back[order[::4] // 4] = torch.arange(IMAGE_TOKENS)
        cos, sin = _vision_rope(order, c["hidden_size"] // c["num_heads"])
        for name, value in (("order", order), ("back", back), ("cos", cos), ("sin", sin)):
            self.register_buffer(name, value, persistent=False)

    def forward(self, patches):
        """patches (B,1296,588) in merge order, channel major; gives image tokens (B,324,C) by rows."""
        x = self.patch_embed(patches[:, self.order])
        for i, block in enumerate(self.blocks):
            x = block(x, self.cos, self.sin, ((1, x.shape[1]),) if i in self.full else self.groups)
        return self.merger(x)[:, self.back]


def _window_order(window):
    """The patches, window by window, those of equal size together; and (windows, patches in each) for each size."""
    by_size = {}
    for top in range(0, GRID, window):
        for left in range(0, GRID, window):
            units = [y * GRID + x for y in range(top, min(top + window, GRID))
                     for x in range(left, min(left + window, GRID))]
            patches = [u * 4 + p for u in units for p in range(4)]
            by_size.setdefault(len(patches), []).append(patches)
    sizes = sorted(by_size, reverse=True)
    order = torch.tensor([p for s in sizes for patches in by_size[s] for p in patches])
    return order, tuple((len(by_size[s]), s) for s in sizes)


def _vision_rope(order, head):
    unit, corner = order // 4, order % 4
    row, column = unit // GRID * 2 + corner // 2, unit % GRID * 2 + corner % 2
    rate = 1 / 10000 ** (torch.arange(0, head // 2, 2).float() / (head // 2))
    angle = torch.cat((row[:, None] * rate, column[:, None] * rate), 1)
    angle = torch.cat((angle, angle), 1)[None, :, None]
    return angle.cos(), angle.sin()


class SelfAttention(nn.Module):
    def __init__(self, c):
        super().__init__()
        width, self.heads, self.groups = c["hidden_size"], c["num_attention_heads"], c["num_key_value_heads"]
        self.head = width // self.heads
        self.q_proj = nn.Linear(width, width)
        self.k_proj = nn.Linear(width, self.groups * self.head)
        self.v_proj = nn.Linear(width, self.groups * self.head)
        self.o_proj = nn.Linear(width, width, bias=False)

    def forward(self, x, rope, mask=None, pack=None, cache=None):
        b, t, d = x.shape
        q = apply_rope(self.q_proj(x).view(b, t, self.heads, self.head), *rope)
        k = apply_rope(self.k_proj(x).view(b, t, self.groups, self.head), *rope)
        v = self.v_proj(x).view(b, t, self.groups, self.head)
        if cache is not None:
            k, v = cache.append(self, k, v)
        repeat = self.heads // self.groups
        k, v = (y[:, :, :, None].expand(-1, -1, -1, repeat, -1).reshape(b, -1, self.heads, self.head) for y in (k, v))
        y = packed_attention(q, k, v, mask, *pack) if pack else heads_last(q, k, v, mask, mask is None)
        return self.o_proj(y.reshape(b, t, d))


class DecoderLayer(nn.Module):
    def __init__(self, c):
        super().__init__()
        width = c["hidden_size"]
        self.input_layernorm = RMSNorm(width, c["rms_norm_eps"])
        self.post_attention_layernorm = RMSNorm(width, c["rms_norm_eps"])
        self.self_attn = SelfAttention(c)
        self.mlp = SwiGLU(width, c["intermediate_size"], False)

    def forward(self, x, rope, mask=None, pack=None, cache=None):
        x = x + self.self_attn(self.input_layernorm(x), rope, mask, pack, cache)
        return x + self.mlp(self.post_attention_layernorm(x))


class LanguageModel(nn.Module):
    def __init__(self, c):
        super().__init__()
        self.embed_tokens = nn.Embedding(c["vocab_size"], c["hidden_size"])
        self.layers = nn.ModuleList([DecoderLayer(c) for _ in range(c["num_hidden_layers"])])
        self.norm = RMSNorm(c["hidden_size"], c["rms_norm_eps"])
        head = c["hidden_size"] // c["num_attention_heads"]
        self.rates = 1 / c["rope_theta"] ** (torch.arange(0, head, 2).float() / head)
        self.sections = c["rope_scaling"]["mrope_section"]

    def rope(self, positions):
        """M-RoPE's cosine and sine for positions (3,...,T): time, row and column."""
        angle = positions[..., None].float() * self.rates.to(positions.device)
        parts = [a[i] for i, a in enumerate(angle.split(self.sections, -1))]
        angle = torch.cat(parts, -1)
        angle = torch.cat((angle, angle), -1).unsqueeze(-2)
        return angle.cos(), angle.sin()


def text_positions(start, length):
    """M-RoPE positions (3,T) of a text whose image tokens begin at start."""
    p = torch.arange(length)
    p = torch.stack((p, p, p))
    unit = torch.arange(IMAGE_TOKENS)
    p[:, start:start + IMAGE_TOKENS] = start + torch.stack((torch.zeros_like(unit), unit // GRID, unit % GRID))
    p[:, start + IMAGE_TOKENS:] += GRID - IMAGE_TOKENS
    return p


class ImageDoctor(nn.Module):
    def __init__(self, config, width=None, hidden=None):
        """width and hidden are those of the heatmap heads; the released ones are 768 and 2048."""
        super().__init__()
        self.config = config
        self.width, self.hidden_width = width or 768, hidden or 2048
        text = config["hidden_size"]
        self.visual = VisionTower(config["vision_config"])
        self.model = LanguageModel(config)
        self.text_hidden_fcs, self.image_hidden_fcs = (
            nn.ModuleList([nn.Sequential(nn.Linear(text, text), nn.ReLU(), nn.Linear(text, self.width), nn.Dropout(0.0))])
            for _ in range(2))
        self.prompt_encoder = PromptEncoder(self.width)
        self.heatmap = HeatmapDecoder(self.width, self.hidden_width)

    def embed(self, ids, image, start):
        """Embeddings (B,T,C) of ids (B,T), with image tokens (B,324,C) from start on."""
        x = self.model.embed_tokens(ids).float()
        return torch.cat((x[:, :start], image.float(), x[:, start + IMAGE_TOKENS:]), 1)

    def hidden(self, x, rope, mask=None, pack=None, cache=None, tap=None):
        """Hidden states (B,T,C) behind the final norm.

        Without mask and pack attention is causal. pack is (prefix, branches, branch),
        see packed_attention. tap, a dict, maps numbers of layers to what these gave.
        """
        for i, layer in enumerate(self.model.layers):
            x = layer(x, rope, mask, pack, cache)
            if tap is not None and i + 1 in tap:
                tap[i + 1] = x
        return self.model.norm(x)

    def logits(self, hidden):
        return hidden @ self.model.embed_tokens.weight.T

    def heatmaps(self, image, hidden):
        """Logits (B,M,288,288) of the maps that hidden states (B,M,C) ask for; image (B,324,C)."""
        b, m, d = hidden.shape
        keys = self.image_hidden_fcs[0](image) + self.prompt_encoder.no_mask_embed.weight
        keys = keys[:, None].expand(b, m, -1, -1).reshape(b * m, IMAGE_TOKENS, -1)
        text = self.text_hidden_fcs[0](hidden.reshape(b * m, 1, d))
        return self.heatmap(keys, text, self.prompt_encoder.positions(GRID).to(keys.dtype)).view(b, m, 288, 288)


def patchify(images):
    """images (B,3,504,504) in [0,1] to normalised patches (B,1296,588) in merge order."""
    mean, std = (images.new_tensor(v).view(1, 3, 1, 1) for v in (CLIP_MEAN, CLIP_STD))
    x = (images - mean) / std
    b = len(x)
    x = x.view(b, 3, GRID, 2, 14, GRID, 2, 14)
    return x.permute(0, 2, 5, 3, 6, 1, 4, 7).reshape(b, 4 * IMAGE_TOKENS, 588)


def initialise(net):
    """Random weights for training from scratch: residual outputs small, heat near none."""
    for name, p in net.named_parameters():
        if name.endswith("bias"):
            nn.init.zeros_(p)
        elif p.ndim == 1 or "scale" in name:
            continue
        elif "embed_tokens" in name:
            nn.init.normal_(p, 0, 0.02)
        elif "mask_token" in name or "_embed" in name and p.ndim == 2 and p.shape[0] == 1:
            nn.init.normal_(p, 0, 0.5)
        elif p.ndim == 2:
            residual = any(s in name for s in ("down_proj", "attn.proj", "o_proj"))
            nn.init.normal_(p, 0, (0.35 if residual else 1) * p.shape[1] ** -0.5)
        elif "patch_embed" in name:
            nn.init.normal_(p, 0, p[0].numel() ** -0.5)
        else:
            fan_in = p.shape[0] * 9 / 4 if "deconv" in name else p[0].numel()
            nn.init.normal_(p, 0, (2 / fan_in) ** 0.5)
    net.heatmap.output_hypernetworks_mlps[0].layers[2].weight.data.mul_(0.1)
