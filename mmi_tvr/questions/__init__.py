"""Fine-grained knowledge: question pools, which of their questions are asked, and what the answers are good for."""
