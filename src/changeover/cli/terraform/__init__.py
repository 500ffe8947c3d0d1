"""`render gcp`: a chain -> a Terraform configuration for Google Cloud. Pure text; asks Google nothing."""
