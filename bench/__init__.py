"""Measures framepair against what one would use instead: ``python -m bench``. Not part of the package."""
