"""Watching a run: real progress, a preview of the clean estimate, and stopping when it is good enough to judge."""

from acestep_like import AceStepHandler, CancelToken, GenerationConfig, GenerationParams, generate_music

dit = AceStepHandler.from_pretrained("mini")
token = CancelToken()


def watch(event):
    if event.step == event.total // 2:
        audio = event.preview()  # [1, 2, samples] at 48 kHz
        print(f"half way: peak {float(audio.abs().max()):.2f}")
        token.cancel()


params = GenerationParams(caption="techno with a driving bass", duration=10)
result = generate_music(
    dit,
    None,
    params,
    GenerationConfig(batch_size=1),
    save_dir="outputs",
    progress=lambda value, desc: print(f"{value:4.0%} {desc}"),
    on_step=watch,
    cancel=token,
)
print(result.success, result.error)
