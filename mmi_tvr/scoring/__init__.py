"""How vectors become scores, and scores relevance. No model is loaded here."""
