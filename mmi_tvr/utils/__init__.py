"""Helpers that know nothing of retrieval: processes, files, hashes, caches, devices, progress, tables."""
