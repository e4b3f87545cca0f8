"""Studies around the models: ablations, capacity planning, pretraining."""
