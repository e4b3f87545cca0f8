"""Inductive reasoning heads on frozen features: tensors in, tensors out (Li et al., MM 2024, sections 4.1 and 4.2)."""
