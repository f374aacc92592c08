"""A folder, archive or named corpus to checked, de-duplicated pieces, grouped by work and split."""
