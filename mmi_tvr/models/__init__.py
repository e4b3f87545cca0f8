"""Retrieval models (`mmi_tvr.protocols.Model`). One file per system."""
