"""Measures of recordings, and the reports that judge the embedded model by them."""
