"""Vector indexes behind one protocol (`mmi_tvr.protocols.Index`). One file per index."""
