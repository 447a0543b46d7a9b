"""Scores of masks against masks: counting, metrics, aggregation, tables. Needs numpy only."""
