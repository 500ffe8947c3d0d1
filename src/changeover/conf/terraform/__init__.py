"""Terraform's language: its files, the values of its expressions, and the resources that they describe."""
