"""What queries and videos answer to the chosen questions, kept and judged."""
