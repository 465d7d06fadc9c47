"""The other methods: against the public code's numbers, and package flowgrpo's own for
the dense forms, which no public code has."""

import random

import pytest

torch = pytest.importorskip("torch")

from vectors import close, pack, read, tensor  # noqa: E402

from densereward import torch as flow  # noqa: E402

GO = read("vectors.json.gz")
PUBLIC = read("methods.json.gz")
STAR = read("star.json.gz")  # no code of STAR is public
SHAPE = GO["shape"]
SIGMAS = flow.shifted_sigmas(10, 3.0)
HALF = SHAPE[0] // 2


def latents(name, source=GO["inputs"], shape=SHAPE, dtype=torch.float64):
    return tensor(source[name], dtype).reshape(shape)


def maps(name, dtype=torch.float64):
    return tensor(GO["inputs"][name], dtype).reshape(SHAPE[0], *SHAPE[2:])


class Inputs:
    """The inputs of package flowgrpo's vectors, in a type and layout."""

    def __init__(self, dtype, packed):
        self.packed, self.dtype = packed, dtype
        for name in ("sample", "prev_sample", "old_model_output", "ref_model_output", "clean", "noise"):
            setattr(self, name, self.place(latents(name, dtype=dtype)))
        self.output = self.place(latents("model_output", dtype=dtype)).requires_grad_()
        self.target = flow.velocity_target(self.clean, self.noise)
        self.sigma = tensor(GO["inputs"]["sigma"])

    def place(self, values):
        return pack(values) if self.packed else values

    def credit(self, dense):
        step_weights = tensor(GO["inputs"]["step_weights"])
        if dense:
            return maps("advantage_map", self.dtype), {"weight": maps("weight", self.dtype), "step_weights": step_weights}
        return tensor(GO["inputs"]["advantages"]), {"step_weights": step_weights}


def take(case, x):
    """The loss of a case."""
    settings = dict(case["settings"])
    advantages, credit = x.credit(case["dense"])
    if settings.get("kl_beta"):
        settings["ref_model_output"] = x.ref_model_output
    if case["loss"] == "diffusion_dpo":
        weights = credit["weight"] if case["dense"] else None
        two = [t for pair in zip(*(t.split(HALF) for t in (x.target, x.output, x.ref_model_output))) for t in pair]
        target_w, output_w, ref_w, target_l, output_l, ref_l = two
        chosen, rejected = (None, None) if weights is None else weights.split(HALF)
        return flow.diffusion_dpo_loss(target_w, target_l, output_w, output_l, ref_w, ref_l, chosen, rejected, **settings)
    if case["loss"] in ("diffusion_nft", "awm"):
        function = {"diffusion_nft": flow.diffusion_nft_loss, "awm": flow.awm_loss}[case["loss"]]
        return function(x.sigma, x.target, x.output, x.old_model_output, advantages, **credit, **settings)
    step = {"sde": flow.sde_step, "cps": flow.cps_step}[case["method"]](SIGMAS, GO["index"], GO["noise_level"])
    if case["loss"] in ("grpo_guard", "flow_dppo"):
        function = {"grpo_guard": flow.grpo_guard_loss, "flow_dppo": flow.flow_dppo_loss}[case["loss"]]
        return function(step, x.output, x.sample, x.prev_sample, advantages, old_model_output=x.old_model_output, **credit, **settings)
    function = getattr(flow, case["loss"] + "_loss")
    old = flow.log_prob_map(step, x.old_model_output, x.sample, x.prev_sample)
    return function(step, x.output, x.sample, x.prev_sample, old, advantages, **credit, **settings)


def name_of(case):
    settings = case["settings"]
    words = (case["loss"], case.get("method"), settings.get("ratio"), settings.get("weighting"), "unscaled" in settings or "unweighted" in settings)
    return "-".join(str(w) for w in words if w) + ("-dense" if case["dense"] else "")


@pytest.mark.parametrize("dtype", [torch.float64, torch.float32])
@pytest.mark.parametrize("packed", [False, True], ids=["latents", "packed"])
@pytest.mark.parametrize("case", GO["cases"], ids=name_of)
def test_losses_and_gradients_equal_package_flowgrpos(case, packed, dtype):
    x = Inputs(dtype, packed)
    got = take(case, x)
    got.loss.backward()
    # In float64 the same operations in another order; in float32 a rounding of every
    # input, which a difference of velocities magnifies by their distance, ten times.
    double = dtype == torch.float64
    close(got.loss, case["value"], rtol=1e-12 if double else 2e-5, atol=1e-13 if double else 2e-5)
    if "kl" in got._fields and case["settings"].get("kl_beta"):
        close(got.kl, case["kl"], rtol=1e-12 if double else 2e-5)
    if "clip_frac" in got._fields:
        close(got.clip_frac, case["clip_frac"], rtol=1e-12 if double else 1e-6)
    wanted = x.place(tensor(case["grad"]).reshape(SHAPE))
    scale = float(wanted.abs().max())
    close(x.output.grad, wanted, rtol=1e-12 if double else 2e-5, atol=(1e-13 if double else 2e-5) * scale)


@pytest.mark.parametrize("case", [c for c in GO["cases"] if c["dense"]], ids=name_of)
def test_bfloat16_is_computed_in_float32(case):
    """bfloat16 keeps 8 bits of each input; of the same rounded inputs, float64 gives the
    loss to float32's precision and the gradient to one rounding to bfloat16, 2^-8."""
    short, wide = Inputs(torch.bfloat16, False), Inputs(torch.bfloat16, False)
    for name, value in vars(wide).items():
        if torch.is_tensor(value) and name != "sigma":
            setattr(wide, name, value.detach().double())
    wide.output.requires_grad_()
    wide.dtype = torch.bfloat16
    got, want = take(case, short), take(case, wide)
    got.loss.backward()
    want.loss.backward()
    assert got.loss.dtype == torch.float32 and short.output.grad.dtype == torch.bfloat16
    close(got.loss, want.loss, rtol=2e-4, atol=2e-5)
    scale = float(wide.output.grad.abs().max())
    close(short.output.grad, wide.output.grad, rtol=2**-8, atol=2e-4 * scale)


COMPILED = [c for i, c in enumerate(GO["cases"]) if c["loss"] not in {d["loss"] for d in GO["cases"][:i] if d["dense"] == c["dense"]}]


@pytest.mark.skipif(not hasattr(torch, "compile"), reason="torch.compile is of torch 2")
@pytest.mark.parametrize("case", COMPILED, ids=name_of)
def test_losses_compile_without_a_graph_break_and_equal_eager(case):
    eager, compiled = Inputs(torch.float32, False), Inputs(torch.float32, False)
    want = take(case, eager)
    want.loss.backward()
    torch._dynamo.reset()
    got = torch.compile(lambda x: take(case, x), fullgraph=True, backend="aot_eager")(compiled)
    got.loss.backward()
    close(got.loss, want.loss.double(), rtol=1e-6, atol=1e-7)
    scale = float(eager.output.grad.abs().max())
    close(compiled.output.grad, eager.output.grad.double(), rtol=1e-5, atol=1e-6 * scale)


def test_advantages_equal_package_flowgrpos():
    out, groups = GO["outputs"], GO["groups"]
    rewards, reward_map, second = tensor(GO["inputs"]["rewards"]), maps("reward_map"), maps("second_map")
    exact = {"rtol": 1e-12, "atol": 1e-13}
    for values, kind in ((rewards, "group"), (reward_map, "map")):
        close(flow.group_advantages(values, groups), out[f"{kind}_advantages_flow"], **exact)
        close(flow.group_advantages(values, groups, global_std=True), out[f"{kind}_advantages_flow_global"], **exact)
        close(flow.box_advantages(values, groups), out[f"{kind}_advantages_box"], **exact)
    close(flow.gdpo_advantages([rewards, reward_map, second], GO["weights"], groups), out["gdpo_nvlabs"], **exact)
    factory = flow.gdpo_advantages([rewards, reward_map, second], GO["weights"], groups, sample_std=False, epsilon=0, floor=1e-6)
    close(factory, out["gdpo_factory"], **exact)
    latent = tensor(GO["inputs"]["latent_rewards"]).reshape(SHAPE[0], 4, 5)
    close(flow.step_gains(latent), out["step_gains"], **exact)
    advantages, mask = tensor(GO["inputs"]["advantages"]), maps("weight")
    close(flow.mask_advantages(advantages, mask), out["masked"], **exact)
    close(flow.mask_advantages(advantages, mask, normalized=True), out["masked_normalized"], **exact)
    close(flow.noise_weights(flow.sde_step(SIGMAS, GO["index"], GO["noise_level"]).noise_std), out["noise_weights"], **exact)
    close(flow.smooth(reward_map, 2), out["smoothed"], **exact)
    old = flow.log_prob_map(flow.sde_step(SIGMAS, GO["index"]), latents("old_model_output"), latents("sample"), latents("prev_sample"))
    close(old, out["old_log_prob_sde"], **exact)


@pytest.mark.parametrize("case", PUBLIC["transitions"], ids=lambda c: f"step-{c['index']}")
@pytest.mark.parametrize("by_mean", [False, True], ids=["velocity", "mean"])
def test_trust_regions_equal_the_public_code(case, by_mean):
    step = flow.sde_step(SIGMAS, case["index"], case["noise_level"])
    sample, prev, old, ref = (latents(n, case, case["shape"]) for n in ("sample", "prev_sample", "old_model_output", "ref_model_output"))
    before = {"old_mean": flow.step_mean(step, old, sample)} if by_mean else {"old_model_output": old}
    kl = {"kl_beta": case["kl_beta"], "ref_model_output": ref}
    clip = {"clip_range": case["clip_range"], "advantage_clip": case["adv_clip_max"]}
    advantages = tensor(case["advantages"])
    for name, loss in {
        "guard": lambda v: flow.grpo_guard_loss(step, v, sample, prev, advantages, **before, **kl, **clip),
        "guard_verl": lambda v: flow.grpo_guard_loss(step, v, sample, prev, advantages, **before, **clip),
        "guard_factory": lambda v: flow.grpo_guard_loss(step, v, sample, prev, advantages, **before, **clip, unweighted=True),
        "dppo": lambda v: flow.flow_dppo_loss(step, v, sample, prev, advantages, **before, threshold=case["threshold"]),
        "dppo_unscaled": lambda v: flow.flow_dppo_loss(step, v, sample, prev, advantages, **before, threshold=case["threshold"], unscaled=True),
        "tempflow": lambda v: flow.flow_grpo_loss(
            step, v, sample, prev, flow.log_prob(step, old, sample, prev), advantages, step_weights=2.25 * step.noise_std.expand(len(sample)), **clip
        ),
    }.items():
        output = latents("model_output", case, case["shape"]).requires_grad_()
        got = loss(output)
        got.loss.backward()
        close(got.loss, case[name]["loss"])
        close(output.grad, tensor(case[name]["grad"]))


@pytest.mark.parametrize("case", PUBLIC["forward"], ids=["a", "b"])
def test_forward_losses_equal_the_public_code(case):
    clean, noise, old, ref = (latents(n, case, case["shape"]) for n in ("clean", "noise", "old_model_output", "ref_model_output"))
    sigma, advantages, target = tensor(case["sigma"]), tensor(case["advantages"]), flow.velocity_target(clean, noise)
    close(flow.noised(clean, noise, sigma), case["noised"])
    kl, clip = {"kl_beta": case["kl_beta"], "ref_model_output": ref}, {"advantage_clip": case["adv_clip_max"]}
    losses = {"nft": lambda v: flow.diffusion_nft_loss(sigma, target, v, old, advantages, beta=case["nft_beta"], **kl, **clip)}
    for weighting in ("Uniform", "t", "t**2", "huber", "ghuber"):
        losses["awm_" + weighting] = lambda v, w=weighting: flow.awm_loss(
            sigma, target, v, old, advantages, weighting=w, clip_range=case["clip_range"], **kl, **clip
        )
    losses["dpo"] = lambda v: flow.diffusion_dpo_loss(*target.chunk(2), *v.chunk(2), *ref.chunk(2), beta=case["dpo_beta"])
    for name, loss in losses.items():
        output = latents("model_output", case, case["shape"]).requires_grad_()
        got = loss(output)
        got.loss.backward()
        close(got.loss, case[name]["loss"])
        close(output.grad, tensor(case[name]["grad"]))


def test_gdpo_and_step_gains_equal_the_public_code():
    case = PUBLIC["advantages"]
    groups = tensor(case["groups"]).long()
    rewards = tensor(case["rewards"]).reshape(len(groups), -1)
    close(flow.gdpo_advantages(list(rewards.T), case["weights"], groups), case["gdpo_trl"])
    close(flow.gdpo_advantages(list(rewards.T), case["weights"], groups, sample_std=False, epsilon=0, floor=1e-6), case["gdpo_factory"])
    close(flow.noise_weights(flow.sde_step(SIGMAS, range(10), 0.7).noise_std), case["noise_weights"])
    gains = flow.step_gains(tensor(case["latent_rewards"]).reshape(len(groups), -1))
    close(flow.group_advantages(gains, groups), case["step_advantages"])


@pytest.mark.parametrize("normalized", [False, True])
@pytest.mark.parametrize("case", STAR["steps"], ids=lambda c: f"step-{c['index']}")
def test_star_equals_a_second_writing_of_its_equations(case, normalized):
    shape = STAR["shape"]
    step = flow.sde_step(SIGMAS, [case["index"]] * shape[0], STAR["noise_level"])
    sample, prev, old, output = (latents(n, case, shape) for n in ("sample", "prev_sample", "old_model_output", "model_output"))
    advantages = flow.group_advantages(tensor(STAR["rewards"]), STAR["groups"])
    close(advantages, STAR["advantages"])
    want = case["normalized" if normalized else "plain"]
    credit = flow.mask_advantages(advantages, tensor(case["mask"]).reshape(shape[0], *shape[2:]), normalized=normalized)
    close(credit, want["credit"])
    output.requires_grad_()
    got = flow.box_flow_grpo_loss(step, output, sample, prev, flow.log_prob_map(step, old, sample, prev), credit, clip_range=STAR["clip_range"])
    got.loss.backward()
    close(got.loss, want["loss"])
    close(output.grad, want["grad"])


@pytest.mark.parametrize("case", PUBLIC["windows"], ids=lambda c: c["settings"]["sample_strategy"])
def test_the_window_moves_as_in_the_public_code(case):
    s = case["settings"]
    stride = s.get("prog_overlap_step", 1) if s.get("prog_overlap") else None
    window = flow.Window(
        s["max_timesteps"], s["group_size"], s["iters_per_group"], strategy=s["sample_strategy"], start=s.get("cur_timestep", 0), stride=stride,
        roll_back=s.get("roll_back", False),
    )  # fmt: skip
    for steps in case["steps"]:
        assert list(window.inside()) == steps
        window.advance()


def test_a_random_window_reaches_every_place():
    window, rng, places = flow.Window(10, 4, 1, strategy="random"), random.Random(1), set()
    for _ in range(300):
        window.advance(rng)
        places.add(window.place)
    assert places == set(range(7))


@pytest.mark.parametrize("case", GO["cases"], ids=name_of)
def test_no_loss_is_nan_for_finite_input(case):
    """Squares of 1e19 are beyond float32."""
    for scale in (0.0, 30.0, 1e10, 1e19, 1e30, 1e36):
        for names in (("output",), ("old_model_output",), ("sample", "prev_sample", "target"), ("output", "old_model_output", "ref_model_output")):
            x = Inputs(torch.float32, False)
            for name in names:
                setattr(x, name, getattr(x, name).detach() * scale)
            x.output.requires_grad_()
            got = take(case, x)
            got.loss.backward()
            assert all(torch.isfinite(v) for v in got), (scale, names, got)
            assert torch.isfinite(x.output.grad).all(), (scale, names)


@pytest.mark.parametrize("case", GO["cases"], ids=name_of)
@pytest.mark.parametrize("bad", [float("nan"), float("inf")])
def test_a_latent_that_is_not_finite_shows(case, bad):
    x = Inputs(torch.float32, False)
    with torch.no_grad():
        x.output[1, 0, 0, 0] = bad
    x.output.requires_grad_()
    assert torch.isnan(take(case, x).loss)


@pytest.mark.parametrize("values", [[1.0, 1.0], [1e20, -1e20]])
def test_masks_and_rewards_that_have_no_advantage_say_so(values):
    mask = torch.ones(2, 2, 2)
    for want, bad in (("is -1.0", -1.0), ("is nan", float("nan")), ("is inf", float("inf"))):
        mask[1, 1, 0] = bad
        with pytest.raises(ValueError, match=f"mask of sample 1 {want}"):
            flow.mask_advantages(torch.tensor(values), mask)
    mask[1] = 0
    assert flow.mask_advantages(torch.tensor(values), mask)[1].abs().max() == 0
    with pytest.raises(ValueError, match="mask of sample 1 is 0 everywhere"):
        flow.mask_advantages(torch.tensor(values), mask, normalized=True)
    if max(values) > 1:
        with pytest.raises(ValueError, match="reward of sample 0 is 1.* too large"):
            flow.group_advantages(torch.tensor(values, dtype=torch.float32), [0, 0])
        close(flow.group_advantages(torch.tensor(values, dtype=torch.float64), [0, 0]), torch.tensor([1.0, -1.0]).double())


def test_wrong_choices_say_so():
    x, step = Inputs(torch.float64, False), flow.sde_step(SIGMAS, GO["index"])
    advantages, weight = x.credit(False)[0], maps("weight")
    with pytest.raises(ValueError, match="either old_model_output or old_mean"):
        flow.grpo_guard_loss(step, x.output, x.sample, x.prev_sample, advantages)
    with pytest.raises(ValueError, match="neither an advantage map nor a weight"):
        flow.flow_dppo_loss(step, x.output, x.sample, x.prev_sample, advantages, weight, old_model_output=x.old_model_output)
    with pytest.raises(ValueError, match="is not one of"):
        flow.grpo_guard_loss(step, x.output, x.sample, x.prev_sample, advantages, old_model_output=x.old_model_output, ratio="sideways")
    with pytest.raises(ValueError, match="huber"):
        flow.awm_loss(x.sigma, x.target, x.output, None, advantages, weighting="huber", ratio="direct")
    with pytest.raises(ValueError, match="a window of"):
        flow.Window(3, 4, 1, strategy="random")


@pytest.mark.parametrize("case", GO["cases"], ids=name_of)
def test_steps_and_credit_may_come_from_another_device(case):
    """The meta device holds no values, and refuses to meet a tensor of the CPU as a GPU
    would. Steps, advantages and maps stay on the CPU here."""
    x = Inputs(torch.float32, False)
    for name, value in vars(x).items():
        if torch.is_tensor(value) and name != "sigma":
            setattr(x, name, value.detach().to("meta"))
    x.output.requires_grad_()
    got = take(case, x)
    got.loss.backward()
    assert got.loss.device.type == "meta" and x.output.grad.shape == x.output.shape
