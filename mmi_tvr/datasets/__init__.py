"""Datasets: each lists the samples of an official split and never decodes. One file per dataset."""
