"""Schedules, steps, advantages and the three losses against the public code's numbers."""

import pytest

torch = pytest.importorskip("torch")

from vectors import close, pack, read, tensor  # noqa: E402

from densereward import torch as flow  # noqa: E402

CASES = read("cases.json.gz")
DTYPES = [torch.float64, torch.float32]
SIGMAS = flow.shifted_sigmas(10, 3.0)


@pytest.mark.parametrize("case", CASES["schedules"], ids=lambda c: f"{c['kind']}-{c['steps']}")
def test_schedules_equal_diffusers_to_the_bit(case):
    if case["kind"] == "shift":
        sigmas = flow.shifted_sigmas(case["steps"], case["shift"])
    else:
        assert flow.dynamic_shift(case["image_seq_len"]) == pytest.approx(case["mu"], rel=1e-15)
        sigmas = flow.dynamic_sigmas(case["steps"], case["mu"])
    want = torch.tensor(case["sigmas"], dtype=torch.float32)
    # One unit in the last place, as for package flowgrpo.
    assert ((sigmas.view(torch.int32) - want.view(torch.int32)).abs() <= 1).all()
    assert ((1000 * sigmas[:-1]).view(torch.int32) - torch.tensor(case["timesteps"], dtype=torch.float32).view(torch.int32)).abs().max() <= 1


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("method", ["sde", "cps"])
@pytest.mark.parametrize("case", CASES["steps"], ids=lambda c: f"{c['shape']}-{c['noise_level']}")
def test_steps_equal_the_public_code(case, method, dtype):
    make = {"sde": flow.sde_step, "cps": flow.cps_step}[method]
    step = make(SIGMAS, case["step_index"], case["noise_level"])
    sample, output, prev = (tensor(case[k], dtype) for k in ("sample", "model_output", "prev_sample"))
    want = case[method]
    close(step.std_dev, want["std_dev_t"])
    close(flow.step_mean(step, output, sample), want["mean"], dtype)
    logs = flow.log_prob_map(step, output, sample, prev)
    assert logs.shape == (sample.shape[0], *sample.shape[2:]) and logs.dtype == dtype
    close(logs, want["log_prob_map"], dtype)
    close(flow.log_prob(step, output, sample, prev), want["log_prob"], dtype)
    close(flow.log_prob_map(step, pack(output), pack(sample), pack(prev)), want["log_prob_map"], dtype)


@pytest.mark.parametrize("index", range(10))
def test_an_sde_without_noise_is_the_ode_and_every_step_is_finite(index):
    sample, output = torch.randn(2, 2, 3, 3, dtype=torch.float64), torch.randn(2, 2, 3, 3, dtype=torch.float64)
    sde, ode = flow.sde_step(SIGMAS, index, 0.0), flow.ode_step(SIGMAS, index)
    close(flow.step_mean(sde, output, sample), flow.step_mean(ode, output, sample))
    for step in (sde, ode, flow.sde_step(SIGMAS, index, 0.7), flow.cps_step(SIGMAS, index, 0.7), flow.cps_step(SIGMAS, index, 1.0)):
        prev = flow.sample_step(step, output, sample, torch.Generator().manual_seed(1))
        assert torch.isfinite(flow.log_prob_map(step, output, sample, prev)).all()
        assert all(torch.isfinite(v).all() for v in step)


def test_noise_has_the_steps_deviation():
    step = flow.sde_step(SIGMAS, 4, 0.7)
    zeros = torch.zeros(1, 1, 200, 200, dtype=torch.float64)
    drawn = flow.sample_step(step, zeros, zeros, torch.Generator().manual_seed(3)) / step.noise_std
    assert abs(float(drawn.mean())) < 4 / 200 and abs(float(drawn.var()) - 1) < 4 * (2 / 200**2) ** 0.5


VARIANTS = {
    "flowgrpo": lambda c, a: flow.flow_grpo_loss(
        *a, tensor(c["advantages"]), clip_range=c["clip_range"], advantage_clip=c["adv_clip_max"], **reference(c, a)
    ),
    "denseflow_code": lambda c, a: flow.dense_flow_grpo_loss(
        *a,
        tensor(c["advantages"]),
        flow.dense_weight(tensor(c["heatmap"])),
        clip_range=c["clip_range"],
        advantage_clip=c["adv_clip_max"],
        **reference(c, a),
    ),
    "map_direct": lambda c, a: flow.box_flow_grpo_loss(*a, tensor(c["advantage_map"]), clip_range=c["clip_range"]),
    "map_detached": lambda c, a: flow.dense_flow_grpo_loss(
        *a, tensor(c["advantage_map"]), clip_range=c["clip_range"], advantage_clip=0.0
    ),
}


def reference(case, arguments):
    model_output = arguments[1]
    ref = tensor(case["ref_model_output"], model_output.dtype)
    return {"kl_beta": case["kl_beta"], "ref_model_output": pack(ref) if model_output.dim() == 3 else ref}


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("packed", [False, True], ids=["latents", "packed"])
@pytest.mark.parametrize("variant", VARIANTS)
@pytest.mark.parametrize("case", CASES["losses"], ids=lambda c: f"clip-{c['clip_range']}")
def test_losses_and_gradients_equal_the_public_code(case, variant, packed, dtype):
    step = flow.sde_step(SIGMAS, case["step_index"], case["noise_level"])
    sample, prev, output = (tensor(case[k], dtype) for k in ("sample", "prev_sample", "model_output"))
    old = tensor(case["old_log_prob_map"], dtype)
    if packed:
        sample, prev, output, old = pack(sample), pack(prev), pack(output), old.flatten(1)
    output.requires_grad_()
    got = VARIANTS[variant](case, (step, output, sample, prev, old))
    got.loss.backward()
    want = case["variants"][variant]
    close(got.loss, want["loss"], dtype)
    close(got.policy_loss, want["policy_loss"], dtype)
    if want.get("approx_kl") is not None:
        # The square of a difference of two rounded log-probabilities.
        off = 0 if dtype == torch.float64 else 2e-5 * (2 * want["approx_kl"]) ** 0.5
        close(got.approx_kl, want["approx_kl"], dtype, atol=max(off, 1e-12))
        for ours, theirs in (("clip_frac", "clipfrac"), ("clip_frac_gt_one", "clipfrac_gt_one"), ("clip_frac_lt_one", "clipfrac_lt_one")):
            close(getattr(got, ours), want[theirs], dtype)
    if want.get("kl_loss") is not None and case["kl_beta"]:
        close(got.kl, want["kl_loss"], dtype)
    if want.get("ratio_map") is not None:
        close(got.ratio_mean, tensor(want["ratio_map"]).mean(), dtype)
    wanted = tensor(want["grad_model_output"])
    wanted = pack(wanted) if packed else wanted
    scale = wanted.abs().flatten(1).amax(1)
    for image in range(len(wanted)):  # a float32 gradient is right to 2e-5 of its image's scale
        close(output.grad[image], wanted[image], dtype, atol=1e-12 if dtype == torch.float64 else 2e-5 * float(scale[image]))


@pytest.mark.parametrize("case", CASES["advantages"], ids=lambda c: f"{len(c['prompts'])}-samples")
def test_advantages_equal_the_public_code(case):
    rewards = tensor(case["rewards"])
    for name, want in case["out"].items():
        if name == "grpo_global_std_false":
            close(flow.group_advantages(rewards, case["prompts"]), want)
        if name in ("sft", "dpo"):
            close({"sft": flow.sft_advantages, "dpo": flow.dpo_advantages}[name](rewards.reshape(-1), case["prompts"]), want)
    if rewards.dim() == 1:  # columns have a global deviation each
        close(flow.group_advantages(rewards, case["prompts"], global_std=True), case["out"]["grpo_global_std_true"])


def test_pairs_of_ties_are_the_public_codes():
    close(flow.dpo_advantages(torch.tensor([1.0, 7, 7, 2, 7, 9]), ["b", "a", "a", "b", "a", "c"]), torch.tensor([-1.0, -1, 1, 1, 0, 0]).double())
    close(flow.sft_advantages(torch.tensor([2.0, 1, 2]), ["a", "a", "a"]), torch.tensor([1.0, 0, 1]).double())


def test_gardo_weighs_by_the_nearest_embedding():
    """The embeddings of group a lie at 0, 60 and 90 degrees: its nearest distances are 1 -
    cos 60, 1 - cos 30 and 1 - cos 30."""
    embeddings = torch.tensor([[2.0, 0], [1, 1], [0.5, 0.75**0.5], [0, 3]], dtype=torch.float64)
    rewards, groups = torch.tensor([4.0, 9, 1, 1], dtype=torch.float64), ["a", "b", "a", "a"]
    factor = 0.5 / ((0.5 + 2 * (1 - 0.75**0.5)) / 3)
    close(flow.gardo_advantages(rewards, embeddings, groups), torch.tensor([2 * factor, 0, -1, -1], dtype=torch.float64))
    close(flow.gardo_advantages(rewards, torch.ones(4, 2).double(), groups), torch.tensor([2.0, 0, -1, -1]).double())


@pytest.mark.parametrize("case", CASES["box_maps"], ids=lambda c: f"{len(c['rewards'])}-maps")
def test_box_advantages_equal_the_public_code(case):
    maps = tensor(case["reward_map"])
    close(flow.box_advantages(maps, ["one prompt"] * len(maps), floor=case["sigma_min"]), case["advantage_map"])


def test_pooling_is_the_published_scorers():
    for case in CASES["adaptive_avg_pool"]:
        if case.get("seed_values"):
            for out in case["outs"]:
                close(flow.pool(tensor(case["seed_values"])[None], out["size"]), out["values"])


@pytest.mark.parametrize("bad", [float("nan"), float("inf")])
def test_a_reward_that_is_not_finite_is_named(bad):
    with pytest.raises(ValueError, match="reward of sample 1"):
        flow.group_advantages(torch.tensor([1.0, bad, 2.0]), ["a", "a", "b"])
    with pytest.raises(ValueError, match="reward of sample 2"):
        flow.group_advantages(torch.tensor([[1.0, 1.0], [1.0, 2.0], [1.0, bad]]), ["a", "a", "b"])


def test_equal_rewards_and_single_samples_have_advantages_of_exactly_zero():
    got = flow.group_advantages(torch.tensor([0.1, 0.1, 0.1, 5.0]), ["a", "a", "a", "b"])
    assert (got == 0).all()
    assert (flow.box_advantages(torch.full((1, 2, 2), 3.0), ["a"], floor=0.0) == 0).all()


def test_wrong_shapes_say_so():
    step = flow.sde_step(SIGMAS, [3, 3])
    latents = torch.zeros(2, 3, 4, 5)
    with pytest.raises(ValueError, match="weight of shape"):
        flow.dense_flow_grpo_loss(step, latents, latents, latents, torch.zeros(2), torch.zeros(2), torch.zeros(2, 4, 6))
    with pytest.raises(ValueError, match="old log-probabilities of locations"):
        flow.box_flow_grpo_loss(step, latents, latents, latents, torch.zeros(2), torch.zeros(2))
    with pytest.raises(ValueError, match="ref_model_output"):
        flow.flow_grpo_loss(step, latents, latents, latents, torch.zeros(2), torch.zeros(2), kl_beta=0.1)
    with pytest.raises(ValueError, match="latents of shape"):
        flow.log_prob_map(step, latents[0, 0], latents[0, 0], latents[0, 0])
