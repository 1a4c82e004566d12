"""Data: lists, decoding, frame sampling, transforms, data modules."""
