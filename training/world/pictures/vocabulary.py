"""What lettering says: small vocabularies of four scripts, and random numbers, prices, dates and times.

A word belongs to one side for ever, by hash: words held out are written in the "heldout_concepts" split and
in no other.
"""

import hashlib
import unicodedata
from functools import lru_cache

import numpy as np

_WORDS = {
    "latin": "summer winter spring autumn sale open closed market coffee tea bakery bread garden music jazz "
    "festival concert night morning sunday monday friday weekend city beach mountain river forest ocean sky "
    "star moon sun travel hotel museum gallery theatre cinema library school science history future dream "
    "hello welcome thanks please enjoy discover explore create imagine believe begin again never always "
    "fresh organic local daily special grand final early late free new best happy bright quiet wild brave "
    "gentle golden silver magic secret little great young old fast slow party dance sport run club team game "
    "play win gift flower rose lemon apple honey berry pizza pasta soup salad grill kitchen chef menu lunch "
    "dinner picnic camp lake island harbour bridge tower castle village street corner house home studio "
    "craft paper book story poem letter print color light shadow camera photo film radio piano guitar violin "
    "drum train bicycle boat rocket robot planet galaxy energy water earth fire wind storm rain snow peace "
    "love hope joy friend family baby cat dog fox owl bear whale tiger zebra queen king jump quick brown "
    "lazy vivid the and for with your our join us today now big day of art in one world",
    "greek": "καλημέρα θάλασσα ήλιος μουσική καφές αγορά νησί βιβλίο γιορτή φίλος σπίτι δρόμος ελπίδα χρώμα "
    "όνειρο ψωμί νερό φως λεμόνι πόλη",
    "cyrillic": "привет музыка город море солнце книга праздник кофе весна лето зима осень театр школа мир "
    "дом хлеб звезда рынок сегодня жизнь цвет добро друзья",
    "han": "你好 音乐 城市 大海 太阳 书店 节日 咖啡 春天 夏天 秋天 冬天 电影 学校 世界 面包 星空 市场 "
    "今天 山水 花园 朋友 新年 快乐 茶馆",
}
SCRIPTS = tuple(_WORDS)
MONTHS = ("Jan", "Feb", "March", "April", "May", "June", "July", "Aug", "Sept", "Oct", "Nov", "Dec")


@lru_cache(maxsize=16)
def words(script: str = "latin", held_out: bool = False) -> tuple[str, ...]:
    """A script's words, those of the common splits or those held out: a twelfth, and two at least."""
    every = _WORDS[script].split()
    ranked = sorted(every, key=lambda word: hashlib.sha256(f"word {word}".encode()).digest())
    chosen = set(ranked[: max(2, len(every) // 12)])
    return tuple(word for word in every if (word in chosen) == held_out)


@lru_cache(maxsize=4)
def characters(script: str) -> str:
    """Every character of a script's words, in both cases."""
    listed = "".join(_WORDS[script].split())
    return "".join(sorted({*listed, *upper(listed)}))


def upper(word: str) -> str:
    """Capitals; Greek ones take no accents."""
    bare = (unicodedata.normalize("NFD", c)[0] if "\u0370" <= c < "\u0400" else c for c in word)
    return "".join(bare).upper()


def sample_word(rng: np.random.Generator, script: str = "latin", split: str = "train") -> str:
    """One word in lower case; the split "heldout_concepts" has its own."""
    return str(rng.choice(words(script, split == "heldout_concepts")))


def sample_number(rng: np.random.Generator) -> str:
    """A number, a price, a percentage, a date, a year or a time."""
    kind, n = int(rng.integers(7)), int(rng.integers(1, 100))
    day, month = int(rng.integers(1, 29)), int(rng.integers(12))
    return (
        f"{n}",
        f"${n}.{int(rng.choice([0, 49, 50, 90, 95, 99])):02d}",
        f"{5 * (n % 19 + 1)}%",
        f"{day} {MONTHS[month]}",
        f"{day:02d}.{month + 1:02d}.{int(rng.integers(1950, 2050))}",
        f"{int(rng.integers(1000, 10000))}",
        f"{int(rng.integers(24))}:{5 * int(rng.integers(12)):02d}",
    )[kind]


def sample_text(rng: np.random.Generator, n_words: int, script: str = "latin", split: str = "train") -> str:
    """Words of one script in one case, some of them numbers; no word twice in a row."""
    said: list[str] = []
    while len(said) < n_words:
        number = n_words > 1 and len(said) > 0 and rng.random() < 0.12
        word = sample_number(rng) if number else sample_word(rng, script, split)
        if not said or word != said[-1]:
            said.append(word)
    case = rng.random()
    if case < 0.4:
        said = [upper(w) if w.islower() else w for w in said]
    elif case < 0.75:
        said = [upper(w[0]) + w[1:] for w in said]
    return " ".join(said)


def wrap(text: str, n_lines: int) -> tuple[str, ...]:
    """The text in at most so many lines of nearly equal length, cut at spaces."""
    parts = text.split(" ")
    n_lines = min(n_lines, len(parts))
    lines: list[str] = []
    while parts and len(lines) < n_lines - 1:
        goal = len(" ".join(parts)) / (n_lines - len(lines))
        most = len(parts) - (n_lines - len(lines) - 1)
        cut = min(range(1, most + 1), key=lambda k: (abs(len(" ".join(parts[:k])) - goal), k))
        lines.append(" ".join(parts[:cut]))
        parts = parts[cut:]
    return (*lines, " ".join(parts))
