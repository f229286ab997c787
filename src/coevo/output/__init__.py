"""What leaves coevo as text: escaped for terminals, pages and spreadsheets, written whole or not at all."""
