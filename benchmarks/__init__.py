"""How fast, in how much memory, beside what: ``python -m benchmarks``."""
