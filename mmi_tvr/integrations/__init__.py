"""A library as a retriever of other frameworks: `langchain`, `llamaindex`. Each needs the extra of its name."""
