"""A library behind HTTP: a REST API and a page, and a socket through which the command line uses the same process.

One process holds the model of a library. What comes in by HTTP, and what the command line asks it for, are faces over
`library.Library`: a hit is the same JSON at every door (`SearchResult.as_dict`). Nothing here is imported before it is
used, so that a client of the socket (`client`) costs no more than a start of Python.
"""
