"""Makes this folder anew: `python make.py`, in an environment of its own with `pip install stable-audio-tools==0.0.19`.

A tiny random model of Stable Audio Open 1.0's architecture, made and played by stable-audio-tools; `t5/` is the text
encoder of `tests/tiny_stable_audio.py`. The package reads T5 in float16 and knows published names of T5 only: both are
set aside here.
"""

import json
from pathlib import Path

import torch
from safetensors.torch import save_file
from stable_audio_tools.inference.generation import generate_diffusion_cond
from stable_audio_tools.models import conditioners
from stable_audio_tools.models.factory import create_model_from_config

HERE = Path(__file__).parent
KEPT = slice(6000, 10096)
"""Samples that are kept of each result."""

conditioners.T5Conditioner.T5_MODELS = [str(HERE / "t5")]
conditioners.T5Conditioner.T5_MODEL_DIMS = {str(HERE / "t5"): 16}
config = json.loads((HERE / "model_config.json").read_text())
config["model"]["conditioning"]["configs"][0]["config"]["t5_model_name"] = str(HERE / "t5")
torch.manual_seed(0)
model = create_model_from_config(config).eval()
t5 = model.conditioner.conditioners["prompt"]
t5.__dict__["model"] = t5.model.float()
generator = torch.Generator().manual_seed(1)
with torch.no_grad():
    for name, weight in model.named_parameters():  # no weight keeps an initial value that could hide an error
        if "weight_g" not in name and "gamma" not in name:
            weight.add_(0.05 * torch.randn(weight.shape, generator=generator))
state = {name: tensor.half().contiguous() for name, tensor in model.state_dict().items()}
save_file(state, HERE / "model.safetensors")
model.load_state_dict({name: tensor.float() for name, tensor in state.items()})
made = {}
for place, case in enumerate(json.loads((HERE / "cases.json").read_text())):
    condition = {name: case[name] for name in ("prompt", "seconds_start", "seconds_total")}
    negative = [{**condition, "prompt": case["negative_prompt"]}] if "negative_prompt" in case else None
    with torch.no_grad():
        audio = generate_diffusion_cond(
            model,
            steps=case["steps"],
            cfg_scale=case["cfg_scale"],
            conditioning=[condition],
            negative_conditioning=negative,
            sample_size=config["sample_size"],
            sample_rate=config["sample_rate"],
            seed=case["seed"],
            device="cpu",
            sampler_type=case["sampler_type"],
            sigma_min=0.01,
            sigma_max=100,
            rho=1.0,
        )
    made[str(place)] = audio[0, :, KEPT].contiguous()
save_file(made, HERE / "expected.safetensors")
