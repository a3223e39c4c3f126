"""Texts of one's own with labels: tables in CSV, TSV or JSON Lines, and the task that is made from them."""
