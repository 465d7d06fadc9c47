"""Checks a checkpoint that training wrote, the Parquet of held-out scenes, and the pocket checkpoint.

    python tests/check.py CHECKPOINT PARQUET
"""

import io
import json
import random
import sys
from pathlib import Path

import numpy as np
import pyarrow.parquet as pq
import torch
import torch.nn.functional as F
from PIL import Image

HERE = Path(__file__).resolve().parent
sys.path.insert(0, str(HERE.parent))
POCKET = HERE.parents[2] / "engine" / "imagedoctor" / "pocket"

import annotated
import checkpoint
import model
import ties
from attach import EMBEDDING, TOKENS, attach
from generate import generate
from grpo import policy_loss
from rewards import published
from samples import BRANCH_LENGTH, Text, batch, images, layout
from scenes.heldout import SCORES, SIDE, samples, write_lines, write_parquet
from train import resized, resizing


def check_packing(net, text):
    """Captions packed behind one image have the states that they have one by one."""
    branches = 3
    made = batch(text, random.Random(1), {"answer": (1, branches)})["answer.ids"][0]
    image = torch.randn(1, model.IMAGE_TOKENS, text.config["hidden_size"], generator=torch.Generator().manual_seed(1))
    prefix = torch.tensor(text.prefix["answer"])

    def states(rows):
        plan = layout(text, "answer", len(rows))
        ids = torch.cat([prefix, torch.from_numpy(made[rows]).flatten()])[None]
        hidden = net.hidden(net.embed(ids, image, plan.start), net.model.rope(plan.positions()), plan.mask(), plan.pack)
        return hidden[0, plan.prefix:].view(len(rows), plan.branch, -1)

    with torch.no_grad():
        together, alone = states(list(range(branches))), torch.cat([states([k]) for k in range(branches)])
    assert torch.allclose(together, alone, atol=1e-4), (together - alone).abs().max()


def check_round_trip(folder):
    """What was written is what is read, to bfloat16."""
    net = checkpoint.load(folder)
    for name, t in net.state_dict().items():
        assert torch.isfinite(t).all(), name
        assert torch.equal(t, t.to(torch.bfloat16).float()), name


def check_attach(folder):
    """A plain Qwen2.5-VL, here the pocket's, becomes an ImageDoctor whose trunk is unchanged."""
    plain, doctor = Path(folder) / "plain", Path(folder) / "doctor"
    plain.mkdir()
    config = {k: v for k, v in json.loads((POCKET / "config.json").read_text()).items()
              if k not in ("misalignment_token_id", "artifact_token_id", "heatmap_weight")}
    (plain / "config.json").write_text(json.dumps(config))
    tokens = json.loads((POCKET / "tokenizer.json").read_text(encoding="utf-8"))
    tokens["added_tokens"] = [t for t in tokens["added_tokens"] if t["content"] not in TOKENS]
    (plain / "tokenizer.json").write_text(json.dumps(tokens), encoding="utf-8")
    (plain / "preprocessor_config.json").write_bytes((POCKET / "preprocessor_config.json").read_bytes())
    trunk = {k: v for k, v in checkpoint.read_tensors(POCKET).items() if k.startswith(("model.", "visual."))}
    rows = max(t["id"] for t in tokens["added_tokens"]) + 1
    trunk[EMBEDDING] = trunk[EMBEDDING][:rows]  # no room for the new tokens
    checkpoint.write_tensors(plain, trunk)
    attach(plain, doctor, width=64, hidden=256)
    made, text = checkpoint.load(doctor), Text(doctor)
    assert {text.misalignment, text.artifact} == {rows, rows + 1} and text.config["vocab_size"] == rows + 2
    assert text.tokenizer.encode("".join(TOKENS)).ids == [rows, rows + 1]
    for name, t in made.state_dict().items():
        if name in trunk:
            assert torch.equal(t[:len(trunk[name])], trunk[name]), name


def check_parquet(path):
    count = 3
    write_parquet(path, "heldout", count)
    rows, scenes = pq.read_table(path).to_pylist(), samples("heldout", count)
    assert len(rows) == count
    for row, s in zip(rows, scenes):
        assert row["prompt"] == s.caption.text and tuple(row[f"true_{k}"] for k in SCORES) == s.truth.scores
        assert Image.open(io.BytesIO(row["image"])).size == (512, 512)
        for name in ("true_misalignment", "true_artifact"):
            heat = np.load(io.BytesIO(row[name]))
            assert heat.shape == (288, 288) and heat.dtype == np.uint8
        assert all(len(b["box_2d"]) == 4 for b in row["true_boxes"])


def check_lines(path):
    """Lines hold what Parquet holds, in files that they name."""
    rows = pq.read_table(path).to_pylist()
    lines = Path(path).with_suffix(".jsonl")
    write_lines(lines, "heldout", len(rows))
    for row, line in zip(rows, lines.read_text(encoding="utf-8").splitlines(), strict=True):
        one = json.loads(line)
        for column in ("image", "true_misalignment", "true_artifact"):
            assert (lines.parent / one.pop(column)).read_bytes() == row.pop(column), column
        assert one == row


def check_resized():
    """What training sees is what the evaluator sees, but for the rounding of some levels."""
    images = torch.randint(0, 256, (1, 3, SIDE, SIDE), generator=torch.Generator().manual_seed(2)).float()
    want = F.interpolate(images, (model.IMAGE_SIDE,) * 2, mode="bicubic", antialias=True).round().clamp(0, 255)
    apart = (resized(images / 255, resizing(images.device)) * 255 - want).abs()
    assert apart.max() < 1.01 and (apart > 0.5).float().mean() < 1e-3, apart.max()


def check_twins(text):
    """Some flawed image is followed by its scene without the flaws, under the same captions."""
    made = [slots for _, slots in images(text, "answer", 1, random.Random(5), 12)]
    apart = [np.abs(a["frame"] - b["frame"]).max() for a, b in zip(made, made[1:])]
    assert 0.0 in apart


def check_pocket(count):
    """The pocket checkpoint says what it said when its regression data was written."""
    net, text = checkpoint.load(POCKET).eval(), Text(POCKET)
    for case in json.loads((POCKET / "testdata" / "cases.json").read_text(encoding="utf-8"))[:count]:
        small = Image.open(POCKET / "testdata" / case["image"]).resize((model.IMAGE_SIDE,) * 2, Image.BICUBIC)
        with torch.no_grad():
            image = net.visual(model.patchify(torch.from_numpy(np.array(small)).permute(2, 0, 1)[None].float() / 255))
        for a in case["answers"]:
            ids, _, _ = generate(net, text, a["mode"], image, [a["prompt"]], BRANCH_LENGTH[a["mode"]])
            assert ids[0] == a["generated_ids"], (a["prompt"], text.decode(ids[0]))


def check_policy_loss():
    """Where nothing has changed the loss is that of the policy gradient; a ratio past the clip gives no gradient; apart costs."""
    advantages, mask = torch.tensor([1.0, -2.0]), torch.tensor([[1, 1, 0], [1, 0, 0]], dtype=torch.bool)
    old = torch.log(torch.tensor([[0.5, 0.25, 0.9], [0.5, 0.9, 0.9]]))
    new = old.clone().requires_grad_()
    loss, figures = policy_loss(new, old, old, advantages, mask, 0.2, 0.04)
    loss.backward()
    assert abs(loss.item() - 0.5) < 1e-6 and figures["kl"] == 0 and figures["clipped"] == 0
    assert torch.allclose(new.grad, torch.tensor([[-0.25, -0.25, 0], [1.0, 0, 0]]))
    new = (old + torch.tensor([[0.5, -0.5, 0], [0.5, 0, 0]])).requires_grad_()
    policy_loss(new, old, old, advantages, mask, 0.2, 0.0)[0].backward()
    assert new.grad[0, 0] == 0 and new.grad[0, 1] < 0 and new.grad[1, 0] > 0, new.grad
    assert policy_loss(new, new, old, 0 * advantages, mask, 0.2, 1.0)[0] > 0


def check_published():
    text = '<think>\nA. {"box_2d":[0,250,500,1000],"label":"artifact","importance":50}</think>\n<answer>Aesthetic score: 0.50\nx</answer><|im_end|>'
    assert published(text) == text.replace("0.50", "0.50;").replace("[0,250,500,1000]", "[0,128,256,512]").replace("<|im_end|>", "")


def check_annotated():
    """Annotated images come as they were: scores, heat from npy and PNG, the image; a long caption is passed over, a bad score is not."""
    rng = np.random.default_rng(3)
    image, heat = rng.integers(0, 256, (64, 48, 3), np.uint8), rng.integers(0, 256, (288, 288), np.uint8)
    png, as_bytes, as_floats = io.BytesIO(), io.BytesIO(), io.BytesIO()
    Image.fromarray(image).save(png, "PNG")
    np.save(as_bytes, heat)
    np.save(as_floats, heat.astype(np.float64) / 255)
    grey = io.BytesIO()
    Image.fromarray(heat).save(grey, "PNG")
    for written in (as_bytes, as_floats, grey):
        assert np.array_equal(annotated.read_map(written.getvalue()), heat)
    columns = {"image": "i", "caption": "c", "scores": list("wxyz"), "maps": ["m", "n"]}
    row = {"i": png.getvalue(), "c": "a red circle", "w": 0.25, "x": 1.0, "y": 0.0, "z": 0.5, "m": grey.getvalue(), "n": as_bytes.getvalue()}
    text = Text(POCKET)
    made = annotated.build(text, row, columns)
    assert made["images"].shape == (3, model.IMAGE_SIDE, model.IMAGE_SIDE) and np.array_equal(made["heat"][1], heat)
    assert "Semantic Alignment score: 0.25" in text.decode(made["answer.ids"][0]) and made["answer.scores"].tolist() == [[0.25, 1.0, 0.0, 0.5]]
    assert annotated.build(text, dict(row, c="red " * 500), columns) is None
    for bad in (1.5, float("nan")):
        try:
            annotated.build(text, dict(row, w=bad), columns)
        except ValueError:
            continue
        raise AssertionError(f"a score of {bad} was taken")


def check_ties():
    """Steps of bfloat16, where answers part, and how far two tokens are apart."""
    for value in (1.0, 1.9921875, 2.0, -20.0, 0.0625):
        at = torch.tensor(abs(value), dtype=torch.bfloat16)
        assert at.float() + ties.ulp(value) == torch.nextafter(at, torch.tensor(9.0, dtype=torch.bfloat16) * 9).float(), value
    assert ties.parting([1, 2, 3], [1, 2, 3]) is None and ties.parting([1, 2, 3], [1, 4, 3]) == 1 and ties.parting([1, 2], [1, 2, 3]) == 2
    logits = torch.tensor([20.0, 19.95, 3.0])
    assert ties.gap(logits, 0, 1) < 1 < ties.gap(logits, 0, 2)


def main():
    folder, parquet = sys.argv[1:]
    check_round_trip(folder)
    check_packing(checkpoint.load(folder).eval(), Text(folder))
    check_attach(Path(parquet).parent)
    check_parquet(parquet)
    check_lines(parquet)
    check_resized()
    check_twins(Text(folder))
    check_pocket(2)
    check_policy_loss()
    check_published()
    check_annotated()
    check_ties()
    print("tests/check.py: a written checkpoint, packing, attached heads, the loss of fine-tuning, annotated images, ties, Parquet and the pocket checkpoint are as they should be")


if __name__ == "__main__":
    main()
