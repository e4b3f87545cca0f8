"""Helpers that know nothing of retrieval: processes, files, hashes, devices, progress."""
