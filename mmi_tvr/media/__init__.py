"""Opening, probing and decoding media files (PyAV)."""
