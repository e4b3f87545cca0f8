"""Answerers of questions about texts and key images (`mmi_tvr.protocols.Answerer`). One file per way of asking."""
