"""How good is a model, next to what? Baselines first; memorisation and fidelity belong here too."""
