"""What other frameworks take from us: a library as a retriever (`langchain`, `llamaindex`), vectors as a dataset
(`datasets`), models and data sets in the embedding benchmark (`mteb`). Each needs its extra."""
