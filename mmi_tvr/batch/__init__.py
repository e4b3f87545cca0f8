"""Long work split into shards on a shared folder: any number of processes and machines, any of which may die.

inputs      folders, lists and query files -> items
folder      one directory: what was requested, the items, and what became of each
journal     what was tried of an unfinished shard
leases      who works on which shard; those of dead workers are taken over
worker      claims shards, tries every item, quarantines those that fail or kill twice
extract     the work on videos: features and embeddings          embeddings   searching what it wrote
infer       the work on queries: ranked hits, TREC runs
stopping    signals, let through where stopping costs nothing
supervise   keeps one worker process alive                   ray_engine   the same workers, started by Ray Data
program     what the command lines share
"""
