"""Scores of a detector on labelled pictures: COCO metrics, confusion, galleries, false positives, robustness."""
