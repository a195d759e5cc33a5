"""The words the demo model knows, and the captions made of them."""

from __future__ import annotations

import zlib
from dataclasses import dataclass

# Ordered by how different they look at 64 pixels: a run with fewer nouns takes the first ones.
EMOJI = {
    "cat": "🐱", "apple": "🍎", "car": "🚗", "tree": "🌳", "star": "⭐", "house": "🏠", "fish": "🐟",
    "rocket": "🚀", "heart": "💜", "banana": "🍌", "frog": "🐸", "sun": "🌞", "mushroom": "🍄", "moon": "🌙",
    "dog": "🐶", "pizza": "🍕", "flower": "🌻", "cake": "🎂", "boat": "⛵", "ghost": "👻", "robot": "🤖",
    "key": "🔑", "penguin": "🐧", "crown": "👑", "panda": "🐼", "cactus": "🌵", "guitar": "🎸",
    "balloon": "🎈", "butterfly": "🦋", "carrot": "🥕", "cherry": "🍒", "lemon": "🍋", "bell": "🔔",
    "umbrella": "☂", "burger": "🍔", "snowman": "⛄", "pumpkin": "🎃", "octopus": "🐙", "book": "📕",
    "clock": "⏰", "gift": "🎁", "fox": "🦊", "pig": "🐷", "owl": "🦉", "grape": "🍇", "donut": "🍩",
    "bus": "🚌", "train": "🚂", "skull": "💀", "bee": "🐝", "turtle": "🐢", "whale": "🐳", "tulip": "🌷",
    "strawberry": "🍓", "watermelon": "🍉", "pear": "🍐", "ball": "⚽", "camera": "📷", "lion": "🦁",
    "snail": "🐌", "rabbit": "🐰", "monkey": "🐵", "unicorn": "🦄", "tiger": "🐯", "koala": "🐨", "elephant": "🐘",
    "crab": "🦀", "shark": "🦈", "snake": "🐍", "dragon": "🐲", "ladybug": "🐞", "bread": "🍞", "cheese": "🧀",
    "cookie": "🍪", "candy": "🍬", "corn": "🌽", "pepper": "🌶", "avocado": "🥑", "pineapple": "🍍", "peach": "🍑",
    "eggplant": "🍆", "broccoli": "🥦", "taco": "🌮", "plane": "✈", "bicycle": "🚲", "tractor": "🚜", "anchor": "⚓",
    "castle": "🏰", "volcano": "🌋", "rainbow": "🌈", "cloud": "☁", "lightning": "⚡", "fire": "🔥",
    "snowflake": "❄", "planet": "🪐", "alien": "👽", "clown": "🤡", "shoe": "👟", "dress": "👗", "diamond": "💎",
    "hammer": "🔨", "bulb": "💡", "television": "📺", "drum": "🥁", "trumpet": "🎺", "pencil": "✏", "trophy": "🏆",
    "basketball": "🏀", "magnet": "🧲",
}  # fmt: skip

COLOURS = {
    "red": (214, 48, 49), "blue": (52, 101, 214), "yellow": (247, 214, 72), "green": (63, 160, 78),
    "white": (248, 248, 248), "black": (24, 24, 28), "purple": (128, 62, 178), "orange": (240, 138, 36),
    "pink": (246, 160, 196), "gray": (140, 144, 150), "brown": (126, 82, 48), "cyan": (92, 214, 226),
}  # fmt: skip

NOUNS = tuple(EMOJI)
NUMBERS = ("a", "two", "three")
SIZES = ("small", "", "large")
PLACES = ("left", "", "right")

# Words of styles and concepts that networks add later; the tokenizer knows each as a single token.
EXTRA_WORDS = (
    "pixel", "art", "pixelart", "ink", "outline", "inkline", "party", "hat", "partyhat", "style", "photo", "picture",
    "of", "the", "one", "with", "in", "wearing", "big", "tiny", "mascot", "patchbay", "background", "on", "and",
    "emoji", ",", ".",
)  # fmt: skip


@dataclass(frozen=True)
class Scene:
    """What one picture shows: everything a caption can say, and nothing else."""

    noun: str
    colour: str
    size: str = ""
    count: int = 1
    place: str = ""
    partner: str = ""


def plural(noun: str) -> str:
    """The noun in the plural, as captions spell it."""
    if noun.endswith("y") and noun[-2] not in "aeiou":
        return noun[:-1] + "ies"
    return noun + ("es" if noun.endswith(("s", "sh", "x", "ss")) else "s")


def subject(scene: Scene, article: bool = True) -> str:
    """The part of the caption that names the objects: ``a small cat``, ``two apples``, ``a cat and a dog``."""
    if scene.count > 1:
        return f"{NUMBERS[scene.count - 1]} {plural(scene.noun)}"
    words = [word for word in (_article(scene.size or scene.noun) if article else "", scene.size, scene.noun) if word]
    text = " ".join(words)
    if scene.partner:
        return f"{text} and {_article(scene.partner)} {scene.partner}"
    return f"{text} on the {scene.place}" if scene.place else text


def caption(scene: Scene, template: int = 0) -> str:
    """The scene in words. Template 0 is the usual one; 3 leaves the background open."""
    match template:
        case 0:
            comma = "," if scene.place else ""
            return f"{subject(scene)}{comma} on {_article(scene.colour)} {scene.colour} background"
        case 1:
            return f"{subject(scene)}, {scene.colour} background"
        case 2:
            return f"{subject(scene, article=False)}, {scene.colour} background"
        case _:
            return subject(scene)


def held_out(scene: Scene) -> bool:
    """Whether the scene is one of the eighth that training never sees, so that the model can be asked for it."""
    return zlib.crc32(caption(scene).encode()) % 8 == 0


TEMPLATES = 4
TEMPLATE_WEIGHTS = (0.6, 0.16, 0.16, 0.08)


def vocabulary() -> list[str]:
    """Every word that deserves a token of its own."""
    words = [*NOUNS, *map(plural, NOUNS), *COLOURS, *NUMBERS, *filter(None, SIZES + PLACES), "an", *EXTRA_WORDS]
    return sorted(set(words))


def _article(word: str) -> str:
    return "an" if word[0] in "aeiou" else "a"
