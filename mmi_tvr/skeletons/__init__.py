"""What queries and videos answered to the chosen questions, and the store of it."""
