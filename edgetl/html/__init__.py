"""What every HTML page is made of: frame and style, text and tables, charts, pictures; no script, no network."""
