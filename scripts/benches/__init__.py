"""One file per measured stage; each offers `run(args) -> Iterable[str]`, lines ready to print."""
