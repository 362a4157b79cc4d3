"""Bytes without tensors: files, checksums, containers."""
