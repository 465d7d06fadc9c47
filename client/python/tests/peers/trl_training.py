"""Two steps of TRL's GRPOTrainer with the reward function of `densereward.integrations.trl`,
and what becomes of the training where a reward fails:

    python trl_training.py SERVER

SERVER is the address of tests/testdata/fakeserver. Needs torch, transformers, trl,
datasets and accelerate, and this package; the model is a tiny one of random weights.
"""

import sys
import tempfile

import torch
from datasets import Dataset
from PIL import Image
from tokenizers import Tokenizer, models, pre_tokenizers
from transformers import GPT2Config, GPT2LMHeadModel, PreTrainedTokenizerFast
from trl import GRPOConfig, GRPOTrainer

import densereward
from densereward.integrations.trl import reward_function

WORDS = "<pad> <eos> <unk> a the cat dog fish red blue fail :".split()


def tokenizer():
    words = Tokenizer(models.WordLevel({word: i for i, word in enumerate(WORDS)}, unk_token="<unk>"))
    words.pre_tokenizer = pre_tokenizers.Whitespace()
    return PreTrainedTokenizerFast(tokenizer_object=words, pad_token="<pad>", eos_token="<eos>", unk_token="<unk>")


def drawn(seed):
    pixels = torch.randint(0, 256, (24, 32, 3), dtype=torch.uint8, generator=torch.Generator().manual_seed(seed))
    return Image.fromarray(pixels.numpy())


def trainer(server, prompts, folder):
    torch.manual_seed(0)
    config = GPT2Config(vocab_size=len(WORDS), n_positions=32, n_embd=16, n_layer=1, n_head=2, bos_token_id=1, eos_token_id=1, pad_token_id=0)
    arguments = GRPOConfig(
        output_dir=folder, max_steps=2, per_device_train_batch_size=4, num_generations=4, max_completion_length=4, beta=0.0,
        logging_steps=1, save_strategy="no", report_to=[], use_cpu=True, disable_tqdm=True, dataloader_pin_memory=False,
    )  # fmt: skip
    columns = {"prompt": prompts, "picture": [drawn(i) for i in range(len(prompts))]}
    score = reward_function(server, images="picture", name="doctor")
    return GRPOTrainer(
        model=GPT2LMHeadModel(config), reward_funcs=[score], args=arguments, train_dataset=Dataset.from_dict(columns), processing_class=tokenizer()
    )


def main():
    server = sys.argv[1]
    with tempfile.TemporaryDirectory() as folder:
        training = trainer(server, ["a cat", "the red dog"], folder)
        training.train()
        steps = [entry for entry in training.state.log_history if "rewards/doctor/mean" in entry]
        assert len(steps) == 2, training.state.log_history
        # Each step has one prompt, whose image the server scores the same for all of its completions.
        with densereward.Client(server) as client:
            known = client.score([drawn(0), drawn(1)], ["a cat", "the red dog"]).rewards.tolist()
        for step in steps:
            mean = step["rewards/doctor/mean"]
            assert min(abs(mean - reward) for reward in known) < 1e-6, (mean, known)
            assert 0 <= step["doctor/overall"] <= 1, step
        failing = trainer(server, ["fail: a cat", "fail: the dog"], folder)
        try:
            failing.train()
        except densereward.SamplesFailedError as e:
            assert "told to fail" in str(e), e
        else:
            raise AssertionError("a failed reward did not stop the training")
        assert failing.state.global_step == 0
    print(f"TRL took 2 steps with rewards of {[round(s['rewards/doctor/mean'], 4) for s in steps]}, and a failed reward stopped it")


main()
