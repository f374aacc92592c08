"""How good is a model, next to what? Baselines, originality, fidelity, and what to believe of it all."""
