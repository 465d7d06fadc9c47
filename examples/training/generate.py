"""Generation with a key/value cache, a batch at a time: greedy, or sampled."""

import torch

import model
from model import GRID, IMAGE_TOKENS


class Cache:
    """Keys and values of every layer; sample b's next token goes to index at[b]."""

    def __init__(self, size):
        self.size, self.at, self.layers = size, None, {}

    def append(self, layer, k, v):
        """Stores k and v (B,T,G,C) and gives all that is stored."""
        b, t = k.shape[:2]
        if layer not in self.layers:
            self.layers[layer] = tuple(x.new_zeros(b, self.size, *x.shape[2:]) for x in (k, v))
        keys, values = self.layers[layer]
        if self.at is None:
            keys[:, :t], values[:, :t] = k, v
            return k, v
        row = torch.arange(b, device=k.device)
        keys[row, self.at], values[row, self.at] = k[:, 0], v[:, 0]
        return keys, values


@torch.no_grad()
def generate(net, text, mode, image, captions, limit, temperature=0.0):
    """Answers of captions on image tokens image (B,324,C): the most likely tokens, or with a temperature sampled ones.

    Gives lists of new ids, and the states (B,2,C) that predict the misalignment and the
    artifact token with whether they came (B,2).
    """
    device = image.device
    asked = [text.prefix[mode] + text.tokenizer.encode(text.question(mode, c)).ids for c in captions]
    longest = max(map(len, asked))
    ids = torch.zeros(len(asked), longest, dtype=torch.long, device=device)
    for b, one in enumerate(asked):
        ids[b, :len(one)] = torch.tensor(one, device=device)
    cache = Cache(longest + limit)
    rope = net.model.rope(model.text_positions(text.image_start, longest).to(device))
    hidden = net.hidden(net.embed(ids, image, text.image_start), rope, cache=cache)
    row = torch.arange(len(asked), device=device)
    cache.at = torch.tensor([len(a) for a in asked], device=device)
    hidden = hidden[row, cache.at - 1]
    answers, done = [[] for _ in asked], torch.zeros(len(asked), dtype=torch.bool, device=device)
    states = torch.zeros(len(asked), 2, hidden.shape[-1], device=device)
    came = torch.zeros(len(asked), 2, dtype=torch.bool, device=device)
    special = torch.tensor([text.misalignment, text.artifact], device=device)
    index = torch.arange(longest + limit, device=device)
    for _ in range(limit):
        logits = net.logits(hidden)
        if temperature > 0:
            token = torch.multinomial((logits.float() / temperature).softmax(-1), 1)[:, 0]
        else:
            token = logits.argmax(-1)
        new = (token[:, None] == special) & ~came & ~done[:, None]
        states[new] = hidden[:, None].expand(-1, 2, -1)[new]
        came |= new
        for b, (t, over) in enumerate(zip(token.tolist(), done.tolist())):
            if not over:
                answers[b].append(t)
        done |= token == text.end
        if bool(done.all()):
            break
        position = (cache.at + GRID - IMAGE_TOKENS).expand(3, -1)[..., None]
        mask = (index <= cache.at[:, None])[:, None, None]
        hidden = net.hidden(net.model.embed_tokens(token)[:, None].float(), net.model.rope(position), mask,
                            cache=cache)[:, 0]
        cache.at = (cache.at + 1).clamp(max=longest + limit - 1)
    return answers, states, came
