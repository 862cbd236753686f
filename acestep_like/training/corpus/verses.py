"""Lyrics from a small grammar: section tags and lines in six languages. Standard library only.

The songs are sung on vowels; the words give the text side of the model something of a lyric's shape.
"""

from __future__ import annotations

import random

from acestep_like.training.corpus.song import Song

_LINES: dict[str, dict[str, tuple[str, ...]]] = {
    "en": {
        "verse": (
            "{w} the {n} on the {p}",
            "I {v} the {n} tonight",
            "Every {n} leads me {d}",
            "You {v} my {n} like the {p}",
            "There's a {n} in the {p}",
            "I keep on {g} {d}",
            "We were {g} by the {p}",
            "Nobody knows the {n} I {v}",
            "The {p} is calling {d}",
            "Still I {v} your {n}",
        ),
        "chorus": (
            "Oh, {v} me {d}",
            "Hold on to the {n}",
            "We are {g}, {g} {d}",
            "Sing it to the {p}",
            "Take me {d} again",
            "Let the {n} {v} me {d}",
            "All we need is the {n}",
            "Never let the {n} go",
        ),
        "bridge": (
            "And if the {n} should fall",
            "Maybe the {p} will know",
            "Just {v} a little more",
            "Only the {n} remains",
        ),
    },
    "es": {
        "verse": ("Camino por la {p} sin {n}", "Tu {n} me lleva {d}", "La {n} canta en la {p}", "Todavía busco tu {n}"),
        "chorus": ("Ven conmigo {d}", "Canta, canta mi {n}", "Quiero tu {n} {d}", "Nunca dejes la {n}"),
        "bridge": ("Y si la {n} se va", "Solo queda la {p}"),
    },
    "fr": {
        "verse": (
            "Je marche sur la {p} sans {n}",
            "Ta {n} me porte {d}",
            "La {n} chante dans la {p}",
            "Je cherche encore ta {n}",
        ),
        "chorus": ("Viens avec moi {d}", "Chante, chante ma {n}", "Je veux ta {n} {d}", "Ne perds jamais la {n}"),
        "bridge": ("Et si la {n} s'en va", "Il reste la {p}"),
    },
    "de": {
        "verse": (
            "Ich gehe durch die {p} ohne {n}",
            "Deine {n} trägt mich {d}",
            "Die {n} singt in der {p}",
            "Ich suche noch die {n}",
        ),
        "chorus": ("Komm mit mir {d}", "Sing für mich die {n}", "Ich will deine {n} {d}", "Vergiss niemals die {n}"),
        "bridge": ("Und wenn die {n} vergeht", "Nur die {p} bleibt hier"),
    },
    "it": {
        "verse": (
            "Cammino sulla {p} senza {n}",
            "La tua {n} mi porta {d}",
            "La {n} canta nella {p}",
            "Cerco ancora la {n}",
        ),
        "chorus": ("Vieni con me {d}", "Canta, canta la {n}", "Voglio la {n} {d}", "Non lasciare la {n}"),
        "bridge": ("E se la {n} va via", "Resta solo la {p}"),
    },
    "pt": {
        "verse": ("Eu ando pela {p} sem {n}", "A tua {n} me leva {d}", "A {n} canta na {p}", "Ainda busco a {n}"),
        "chorus": ("Vem comigo {d}", "Canta, canta a {n}", "Quero a tua {n} {d}", "Nunca deixes a {n}"),
        "bridge": ("E se a {n} partir", "Só fica a {p}"),
    },
}
_WORDS: dict[str, dict[str, tuple[str, ...]]] = {
    "en": {
        "n": (
            "river",
            "fire",
            "shadow",
            "morning",
            "promise",
            "thunder",
            "window",
            "heart",
            "moonlight",
            "dream",
            "memory",
            "rain",
            "silence",
            "summer",
            "stone",
            "garden",
            "song",
            "whisper",
            "signal",
            "lantern",
        ),
        "p": (
            "city",
            "ocean",
            "valley",
            "highway",
            "rooftop",
            "mountain",
            "station",
            "desert",
            "harbour",
            "night sky",
            "old town",
            "shoreline",
        ),
        "v": ("follow", "carry", "remember", "hold", "leave", "find", "feel", "believe", "burn", "need"),
        "g": ("running", "dancing", "falling", "waiting", "dreaming", "driving", "shining", "floating"),
        "d": ("home", "away", "tonight", "again", "forever", "higher", "slowly", "tomorrow"),
        "w": ("Down by", "I see", "Under", "Beyond", "We left", "Chasing"),
    },
    "es": {
        "n": ("luna", "voz", "lluvia", "noche", "sombra", "luz"),
        "p": ("calle", "playa", "ciudad", "montaña"),
        "d": ("otra vez", "lejos", "sin parar", "al mar"),
    },
    "fr": {
        "n": ("lune", "voix", "pluie", "nuit", "lumière", "chanson"),
        "p": ("route", "plage", "ville", "montagne"),
        "d": ("encore", "au loin", "ce soir", "toujours"),
    },
    "de": {
        "n": ("Nacht", "Stimme", "Sonne", "Zeit", "Hoffnung", "Liebe"),
        "p": ("Stadt", "Straße", "Ferne", "Stille"),
        "d": ("heim", "noch einmal", "weit fort", "heute"),
    },
    "it": {
        "n": ("luna", "voce", "pioggia", "notte", "luce", "stella"),
        "p": ("strada", "spiaggia", "città", "montagna"),
        "d": ("ancora", "lontano", "stasera", "per sempre"),
    },
    "pt": {
        "n": ("lua", "voz", "chuva", "noite", "luz", "saudade"),
        "p": ("rua", "praia", "cidade", "montanha"),
        "d": ("outra vez", "para longe", "sem parar", "de novo"),
    },
}
_TAGS = {
    "intro": "[Intro]",
    "verse": "[Verse]",
    "chorus": "[Chorus]",
    "bridge": "[Bridge]",
    "solo": "[Solo]",
    "outro": "[Outro]",
}


def _line(rng: random.Random, language: str, kind: str) -> str:
    """A line of the grammar with its slots filled; the same slot twice takes two words."""
    text = rng.choice(_LINES[language][kind])
    for slot, words in _WORDS[language].items():
        while "{" + slot + "}" in text:
            text = text.replace("{" + slot + "}", rng.choice(words), 1)
    return text[:1].upper() + text[1:]


def _tag(name: str, number: int, numbered: bool, rng: random.Random) -> str:
    tag = _TAGS[name]
    if name == "solo" and rng.random() < 0.5:
        tag = "[Interlude]" if rng.random() < 0.3 else "[Guitar Solo]" if rng.random() < 0.3 else tag
    return f"[Verse {number}]" if name == "verse" and numbered else tag


def lyrics(song: Song) -> str:
    """The song's lyrics: lines under section tags when it is sung (the chorus returns word for word); else
    `[Instrumental]`, for a third of the songs as bare section tags."""
    rng = random.Random(f"{song.seed}/lyrics")
    sections = song.plan.sections
    numbered = rng.random() < 0.6
    if not song.has_vocals:
        if rng.random() < 0.65 or not sections:
            return "[Instrumental]"
        verses = iter(range(1, len(sections) + 1))
        return "\n".join(_tag(s.name, next(verses) if s.name == "verse" else 0, numbered, rng) for s in sections)
    chorus: list[str] = []
    blocks, verse = [], 0
    for section in sections:
        verse += section.name == "verse"
        tag = _tag(section.name, verse, numbered, rng)
        lines: list[str] = []
        if section.name in ("verse", "chorus", "bridge"):
            count = 2 if section.bars <= 2 or section.name == "bridge" else 4
            if section.name == "chorus" and chorus:
                lines = chorus
            else:
                lines = [_line(rng, song.language, section.name) for _ in range(count)]
                chorus = lines if section.name == "chorus" else chorus
        blocks.append("\n".join([tag, *lines]))
    return "\n\n".join(blocks)
