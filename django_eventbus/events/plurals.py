"""What is the plural of an English noun?"""

from __future__ import annotations

import re

_UNCHANGING = frozenset({
    "advice", "aircraft", "baggage", "bison", "cash", "cattle", "cod", "correspondence", "crossroads",
    "data", "deer", "electricity", "equipment", "evidence", "feedback", "fish", "furniture", "glass", "hardware",
    "headquarters", "help", "homework", "housing", "information", "insurance", "jewelry", "knowledge",
    "logistics", "luggage", "machinery", "mail", "means", "media", "merchandise", "metadata", "money", "moose",
    "music", "news", "offspring", "payroll", "pants", "police", "progress", "rain", "research", "rice", "salmon",
    "scissors", "series", "sheep", "shorts", "shrimp", "software", "species", "spacecraft", "staff", "swine",
    "telemetry", "traffic", "training", "trousers", "trout", "tuna", "wealth", "weather",
})  # fmt: skip
_IRREGULAR = {
    "alumnus": "alumni", "analysis": "analyses", "appendix": "appendices", "axis": "axes", "bacterium": "bacteria",
    "basis": "bases", "cactus": "cacti", "child": "children", "crisis": "crises", "criterion": "criteria",
    "curriculum": "curricula", "datum": "data", "diagnosis": "diagnoses", "emphasis": "emphases",
    "foot": "feet", "fungus": "fungi", "goose": "geese", "hypothesis": "hypotheses", "index": "indices",
    "lens": "lenses", "louse": "lice", "man": "men", "matrix": "matrices", "memorandum": "memoranda", "mouse": "mice",
    "nucleus": "nuclei",
    "ox": "oxen", "parenthesis": "parentheses", "person": "people", "phenomenon": "phenomena", "quiz": "quizzes",
    "radius": "radii", "stimulus": "stimuli", "stomach": "stomachs", "stratum": "strata", "syllabus": "syllabi",
    "synopsis": "synopses", "synthesis": "syntheses", "thesis": "theses", "tooth": "teeth", "vertex": "vertices",
    "woman": "women",
}  # fmt: skip
_IRREGULAR_PLURALS = frozenset(_IRREGULAR.values())
_F_TO_VES = frozenset({
    "calf", "elf", "half", "knife", "leaf", "life", "loaf", "scarf", "self", "sheaf", "shelf", "thief", "wife",
    "wolf",
})  # fmt: skip
_O_TO_OES = frozenset({
    "cargo", "domino", "echo", "embargo", "hero", "mosquito", "potato", "tomato", "tornado", "torpedo", "veto",
    "volcano",
})  # fmt: skip
_HARD_CH = frozenset({"epoch", "eunuch", "matriarch", "monarch", "patriarch", "stomach"})
_SINGULAR_IN_AS = frozenset({"alias", "atlas", "bias", "canvas", "gas"})
_SINGULAR_IN_S = ("ss", "us", "is")  # address, bus, iris; any other -s is a plural already


def pluralize(name: str) -> str:
    """Return the plural of a noun; of a kebab-case name, only its last word changes. Plurals stay as they are."""
    head, word = re.fullmatch(r"(.*-)?([^-]*)", name, re.DOTALL).groups(default="")  # type: ignore[union-attr]
    return head + _in_case_of(word, _plural(word.lower()))


def _plural(word: str) -> str:
    if not word or word in _UNCHANGING or word in _IRREGULAR_PLURALS:
        return word
    if word in _IRREGULAR:
        return _IRREGULAR[word]
    if word in _F_TO_VES:
        return word.removesuffix("e").removesuffix("f") + "ves"
    if word in _O_TO_OES:
        return word + "es"
    if word.endswith("s") and not word.endswith(_SINGULAR_IN_S) and word not in _SINGULAR_IN_AS:
        return word
    if word.endswith(("s", "x", "z", "sh")) or (word.endswith("ch") and word not in _HARD_CH):
        return word + "es"
    if re.search(r"[^aeiou]y$", word):
        return word[:-1] + "ies"
    return word + "s"


def _in_case_of(model: str, word: str) -> str:
    if model.isupper() and len(model) > 1:
        return word.upper()
    return word[:1].upper() + word[1:] if model[:1].isupper() else word
