"""Pretrained towers that models are built from."""
