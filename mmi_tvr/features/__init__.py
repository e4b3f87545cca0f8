"""Videos -> cached vision features -> embeddings."""
