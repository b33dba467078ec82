"""What every database of the catalog must do."""
