"""Words that say nothing about the sound, so that a text encoder learns to pass over what it does not know.

Without them one odd word takes over: its letters share tokens with some word of a style ("typical" with "tropical"),
and a model that has only met telling words believes it. Half are common English, half are made up letter by letter so
that they look like the words that do tell.
"""

from __future__ import annotations

import random
import re
from collections import defaultdict
from collections.abc import Iterable, Sequence

PHRASES = (
    "zorble",
    "banana",
    "thursday",
    "for my sister",
    "v2",
    "final mix",
    "please",
    "asap",
    "project blue",
    "lorem ipsum",
    "high quality",
    "masterpiece",
    "best ever",
    "purple",
    "for youtube",
    "royalty free",
    "4k",
    "copyright free",
    "studio",
    "award winning",
    "vibe check",
    "no idea",
    "my dog max",
    "chapter three",
    "trending",
    "tiktok",
    "intro for my podcast",
    "demo",
    "untitled",
    "test",
    "xyz",
    "hello",
    "for a friend's wedding",
    "mars",
    "glimmerwood",
    "qwerty",
    "something",
    "whatever",
    "interesting",
    "unique",
    "professional",
    "as usual",
    "the usual sounds",
    "with all the trimmings",
    "you know what i mean",
    "in the usual way",
    "of its kind",
    "nothing special",
    "with everything it needs",
    "like the ones on the radio",
    "real instruments",
    "good melody",
    "nice arrangement",
    "interesting harmony",
    "catchy hook",
    "clear structure",
    "great composition",
    "well recorded",
    "no filler",
    "surprise me",
    "first take",
    "version two",
    "take your time",
    "by the book",
    "to the point",
)
"""What people add to a request that tells nothing about it."""

COMMON = tuple(
    """able about above account across actual again against agree almost already also always among amount animal
    another answer any apple area article ask attention authentic available average away ball bank based basic
    basket because become before begin behind believe below beside better between bird board book both branch
    bread bring brother business busy button buy call camera card care carry case catch cause center certain
    chair chance change character check choice choose circle classified climb cloth collect color company
    compare complete complex concern condition consider contain continue control copy corner correct count
    couple course cover create current customer customs daily data day decide default describe design desk
    detail develop different difficult discover distance divide doctor door doubt draw dress drink drive during
    each earth eat edge effect effort either engine enough enter entire equal especially even event ever every
    evidence exact example except excellent expect expert explain extra eye fact family famous fan favorite
    feature few field figure file fill find fine finish fish fit flower focus follow food form fresh friend
    fruit future garden general genuine gift goal gold great group grow guess guest guide half handle happen
    have head hear help here history hold hole hope horse idea image important include increase indeed industry
    inside instead interest issue item join judge keep kind kitchen know label language large last later law
    layer learn least leave leg lemon length less letter library lift limit list little local long look lot main
    make manager many market matter maybe mean meaning measure meet member memory mention message method middle
    mind minute mirror miss model moment money month more most mother much must name narrow nature near
    necessary neck need neighbor network never news next nice none normal nose note notice number object obvious
    offer office often opinion option orange order ordinary other outside own page paint pair paper parent part
    particular partner pass path pattern pause pay pen people perfect perhaps person phone photo phrase picture
    place plan plant plate player please pocket point polite position possible potato practice prefer prepare
    present pretty price print prior private probably problem process produce product program project proper
    protect prove public pull purpose push put question quite random range rate rather reach read real reason
    receive recent recognise regular relate remain remember repeat reply report request require respect rest
    result return rich right rise river role round row rule run same sample sand save scale science season seat
    second see seem selection send sense series serve several shape share sheet shelf shirt shoe short should
    shoulder side sign similar simple since single sister sit situation size skill skin sky small so social
    solid solution some sort source special specific spend spoon spot stage stand star start state station stay
    still stone stop store story strange stream strong structure stuff subject such suggest suit sum supply
    support sure surface table take talk taste team tell ten term text than then there thing think third though
    thought throw ticket tie today together tomorrow tone too tool top topic total touch toward town trip true
    trust truth try twice understand unit until use useful usual usually valid value variety various version
    view visit voiceover wait wall want warning wash watch water way wear week weight wheel when which while
    whole why will wish within wonder wood word work world worth write year yellow yes yet young zero zone""".split()
)
"""Common English words that name no style, mood, tempo, instrument or production."""


class Lookalikes:
    """Makes words up that look like given ones: each letter by the two before it (Shannon 1948), or of pieces.

    Args:
        words: phrases whose words are known; none of them is ever made.
        pieces: of words, as a tokenizer cuts them. A piece that only one word has ("tropical") gives that word away to
            a model wherever it occurs ("typical"); what every unknown word is to the model is a row of such pieces.
    """

    def __init__(self, words: Sequence[str], pieces: Iterable[str] = ()) -> None:
        self._after: dict[str, list[str]] = defaultdict(list)
        self._known = {part for word in words for part in re.findall(r"[a-z]+", word.lower())}
        for word in sorted(self._known):
            for place in range(len(word) + 1):
                self._after[f"  {word}"[place : place + 2]].append(f"{word} "[place])
        fragments = {piece for piece in pieces if re.fullmatch("[a-z]{2,}", piece)}
        self._pieces = sorted(fragments - self._known)

    def draw(self, rng: random.Random) -> str:
        """A word of 3 to 12 letters that is none of the given."""
        while True:
            in_pieces = self._pieces and rng.random() < 0.7
            word = self._of_pieces(rng) if in_pieces else self._by_letters(rng)
            if 3 <= len(word) <= 12 and word not in self._known:
                return word

    def _of_pieces(self, rng: random.Random) -> str:
        return self._by_letters(rng)[: rng.randint(0, 3)] + "".join(rng.choices(self._pieces, k=rng.choice((1, 1, 2))))

    def _by_letters(self, rng: random.Random) -> str:
        word = ""
        while len(word) <= 12 and not word.endswith(" "):
            word += rng.choice(self._after[f"  {word}"[-2:]])
        return word.strip()


def strange_words(rng: random.Random, lookalikes: Lookalikes) -> str:
    """One to three words that say nothing about the sound."""
    if rng.random() < 0.25:
        return rng.choice(PHRASES)
    count = rng.choice((1, 1, 1, 2, 2, 3))
    return " ".join(rng.choice(COMMON) if rng.random() < 0.5 else lookalikes.draw(rng) for _ in range(count))


def among_distractors(text: str, rng: random.Random, lookalikes: Lookalikes) -> str:
    """A caption with strange words in one or two places: between its words, or as a part of its own at either end."""
    for _ in range(rng.choice((1, 1, 2))):
        strange, chance = strange_words(rng, lookalikes), rng.random()
        if chance < 0.4:
            text += rng.choice((", ", ", ", " ", " - ", ". ")) + strange
        elif chance < 0.55:
            text = strange + rng.choice((", ", ": ", " ")) + text
        else:
            words = text.split(" ")
            words.insert(rng.randrange(len(words) + 1), strange)
            text = " ".join(words)
    return text
