"""The part of Flow-Factory that meets a reward server: what its remote reward
model sends and what it makes of the answers, written for these tests from the
published behaviour, and the base classes of its reward models."""

import base64
import io
import sys
import types
from dataclasses import dataclass
from typing import Any, Optional

import requests


@dataclass
class RewardModelOutput:
    rewards: Any
    extra_info: Optional[dict] = None


class PointwiseRewardModel:
    required_fields = ("image", "prompt")
    use_tensor_inputs = False

    def __init__(self, config, accelerator):
        self.accelerator, self.config = accelerator, config
        self.device = accelerator.device


class GroupwiseRewardModel(PointwiseRewardModel):
    pass


class Config:
    """A reward's entry in the training configuration: what it does not name is
    not an attribute."""

    def __init__(self, **entries):
        vars(self).update(entries)


class Accelerator:
    def __init__(self, device="cpu"):
        self.device = device


def install(monkeypatch):
    """Makes the package importable under its own name."""
    package, rewards, abc = (types.ModuleType(f"flow_factory{s}") for s in ("", ".rewards", ".rewards.abc"))
    abc.PointwiseRewardModel, abc.GroupwiseRewardModel = PointwiseRewardModel, GroupwiseRewardModel
    abc.RewardModelOutput = RewardModelOutput
    for module in (package, rewards, abc):
        monkeypatch.setitem(sys.modules, module.__name__, module)


class RemoteReward:
    """A remote pointwise reward: PNG files in base64 in JSON, five fields of which
    absent ones are null (six with keyword arguments), three attempts on anything
    that requests counts as an error, statuses from 400 up among them."""

    def __init__(self, server_url, timeout=60.0, retries=3):
        self.url, self.timeout, self.retries = server_url.rstrip("/"), timeout, retries
        self.session = requests.Session()

    def health_check(self):
        try:
            return self.session.get(f"{self.url}/health", timeout=5.0).ok
        except Exception:
            return False

    def compute(self, prompt, image=None, video=None, condition_images=None, condition_videos=None, **kwargs):
        payload = {
            "prompt": prompt,
            "image": [encoded(i) for i in image] if image else None,
            "video": [[encoded(f) for f in v] for v in video] if video else None,
            "condition_images": [[encoded(i) for i in c] for c in condition_images] if condition_images else None,
            "condition_videos": [[[encoded(f) for f in v] for v in c] for c in condition_videos] if condition_videos else None,
            "kwargs": kwargs or None,
        }
        for attempt in range(self.retries):
            try:
                answer = self.session.post(f"{self.url}/compute", json=payload, timeout=self.timeout)
                answer.raise_for_status()
                data = answer.json()
                if data.get("error"):
                    raise RuntimeError(f"Server error: {data['error']}")
                return data["rewards"]
            except requests.RequestException as e:
                if attempt == self.retries - 1:
                    raise RuntimeError(f"Failed to connect to {self.url}: {e}")
        raise RuntimeError("Unreachable")


def encoded(image):
    if isinstance(image, bytes):
        return base64.b64encode(image).decode()
    buffer = io.BytesIO()
    image.save(buffer, format="PNG")
    return base64.b64encode(buffer.getvalue()).decode()
