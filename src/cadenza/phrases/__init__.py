"""Rules on phrases: what has been heard too often in a piece, and what a training piece says already."""
