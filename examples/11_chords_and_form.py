"""A chord chart and section tags, rendered as written. Only for checkpoints with a guide, such as the embedded one."""

from acestep_like import AceStepHandler, GenerationConfig, GenerationParams, generate_music

dit = AceStepHandler.from_pretrained("mini")

params = GenerationParams(
    caption="acoustic folk with guitar and bass",
    lyrics="[Verse]\nla la la\n[Chorus]\nla la la",
    chords="verse: Am | F | C | G; chorus: F | G | Am | Am",
    bpm=96,
    keyscale="A minor",
    duration=20,
)
result = generate_music(dit, None, params, GenerationConfig(batch_size=1), save_dir="outputs")
print(result.audios[0].params["plan"]["chords"] if result.success else result.error)
