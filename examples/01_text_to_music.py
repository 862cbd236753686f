"""Two variations of a description, with the language model planning what is left open."""

from acestep_like import AceStepHandler, GenerationConfig, GenerationParams, LLMHandler, generate_music

dit = AceStepHandler.from_pretrained("mini")
llm = LLMHandler.from_pretrained("mini")

params = GenerationParams(
    task_type="text2music",
    caption="calm ambient music with warm strings and a soft piano",
    duration=12,
    bpm=80,
    keyscale="C Major",
)
config = GenerationConfig(batch_size=2, audio_format="flac")
result = generate_music(dit, llm, params, config, save_dir="outputs")

if result.success:
    for number, audio in enumerate(result.audios, 1):
        print(f"variation {number}: {audio['path']}, seed {audio['params']['seed']}")
else:
    print(result.error)
