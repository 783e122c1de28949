"""Views: rows of the catalogue for people and programs. Read only."""
