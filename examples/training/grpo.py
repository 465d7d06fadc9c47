"""The loss of GRPO (Shao et al., 2024, arXiv 2402.03300) as ImageDoctor's published run minimises it."""

import torch


def policy_loss(new, old, reference, advantages, mask, clip, beta):
    """The clipped loss with a penalty on the distance to the reference, and figures for the log.

    new, old and reference (N,T) are log-probabilities of the sampled tokens: of the policy that
    is trained, of the one that sampled, of the one it must stay near. advantages (N), mask (N,T)
    true on a completion's tokens. Each completion counts the same, whatever its length.
    """
    advantages = advantages[:, None]
    ratio = (new - old).exp()
    free, clipped = ratio * advantages, ratio.clamp(1 - clip, 1 + clip) * advantages
    apart = (reference - new).exp() - (reference - new) - 1  # an unbiased estimate of the divergence, never negative
    of_completions = lambda x: (x * mask).sum(1) / mask.sum(1)
    loss = of_completions(beta * apart - torch.min(free, clipped)).mean()
    with torch.no_grad():
        figures = {"kl": of_completions(apart).mean(), "clipped": of_completions((free > clipped).float()).mean()}
    return loss, figures
