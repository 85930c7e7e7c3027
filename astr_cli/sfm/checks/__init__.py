"""What is wrong with matches and databases, of astr or of others."""
