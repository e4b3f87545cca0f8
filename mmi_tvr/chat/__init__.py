"""Servers that speak OpenAI's chat completions: their client, the parts of a message, and what replies hold."""
