"""Other types than float64, and torch.compile."""

import pytest

torch = pytest.importorskip("torch")

from vectors import close, pack, read, tensor  # noqa: E402

from densereward import torch as flow  # noqa: E402

CASE = read("cases.json.gz")["losses"][1]
SIGMAS = flow.shifted_sigmas(10, 3.0)
SHAPE = (4, 16, 8, 8)
COMPILES = hasattr(torch, "compile")


def batch(dtype=torch.float32, packed=False, seed=0):
    """Latents that are likely under their steps, on which every loss can be taken."""
    rng = torch.Generator().manual_seed(seed)
    step = flow.sde_step(SIGMAS, [1, 4, 6, 8], 0.7)
    sample, output, moved, reference = (torch.randn(SHAPE, generator=rng, dtype=torch.float64) for _ in range(4))
    prev = flow.sample_step(step, output, sample, rng)
    tensors = [t.to(dtype) for t in (sample, prev, output + 0.05 * moved, output + 0.05 * reference)]
    if packed:
        tensors = [pack(t) for t in tensors]
    sample, prev, output, reference = tensors
    old = flow.log_prob_map(step, output + 0.01, sample, prev).detach()
    advantages = torch.randn(4, generator=rng, dtype=torch.float64)
    weight = torch.rand(old.shape, generator=rng, dtype=torch.float64)
    return step, sample, prev, output, reference, old, advantages, weight


def flow_loss(step, output, sample, prev, old, advantages, weight, reference):
    return flow.flow_grpo_loss(step, output, sample, prev, old, advantages, clip_range=0.1, kl_beta=0.04, ref_model_output=reference)


def dense_loss(step, output, sample, prev, old, advantages, weight, reference):
    return flow.dense_flow_grpo_loss(step, output, sample, prev, old, advantages, weight, clip_range=0.1, kl_beta=0.04, ref_model_output=reference)


def box_loss(step, output, sample, prev, old, advantages, weight, reference):
    return flow.box_flow_grpo_loss(step, output, sample, prev, old, advantages, weight, clip_range=0.1)


LOSSES = [flow_loss, dense_loss, box_loss]


def evaluate(function, dtype=torch.float32, packed=False, wrap=lambda f: f):
    step, sample, prev, output, reference, old, advantages, weight = batch(dtype, packed)
    output = output.clone().requires_grad_()
    got = wrap(function)(step, output, sample, prev, old, advantages, weight, reference)
    got.loss.backward()
    return got, output.grad


@pytest.mark.parametrize("function", LOSSES, ids=lambda f: f.__name__)
def test_bfloat16_latents_are_computed_in_float32(function):
    """bfloat16 keeps 8 bits: the same rounded latents in float64 give the same loss to
    float32's precision, and a gradient to one rounding to bfloat16, 2^-8."""
    got, grad = evaluate(function, torch.bfloat16)
    assert got.loss.dtype == torch.float32 and grad.dtype == torch.bfloat16
    step, sample, prev, output, reference, old, advantages, weight = batch(torch.bfloat16)
    wide = output.double().requires_grad_()
    want = function(step, wide, sample.double(), prev.double(), old.double(), advantages, weight, reference.double())
    want.loss.backward()
    close(got.loss, want.loss, rtol=2e-4, atol=1e-6)
    close(grad, wide.grad, rtol=2**-8, atol=2e-4 * float(wide.grad.abs().max()))


@pytest.mark.skipif(not COMPILES, reason="torch.compile is of torch 2")
@pytest.mark.parametrize("packed", [False, True], ids=["latents", "packed"])
@pytest.mark.parametrize("function", LOSSES, ids=lambda f: f.__name__)
def test_losses_compile_without_a_graph_break_and_equal_eager(function, packed):
    want, want_grad = evaluate(function, packed=packed)
    torch._dynamo.reset()
    got, grad = evaluate(function, packed=packed, wrap=lambda f: torch.compile(f, fullgraph=True, backend="aot_eager"))
    for name in want._fields:
        close(getattr(got, name), getattr(want, name).double(), rtol=1e-6, atol=1e-7)
    close(grad, want_grad.double(), rtol=1e-5, atol=1e-7 * float(want_grad.abs().max()))


@pytest.mark.skipif(not COMPILES, reason="torch.compile is of torch 2")
def test_steps_and_advantages_compile_without_a_graph_break():
    def both(rewards, groups, index, output, sample):
        step = flow.sde_step(SIGMAS, index, 0.7)
        return flow.group_advantages(rewards, groups, num_groups=2), flow.step_mean(step, output, sample)

    rewards, groups = torch.tensor([[1.0, 2.0], [3.0, 2.0], [5.0, 6.0], [5.5, 1.0]]), torch.tensor([0, 0, 1, 1])
    arguments = (rewards, groups, torch.tensor([2, 3]), torch.ones(2, 3, 4, 4), torch.ones(2, 3, 4, 4))
    torch._dynamo.reset()
    for got, want in zip(torch.compile(both, fullgraph=True, backend="aot_eager")(*arguments), both(*arguments)):
        close(got, want.double(), rtol=1e-6, atol=1e-7)
    close(flow.group_advantages(rewards, groups, num_groups=2), flow.group_advantages(rewards, ["a", "a", "b", "b"]).double())


def test_no_loss_is_nan_for_finite_input():
    step, sample, prev, output, reference, old, advantages, weight = batch()
    for shift in (-300.0, 300.0):
        for scale in (0.0, 1.0):
            for function in LOSSES:
                moved = output.clone().requires_grad_()
                got = function(step, moved, sample, prev, old + shift, advantages * scale, weight, reference)
                got.loss.backward()
                assert not torch.isnan(got.loss) and not torch.isnan(moved.grad).any(), (function.__name__, shift, scale)


@pytest.mark.parametrize("dtype", [torch.float64, torch.float32])
def test_a_zero_heatmap_is_the_image_level_form(dtype):
    step, sample, prev, output, reference, old, advantages, _ = batch(dtype)
    grads = []
    for function, weight in ((flow_loss, None), (dense_loss, flow.dense_weight(torch.zeros_like(old))), (dense_loss, None)):
        moved = output.clone().requires_grad_()
        got = function(step, moved, sample, prev, old, advantages, weight, reference)
        got.loss.backward()
        grads.append((got.loss, moved.grad))
    for loss, grad in grads[1:]:
        close(loss, grads[0][0].double(), dtype, rtol=1e-6 if dtype == torch.float32 else 1e-8)
        close(grad, grads[0][1].double(), dtype, rtol=1e-5 if dtype == torch.float32 else 1e-8, atol=1e-7 if dtype == torch.float32 else 1e-12)


def saved_bytes(function, x):
    """What a loss keeps for its backward pass beside its inputs."""
    step, sample, prev, output, reference, old, advantages, weight = x
    inputs = {t.data_ptr() for t in (*step, sample, prev, output, reference, old, advantages, weight)}
    kept = {}

    def pack(tensor):
        if tensor.data_ptr() not in inputs:
            kept[tensor.data_ptr()] = tensor.numel() * tensor.element_size()
        return tensor

    with torch.autograd.graph.saved_tensors_hooks(pack, lambda tensor: tensor):
        got = function(step, output.requires_grad_(), sample, prev, old, advantages, weight, None)
    got.loss.backward()
    return sum(kept.values())


@pytest.mark.parametrize("function", [dense_loss, box_loss], ids=lambda f: f.__name__)
def test_a_dense_loss_keeps_one_map_more_than_the_scalar_one(function):
    x = batch(torch.bfloat16)
    map_bytes = 4 * x[5].numel()
    without_kl = lambda f: lambda step, output, sample, prev, old, advantages, weight, _: {  # noqa: E731
        flow_loss: lambda: flow.flow_grpo_loss(step, output, sample, prev, old, advantages),
        dense_loss: lambda: flow.dense_flow_grpo_loss(step, output, sample, prev, old, advantages, weight),
        box_loss: lambda: flow.box_flow_grpo_loss(step, output, sample, prev, old, advantages, weight),
    }[f]()
    more = saved_bytes(without_kl(function), x) - saved_bytes(without_kl(flow_loss), x)
    assert more <= map_bytes + 1024
