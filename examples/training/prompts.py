"""ImageDoctor's prompts, read from the files of the Go evaluator, which hold them character for character."""

from pathlib import Path

FOLDER = Path(__file__).resolve().parents[2] / "engine" / "imagedoctor" / "prompts"
TASKS = {mode: (FOLDER / f"{mode}.txt").read_text(encoding="utf-8") for mode in ("answer", "think")}
# What fast mode begins the answer with.
ANSWER_PREFIX = "<think>\n...</think>\n<answer>"
IMAGE_PAD = "<|image_pad|>"


def chat(mode):
    """The text of a chat before the caption and behind it."""
    head, tail = TASKS[mode].split("{prompt}")
    head = ("<|im_start|>system\nYou are a helpful assistant.<|im_end|>\n<|im_start|>user\n"
            f"<|vision_start|>{IMAGE_PAD}<|vision_end|>" + head)
    return head, tail + "<|im_end|>\n<|im_start|>assistant\n"
