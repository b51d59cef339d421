"""Asymmetric random projections: compress two sources of vectors so that inner products between them are kept."""

from tony.projections.matmul import Product, approximate_matmul
from tony.projections.projection import AsymmetricRandomProjection
from tony.projections.report import ProjectionWarning, Report

__all__ = ["AsymmetricRandomProjection", "Product", "ProjectionWarning", "Report", "approximate_matmul"]
