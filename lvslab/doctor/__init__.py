"""Doctor: looks at a director and its network without touching them, and names what is likely
wrong.

gather (reads) → evidence (what was seen) → rules (pure functions) → findings (plain sentences,
evidence, fix).
"""
