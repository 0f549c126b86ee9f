"""How painted strokes steer the decode loop: one file a method, chosen by name."""
