"""A song from lyrics; the section tags shape its form. (The embedded model hums: it has no words.)"""

from acestep_like import AceStepHandler, GenerationConfig, GenerationParams, LLMHandler, generate_music

dit = AceStepHandler.from_pretrained("mini")
llm = LLMHandler.from_pretrained("mini")

params = GenerationParams(
    caption="pop ballad with gentle vocals",
    lyrics="""[Verse]
Morning comes without a sound
Paper boats on open ground

[Chorus]
Carry me over, carry me home
""",
    vocal_language="en",
    bpm=72,
    duration=15,
)
result = generate_music(dit, llm, params, GenerationConfig(batch_size=1), save_dir="outputs")
print(result.audios[0].path if result.success else result.error)
