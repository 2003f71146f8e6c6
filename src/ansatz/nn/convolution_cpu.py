"""Convolution on CPUs."""

from __future__ import annotations

from ansatz.nn.sliding import slide as slide_on_cpu

__all__ = ["slide_on_cpu"]
