"""Verdicts: what a verifier says of one property, and of a whole picture."""

from dataclasses import dataclass


@dataclass(frozen=True)
class Finding:
    """One property's verdict. `about` names what has it (an object, a line of text, the background)."""

    property: str  # object | color | size | place | count | relation | text | palette | alpha | ...
    about: str
    passed: bool
    found: str


@dataclass(frozen=True)
class Report:
    """All verdicts of a picture; `unexplained` is the share of its area that the scene leaves open."""

    findings: tuple[Finding, ...]
    unexplained: float = 0.0

    @property
    def passed(self) -> bool:
        """Whether every property holds."""
        return all(f.passed for f in self.findings)

    def score(self, *properties: str) -> float:
        """Share of verdicts that hold, of all or of some properties; 1.0 where nothing was asked."""
        asked = [f.passed for f in self.findings if not properties or f.property in properties]
        return sum(asked) / len(asked) if asked else 1.0

    def failures(self) -> list[str]:
        """Readable lines, one a failed property."""
        return [f"{f.property} of {f.about}: {f.found}" for f in self.findings if not f.passed]
