"""The heads that turn a hidden state into a heatmap: SAM's two-way transformer and a convolutional decoder."""

import math

import torch
import torch.nn.functional as F
from torch import nn

HEADS = 8


class Attention(nn.Module):
    """SAM's attention: width / shrink channels inside."""

    def __init__(self, width, shrink):
        super().__init__()
        inner = width // shrink
        self.q_proj, self.k_proj, self.v_proj = (nn.Linear(width, inner) for _ in range(3))
        self.out_proj = nn.Linear(inner, width)

    def forward(self, q, k, v):
        q, k, v = (p(x).view(x.shape[0], x.shape[1], HEADS, -1).transpose(1, 2)
                   for p, x in ((self.q_proj, q), (self.k_proj, k), (self.v_proj, v)))
        scores = (q @ k.transpose(-1, -2)) * q.shape[-1] ** -0.5
        return self.out_proj((scores.float().softmax(-1).to(v.dtype) @ v).transpose(1, 2).flatten(2))


class TokenMLP(nn.Module):
    def __init__(self, width, hidden):
        super().__init__()
        self.lin1, self.lin2 = nn.Linear(width, hidden), nn.Linear(hidden, width)

    def forward(self, x):
        return self.lin2(F.relu(self.lin1(x)))


class TwoWayBlock(nn.Module):
    def __init__(self, width, hidden):
        super().__init__()
        self.self_attn = Attention(width, 1)
        self.cross_attn_token_to_image = Attention(width, 2)
        self.cross_attn_image_to_token = Attention(width, 2)
        self.mlp = TokenMLP(width, hidden)
        self.norm1, self.norm2, self.norm3, self.norm4 = (nn.LayerNorm(width) for _ in range(4))

    def forward(self, tokens, keys, token_pe, key_pe, first):
        if first:  # without positions and residual, as SAM has it
            tokens = self.self_attn(tokens, tokens, tokens)
        else:
            q = tokens + token_pe
            tokens = tokens + self.self_attn(q, q, tokens)
        tokens = self.norm1(tokens)
        tokens = self.norm2(tokens + self.cross_attn_token_to_image(tokens + token_pe, keys + key_pe, keys))
        tokens = self.norm3(tokens + self.mlp(tokens))
        keys = self.norm4(keys + self.cross_attn_image_to_token(keys + key_pe, tokens + token_pe, tokens))
        return tokens, keys


class TwoWayTransformer(nn.Module):
    def __init__(self, width, hidden):
        super().__init__()
        self.layers = nn.ModuleList([TwoWayBlock(width, hidden) for _ in range(2)])
        self.final_attn_token_to_image = Attention(width, 2)
        self.norm_final_attn = nn.LayerNorm(width)

    def forward(self, tokens, keys, key_pe):
        token_pe = tokens
        for i, layer in enumerate(self.layers):
            tokens, keys = layer(tokens, keys, token_pe, key_pe, i == 0)
        tokens = self.norm_final_attn(
            tokens + self.final_attn_token_to_image(tokens + token_pe, keys + key_pe, keys))
        return tokens, keys


class ChannelNorm(nn.Module):
    """What the released code calls LayerNorm: an RMS norm over channels, eps 1e-8."""

    def __init__(self, channels):
        super().__init__()
        self.scale = nn.Parameter(torch.ones(channels, 1, 1))

    def forward(self, x):
        y = x.float()
        return (y * torch.rsqrt((y * y).mean(1, keepdim=True) + 1e-8) * self.scale).to(x.dtype)


def conv3x3(inputs, outputs):
    return nn.Conv2d(inputs, outputs, 3, 1, 1)


class Upscaling(nn.Module):
    """From (N,width,18,18) to (N,width/4,288,288)."""

    def __init__(self, width):
        super().__init__()
        half, quarter = width // 2, width // 4
        self.conv_layers = nn.Sequential(conv3x3(width, width), nn.ReLU(), ChannelNorm(width),
                                         conv3x3(width, half), nn.ReLU(), ChannelNorm(half))
        self.deconv_layers, self.conv_layers2 = nn.ModuleList(), nn.ModuleList()
        inputs = half
        for n in (width, half, half, quarter):
            self.deconv_layers.append(nn.Sequential(nn.ConvTranspose2d(inputs, n, 3, 2, 1, 1), ChannelNorm(n), nn.ReLU()))
            self.conv_layers2.append(nn.Sequential(conv3x3(n, n), ChannelNorm(n), nn.ReLU(), conv3x3(n, n),
                                                   ChannelNorm(n)))
            inputs = n
        self.last_conv1 = conv3x3(quarter, quarter)

    def forward(self, x):
        x = self.conv_layers(x)
        for up, residual in zip(self.deconv_layers, self.conv_layers2):
            x = up(x)
            x = F.relu(x + residual(x))
        return F.relu(self.last_conv1(x))


class Hypernetwork(nn.Module):
    def __init__(self, width, outputs):
        super().__init__()
        self.layers = nn.ModuleList([nn.Linear(width, width), nn.Linear(width, width), nn.Linear(width, outputs)])

    def forward(self, x):
        a, b, c = self.layers
        return c(F.relu(b(F.relu(a(x)))))


class HeatmapDecoder(nn.Module):
    def __init__(self, width, hidden):
        super().__init__()
        self.width = width
        self.mask_tokens = nn.Embedding(1, width)
        self.transformer = TwoWayTransformer(width, hidden)
        self.output_upscaling = Upscaling(width)
        self.output_hypernetworks_mlps = nn.ModuleList([Hypernetwork(width, width // 4)])

    def forward(self, keys, text, key_pe):
        """keys (N,324,width), text (N,1,width), key_pe (1,324,width); gives logits (N,288,288)."""
        n, side = keys.shape[0], math.isqrt(keys.shape[1])
        mask = self.mask_tokens.weight[None].expand(n, 1, self.width).to(text.dtype)
        tokens, keys = self.transformer(torch.cat((mask, text), 1), keys, key_pe)
        x = keys.transpose(1, 2).reshape(n, self.width, side, side)
        x = self.output_upscaling(x.contiguous(memory_format=torch.channels_last))
        weight = self.output_hypernetworks_mlps[0](tokens[:, 0])
        return torch.einsum("nchw,nc->nhw", x.float(), weight.float())


class PositionEmbedding(nn.Module):
    def __init__(self, width):
        super().__init__()
        self.register_buffer("positional_encoding_gaussian_matrix", torch.randn(2, width // 2))


class PromptEncoder(nn.Module):
    """SAM's; only the positions and no_mask_embed are used, the rest is there because the checkpoint has it."""

    def __init__(self, width):
        super().__init__()
        self.pe_layer = PositionEmbedding(width)
        self.point_embeddings = nn.ModuleList([nn.Embedding(1, width) for _ in range(4)])
        self.not_a_point_embed, self.no_mask_embed = nn.Embedding(1, width), nn.Embedding(1, width)
        self.mask_downscaling = nn.Sequential(
            nn.Conv2d(1, 4, 2, 2), nn.LayerNorm(4), nn.GELU(), nn.Conv2d(4, 16, 2, 2), nn.LayerNorm(16), nn.GELU(),
            nn.Conv2d(16, width, 1))

    def positions(self, side):
        """(1, side * side, width)."""
        matrix = self.pe_layer.positional_encoding_gaussian_matrix
        axis = 2 * (torch.arange(side, device=matrix.device) + 0.5) / side - 1
        y, x = torch.meshgrid(axis, axis, indexing="ij")
        angle = 2 * math.pi * (torch.stack((x, y), -1) @ matrix)
        return torch.cat((angle.sin(), angle.cos()), -1).reshape(1, side * side, -1)
