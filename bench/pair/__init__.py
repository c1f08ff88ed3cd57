"""Designs that pair videos by capture time, a file each."""
